package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// prefix returns the log of a world as it was at a size.
func prefix(w *audittest.World, size int) served {
	was := *w
	was.Placed = w.Placed[:size]
	return served(was.Tiles())
}

// counted counts what is read.
type counted struct {
	served
	entries map[string]int
}

func (c counted) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	if strings.HasPrefix(path, "tile/entries/") {
		c.entries[path]++
	}
	return c.served.Read(ctx, path, limit)
}

func follow(t testing.TB, s audit.Source, w *audittest.World, st *audit.LogState) (*audit.Report, *audit.LogState) {
	t.Helper()
	f, err := audit.Follow(s, w.Trust(), st, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	step, err := f.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return step.Report, f.State()
}

// families is a log of runs that were started from each other, some with budgets,
// one that breaks it through its child, one whose handoff was accepted.
func families(t testing.TB) *audittest.World {
	w := audittest.New(t)
	for i := range 3 {
		parent := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Budget = evidence.Amounts{"tool_calls": 4} })
		parent.Do("lookup", `{}`)
		child := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Parent = parent.Last.ID })
		child.Do("lookup", `{}`)
		if i == 1 {
			parent.Close(evidence.Completed) // before its child
		}
		w.Open(nil).Do("refund", `{"amount":1}`)
		child.Do("lookup", `{}`)
		child.Close(evidence.Completed)
		if i == 0 {
			parent.Do("lookup", `{}`)
			parent.Close(evidence.Completed)
		}
	}
	w.Register("late", evidence.RoleTool)
	// A handoff inside the ledger: its giver's run is closed long before it is taken up.
	given := w.Open(nil)
	offer := given.Line(&evidence.HandoffOffered{
		To:   evidence.Recipient{Origin: w.Origin, Actor: audittest.Agent, Key: w.Key(audittest.Runtime).Public().Thumbprint()},
		Task: "refund", Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "order/*"}}, Expires: w.Clock + 3_600_000, HeadMaxAge: 60,
	})
	given.Close(evidence.Completed)
	size := len(w.Placed)
	run := w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
		b.Acceptance = w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
			Offer: offer.ID, Origin: w.Origin, Opens: rec.Run, Bundle: w.Commit("{}"),
			Head: evidence.HeadRef{Size: int64(size), Root: evidence.Digest(w.Root(size))},
		}}, audittest.Runtime).ID
	})
	run.Execute(run.Authorize("refund", `{}`, func(b *evidence.Authorization) { b.Resource = "order/7" }), evidence.StatusSuccess, nil)
	run.Close(evidence.Completed)
	return w
}

// Wherever a log is followed from, with a state or without a pause, the answer is that
// of an audit of the whole log, on every rule.
func TestFollowAnswersAsVerifyLog(t *testing.T) {
	bad := families(t)
	r := bad.Open(nil)
	auth := r.Authorize("refund", `{}`, func(a *evidence.Authorization) { a.Effect = evidence.Deny })
	for range 2 {
		r.Do("lookup", `{}`)
	}
	r.Execute(auth, evidence.StatusSuccess, nil) // denied, and found only long after
	over := families(t)
	parent := over.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Budget = evidence.Amounts{"tool_calls": 1} })
	child := over.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Parent = parent.Last.ID })
	parent.Close(evidence.Completed)
	for range 4 {
		child.Do("lookup", `{}`)
	}
	again := busyLog(t, 5)
	closed := again.Open(nil)
	closed.Close(evidence.Completed)
	for range 40 {
		again.Open(nil).Close(evidence.Completed)
	}
	again.Open(func(rec *evidence.Record, _ *evidence.RunOpened) { rec.Run = closed.ID })
	for name, w := range map[string]*audittest.World{
		"busy": busyLog(t, 45), "families": families(t), "denied": bad, "over budget": over, "a run ID again": again, "a key in doubt": doubted(t),
	} {
		size := len(w.Placed)
		whole, _ := verifyLog(t, served(w.Tiles()), w, audit.Options{})
		if broken := name == "denied" || name == "over budget" || name == "a run ID again"; broken != (whole.Status() == audit.Broken) {
			t.Fatalf("%s: %v", name, whole.Status())
		}
		sizes := 30
		if testing.Short() {
			sizes = 4
		}
		step := 1 + size/sizes
		for at := 0; at < size; at += step {
			report, st := follow(t, prefix(w, at), w, nil)
			if report.Status() == audit.Broken {
				break // what it found is no basis
			}
			report, _ = follow(t, served(w.Tiles()), w, st)
			same(t, fmt.Sprintf("%s, from %d of %d", name, at, size), whole, report)
			// What an audit of the whole leaves is the same, and so is what comes of it.
			if at%3 > 0 {
				continue
			}
			if _, left := verifyLog(t, prefix(w, at), w, audit.Options{KeepState: true}); !reflect.DeepEqual(left, st) {
				t.Errorf("%s, at %d: VerifyLog leaves %+v, following it %+v", name, at, left, st)
			}
		}
	}
}

