package audit

import (
	"context"
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/audit/audittest"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// benchLog is a log of n records in runs of about 100, with their payloads.
func benchLog(b *testing.B, n int) *audittest.World {
	w := audittest.New(b)
	for len(w.Placed) < n {
		r := w.Open(nil)
		for i := range 49 {
			r.Do("send_email", fmt.Sprintf(`{"to":"customer-%d","subject":"your order"}`, i))
		}
		r.Close(evidence.Completed)
		clear(w.Payloads)
	}
	return w
}

type memory map[string][]byte

func (m memory) Read(_ context.Context, path string, _ int64) ([]byte, error) { return m[path], nil }

// BenchmarkFold: every rule of a whole log, apart from parsing and signatures.
func BenchmarkFold(b *testing.B) {
	w := benchLog(b, 20_000)
	cs := make([]candidate, len(w.Placed))
	for i, p := range w.Placed {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			b.Fatal(err)
		}
		cs[i] = candidate{index: p.Index, id: p.ID, u: u, verified: true}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		a := New(w.Trust(), w.Origin, nil, Options{})
		for i := range cs {
			a.add(&cs[i])
		}
		if r := a.Report(); r.Status() != Held {
			b.Fatal(r.Status())
		}
	}
	b.ReportMetric(float64(len(cs)*b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkVerifyLog: a whole log out of memory, all cores; and how many times as
// long that takes as its floor, the signatures, hashes and strict JSON of the same
// entries, in turns.
func BenchmarkVerifyLog(b *testing.B) {
	w := benchLog(b, 50_000)
	files := memory(w.Tiles())
	registry := registryOf(b, w)
	var audits, floors time.Duration
	for b.Loop() {
		start := time.Now()
		r, _, err := VerifyLog(context.Background(), files, w.Trust(), Options{})
		if err != nil || r.ExitCode() != 0 {
			b.Fatal(err)
		}
		audits += time.Since(start)
		start = time.Now()
		floor(b, files, len(w.Placed), registry)
		floors += time.Since(start)
	}
	rate := func(d time.Duration) float64 { return float64(len(w.Placed)*b.N) / d.Seconds() }
	b.ReportMetric(rate(audits), "records/s")
	b.ReportMetric(rate(floors), "floor-records/s")
	b.ReportMetric(audits.Seconds()/floors.Seconds(), "x-floor")
}

// BenchmarkHashesOnly: the tree of a whole log out of memory, all cores.
func BenchmarkHashesOnly(b *testing.B) {
	w := benchLog(b, 50_000)
	files := memory(w.Tiles())
	for b.Loop() {
		r, _, err := VerifyLog(context.Background(), files, w.Trust(), Options{HashesOnly: true})
		if err != nil || r.Rule(RuleInclusion).Status != Held {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(w.Placed)*b.N)/b.Elapsed().Seconds(), "records/s")
}

// registryOf folds the registry records of a log.
func registryOf(b *testing.B, w *audittest.World) *Registry {
	a := New(w.Trust(), w.Origin, nil, Options{})
	for _, p := range w.Placed {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			b.Fatal(err)
		}
		if u.UnverifiedRecord().Kind.Place() == evidence.Registry {
			a.Add(p.Index, p.Entry)
		}
	}
	return a.registry
}

// floor parses the entries of a log, verifies their signatures, and hashes them and
// the tree over them, on all cores.
func floor(b *testing.B, files memory, size int, registry *Registry) {
	tiles := make(chan int)
	var wg sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := range tiles {
				width := min(size-n*tlog.TileWidth, tlog.TileWidth)
				entries, err := tlog.ParseEntryTile(files[tlog.EntryTilePath(uint64(n), width)], width)
				if err != nil {
					b.Error(err)
					return
				}
				var t tree
				t.full = func(tlog.Tile, []tlog.Hash) error { return nil }
				us, keys := make([]*evidence.Unverified, width), make([]*evidence.PublicKey, width)
				for i, entry := range entries {
					if us[i], err = evidence.Parse(entry); err != nil {
						b.Error(err)
						return
					}
					keys[i] = registry.Key(us[i].KeyID())
					if err := t.append(tlog.Hash(us[i].ID())); err != nil {
						b.Error(err)
					}
				}
				for _, err := range evidence.VerifyEach(us, keys) {
					if err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	for n := 0; n*tlog.TileWidth < size; n++ {
		tiles <- n
	}
	close(tiles)
	wg.Wait()
}

// BenchmarkParseVerify: one record, on one core.
func BenchmarkParseVerify(b *testing.B) {
	w := benchLog(b, 1000)
	key := w.Key(audittest.Runtime).Public()
	p := w.Placed[len(w.Placed)-2]
	for range b.N {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := u.Verify(key); err != nil {
			b.Fatal(err)
		}
	}
}

// judgeBench is a run of 10,000 records and a claim of 100 assertions.
func judgeBench(b testing.TB) (*Run, evidence.ID, PayloadMap) {
	f := newFakeRun(b, `{"contract":"v1","task":"x","only":["refund"]}`)
	var list []evidence.Assertion
	for i := range 5000 {
		action := fmt.Sprintf("action-%d", i%100)
		in := f.commit(fmt.Sprintf(`{"to":"customer-%d","amount":%d.50,"lines":[1,2,3,{"sku":"x-%d"}]}`, i, i, i))
		auth := &evidence.Authorization{Step: "s", Action: action, Tool: "t", Input: in, IdempotencyKey: fmt.Sprint(i), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime}
		f.add(&evidence.Execution{Authorization: f.add(auth), Action: action, Tool: "t", Input: in, Attempt: 1, Status: evidence.StatusSuccess, Source: evidence.SourceRuntime})
		if i < 100 {
			e := f.commit(fmt.Sprintf(`{"action":%q,"input_has":{"to":"customer-%d"}}`, action, i))
			list = append(list, evidence.Assertion{Kind: evidence.AssertAction, Action: action, Expect: &e})
		}
	}
	claim := f.add(&evidence.Claim{Statements: []evidence.Statement{{Assertions: list}}})
	if len(f.found) > 0 {
		b.Fatal(&f.found[0])
	}
	return f.run, claim, f.payloads
}

// BenchmarkJudge: 10,000 records against 100 assertions.
func BenchmarkJudge(b *testing.B) {
	r, claim, payloads := judgeBench(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		v, err := Judge(r, claim, "", payloads)
		if err != nil || v.Result != evidence.Supported {
			b.Fatal(v.Result, err)
		}
		if _, err := v.Bytes(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJudgeContract: 10,000 records against a contract of 100 items that
// use everything: parameters, ranges, order, references and conditions.
func BenchmarkJudgeContract(b *testing.B) {
	f := contractBench(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		v, err := Judge(f.run, evidence.ID{}, "", f.payloads)
		if err != nil || v.Result != evidence.Supported {
			b.Fatal(v.Result, v.Contract.Why, err)
		}
	}
}

// BenchmarkJudgeCases: the same with three more actions in doubt on which the order
// of others hangs, and which decide nothing: every case is gone through.
func BenchmarkJudgeCases(b *testing.B) {
	f := contractBench(b)
	for range 3 {
		f.do("look-1", `{"customer":"mia"}`, evidence.StatusUnknown, nil)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		v, err := Judge(f.run, evidence.ID{}, "", f.payloads)
		if err != nil || v.Result != evidence.Supported {
			b.Fatal(v.Result, v.Contract.Why, err)
		}
	}
}

func contractBench(b *testing.B) *fakeRun {
	f := &fakeRun{t: b, run: NewRun(nil), payloads: make(PayloadMap)}
	var items []string
	for i := range 50 {
		items = append(items, fmt.Sprintf(`{"action":"look-%d","as":"look-%d","input_has":{"customer":{"$input":"/customer"}},"times":{"least":1}}`, i, i),
			fmt.Sprintf(`{"action":"pay-%d","input_has":{"amount":{"$above":0,"$most":{"$output":"/due","$of":"look-%d"}}},"after":["look-%d"],"after_last":["look-0"],"when":{"input_has":{"country":"AT"}},"times":{"least":1,"most":60}}`, i, i, i))
	}
	contract := f.commit(`{"contract":"v1","task":"x","expects":[` + strings.Join(items, ",") + `],"forbids":[{"action":"pay-0","input_has":{"amount":{"$above":1000}}}],"only":["` + strings.Join(benchNames("pay"), `","`) + `"]}`)
	input := f.commit(`{"customer":"mia","country":"AT"}`)
	f.add(&evidence.RunOpened{Runtime: "rt", Input: &input, Contract: &evidence.ContractRef{Document: contract, DeclaredBy: "op"}})
	for n := range 100 {
		for i := range 50 {
			action, in := fmt.Sprintf("look-%d", i), `{"customer":"mia"}`
			if n >= 50 {
				action, in = fmt.Sprintf("pay-%d", i), fmt.Sprintf(`{"amount":%d.25}`, n)
			}
			f.do(action, in, evidence.StatusSuccess, func(_ *evidence.Authorization, x *evidence.Execution) {
				out := f.commit(fmt.Sprintf(`{"due":%d}`, n+51))
				x.Output = &out
			})
		}
	}
	return f
}

func benchNames(action string) (names []string) {
	for i := range 50 {
		names = append(names, fmt.Sprintf("%s-%d", action, i))
	}
	return names
}

// BenchmarkJudgeDense: the worst that a contract can ask: many expectations that
// overlap without being alike, over as many successes.
func BenchmarkJudgeDense(b *testing.B) {
	j := &judgement{question: &question{only: map[string]bool{"a": true}, least: 1, possible: 1}, sites: 1}
	const n, e = 5000, 200
	for i := range e {
		j.expects = append(j.expects, &Expectation{Action: fmt.Sprint(i), Least: n / e, Most: n / e})
	}
	for i := range n {
		j.items = append(j.items, item{act: &act{action: "a"}, site: here, out: outcome{state: done, source: evidence.SourceRuntime, ids: []evidence.ID{{byte(i)}}}})
		for k := range e {
			// Item i fits every expectation up to its own: greedy goes wrong.
			t := truthOf(k <= i*e/n)
			j.fit = append(j.fit, truth2{t, t})
		}
	}
	j.prepare()
	b.ResetTimer()
	for range b.N {
		j.views = nil
		if d := j.decide(); d.Result != evidence.Supported {
			b.Fatal(d.Result)
		}
	}
}

// TestLogMemory: what an audit of a log holds on to grows with open runs and
// not with the log.
func TestLogMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("makes and audits a log of 300,000 entries")
	}
	a := New(nil, audittest.Origin, nil, Options{})
	a.registry = NewRegistry(audittest.Origin, evidence.ID{})
	by := Signer{Name: "rt", Role: evidence.RoleRuntime}
	heap := func() uint64 {
		goruntime.GC()
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	index := uint64(0)
	const runs = 10_000
	for n := range runs {
		run := evidence.RunID(fmt.Sprintf("run_0197f3c2-7d1e-7a60-8b1c-%012x", n))
		var prev evidence.ID
		add := func(body evidence.Body) evidence.ID {
			index++
			id := evidence.IDOf(fmt.Appendf(nil, "%d", index))
			rec := &evidence.Record{Kind: body.Kind(), Run: run, Prev: prev, Actor: "a", Time: 1, Body: body}
			a.inRun(place{index, id, run}, rec, by)
			prev = id
			return id
		}
		add(&evidence.RunOpened{Runtime: "rt", Budget: evidence.Amounts{"tokens": 1}})
		for i := range 14 {
			in := evidence.Commitment{Commit: evidence.Digest{byte(i)}}
			id := add(&evidence.Authorization{Step: "s", Action: "x", Tool: "t", Input: in, IdempotencyKey: fmt.Sprint(i), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime})
			add(&evidence.Execution{Authorization: id, Action: "x", Tool: "t", Input: in, Attempt: 1, Status: evidence.StatusSuccess, Source: evidence.SourceRuntime})
		}
		add(&evidence.RunClosed{End: evidence.Completed})
	}
	if n := len(a.accounts.byID) + len(a.accounts.byPrint); len(a.runs) != 0 || n != 0 {
		t.Errorf("%d runs and %d accounts held after all are closed", len(a.runs), n)
	}
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("%d bytes held after %d records of closed runs", grown, index)
	}
	goruntime.KeepAlive(a)
	for _, x := range a.tally.results(a.asEnforced) {
		for _, f := range x.Findings {
			t.Errorf("%v", &f)
		}
	}
}

// BenchmarkJudgeGiven: 100 items that ten others did, each in a run of 1,000 records,
// and each after what the run had handed out.
func BenchmarkJudgeGiven(b *testing.B) {
	var expects []string
	for i := range 100 {
		expects = append(expects, fmt.Sprintf(`{"action":"action-%d","runs":"given","input_has":{"to":"customer-%d"},"after":["plan"]}`, i%50, i))
	}
	f := newFakeRun(b, `{"contract":"v1","task":"x","expects":[{"action":"plan"},`+strings.Join(expects, ",")+`]}`)
	do := func(f *fakeRun, action, input string) {
		in := f.commit(input)
		auth := f.add(&evidence.Authorization{Step: "s", Action: action, Tool: "t", Input: in, IdempotencyKey: fmt.Sprint(f.index), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime})
		f.add(&evidence.Execution{Authorization: auth, Action: action, Tool: "t", Input: in, Attempt: 1, Status: evidence.StatusSuccess, Source: evidence.SourceRuntime})
	}
	hand := func(from, to *fakeRun, acceptance evidence.ID) {
		shown := *from.run // as it stands
		x := &Auditor{runs: map[evidence.RunID]*Run{shown.Run: &shown}, payloads: &disclosures{kept: from.payloads}}
		o := &Offer{Index: from.index + 1, Record: &evidence.Record{Run: from.run.Run}, Body: new(evidence.HandoffOffered), auditor: x}
		to.run.Hand(acceptance, &evidence.HandoffAccepted{Bundle: evidence.Commitment{Commit: evidence.Digest(acceptance)}}, o)
		to.add(&evidence.Context{Sources: []evidence.ContextSource{{Name: "handoff", Evidence: acceptance}}})
	}
	do(f, "plan", `{}`)
	for g := range 10 {
		giver := newFakeRun(b, `{"contract":"v1","task":"x","only":["refund"]}`)
		giver.run.Origin = fmt.Sprint("ledger.example/", g)
		hand(f, giver, evidence.ID{byte(g), 1})
		for i := range 500 {
			do(giver, fmt.Sprintf("action-%d", i%50), fmt.Sprintf(`{"to":"customer-%d","amount":%d.50}`, g*500+i, i))
		}
		hand(giver, f, evidence.ID{byte(g), 2})
	}
	b.ReportAllocs()
	for b.Loop() {
		v, err := Judge(f.run, evidence.ID{}, "", f.payloads)
		if err != nil || v.Result != evidence.Supported || len(v.Given) != 10 {
			b.Fatal(v.Result, v.Contract.Why, err)
		}
	}
}
