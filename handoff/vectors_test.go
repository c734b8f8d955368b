package handoff_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger/tlog"
)

var update = flag.Bool("update", false, "write the vectors in testdata/handoffs again")

const vectorDir = "../testdata/handoffs"

// vector is an offer's bundle, under what it is verified, and what has to come out.
// testdata/handoffs/README.md describes it to other implementations.
type vector struct {
	Name        string     `json:"name"`
	File        string     `json:"file"`
	Trust       string     `json:"trust"`
	To          receiver   `json:"to"`
	Now         string     `json:"now"`
	Known       *knownHead `json:"known,omitempty"`
	Artifact    *string    `json:"artifact,omitempty"` // carried by itself
	Bare        bool       `json:"bare,omitempty"`
	Refused     string     `json:"refused,omitempty"` // the reason; absent: it verifies
	Undecidable bool       `json:"undecidable,omitempty"`
}

type receiver struct {
	Origin string          `json:"origin"`
	Actor  string          `json:"actor"`
	Key    evidence.Digest `json:"key"`
}

type knownHead struct {
	Size uint64 `json:"size"`
	Root string `json:"root"`
}

// drawn is what a case is made of: the giver's world up to the offer.
type drawn struct {
	w     *audittest.World
	run   *audittest.Run
	body  *evidence.HandoffOffered
	done  evidence.Placed
	heads []int // sizes of tree heads in the bundle, besides the whole log's
}

// draw makes a giver that looked something up and offers a refund.
func draw(t *testing.T, change func(d *drawn), mutate func(b []byte) []byte) (*drawn, []byte) {
	d := &drawn{w: audittest.Named(t, "giver.example/log")}
	d.run = d.w.Open(nil)
	d.done = d.run.Do("lookup", `{"order":7}`)
	artifact := d.w.Commit(`{"order":7,"due":30}`)
	d.body = &evidence.HandoffOffered{
		To: evidence.Recipient{Origin: "receiver.example/log", Actor: audittest.Agent, Key: receiverKey(t)}, Task: "refund",
		Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "order/*"}}, Evidence: []evidence.ID{d.done.ID}, Artifact: &artifact,
		Expires: d.w.Clock + 3_600_000, HeadMaxAge: 600,
	}
	if change != nil {
		change(d)
	}
	offer := d.run.Line(d.body)
	var heads [][]byte
	for _, size := range append(d.heads, len(d.w.Placed)) {
		heads = append(heads, d.w.Head(size))
	}
	b := d.w.Bundle(audittest.Bundling{Header: bundle.OfferHeader(d.w.Origin, offer.ID), Indexes: d.w.RunIndexes(d.run.ID), Heads: heads})
	if mutate != nil {
		b = mutate(b)
	}
	return d, b
}

func receiverKey(t *testing.T) evidence.Digest {
	return audittest.Named(t, "receiver.example/log").Key(audittest.Runtime).Public().Thumbprint()
}

