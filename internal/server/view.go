package server

import (
	"encoding/json"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// view derives the flat shape of a record: what people want to read, and
// nothing that anyone should check.
func view(p *evidence.Placed) *api.View {
	r := p.Record
	v := &api.View{Actor: r.Actor, Timestamp: r.Time.String(), AuditID: p.ID.String()}
	if r.At != 0 {
		v.Timestamp = r.At.String()
	}
	switch b := r.Body.(type) {
	case *evidence.Authorization:
		v.Action, v.Tool, v.Permission = b.Action, b.Tool, string(b.Effect)
	case *evidence.Execution:
		v.Action, v.Tool, v.Status = b.Action, b.Tool, string(b.Status)
		v.MessageID = messageID(b.Refs)
	case *evidence.Confirmation:
		v.Status, v.MessageID = string(b.Status), messageID(b.Refs)
	case *evidence.Approval:
		v.Permission = string(b.Answer)
	case *evidence.Verdict:
		v.Status = string(b.Result)
	case *evidence.RunOpened:
		v.Task = b.Task
	case *evidence.RunClosed:
		v.Status = string(b.End)
	case *evidence.HandoffOffered:
		v.From, v.To, v.Task, v.Status = r.Actor, b.To.Actor, b.Task, "offered"
		if b.Artifact != nil {
			v.ArtifactID = b.Artifact.Commit.String()
		}
		for _, id := range b.Evidence {
			v.EvidenceID = append(v.EvidenceID, id.String())
		}
		for _, e := range b.Scope {
			v.Scope = append(v.Scope, e.Action+" "+e.Resource)
		}
	case *evidence.HandoffAccepted:
		v.To, v.Status, v.EvidenceID = r.Actor, "accepted", []string{b.Offer.String()}
	case *evidence.HandoffRejected:
		v.To, v.Status, v.EvidenceID = r.Actor, "rejected", []string{b.Offer.String()}
	}
	return v
}

// messageID is what a tool calls the thing it did, where it says so in public.
func messageID(refs evidence.Object) string {
	var public struct {
		MessageID string `json:"messageId"`
	}
	if len(refs) > 0 {
		_ = json.Unmarshal(refs, &public) // another shape has none
	}
	return public.MessageID
}