// doubted is a log in which a key is said to have been in other hands, from a record on
// of a run that is closed long since.
func doubted(t testing.TB) *audittest.World {
	w := audittest.New(t)
	run := w.Open(nil)
	auth := run.Authorize("lookup", `{}`, nil)
	exec := run.Execute(auth, evidence.StatusSuccess, nil)
	said := run.Beside(audittest.Tool, exec.ID, &evidence.Confirmation{Status: evidence.StatusSuccess})
	run.Close(evidence.Completed)
	for range 40 {
		w.Open(nil).Close(evidence.Completed)
	}
	w.Revoke(audittest.Tool, int64(said.Index))
	return w
}

// same compares what two reports say to be wrong.
func same(t *testing.T, name string, want, got *audit.Report) {
	t.Helper()
	if want.Status() != got.Status() {
		t.Errorf("%s: expected %v, found %v", name, want.Status(), got.Status())
	}
	for _, x := range want.Rules {
		y := got.Rule(x.Rule)
		if (x.Status == audit.Broken) != (y.Status == audit.Broken) || len(x.Findings) != len(y.Findings) {
			t.Errorf("%s: %s: expected %v %v, found %v %v", name, x.Rule, x.Status, x.Findings, y.Status, y.Findings)
		}
	}
}

// A log is followed entry by entry, over the edges of tiles, without one being read
// twice but for the tile that grows, and with a state that holds no more than is open.
func TestFollowReadsWhatIsNew(t *testing.T) {
	w := audittest.New(t)
	long := w.Open(nil)
	for len(w.Placed) < 700 {
		r := w.Open(nil)
		r.Do("lookup", `{}`)
		r.Close(evidence.Completed)
	}
	long.Do("lookup", `{}`)
	sizes := []int{1, 2, 255, 256, 257, 300, 511, 512, 690, 691, len(w.Placed)}
	c := counted{prefix(w, 0), make(map[string]int)}
	f, err := audit.Follow(&c, w.Trust(), nil, audit.Options{Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		clear(c.entries)
		before := f.State()
		c.served = prefix(w, size)
		step, err := f.Next(context.Background())
		if err != nil || !step.Grown || step.Report.Status() != audit.Held {
			t.Fatalf("size %d: %+v, %v", size, step, err)
		}
		if step, err = f.Next(context.Background()); err != nil || step.Grown {
			t.Errorf("size %d, again: %+v, %v", size, step, err)
		}
		first := 0
		if before != nil {
			first = int(before.Size) / tlog.TileWidth
		}
		if n := (size-1)/tlog.TileWidth - first + 1; len(c.entries) > n {
			t.Errorf("from %v to %d, read %v", before, size, slices.Collect(maps.Keys(c.entries)))
		}
		// Who goes on from the state reads the tiles of what it keeps, and comes to the same.
		again, err := audit.Follow(&c, w.Trust(), f.State(), audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if step, err := again.Next(context.Background()); err != nil || step.Grown || step.Report.Status() != audit.Held {
			t.Errorf("size %d, from its state: %+v, %v", size, step, err)
		}
	}
	if n := len(f.State().Kept); n > 20 {
		t.Errorf("%d entries are kept, of one open run and a registry", n)
	}
}

// What a log must not do, each seen by who follows it.
func TestFollowSeesWhatALogMustNotDo(t *testing.T) {
	w := busyLog(t, 40)
	half, size := len(w.Placed)/2, len(w.Placed)
	_, st := follow(t, prefix(w, half), w, nil)
	fork := audittest.New(t)
	fork.Clock++
	for len(fork.Placed) < size {
		fork.Open(nil)
	}
	flip := func(part string) served {
		s := served(w.Tiles())
		for path, b := range s {
			if strings.HasPrefix(path, part) {
				s[path] = bytes.Clone(b)
				s[path][len(b)-5] ^= 1
			}
		}
		return s
	}
	for name, c := range map[string]struct {
		served
		rule   audit.Rule
		reason audit.Reason
	}{
		"shrinks":             {prefix(w, half-1), audit.RuleConsistency, audit.ReasonRollback},
		"to nothing":          {prefix(w, 0), audit.RuleConsistency, audit.ReasonRollback},
		"forks at its size":   {prefix(fork, half), audit.RuleConsistency, audit.ReasonTwoRoots},
		"forks, and is gone":  {served{audit.HeadPath: fork.Head(half)}, audit.RuleConsistency, audit.ReasonTwoRoots},
		"forks":               {prefix(fork, size), audit.RuleInclusion, audit.ReasonTile},
		"bends an entry":      {flip("tile/entries/"), audit.RuleInclusion, audit.ReasonRoot},
		"bends a tile":        {flip("tile/0/"), audit.RuleInclusion, audit.ReasonTile},
		"bends a tile of its": {flip("tile/1/"), audit.RuleInclusion, audit.ReasonTile},
	} {
		report, after := follow(t, c.served, w, st)
		result := report.Rule(c.rule)
		if result.Status != audit.Broken || !slices.ContainsFunc(result.Findings, func(f audit.Finding) bool { return f.Reason == c.reason }) {
			t.Errorf("%s: expected %s to be broken by %s, found %v %v", name, c.rule, c.reason, result.Status, result.Findings)
		}
		if after != st {
			t.Errorf("%s: it is the state to go on from", name)
		}
	}
	// An entry that was read before is another one, although nothing needs it any more.
	s := served(w.Tiles())
	gone := 20
	for slices.ContainsFunc(st.Kept, func(k audit.Kept) bool { return int(k.Index) == gone }) {
		gone++
	}
	entries, err := tlog.ParseEntryTile(s[tlog.EntryTilePath(0, tlog.TileWidth)], tlog.TileWidth)
	if err != nil {
		t.Fatal(err)
	}
	var bent []byte
	for i, e := range entries {
		if i == gone {
			e = append(bytes.Clone(e), 'x')
		}
		bent = tlog.AppendEntry(bent, e)
	}
	s[tlog.EntryTilePath(0, tlog.TileWidth)] = bent
	if report, _ := follow(t, s, w, st); report.Rule(audit.RuleInclusion).Status != audit.Broken {
		t.Errorf("entry %d is another one, and was taken", gone)
	}
	// What cannot be read decides nothing, and is read the next time; what was read
	// before that failed was not shown to be the log's, and is read again.
	s = flip("tile/entries/000")
	path := tlog.EntryTilePath(uint64(size/tlog.TileWidth), size%tlog.TileWidth)
	delete(s, path)
	f, err := audit.Follow(s, w.Trust(), st, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if step, err := f.Next(context.Background()); err == nil {
		t.Errorf("a tile is missing: %+v", step)
	}
	maps.Copy(s, served(w.Tiles()))
	if step, err := f.Next(context.Background()); err != nil || step.Report.Status() != audit.Held {
		t.Errorf("the tile is there: %+v, %v", step, err)
	}
}

// A state that is not what its tree head says is none.
func TestFollowRefusesStates(t *testing.T) {
	w := busyLog(t, 40)
	_, good := follow(t, served(w.Tiles()), w, nil)
	for name, bend := range map[string]func(*audit.LogState){
		"size":         func(st *audit.LogState) { st.Size-- },
		"root":         func(st *audit.LogState) { st.Root[0] ^= 1 },
		"origin":       func(st *audit.LogState) { st.Origin = "elsewhere.example/log" },
		"head":         func(st *audit.LogState) { st.Head = bytes.Replace(st.Head, []byte("\n\n"), []byte("\nx\n\n"), 1) },
		"hash":         func(st *audit.LogState) { st.Tiles[0][3][0] ^= 1 },
		"hash missing": func(st *audit.LogState) { st.Tiles[0] = st.Tiles[0][1:] },
		"level more":   func(st *audit.LogState) { st.Tiles = append(st.Tiles, []tlog.Hash{{}}) },
		"no tiles":     func(st *audit.LogState) { st.Tiles = nil },
		"index":        func(st *audit.LogState) { st.Kept[len(st.Kept)-1].Index = st.Size },
		"signed":       func(st *audit.LogState) { st.Signed = []audit.Signed{{Index: st.Size}} },
		"order":        func(st *audit.LogState) { st.Kept[0], st.Kept[1] = st.Kept[1], st.Kept[0] },
	} {
		st := *good
		st.Kept, st.Tiles = slices.Clone(good.Kept), nil
		for _, row := range good.Tiles {
			st.Tiles = append(st.Tiles, slices.Clone(row))
		}
		bend(&st)
		if _, err := audit.Follow(served(w.Tiles()), w.Trust(), &st, audit.Options{}); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	// An entry that is kept has to be what it was.
	st := *good
	st.Kept = slices.Clone(good.Kept)
	st.Kept[3].ID[0] ^= 1
	if report, _ := follow(t, served(w.Tiles()), w, &st); report.Rule(audit.RuleInclusion).Status != audit.Broken {
		t.Error("an entry that changed was taken")
	}
}

// The same tree head served without its cosignatures is one to wait for, and spoils
// nothing: neither the answer before, nor the one after.
func TestFollowWaitsForCosignatures(t *testing.T) {
	w := busyLog(t, 10)
	vkey, signer := witness(t, "w.example")
	policy, err := bundle.ParsePolicy("log " + w.VKey() + "\nwitness w " + vkey + "\nquorum w\n")
	if err != nil {
		t.Fatal(err)
	}
	trust := w.Trust()
	trust.Ledgers[0].Policy = policy
	s := served(w.Tiles())
	bare := s[audit.HeadPath]
	cosigned := cosign(t, bare, w, signer)
	f, err := audit.Follow(s, trust, nil, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, head := range [][]byte{bare, cosigned, bare, cosigned} {
		s[audit.HeadPath] = head
		step, err := f.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if waits := i%2 == 0; waits != (step.Waits != nil) || !waits && step.Report.Status() != audit.Held {
			t.Errorf("look %d: waits for %v, found %+v", i, step.Waits, step.Report)
		}
	}
}

// An empty log decides nothing yet, which is no word about what it becomes.
func TestFollowFromNothing(t *testing.T) {
	w := busyLog(t, 10)
	c := counted{prefix(w, 0), make(map[string]int)}
	whole, _ := verifyLog(t, c, w, audit.Options{})
	wants{audit.RuleRegistry, audit.Undecidable, audit.ReasonEntryZero}.of(t, whole)
	f, err := audit.Follow(&c, w.Trust(), nil, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []audit.Status{audit.Undecidable, audit.Held} {
		step, err := f.Next(context.Background())
		if err != nil || step.Report.Status() != want {
			t.Fatalf("expected %v, found %+v, %v", want, step, err)
		}
		c.served = prefix(w, len(w.Placed))
	}
}

// What an audit left undecided is not decided by looking again.
func TestFollowForgetsNoDoubt(t *testing.T) {
	newer := audittest.New(t)
	r := newer.Open(nil)
	entry, err := evidence.SignPayload([]byte(`{"v":2,"run":"`+string(r.ID)+`"}`), newer.Key(audittest.Runtime))
	if err != nil {
		t.Fatal(err)
	}
	newer.AppendEntry(entry)
	for name, w := range map[string]*audittest.World{"a key in doubt": doubted(t), "a newer version": newer} {
		s := served(w.Tiles())
		report, st := verifyLog(t, s, w, audit.Options{KeepState: true})
		if report.Status() != audit.Undecidable {
			t.Fatalf("%s: %v", name, report.Status())
		}
		if report, _ = follow(t, s, w, st); report.Rule(audit.RuleSignature).Status != audit.Undecidable {
			t.Errorf("%s: looked at again, it is %v", name, report.Status())
		}
		w.Open(nil)
		if report, _ = follow(t, served(w.Tiles()), w, st); report.Rule(audit.RuleSignature).Status != audit.Undecidable {
			t.Errorf("%s: once the log grew, it is %v", name, report.Status())
		}
	}
}
