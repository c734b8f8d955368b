package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// reading is a ledger that counts what is read of runs, and may change it.
type reading struct {
	runtime.Ledger
	whole, after, records int
	change                func(*evidence.Placed)       // what it hands out
	hide                  func(*evidence.Placed) bool  // what it does not
	fails                 func(*evidence.Placed) error // in place of a record
	actors                func() *audit.Registry       // the registry, nil: as it is
}

func (l *reading) Actors(ctx context.Context) (*audit.Registry, error) {
	if l.actors != nil {
		return l.actors(), nil
	}
	return l.Ledger.Actors(ctx)
}

func (l *reading) Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error] {
	l.whole++
	return l.counted(l.Ledger.Run(ctx, run))
}

func (l *reading) RunAfter(ctx context.Context, run evidence.RunID, index uint64) iter.Seq2[evidence.Placed, error] {
	l.after++
	return l.counted(l.Ledger.RunAfter(ctx, run, index))
}

func (l *reading) counted(all iter.Seq2[evidence.Placed, error]) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		for p, err := range all {
			l.records++
			if l.hide != nil && err == nil && l.hide(&p) {
				continue
			}
			if l.fails != nil && err == nil {
				err = l.fails(&p)
			}
			if l.change != nil && err == nil {
				l.change(&p)
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// asking asks a human about steps called "ask-…".
var asking = runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
	p := runtime.Permission{Effect: evidence.Allow, Policies: []string{"p"}}
	if len(r.Step) > 4 && r.Step[:4] == "ask-" {
		p = runtime.Permission{Effect: evidence.Escalate, Team: runtimetest.Team, Policies: []string{"ask"}}
	}
	return p, nil
})

func readingWorld(t testing.TB) (*runtimetest.World, *reading, *runtime.Run, func(step string) error) {
	t.Helper()
	w, l := runtimetest.New(t), new(reading)
	w.Permit = asking
	w.Config = func(c *runtime.Config) { l.Ledger, c.Ledger = c.Ledger, l }
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run, err := w.Runtime(tool).Open(ctx, "k", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
	if err != nil {
		t.Fatal(err)
	}
	return w, l, run, func(step string) error {
		_, err := runtime.Do(ctx, run, step, tool, mail{To: "mia"})
		return err
	}
}

// TestRefreshReadsWhatIsNew: who waits for a human in a long run reads what came
// since, and no more.
func TestRefreshReadsWhatIsNew(t *testing.T) {
	w, l, run, do := readingWorld(t)
	for i := range 50 {
		if err := do(fmt.Sprint("step-", i)); err != nil {
			t.Fatal(err)
		}
	}
	var waiting *runtime.Waiting
	if err := do("ask-1"); !errors.As(err, &waiting) {
		t.Fatal(err)
	}
	l.records = 0
	for range 10 {
		if err := do("ask-1"); !errors.As(err, &waiting) {
			t.Fatal(err)
		}
	}
	if l.records != 0 {
		t.Errorf("want nothing read where nothing is new, found %d records", l.records)
	}
	w.Approve(run.ID(), waiting.Authorization)
	if err := do("ask-1"); err != nil || l.records != 1 {
		t.Errorf("want the approval read, and it alone: %d records, %v", l.records, err)
	}
	w.Sound(run.ID())
}

// TestRefreshIsReadingAgain: whatever stands where in the log, a run that reads
// what is new knows what one knows that reads all of it.
func TestRefreshIsReadingAgain(t *testing.T) {
	caughtUp, again := 0, 0
	for seed := range 30 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(seed), 0))
			w, l, run, do := readingWorld(t)
			var asked []evidence.ID
			var did []string
			agent := w.Actor("own", evidence.RoleAgent)
			for i := range 5 + random.IntN(25) {
				what := []string{"step", "claim", "ask", "answer", "say", "refresh", "refresh"}[random.IntN(7)]
				did = append(did, what)
				switch what {
				case "step":
					if err := do(fmt.Sprint("step-", i)); err != nil {
						t.Fatal(err)
					}
				case "ask":
					var waiting *runtime.Waiting
					if err := do(fmt.Sprint("ask-", i)); !errors.As(err, &waiting) {
						t.Fatal(err)
					}
					asked = append(asked, waiting.Authorization)
				case "answer":
					if len(asked) > 0 {
						answer := []func(evidence.RunID, evidence.ID) evidence.ID{w.Approve, w.Refuse}[random.IntN(2)]
						answer(run.ID(), asked[random.IntN(len(asked))])
					}
				case "claim":
					if _, err := run.Claim(ctx, fmt.Sprint("claim ", i)); err != nil {
						t.Fatal(err)
					}
				case "say":
					say(w, run.ID(), agent)
				case "refresh":
					whole := l.whole
					if err := run.Refresh(ctx); err != nil {
						t.Fatal(did, err)
					}
					if l.whole > whole {
						again++
					} else {
						caughtUp++
					}
					if want := folded(t, w, run.ID()); !reflect.DeepEqual(want, run.State()) {
						t.Fatalf("after %v:\nwant  %+v\nfound %+v", did, want, run.State())
					}
				}
				w.Clock.Add(time.Second)
			}
		})
	}
	if caughtUp < 20 || again < 20 {
		t.Errorf("caught up %d times, read again %d times: the test tests less than it says", caughtUp, again)
	}
}