// drawVectors makes every case, and the files that they need.
func drawVectors(t *testing.T) ([]vector, map[string][]byte) {
	files := make(map[string][]byte)
	var cases []vector
	to := receiver{"receiver.example/log", audittest.Agent, receiverKey(t)}
	base, _ := draw(t, nil, nil)
	now := evidence.Time(base.run.Last.Record.Time)
	at := func(seconds int64) string { return (now + evidence.Time(seconds*1000)).String() }
	marshal := func(trust *bundle.Trust) []byte {
		b, err := trust.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	files["trust.json"] = marshal(base.w.Trust())
	files["other.json"] = marshal(audittest.Named(t, "other.example/log").Trust())
	add := func(v vector, file string, change func(*drawn), mutate func([]byte) []byte) *drawn {
		d, b := draw(t, change, mutate)
		if old, ok := files[file]; ok && !bytes.Equal(old, b) {
			t.Fatalf("%s is two files", file)
		}
		files[file] = b
		v.File = file
		if v.Trust == "" {
			v.Trust = "trust.json"
		}
		if v.Now == "" {
			v.Now = at(60)
		}
		if v.To.Origin == "" {
			v.To = to
		}
		cases = append(cases, v)
		return d
	}
	text := func(s string) *string { return &s }
	add(vector{Name: "an offer that holds up"}, "good.bundle", nil, nil)
	add(vector{Name: "the artifact carried by itself", Artifact: text(`{"order":7,"due":30}`)}, "good.bundle", nil, nil)
	add(vector{Name: "another artifact carried by itself", Artifact: text(`{"order":7,"due":31}`), Refused: "artifact"}, "good.bundle", nil, nil)
	add(vector{Name: "at its last moment", Now: (now + 600_000).String()}, "good.bundle", nil, nil)
	add(vector{Name: "under a tree head older than the offer allows", Now: at(601 + 60), Refused: "head_too_old"}, "good.bundle", nil, nil)
	add(vector{Name: "after it expired", Now: at(2 * 3600), Refused: "expired"}, "good.bundle", nil, nil)
	add(vector{Name: "for another ledger", To: receiver{"else.example/log", to.Actor, to.Key}, Refused: "wrong_audience"}, "good.bundle", nil, nil)
	add(vector{Name: "for another actor", To: receiver{to.Origin, "somebody", to.Key}, Refused: "wrong_audience"}, "good.bundle", nil, nil)
	add(vector{Name: "for another key", To: receiver{to.Origin, to.Actor, evidence.Digest{1}}, Refused: "wrong_audience"}, "good.bundle", nil, nil)
	add(vector{Name: "of a ledger that the trust file does not name", Trust: "other.json", Refused: "untrusted", Undecidable: true}, "good.bundle", nil, nil)
	size := uint64(len(base.w.Placed))
	add(vector{Name: "of a smaller tree than something was accepted on", Known: &knownHead{size + 5, tlog.Hash{1}.String()}, Refused: "head_older"}, "good.bundle", nil, nil)
	add(vector{Name: "of the very tree that is known", Known: &knownHead{size, base.w.Root(int(size)).String()}}, "good.bundle", nil, nil)
	add(vector{Name: "of another tree of the size that is known", Known: &knownHead{size, tlog.Hash{1}.String()}, Refused: "head_inconsistent"}, "good.bundle", nil, nil)
	add(vector{Name: "of a larger tree, not shown to extend what is known", Known: &knownHead{3, base.w.Root(3).String()}, Refused: "head_inconsistent", Undecidable: true}, "good.bundle", nil, nil)
	add(vector{Name: "shown to extend what is known", Known: &knownHead{3, base.w.Root(3).String()}}, "extends.bundle", func(d *drawn) { d.heads = []int{3} }, nil)
	add(vector{Name: "shown to extend something else than what is known", Known: &knownHead{3, tlog.Hash{1}.String()}, Refused: "head_inconsistent"}, "extends.bundle", func(d *drawn) { d.heads = []int{3} }, nil)
	add(vector{Name: "that rests on nothing", Refused: "no_evidence"}, "bare.bundle", func(d *drawn) { d.body.Evidence = nil }, nil)
	add(vector{Name: "that rests on nothing, which is allowed", Bare: true}, "bare.bundle", func(d *drawn) { d.body.Evidence = nil }, nil)
	add(vector{Name: "that rests on what failed", Refused: "evidence_failed"}, "failed.bundle", func(d *drawn) {
		d.body.Evidence = []evidence.ID{d.run.Execute(d.run.Authorize("lookup", `{"order":8}`, nil), evidence.StatusFailure, nil).ID}
	}, nil)
	add(vector{Name: "that rests on a record that is not there", Refused: "evidence_elsewhere"}, "elsewhere.bundle", func(d *drawn) {
		d.body.Evidence = append(d.body.Evidence, evidence.IDOf([]byte("elsewhere")))
	}, nil)
	add(vector{Name: "of a giver that claims what never happened", Refused: "rule"}, "lied.bundle", func(d *drawn) {
		d.run.Claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "ship"})
	}, nil)
	add(vector{Name: "of a giver that is in doubt about something", Refused: "rule", Undecidable: true}, "doubt.bundle", func(d *drawn) {
		d.run.Authorize("ship", `{}`, nil)
	}, nil)
	add(vector{Name: "of a giver that did what was denied", Refused: "rule"}, "denied.bundle", func(d *drawn) {
		d.run.Execute(d.run.Authorize("ship", `{}`, func(a *evidence.Authorization) { a.Effect = evidence.Deny }), evidence.StatusSuccess, nil)
	}, nil)
	add(vector{Name: "with another signature", Refused: "signature"}, "signature.bundle", nil, func(b []byte) []byte {
		i := bytes.LastIndex(b, []byte(`"}`)) // of the last record's JWS; its end follows
		i = bytes.LastIndex(b[:i], []byte(`"jws":"`))
		j := i + bytes.IndexByte(b[i+7:], '"')
		b = bytes.Clone(b)
		b[j-10] = map[bool]byte{true: 'B', false: 'A'}[b[j-10] == 'A']
		return b
	})
	add(vector{Name: "with an artifact that it does not commit to", Refused: "artifact"}, "artifact.bundle", nil, func(b []byte) []byte {
		return bytes.Replace(b, []byte("eyJvcmRlciI6NywiZHVlIjozMH0"), []byte("eyJvcmRlciI6NywiZHVlIjozMX0"), 1)
	})
	add(vector{Name: "cut off", Refused: "malformed"}, "cutoff.bundle", nil, func(b []byte) []byte { return b[:len(b)-20] })
	add(vector{Name: "no bundle at all", Refused: "malformed"}, "note.bundle", nil, func([]byte) []byte { return []byte("All done, I checked everything.\n") })
	return cases, files
}

