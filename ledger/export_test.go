package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// A parsed bundle, as far as its form goes.
type parsed struct {
	header   *bundle.Header
	records  []uint64
	payloads []evidence.Digest
	roots    int
}

func (w *world) export(o ledger.ExportOptions) ([]byte, parsed) {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.Export(w.t.Context(), &b, o); err != nil {
		w.t.Fatalf("%+v: %v", o, err)
	}
	r := bundle.NewReader(bytes.NewReader(b.Bytes()))
	var p parsed
	var err error
	if p.header, err = r.Header(); err != nil {
		w.t.Fatal(err)
	}
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return b.Bytes(), p
		}
		if err != nil {
			w.t.Fatal(err)
		}
		switch i := item.(type) {
		case *bundle.RecordItem:
			p.records = append(p.records, i.Index)
		case *bundle.PayloadItem:
			p.payloads = append(p.payloads, i.Commit)
		case *bundle.EndItem:
			for _, root := range i.Roots {
				if root == w.Head().Root {
					p.roots++
				}
			}
		}
	}
}

// verified audits a bundle under the ledger's own trust file.
func (w *world) verified(b []byte, o audit.Options) *audit.Report {
	w.t.Helper()
	trust, err := w.Trust()
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := audit.VerifyBundle(bytes.NewReader(b), trust, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// complete requires the rules that a bundle's completeness decides to hold.
func (w *world) complete(r *audit.Report) {
	w.t.Helper()
	for _, rule := range []audit.Rule{audit.RuleSignature, audit.RuleRegistry, audit.RuleInclusion, audit.RuleChain} {
		if x := r.Rule(rule); x.Status != audit.Held {
			w.t.Errorf("rule %s is %v: %d findings, %.400s", rule, x.Status, len(x.Findings), fmt.Sprintf("%+v", x))
		}
	}
}

// nothingBroken is complete for runs without a contract that did as they should:
// some rules are not decidable, none is broken.
func (w *world) nothingBroken(r *audit.Report) {
	w.t.Helper()
	w.complete(r)
	for _, x := range r.Rules {
		if x.Status == audit.Broken {
			w.t.Errorf("rule %s is broken: %d findings, %.400s", x.Rule, len(x.Findings), fmt.Sprintf("%+v", x))
		}
	}
}

func TestExportOfARun(t *testing.T) {
	w := newWorld(t)
	w.mixed(20)
	for _, s := range []string{"input", "output"} {
		if c := w.put(evidence.Payload{Salt: commitSalt(s), Media: "text/plain", Data: []byte(s)}); c != commit(s) {
			t.Fatalf("%v, want %v", c, commit(s))
		}
	}
	r := w.newRun()
	own := w.must(r.whole("send_email")...)
	w.mixed(5)
	file, p := w.export(ledger.ExportOptions{Run: r.id})
	if p.header.About.Kind != bundle.AboutRun || p.roots != 1 {
		t.Errorf("about %v, under %d good roots", p.header.About, p.roots)
	}
	want := []uint64{0, 1, 2, 3, 4, 5, 6, own[0].Index, own[1].Index, own[2].Index, own[3].Index}
	if !slices.Equal(p.records, want) {
		t.Errorf("holds the records %v, want %v", p.records, want)
	}
	if len(p.payloads) != 3 { // of the authorization, and twice of the execution
		t.Errorf("discloses %d payloads, want 3", len(p.payloads))
	}
	w.nothingBroken(w.verified(file, audit.Options{Run: r.id, Subject: "ticket:1"}))

	file, p = w.export(ledger.ExportOptions{Run: r.id, Hide: ledger.Hidden})
	if len(p.payloads) != 0 || !slices.Equal(p.records, want) {
		t.Errorf("with payloads hidden it has %d of them, and the records %v", len(p.payloads), p.records)
	}
	w.nothingBroken(w.verified(file, audit.Options{Run: r.id}))

	// An erased payload comes with the record that says so.
	erased, err := w.Erase(t.Context(), commit("output").Commit, "gdpr-17")
	if err != nil {
		t.Fatal(err)
	}
	file, p = w.export(ledger.ExportOptions{Run: r.id})
	if len(p.payloads) != 2 || !slices.Equal(p.records, append(want, erased.Index)) {
		t.Errorf("after an erasure it has %d payloads, and the records %v", len(p.payloads), p.records)
	}
	if rep := w.verified(file, audit.Options{Run: r.id}); rep.Scope.Erased != 1 {
		t.Errorf("the audit sees %d erased payloads, want 1", rep.Scope.Erased)
	}
}

func TestExportOfARange(t *testing.T) {
	w := newWorld(t)
	long := w.newRun()
	w.must(long.open(), long.authorize("send_email"))
	all := w.mixed(40)
	from := uint64(len(all))
	last := w.must(long.execute("send_email", 1), long.close())
	w.mixed(5)
	to := last[1].Index + 1
	file, p := w.export(ledger.ExportOptions{From: from, To: to})
	want := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, from, from + 1} // registry, the run's head, the range
	if !slices.Equal(p.records, want) {
		t.Errorf("holds the records %v, want %v", p.records, want)
	}
	w.complete(w.verified(file, audit.Options{}))

	file, p = w.export(ledger.ExportOptions{All: true})
	if uint64(len(p.records)) != w.Head().Size || p.header.About.String() == "" {
		t.Errorf("everything is %d records, the log has %d", len(p.records), w.Head().Size)
	}
	w.complete(w.verified(file, audit.Options{}))

	// By time: contiguous, and all of that time in it.
	lo, hi := evidence.TimeOf(start.Add(10*time.Minute)), evidence.TimeOf(start.Add(20*time.Minute))
	file, p = w.export(ledger.ExportOptions{FromTime: lo, ToTime: hi})
	found := w.find(ledger.Filter{From: lo, To: hi})
	if *p.header.About.From != found[0] || *p.header.About.To != found[len(found)-1]+1 {
		t.Errorf("about %v, want %d to %d", p.header.About, found[0], found[len(found)-1])
	}
	w.complete(w.verified(file, audit.Options{}))
}

func TestExportOfARecord(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	own := w.must(r.whole("send_email")...)
	file, p := w.export(ledger.ExportOptions{Record: own[1].ID})
	if want := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(p.records, want) {
		t.Errorf("holds the records %v, want %v", p.records, want)
	}
	w.nothingBroken(w.verified(file, audit.Options{}))
	var b bytes.Buffer
	for name, o := range map[string]ledger.ExportOptions{
		"no such run":    {Run: runID(999)},
		"no such record": {Record: evidence.IDOf([]byte("nothing"))},
		"no offer":       {Offer: own[1].ID},
		"beyond the log": {From: 0, To: 1000},
		"an empty range": {From: 5, To: 5},
	} {
		if err := w.Export(t.Context(), &b, o); !errors.Is(err, ledger.ErrNoRecord) || b.Len() > 0 {
			t.Errorf("%s: %v, after %d bytes", name, err, b.Len())
		}
	}
	if err := w.Export(t.Context(), &b, ledger.ExportOptions{}); err == nil {
		t.Error("about nothing: exported")
	}
	if err := w.Export(t.Context(), &b, ledger.ExportOptions{All: true, Run: r.id}); err == nil {
		t.Error("about two things: exported")
	}
}

// TestExportWithHeads: a bundle proves that the newest tree head extends those that
// somebody saw before, and none is made that does not.
func TestExportWithHeads(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	before := w.Head()
	own := w.must(r.whole("send_email")...)
	sign := func(size uint64, root tlog.Hash) []byte {
		h, err := tlog.SignHead(size, root, config(t, w.clock).Signer)
		if err != nil {
			t.Fatal(err)
		}
		return h.Note
	}
	var b bytes.Buffer
	o := ledger.ExportOptions{Record: own[1].ID, Heads: [][]byte{w.Head().Note, before.Note, before.Note}}
	if err := w.Export(t.Context(), &b, o); err != nil {
		t.Fatal(err)
	}
	report := w.verified(b.Bytes(), audit.Options{})
	w.nothingBroken(report)
	if report.Scope.Heads != 2 || report.Rule(audit.RuleConsistency).Status != audit.Held {
		t.Errorf("%d heads, consistency %s", report.Scope.Heads, report.Rule(audit.RuleConsistency).Status)
	}
	for name, note := range map[string][]byte{
		"of another tree":  sign(before.Size, tlog.Hash{1}),
		"of a larger tree": sign(w.Head().Size+1, tlog.Hash{1}),
		"no head":          []byte("a head"),
	} {
		b.Reset()
		if err := w.Export(t.Context(), &b, ledger.ExportOptions{Record: own[1].ID, Heads: [][]byte{note}}); err == nil || b.Len() > 0 {
			t.Errorf("%s: %v, after %d bytes", name, err, b.Len())
		}
	}
}
