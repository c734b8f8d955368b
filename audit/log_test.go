package audit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/evidence"
)

// served is a log in memory.
type served map[string][]byte

func (s served) Read(_ context.Context, path string, limit int64) ([]byte, error) {
	b, ok := s[path]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	case int64(len(b)) > limit:
		return nil, errors.New("too long")
	}
	return b, nil
}

// busyLog is a log of several runs and more than one tile.
func busyLog(t testing.TB, runs int) *audittest.World {
	w := audittest.New(t)
	for i := range runs {
		r := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Budget = evidence.Amounts{"tool_calls": 5} })
		for range 3 {
			r.Do("lookup", fmt.Sprintf(`{"n":%d}`, i))
		}
		if i%5 != 0 {
			r.Close(evidence.Completed)
		}
	}
	return w
}

func verifyLog(t testing.TB, s audit.Source, w *audittest.World, o audit.Options) (*audit.Report, *audit.LogState) {
	t.Helper()
	r, st, err := audit.VerifyLog(context.Background(), s, w.Trust(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r, st
}

func TestVerifyLog(t *testing.T) {
	w := busyLog(t, 80) // 600 and some entries: three tiles, the last partial
	var last uint64
	o := audit.Options{Progress: func(done, size uint64) {
		if done < last || size != uint64(len(w.Placed)) {
			t.Errorf("progress %d of %d after %d", done, size, last)
		}
		last = done
	}}
	r, st := verifyLog(t, served(w.Tiles()), w, o)
	if r.ExitCode() != 0 || last != uint64(len(w.Placed)) {
		dump(t, r)
		t.Fatalf("exit %d, progress %d", r.ExitCode(), last)
	}
	if s := r.Scope; s.Records != uint64(len(w.Placed)) || s.Runs != 80 || s.Open != 16 || s.Root != w.Root(len(w.Placed)) || st.Size != s.Size {
		t.Errorf("scope %+v", s)
	}
	if got := r.Rule(audit.RuleClaim); got.Status != audit.NotApplicable || got.Note == "" {
		t.Errorf("claim: %+v", got)
	}
	// It goes on, and what it was is proven to be its beginning.
	for range 50 {
		w.Open(nil).Close(evidence.Stopped)
	}
	r, st2 := verifyLog(t, served(w.Tiles()), w, audit.Options{State: st, Parallel: 3})
	if r.ExitCode() != 0 || r.Rule(audit.RuleConsistency).Status != audit.Held || st2.Size != uint64(len(w.Placed)) {
		dump(t, r)
	}
}

// Of hashes alone, the tree is decided and nothing else; nothing goes on from that.
func TestVerifyLogHashesOnly(t *testing.T) {
	w := busyLog(t, 40)
	o := audit.Options{HashesOnly: true, KeepState: true}
	r, st := verifyLog(t, served(w.Tiles()), w, o)
	if r.Status() != audit.Undecidable || st != nil || r.Scope.Records != uint64(len(w.Placed)) {
		t.Errorf("%v, state %v, %d records", r.Status(), st, r.Scope.Records)
	}
	for _, x := range r.Rules {
		want := audit.Undecidable
		switch x.Rule {
		case audit.RuleInclusion:
			want = audit.Held
		case audit.RuleConsistency:
			want = audit.NotApplicable
		}
		if x.Status != want {
			t.Errorf("%s: expected %v, found %v", x.Rule, want, x.Status)
		}
	}
	_, o.State = verifyLog(t, prefix(w, 300), w, audit.Options{})
	if r, _ = verifyLog(t, served(w.Tiles()), w, o); r.Rule(audit.RuleConsistency).Status != audit.Held {
		dump(t, r)
	}
	o.State.Root[0] ^= 1
	if r, _ = verifyLog(t, served(w.Tiles()), w, o); r.Rule(audit.RuleConsistency).Status != audit.Broken {
		dump(t, r)
	}
	bad := served(w.Tiles())
	bad["tile/entries/000"][700] ^= 1
	if r, _ = verifyLog(t, bad, w, audit.Options{HashesOnly: true}); r.Rule(audit.RuleInclusion).Status != audit.Broken {
		dump(t, r)
	}
	stranger := audittest.Named(t, "stranger.example/log")
	if r, _, err := audit.VerifyLog(t.Context(), served(w.Tiles()), stranger.Trust(), audit.Options{HashesOnly: true}); err != nil || r.Rule(audit.RuleInclusion).Status != audit.Undecidable {
		t.Errorf("%v: a log that nobody trusts", err)
	}
}

// Where going on would cost more than reading it all, a tree head is what is left.
func TestVerifyLogLeavesAHead(t *testing.T) {
	if testing.Short() {
		t.Skip("signs 20,000 records")
	}
	w := audittest.New(t)
	run := w.Open(nil)
	for len(w.Placed) <= 20_010 {
		run.Do("lookup", `{}`)
	}
	_, st := verifyLog(t, served(w.Tiles()), w, audit.Options{KeepState: true})
	if st.Resumable() || st.Size != uint64(len(w.Placed)) {
		t.Errorf("%d kept of %d", len(st.Kept), st.Size)
	}
	run.Close(evidence.Completed)
	r, st := verifyLog(t, served(w.Tiles()), w, audit.Options{KeepState: true, State: st})
	if r.Rule(audit.RuleConsistency).Status != audit.Held || !st.Resumable() || len(st.Kept) > 10 {
		t.Errorf("%v, %d kept", r.Rule(audit.RuleConsistency).Status, len(st.Kept))
	}
}

// TestVerifyLogFindsIt: what is wrong in a served log, and where.
func TestVerifyLogFindsIt(t *testing.T) {
	w := busyLog(t, 40)
	good := w.Tiles()
	n := len(w.Placed)
	change := func(path string, at int) served {
		bad := make(served)
		for p, b := range good {
			bad[p] = b
		}
		b, ok := bad[path]
		if !ok {
			t.Fatalf("no %s", path)
		}
		b = slices.Clone(b)
		b[at] ^= 1
		bad[path] = b
		return bad
	}
	_, st := verifyLog(t, served(good), w, audit.Options{})
	t.Run("a bit of an entry", func(t *testing.T) {
		path := "tile/entries/000"
		r, again := verifyLog(t, change(path, len(good[path])-1), w, audit.Options{State: st})
		f := r.Rule(audit.RuleInclusion).Findings
		if r.ExitCode() != 1 || again != nil || len(f) < 2 || !slices.Equal(f[0].Indexes, []uint64{255}) {
			dump(t, r)
			t.Error("not found, or not where it is")
		}
	})
	t.Run("a bit of a tile", func(t *testing.T) {
		for path := range good {
			if strings.HasPrefix(path, "tile/entries") || path == "checkpoint" {
				continue
			}
			r, _ := verifyLog(t, change(path, 20), w, audit.Options{})
			if rules, reasons := broken(r); !slices.Equal(rules, []audit.Rule{audit.RuleInclusion}) || reasons[0] != audit.ReasonTile {
				t.Errorf("%s: %v %v", path, rules, reasons)
			}
		}
	})
	t.Run("a tree head of another tree", func(t *testing.T) {
		bad := change("checkpoint", 0)
		bad["checkpoint"] = w.SignHead(w.Origin, n, w.Root(n-1))
		r, _ := verifyLog(t, bad, w, audit.Options{State: st})
		if rules, reasons := broken(r); !slices.Equal(rules, []audit.Rule{audit.RuleInclusion}) || reasons[0] != audit.ReasonRoot {
			t.Errorf("%v %v", rules, reasons)
		}
	})
	t.Run("an older copy", func(t *testing.T) {
		old := busyLog(t, 39)
		r, again := verifyLog(t, served(old.Tiles()), w, audit.Options{State: st})
		if rules, reasons := broken(r); !slices.Equal(rules, []audit.Rule{audit.RuleConsistency}) || reasons[0] != audit.ReasonRollback || again != nil || len(r.Equivocation) != 1 {
			t.Errorf("%v %v", rules, reasons)
		}
	})
	t.Run("another history of the same size", func(t *testing.T) {
		other := busyLog(t, 39)
		for len(other.Placed) < n+1 {
			other.Open(nil)
		}
		r, _ := verifyLog(t, served(other.Tiles()), w, audit.Options{State: st})
		if rules, reasons := broken(r); !slices.Equal(rules, []audit.Rule{audit.RuleConsistency}) || reasons[0] != audit.ReasonNotExtended || !bytes.Equal(r.Equivocation[0][0], st.Head) {
			t.Errorf("%v %v", rules, reasons)
		}
	})
	t.Run("nothing served", func(t *testing.T) {
		bad := change("checkpoint", 0)
		copy(bad["checkpoint"], good["checkpoint"])
		delete(bad, "tile/entries/000")
		_, _, err := audit.VerifyLog(context.Background(), bad, w.Trust(), audit.Options{})
		var missing *audit.SourceError
		if !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		o := audit.Options{Progress: func(uint64, uint64) { cancel() }}
		if _, _, err := audit.VerifyLog(ctx, served(good), w.Trust(), o); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// TestVerifyLogVerifiesSignatures: an operator who holds the log's key can order
// and prove what nobody signed. Wherever it stands it is found: where its key was
// not known yet when it was read ahead, and where it was.
func TestVerifyLogVerifiesSignatures(t *testing.T) {
	for _, runs := range []int{0, 1, 40, 80} { // of about eight records each before it
		w := busyLog(t, runs)
		n := w.Number()
		entry, err := evidence.Sign(&evidence.Record{
			Origin: w.Origin, Kind: evidence.KindRunOpened, Run: "run_0197f3c2-0000-7000-8000-00000000ffff", Registry: &n, Actor: audittest.Agent,
			Time: w.Clock, Body: &evidence.RunOpened{Principal: "p", Task: "t", Runtime: audittest.Runtime},
		}, w.Key(audittest.Runtime))
		if err != nil {
			t.Fatal(err)
		}
		dot := bytes.LastIndexByte(entry, '.')
		sig, err := base64.RawURLEncoding.DecodeString(string(entry[dot+1:]))
		if err != nil {
			t.Fatal(err)
		}
		sig[40] ^= 1 // S stays below the order, R stays what it was
		index := uint64(len(w.Placed))
		w.AppendEntry(base64.RawURLEncoding.AppendEncode(entry[:dot+1], sig))
		r, st := verifyLog(t, served(w.Tiles()), w, audit.Options{Parallel: 2})
		rules, reasons := broken(r)
		if !slices.Contains(rules, audit.RuleSignature) || !slices.Contains(reasons, audit.ReasonSignature) || r.ExitCode() != 1 || st != nil {
			t.Errorf("record %d that nobody signed: exit %d, %v %v", index, r.ExitCode(), rules, reasons)
			continue
		}
		if f := r.Rule(audit.RuleSignature).Findings[0]; !slices.Equal(f.Indexes, []uint64{index}) {
			t.Errorf("record %d that nobody signed is said to be %v", index, f.Indexes)
		}
	}
}

// TestOnlyTheLogDecides: what no bundle can show, the whole log does.
func TestOnlyTheLogDecides(t *testing.T) {
	tests := map[string]struct {
		write  func(w *audittest.World)
		rule   audit.Rule
		reason audit.Reason
	}{
		"a second branch of a run": {func(w *audittest.World) {
			r := w.Open(nil)
			r.Do("lookup", `{}`)
			r.LineBy(&evidence.Record{Prev: r.Opened.ID, Actor: audittest.Agent, Body: &evidence.RunClosed{End: evidence.Failed}}, audittest.Runtime)
		}, audit.RuleChain, audit.ReasonPrev},
		"a run opened twice": {func(w *audittest.World) {
			r := w.Open(nil)
			r.Close(evidence.Completed)
			w.Open(func(rec *evidence.Record, _ *evidence.RunOpened) { rec.Run = r.ID })
		}, audit.RuleChain, audit.ReasonClosed},
		"after run.closed": {func(w *audittest.World) {
			r := w.Open(nil)
			r.Close(evidence.Completed)
			r.Do("lookup", `{}`)
		}, audit.RuleChain, audit.ReasonClosed},
		"one offer accepted twice": {func(w *audittest.World) {
			for range 2 {
				w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
					Offer: evidence.ID{1}, Origin: "ledger.example/giver", Opens: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11", Head: evidence.HeadRef{Size: 9, Root: evidence.Digest{1}},
					Bundle: withheldBundle,
				}}, audittest.Runtime)
			}
		}, audit.RuleHandoff, audit.ReasonUsed},
		"one acceptance opening two runs": {func(w *audittest.World) {
			a := w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
				Offer: evidence.ID{1}, Origin: "ledger.example/giver", Opens: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11", Head: evidence.HeadRef{Size: 9, Root: evidence.Digest{1}},
				Bundle: withheldBundle,
			}}, audittest.Runtime)
			for i := range 2 {
				w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
					b.Acceptance = a.ID
					if i == 0 {
						rec.Run = "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"
					}
				})
			}
		}, audit.RuleHandoff, audit.ReasonUsed},
		"a child that spends its parent's money": {func(w *audittest.World) {
			parent := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Budget = evidence.Amounts{"tool_calls": 2} })
			start := parent.Authorize("delegate", `{}`, nil)
			child := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Parent = start.ID })
			parent.Execute(start, evidence.StatusSuccess, nil)
			parent.Close(evidence.Completed)
			for range 2 {
				child.Do("lookup", `{}`)
			}
		}, audit.RuleBudget, audit.ReasonOverBudget},
		"a child out of the scope that its parent was given": {func(w *audittest.World) {
			child := givenChild(w)
			child.Do("ship", `{}`)
		}, audit.RuleHandoff, audit.ReasonOutOfScope},
		"a child that passes on what its parent was not given": {func(w *audittest.World) {
			givenChild(w).Line(&evidence.HandoffOffered{
				To: evidence.Recipient{Origin: w.Origin, Actor: audittest.Agent, Key: w.Key(audittest.Runtime).Public().Thumbprint()}, Task: "complaint",
				Scope: []evidence.ScopeEntry{{Action: "ship", Resource: "*"}}, Expires: w.Clock + 3_600_000, HeadMaxAge: 60,
			})
		}, audit.RuleHandoff, audit.ReasonWidened},
		"two answers to one escalation": {func(w *audittest.World) {
			r := w.Open(nil)
			asked := r.Authorize("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Team = evidence.Escalate, audittest.Team })
			for i := range 2 {
				approval := r.Beside(audittest.Human, asked.ID, &evidence.Approval{Answer: evidence.Approve, Until: w.Clock + int64Time(i)})
				q := *asked.Record.Body.(*evidence.Authorization)
				q.Effect, q.Team, q.Escalated, q.Approval = evidence.Allow, "", asked.ID, approval.ID
				r.Execute(r.Line(&q), evidence.StatusSuccess, nil)
			}
		}, audit.RuleAuthorized, audit.ReasonUsed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := audittest.New(t)
			tt.write(w)
			r, _ := verifyLog(t, served(w.Tiles()), w, audit.Options{})
			if _, reasons := broken(r); r.Rule(tt.rule).Status != audit.Broken || !slices.Contains(reasons, tt.reason) {
				dump(t, r)
				t.Errorf("expected %s broken for %s, found %v", tt.rule, tt.reason, reasons)
			}
		})
	}
}

