package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/go-json-experiment/json"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/report"
	"ledgerd/internal/wholefile"
	"ledgerd/ledger/tlog"
)

// A proof holds two tree heads that cannot both be true, and what shows it. It
// convinces whoever has the log's key, without the log. docs/bundle-format.md
// describes the file; the rejection of a handoff keeps one as its payload.
type proof struct {
	Heads [2]string `json:"heads"` // signed notes; the one of the smaller tree first
	// Nodes of the larger tree, that give its root and another than the signed
	// one at the size of the smaller; none where the sizes are equal.
	Nodes []string `json:"nodes,omitzero"`
}

const maxProof = 1 << 20

// proofForm is how every proof begins.
var proofForm = []byte(`{"heads":`)

func encodeNodes(nodes []tlog.Hash) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = base64.RawURLEncoding.EncodeToString(n[:])
	}
	return out
}

func (p *proof) nodes() ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(p.Nodes))
	for i, text := range p.Nodes {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(b) != tlog.HashSize || len(text) != base64.RawURLEncoding.EncodedLen(tlog.HashSize) {
			return nil, formOnly(fmt.Sprintf("node %d: expected 32 bytes in base64url without padding", i))
		}
		out[i] = tlog.Hash(b)
	}
	return out, nil
}

func (p *proof) marshal() ([]byte, error) {
	b, err := json.Marshal(p)
	return append(b, '\n'), err
}

func parseProof(b []byte) (*proof, error) {
	if len(b) > maxProof {
		return nil, formOnly(fmt.Sprintf("expected at most %d bytes, found more", maxProof))
	}
	var w struct {
		Heads []string `json:"heads"`
		Nodes []string `json:"nodes"`
	}
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, &bundle.FormatError{Err: err}
	}
	if len(w.Heads) != 2 {
		return nil, formOnly(fmt.Sprintf("expected two tree heads, found %d", len(w.Heads)))
	}
	return &proof{[2]string(w.Heads), w.Nodes}, nil
}

// verifyProof says whether two tree heads prove their log wrong. A proof that does
// not hold up decides nothing: what its log did not sign is no word of its log's.
func verifyProof(name string, b []byte, trust *bundle.Trust) (*report.Report, error) {
	const form = "proof of equivocation"
	p, err := parseProof(b)
	if err != nil {
		return malformed(name, form, err)
	}
	nodes, err := p.nodes()
	if err != nil {
		return malformed(name, form, err)
	}
	var heads [2]*signed
	for i, note := range p.Heads {
		heads[i] = openSigned(fmt.Sprintf("tree head %d", i+1), []byte(note), trust)
		if isForm(heads[i].err) {
			return malformed(name, form, heads[i].err)
		}
	}
	if heads[0].Head != nil && heads[1].Head != nil && heads[0].Size > heads[1].Size {
		heads[0], heads[1] = heads[1], heads[0]
	}
	r := &report.Report{Version: report.Version, Input: name, Form: form, Rules: []report.Rule{evidenceRule(heads)}}
	describe(r, heads[:]...)
	x := byNotes(heads[0], heads[1])
	if err := x.byNodes(nodes); err != nil {
		return malformed(name, form, err)
	}
	r.Rules = append(r.Rules, x.rule())
	if x.contradiction != nil {
		r.Equivocation = [][2]string{x.contradiction.Heads}
	}
	settle(r)
	switch {
	case x.contradiction != nil:
		r.Summary = fmt.Sprintf("%s signed tree heads that cannot both be true", r.Origin)
	case heads[0].Head == nil || heads[1].Head == nil:
		r.Summary = "tree heads that the log is not shown to have signed prove nothing against it"
	default:
		r.Summary = fmt.Sprintf("two tree heads of %s that are not shown to contradict each other prove nothing against it", r.Origin)
	}
	return r, nil
}

// byNodes decides by the nodes in the proof. What two tree heads alone decide needs
// none, and what they hold to be true is no proof.
func (x *comparison) byNodes(nodes []tlog.Hash) error {
	if x.status == report.Held {
		x.status = report.NotDecided
		x.finding = &report.Finding{Reason: string(audit.ReasonTwoRoots), Expected: "two tree heads that contradict each other", Found: "two that agree", Decides: "nothing: keep the two that differ"}
	}
	if x.status != report.NotDecided || x.old.Head == nil || x.later.Head == nil || x.old.Size == 0 || x.old.Size >= x.later.Size ||
		x.old.Ledger.Origin() != x.later.Ledger.Origin() {
		if len(nodes) > 0 && x.old.Head != nil && x.later.Head != nil && x.old.Size == x.later.Size {
			return formOnly(fmt.Sprintf("expected no nodes for two tree heads of one size, found %d", len(nodes)))
		}
		return nil
	}
	x.finding.Decides = "the log's tiles: verify equivocation --log URL or DIR"
	if len(nodes) == 0 {
		return nil
	}
	atOld, atLater, err := rootsOf(x.old.Size, x.later.Size, nodes)
	switch {
	case err != nil:
		return &bundle.FormatError{Err: err}
	case atLater != x.later.Root:
		x.finding.Found = fmt.Sprintf("nodes that give root %v at size %d, which is not the signed one", atLater, x.later.Size)
	case atOld == x.old.Root:
		x.finding.Found = "nodes that show that it does"
	default:
		x.contradict(x.old, x.later, nodes, atOld)
	}
	return nil
}

// evidenceRule is headsRule where tree heads are evidence against their log: one
// that it is not shown to have signed proves nothing, and one that its quorum did
// not cosign is its word all the same.
func evidenceRule(heads [2]*signed) report.Rule {
	rule := report.Rule{Rule: headRule, Status: report.Held}
	for _, h := range heads {
		if h.Head != nil {
			continue
		}
		f := h.finding()
		f.Status = report.NotDecided
		if f.Decides == "" {
			f.Decides = "a tree head with the log's signature"
		}
		rule.Status = report.NotDecided
		rule.Findings = append(rule.Findings, f)
	}
	return rule
}

// keepHeads keeps pairs of tree heads beside the state of an audit: as proof where
// they are one, with nodes that the log's tiles give if it takes these.
func keepHeads(ctx context.Context, r *report.Report, s audit.Source, trust *bundle.Trust, statePath string, pairs [][2][]byte) error {
	for _, pair := range pairs {
		x := byNotes(openSigned("state", pair[0], trust), openSigned(r.Input, pair[1], trust))
		if x.old.Head == nil || x.later.Head == nil {
			continue
		}
		if x.status == report.NotDecided {
			if err := x.byTiles(ctx, s); err != nil {
				return err
			}
		}
		var err error
		if x.contradiction != nil {
			r.Proof, err = writeAside(statePath+".proof", x.contradiction)
		} else {
			r.Kept, err = writeAside(statePath+".heads", &proof{Heads: [2]string{string(pair[0]), string(pair[1])}})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeAside writes a proof under a name that no other file has, and returns it.
func writeAside(prefix string, p *proof) (string, error) {
	b, err := p.marshal()
	if err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		path := fmt.Sprintf("%s-%d", prefix, n)
		if kept, err := os.ReadFile(path); err == nil && bytes.Equal(kept, b) {
			return path, nil // the same proof, of an audit before
		}
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		return path, wholefile.Write(path, b, false)
	}
}