// say has an agent claim something beside the line, under its own key.
func say(w *runtimetest.World, run evidence.RunID, agent *evidence.PrivateKey) {
	w.Helper()
	text := evidence.Payload{Media: "text/plain", Data: []byte("done")}
	entry, err := evidence.Sign(&evidence.Record{
		Origin: runtimetest.Origin, Kind: evidence.KindClaim, Run: run, About: w.Records(run)[0].ID, Actor: "own", Time: evidence.TimeOf(w.Clock.Now()),
		Body: &evidence.Claim{Statements: []evidence.Statement{{Text: text.Commitment()}}},
	}, agent)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.Ledger.Append(ctx, entry); err != nil {
		w.Fatal(err)
	}
}

// TestRefreshMissesNothing that was there when it failed before.
func TestRefreshMissesNothing(t *testing.T) {
	w, l, run, do := readingWorld(t)
	var waiting *runtime.Waiting
	if err := do("ask-1"); !errors.As(err, &waiting) {
		t.Fatal(err)
	}
	w.Approve(run.ID(), waiting.Authorization)
	approved := w.Ledger.Head().Size
	if err := do("step-2"); err != nil { // after which all is read again
		t.Fatal(err)
	}
	errBroken := errors.New("connection reset")
	l.fails = func(p *evidence.Placed) error {
		if p.Index >= approved {
			return errBroken
		}
		return nil
	}
	if err := run.Refresh(ctx); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	l.fails = nil
	if err := run.Refresh(ctx); err != nil || !reflect.DeepEqual(folded(t, w, run.ID()), run.State()) {
		t.Error("after it failed, it missed what it had read then", err)
	}
}

// TestRefreshFindsHoles: a ledger that does not hand out what this driver wrote is
// not believed about what stands beside it.
func TestRefreshFindsHoles(t *testing.T) {
	for _, c := range []struct {
		hidden int // of the line's records
		want   runtime.RunReason
	}{{1, runtime.RunUnsound}, {3, runtime.RunUnsound}, {4, runtime.RunTaken}} {
		w, l, run, do := readingWorld(t)
		for _, step := range []string{"step-1", "step-2"} {
			if err := do(step); err != nil {
				t.Fatal(err)
			}
		}
		hidden := w.Records(run.ID())[c.hidden].ID
		l.hide = func(p *evidence.Placed) bool { return p.ID == hidden }
		var lost *runtime.RunError
		if err := run.Refresh(ctx); !errors.As(err, &lost) || lost.Reason != c.want {
			t.Errorf("without record %d: want %s, found %v", c.hidden, c.want, err)
		}
	}
}