// givenChild opens a child of a child of a run that continues a handoff of the same
// ledger, and may do a lookup.
func givenChild(w *audittest.World) *audittest.Run {
	giver := w.Open(nil)
	offer := giver.Line(&evidence.HandoffOffered{
		To: evidence.Recipient{Origin: w.Origin, Actor: audittest.Agent, Key: w.Key(audittest.Runtime).Public().Thumbprint()}, Task: "complaint",
		Scope: []evidence.ScopeEntry{{Action: "lookup", Resource: "*"}}, Expires: w.Clock + 3_600_000, HeadMaxAge: 60,
	})
	parent := w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
		b.Acceptance = w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
			Offer: offer.ID, Origin: w.Origin, Opens: rec.Run, Head: evidence.HeadRef{Size: 9, Root: evidence.Digest{1}}, Bundle: withheldBundle,
		}}, audittest.Runtime).ID
	})
	parent.Do("lookup", `{}`)
	between := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Parent = parent.Last.ID })
	child := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Parent = between.Opened.ID })
	child.Do("lookup", `{}`)
	return child
}

// TestChildInScope: a child that keeps to the scope breaks nothing.
func TestChildInScope(t *testing.T) {
	w := audittest.New(t)
	givenChild(w)
	r, _ := verifyLog(t, served(w.Tiles()), w, audit.Options{})
	if x := r.Rule(audit.RuleHandoff); x.Status != audit.Held {
		t.Errorf("handoff %s: %v", x.Status, x.Findings)
	}
}