// TestVectors verifies the offers of testdata/handoffs, which another
// implementation can verify too. With -update it writes them: whoever does that looks
// at every changed answer.
func TestVectors(t *testing.T) {
	if *update {
		cases, files := drawVectors(t)
		if err := os.MkdirAll(vectorDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(vectorDir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := json.MarshalIndent(cases, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(vectorDir, "cases.json"), append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(vectorDir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []vector
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	reasons := make(map[string]bool)
	for _, v := range cases {
		reasons[v.Refused] = true
		read := func(name string) []byte {
			b, err := os.ReadFile(filepath.Join(vectorDir, name))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		trust, err := bundle.ParseTrust(read(v.Trust))
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339Nano, v.Now)
		if err != nil {
			t.Fatal(err)
		}
		o := handoff.Options{Trust: trust, To: handoff.Receiver(v.To), Now: now, Bare: v.Bare}
		if v.Artifact != nil {
			o.Artifact = []byte(*v.Artifact)
		}
		if v.Known != nil {
			root, err := tlog.ParseHash(v.Known.Root)
			if err != nil {
				t.Fatal(err)
			}
			o.Known = &handoff.KnownHead{Size: v.Known.Size, Root: root}
		}
		_, err = handoff.Verify(read(v.File), o)
		switch r := handoff.AsRefused(err); {
		case v.Refused == "" && err != nil:
			t.Errorf("%s (%s): %v", v.Name, v.File, err)
		case v.Refused != "" && (r == nil || string(r.Reason) != v.Refused || r.Undecidable != v.Undecidable):
			t.Errorf("%s (%s): want it refused as %s (not decidable: %v), found %v", v.Name, v.File, v.Refused, v.Undecidable, err)
		}
	}
	// scope_widened takes a chain, as in TestRow49ScopeWidened; already_accepted and too_large are no
	// matter of a file.
	for _, reason := range []handoff.Reason{
		handoff.Malformed, handoff.Untrusted, handoff.Signature, handoff.Audience, handoff.Expired, handoff.Rule, handoff.NoEvidence,
		handoff.BadEvidence, handoff.OtherEvidence, handoff.HeadOld, handoff.HeadOlder, handoff.HeadOther, handoff.Artifact,
	} {
		if !reasons[string(reason)] {
			t.Errorf("no vector for %s", reason)
		}
	}
}