// TestRefreshWithAnotherRegistry: what was folded with one registry is not gone on
// with under another.
func TestRefreshWithAnotherRegistry(t *testing.T) {
	w, l, run, do := readingWorld(t)
	if err := do("step-1"); err != nil {
		t.Fatal(err)
	}
	if err := run.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	other := audit.NewRegistry(runtimetest.Origin, evidence.ID{})
	for p, err := range w.Ledger.Records(ctx, 0, 4) {
		if err == nil {
			err = other.Apply(p.Index, p.ID, p.Record)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.actors = func() *audit.Registry { return other }
	for _, want := range []int{1, 0} {
		before := l.whole
		if err := run.Refresh(ctx); err != nil || l.whole-before != want {
			t.Errorf("want the run read %d times whole, found %d, %v", want, l.whole-before, err)
		}
	}
}

// TestRefreshFindsAnotherDriver on the line, whether or not it left something
// beside it.
func TestRefreshFindsAnotherDriver(t *testing.T) {
	for _, beside := range []bool{false, true} {
		w, _, run, do := readingWorld(t)
		var waiting *runtime.Waiting
		if err := do("ask-1"); !errors.As(err, &waiting) {
			t.Fatal(err)
		}
		if _, err := w.Runtime().Open(ctx, "k", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil), runtime.TakeOver()); err != nil {
			t.Fatal(err)
		}
		if beside {
			w.Approve(run.ID(), waiting.Authorization)
		}
		var lost *runtime.RunError
		for range 2 {
			if err := run.Refresh(ctx); !errors.As(err, &lost) || lost.Reason != runtime.RunTaken {
				t.Errorf("want taken, found %v", err)
			}
		}
		if err := do("step-1"); !errors.As(err, &lost) || lost.Reason != runtime.RunTaken {
			t.Errorf("want taken, found %v", err)
		}
	}
}

// TestRecordsThatNobodySigned: a ledger that hands out a record with another
// signature is not believed, on the line or beside it. What it says that it has
// verified is believed of the runtime's own key alone.
func TestRecordsThatNobodySigned(t *testing.T) {
	parse := map[string]func([]byte) (*evidence.Unverified, error){"parsed": evidence.Parse, "admitted": evidence.ParseAdmitted}
	for _, c := range []struct {
		kind  evidence.Kind
		parse string
		want  runtime.RunReason
	}{
		{evidence.KindAuthorization, "parsed", runtime.RunUnsound},
		{evidence.KindExecution, "parsed", runtime.RunUnsound},
		{evidence.KindApproval, "parsed", runtime.RunUnsound},
		{evidence.KindApproval, "admitted", runtime.RunUnsound},
		// The signature is not looked at, but it is part of the record's ID: the next
		// record names another than what stands.
		{evidence.KindExecution, "admitted", runtime.RunTaken},
	} {
		t.Run(fmt.Sprint(c.kind, " ", c.parse), func(t *testing.T) {
			w, l, run, do := readingWorld(t)
			var waiting *runtime.Waiting
			if err := do("ask-1"); !errors.As(err, &waiting) {
				t.Fatal(err)
			}
			w.Approve(run.ID(), waiting.Authorization)
			forged := 0
			l.change = func(p *evidence.Placed) {
				if p.Record.Kind != c.kind {
					return
				}
				u, err := parse[c.parse](otherSignature(p.Entry))
				if err != nil {
					t.Fatal(err)
				}
				forged++
				*p = u.PlacedAt(p.Index)
			}
			if c.kind == evidence.KindApproval {
				if err := do("ask-1"); err == nil || errors.As(err, &waiting) || forged == 0 {
					t.Errorf("a forged approval was believed: %v", err)
				}
				if err := do("step-2"); err != nil {
					t.Errorf("other steps do not go on: %v", err)
				}
			} else if err := do("ask-1"); err != nil {
				t.Fatal(err)
			}
			_, err := w.Runtime().Open(ctx, "k", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil), runtime.TakeOver())
			if found, ok := errors.AsType[*runtime.RunError](err); !ok || found.Reason != c.want || forged == 0 {
				t.Errorf("want %s, found %v, %d forged", c.want, err, forged)
			}
		})
	}
}

// otherSignature returns the entry with another signature, which does not verify.
func otherSignature(entry []byte) []byte {
	forged := bytes.Clone(entry)
	at := bytes.LastIndexByte(forged, '.') + 1
	if forged[at] != 'A' {
		forged[at] = 'A'
	} else {
		forged[at] = 'B'
	}
	return forged
}

// TestWhatIsFoldedIsWhatWasSigned, and not what stands beside it.
func TestWhatIsFoldedIsWhatWasSigned(t *testing.T) {
	w, l, _, do := readingWorld(t)
	if err := do("step-1"); err != nil {
		t.Fatal(err)
	}
	l.change = func(p *evidence.Placed) {
		other := *p.Record
		if b, ok := p.Record.Body.(*evidence.Execution); ok {
			body := *b
			body.Status = evidence.StatusNotRun
			other.Body = &body
		}
		p.Record = &other
	}
	again, err := w.Runtime().Open(ctx, "k", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil), runtime.TakeOver())
	if err != nil {
		t.Fatal(err)
	}
	if p := again.State().Plan("step-1", 0); p.Next != checkpoint.Return {
		t.Errorf("want what was signed, a success, found %s", p.Next)
	}
}

// folded is the state of a run that is read from its first record on, every
// signature verified.
func folded(t *testing.T, w *runtimetest.World, run evidence.RunID) *checkpoint.State {
	s := checkpoint.New(w.Ledger.Registry())
	for _, p := range w.Records(run) {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			t.Fatal(err)
		}
		_, by, err := w.Ledger.Registry().Check(p.Index, u)
		if err != nil {
			t.Fatal(err)
		}
		if found := s.Apply(u.PlacedAt(p.Index), by); len(found) > 0 {
			t.Fatal(found)
		}
	}
	return s
}