func int64Time(i int) evidence.Time { return evidence.Time(600_000 + i) }

// TestAttack55: an unsigned tree head, and one of the wrong origin, are proven wrong.
func TestAttack55(t *testing.T) {
	w := busyLog(t, 2)
	n := len(w.Placed)
	signed := string(w.Head(n))
	unsigned := signed[:strings.Index(signed, "\n\n")+2]
	for name, head := range map[string][]byte{
		"unsigned":     []byte(unsigned),
		"wrong origin": bytes.ReplaceAll(w.Head(n), []byte(w.Origin+"\n"), []byte("ledger.example/elsewhere\n")),
		"bad signature": func() []byte {
			b := w.Head(n)
			b = slices.Clone(b)
			b[len(b)-6] ^= 1
			return b
		}(),
	} {
		bad := served(w.Tiles())
		bad["checkpoint"] = head
		r, _, err := audit.VerifyLog(context.Background(), bad, w.Trust(), audit.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.ExitCode() != 1 || r.Rule(audit.RuleInclusion).Status != audit.Broken {
			dump(t, r)
			t.Errorf("%s: exit %d", name, r.ExitCode())
		}
		receipt := w.Receipt(3)
		receipt.Head = head
		r, err = audit.VerifyReceipt(receipt.Marshal(), w.Trust(), audit.Options{})
		if err != nil || r.ExitCode() != 1 {
			t.Errorf("receipt, %s: %v %v", name, r, err)
		}
	}
}

// What two tree heads decide is decided although the log serves nothing else.
func TestVerifyLogHeadsAlone(t *testing.T) {
	w := busyLog(t, 10)
	size := len(w.Placed)
	_, st := verifyLog(t, served(w.Tiles()), w, audit.Options{})
	other := *st
	other.Origin, other.Head = "elsewhere.example/log", audittest.Named(t, "elsewhere.example/log").Head(3)
	if r, _, err := audit.VerifyLog(context.Background(), served{audit.HeadPath: w.Head(size - 1)}, w.Trust(), audit.Options{State: &other}); err == nil {
		t.Errorf("the state of another log decides: %v", r.Status())
	}
	for name, c := range map[string]struct {
		head   []byte
		reason audit.Reason
	}{
		"shrinks":            {w.Head(size - 1), audit.ReasonRollback},
		"forks at its size":  {w.SignHead(w.Origin, size, w.Root(1)), audit.ReasonTwoRoots},
		"is larger, or says": {w.SignHead(w.Origin, size+1, w.Root(1)), ""},
		"is what it was":     {w.Head(size), ""},
	} {
		r, left, err := audit.VerifyLog(context.Background(), served{audit.HeadPath: c.head}, w.Trust(), audit.Options{State: st})
		if c.reason == "" {
			if err == nil {
				t.Errorf("%s: decided without an entry: %v", name, r.Status())
			}
			continue
		}
		if err != nil || left != nil {
			t.Errorf("%s: %v, state %v", name, err, left)
			continue
		}
		wants{audit.RuleConsistency, audit.Broken, c.reason}.of(t, r)
		if len(r.Equivocation) != 1 || r.Rule(audit.RuleInclusion).Status == audit.Held {
			t.Errorf("%s: %d pairs of tree heads, inclusion %v", name, len(r.Equivocation), r.Rule(audit.RuleInclusion).Status)
		}
	}
}
