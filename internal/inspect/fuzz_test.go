package inspect

import (
	"bytes"
	"testing"
)

// FuzzProof: a proof of equivocation that is read says what it is written as, and its
// nodes are hashes or none.
func FuzzProof(f *testing.F) {
	for _, seed := range []string{
		`{"heads":["ledger.example/test\n1\nAAAA\n\n","x"],"nodes":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]}`,
		`{"heads":["a","b"]}`, `{"heads":["a"],"nodes":[]}`, `{"heads":["a","b"],"heads":["c","d"]}`, `{"heads":["a","b"],"Nodes":[""]}`, `{"heads":[null,null]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProof(b)
		if err != nil {
			return
		}
		if nodes, err := p.nodes(); err == nil {
			for i, text := range EncodeNodes(nodes) {
				if text != p.Nodes[i] {
					t.Errorf("node %q reads as %q", p.Nodes[i], text)
				}
			}
		}
		text, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseProof(text)
		if err != nil || again.Heads != p.Heads || len(again.Nodes) != len(p.Nodes) {
			t.Errorf("%s is written as %s: %v", b, text, err)
		}
		if bytes.Contains(text, []byte("\n\n")) {
			t.Errorf("two lines: %q", text)
		}
	})
}
