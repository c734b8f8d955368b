package inspect

import (
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json"

	"ledgerd/bundle"
	"ledgerd/internal/report"
	"ledgerd/ledger/tlog"
)

// A Proof holds two tree heads that cannot both be true, and what shows it. It
// convinces whoever has the log's key, without the log. docs/bundle-format.md
// describes the file; the rejection of a handoff keeps one as its payload.
type Proof struct {
	Heads [2]string `json:"heads"` // signed notes; the one of the smaller tree first
	// Nodes of the larger tree, that give its root and another than the signed
	// one at the size of the smaller; none where the sizes are equal.
	Nodes []string `json:"nodes,omitzero"`
}

const maxProof = 1 << 20

// proofForm is how every proof begins.
var proofForm = []byte(`{"heads":`)

// EncodeNodes returns nodes as files have them.
func EncodeNodes(nodes []tlog.Hash) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = base64.RawURLEncoding.EncodeToString(n[:])
	}
	return out
}

func (p *Proof) nodes() ([]tlog.Hash, error) {
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

// Marshal returns the file.
func (p *Proof) Marshal() ([]byte, error) {
	b, err := json.Marshal(p)
	return append(b, '\n'), err
}

func parseProof(b []byte) (*Proof, error) {
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
	return &Proof{[2]string(w.Heads), w.Nodes}, nil
}

// verifyProof says whether two tree heads prove their log wrong. A proof that does
// not hold up decides nothing: what its log did not sign is no word of its log's.
func verifyProof(name string, b []byte, trust *bundle.Trust) (*report.Report, error) {
	const form = "proof of equivocation"
	p, err := parseProof(b)
	if err != nil {
		return Malformed(name, form, err)
	}
	nodes, err := p.nodes()
	if err != nil {
		return Malformed(name, form, err)
	}
	var heads [2]*Signed
	for i, note := range p.Heads {
		heads[i] = OpenSigned(fmt.Sprintf("tree head %d", i+1), []byte(note), trust)
		if IsForm(heads[i].Err) {
			return Malformed(name, form, heads[i].Err)
		}
	}
	if heads[0].Head != nil && heads[1].Head != nil && heads[0].Size > heads[1].Size {
		heads[0], heads[1] = heads[1], heads[0]
	}
	r := &report.Report{Version: report.Version, Input: name, Form: form, Rules: []report.Rule{EvidenceRule(heads)}}
	Describe(r, heads[:]...)
	x := ByNotes(heads[0], heads[1])
	if err := x.byNodes(nodes); err != nil {
		return Malformed(name, form, err)
	}
	r.Rules = append(r.Rules, x.Rule())
	if x.Contradiction != nil {
		r.Equivocation = [][2]string{x.Contradiction.Heads}
	}
	Settle(r)
	switch {
	case x.Contradiction != nil:
		r.Summary = fmt.Sprintf("%s signed tree heads that cannot both be true", r.Origin)
	case heads[0].Head == nil || heads[1].Head == nil:
		r.Summary = "tree heads that the log is not shown to have signed prove nothing against it"
	default:
		r.Summary = fmt.Sprintf("two tree heads of %s that are not shown to contradict each other prove nothing against it", r.Origin)
	}
	return r, nil
}
