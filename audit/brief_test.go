package audit

import (
	"fmt"
	goruntime "runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ledgerd/audit/audittest"
	"ledgerd/evidence"
)

// twins are two audits of one log: one whose runs forget what is decided, and
// one whose runs keep everything.
type twins struct {
	brief, whole *Auditor
	log          []told
	index        uint64
	ids          []evidence.ID
	prev         map[evidence.RunID]evidence.ID
	twice        bool    // the next record is written twice
	retried      *played // by longRun
}

// told is a record as the log tells it.
type told struct {
	place
	rec *evidence.Record
	by  Signer
}

func newTwins() *twins {
	w := &twins{prev: make(map[evidence.RunID]evidence.ID), brief: unsigned(), whole: unsigned()}
	w.brief.forgetful(nil)
	return w
}

// unsigned is an audit of a log whose records nobody signed.
func unsigned() *Auditor {
	a := New(nil, audittest.Origin, nil, Options{})
	a.registry = NewRegistry(audittest.Origin, evidence.ID{})
	return a
}

func runNumber(n int) evidence.RunID {
	return evidence.RunID(fmt.Sprintf("run_0197f3c2-7d1e-7a60-8b1c-%012x", n))
}

// line appends a record of the run's line.
func (w *twins) line(run evidence.RunID, body evidence.Body, cites ...evidence.ID) evidence.ID {
	id := w.append(&evidence.Record{Run: run, Prev: w.prev[run], Cites: cites, Body: body}, Signer{Name: "rt", Role: evidence.RoleRuntime})
	w.prev[run] = id
	return id
}

func (w *twins) beside(run evidence.RunID, about evidence.ID, body evidence.Body, by Signer) evidence.ID {
	return w.append(&evidence.Record{Run: run, About: about, Body: body}, by)
}

func (w *twins) append(rec *evidence.Record, by Signer) evidence.ID {
	id := evidence.IDOf(fmt.Appendf(nil, "%d", w.index))
	rec.Kind, rec.Actor, rec.Time = rec.Body.Kind(), "a", evidence.Time(w.index)
	times := 1
	if w.twice {
		times, w.twice = 2, false
	}
	for range times {
		w.index++
		p := place{w.index, id, rec.Run}
		w.log = append(w.log, told{p, rec, by})
		w.brief.inRun(p, rec, by)
		if w.whole != nil {
			w.whole.inRun(p, rec, by)
		}
	}
	w.ids = append(w.ids, id)
	return id
}

// second audits a second time, with those runs whole that were lost.
func (w *twins) second(t *rapid.T) *Auditor {
	a := unsigned()
	a.forgetful(w.brief.lost)
	for _, x := range w.log {
		a.inRun(x.place, x.rec, x.by)
	}
	if len(a.lost) > 0 {
		t.Fatalf("lost the second time too: %v", a.lost)
	}
	return a
}

// said is what an audit says in the end.
func said(a *Auditor) string {
	a.openRuns()
	s := fmt.Sprintf("runs %d open %d in doubt %d\n", a.scope.Runs, a.scope.Open, a.scope.InDoubt)
	for _, x := range a.tally.results(a.asEnforced) {
		s += fmt.Sprintf("%s %s %s omitted %d\n", x.Rule, x.Status, x.Note, x.Omitted)
		for i := range x.Findings {
			f := &x.Findings[i]
			s += fmt.Sprintf("\t%s %v %v %s\n", f, f.Records, f.Indexes, f.Run)
		}
	}
	return s
}

// TestBriefDecidesAlike: whatever records follow each other, an audit whose runs
// forget says exactly what one says whose runs do not, if need be the second time;
// and where nothing is wrong, the first time.
func TestBriefDecidesAlike(t *testing.T) {
	var lost, held, broke int
	check := func(t *rapid.T) {
		w := newTwins()
		wild := rapid.IntRange(0, 3).Draw(t, "wild") // 0: nobody breaks a rule knowingly
		// Drawn near the middle, for what is small is drawn too often.
		odd := func() bool { return wild > 0 && rapid.IntRange(0, 60).Draw(t, "odd") >= 61-wild*2 }
		var plays []*play
		for n := range rapid.IntRange(1, 2).Draw(t, "runs") {
			p := &play{t: t, w: w, run: runNumber(n), odd: odd}
			opened := &evidence.RunOpened{Runtime: "rt", Budget: evidence.Amounts{"attempts": 12, "tool_calls": 4}}
			if n > 0 {
				opened.Parent = w.ids[rapid.IntRange(0, len(w.ids)-1).Draw(t, "parent")]
			}
			w.line(p.run, opened)
			plays = append(plays, p)
			for range rapid.IntRange(0, 12).Draw(t, "steps") {
				p.step()
			}
		}
		for range rapid.IntRange(0, 25).Draw(t, "more steps") {
			rapid.SampledFrom(plays).Draw(t, "run").step()
		}
		for _, p := range plays {
			if rapid.Bool().Draw(t, "close") {
				w.line(p.run, &evidence.RunClosed{End: evidence.Completed})
			}
		}
		want := said(w.whole)
		wrong := slices.ContainsFunc(w.whole.tally.results(w.whole.asEnforced), func(x RuleResult) bool { return x.Status == Broken })
		if len(w.brief.lost) > 0 {
			if wild == 0 && !wrong {
				t.Fatalf("lost where nothing is wrong\n%s", want)
			}
			lost++
			w.brief = w.second(t)
		}
		if got := said(w.brief); want != got {
			t.Fatalf("kept whole:\n%s\nbrief:\n%s", want, got)
		}
		if wrong {
			broke++
		} else {
			held++
		}
	}
	for range 30 {
		rapid.Check(t, check)
	}
	t.Logf("%d held, %d broken, %d lost", held, broke, lost)
	if held == 0 || broke == 0 || lost == 0 {
		t.Error("the test tests less than it says")
	}
}

// TestBriefIsLost: a tool that contradicts itself about an attempt that another
// followed leaves it in doubt. No run that forgot the attempt can know.
func TestBriefIsLost(t *testing.T) {
	w, run := newTwins(), runNumber(1)
	w.line(run, &evidence.RunOpened{Runtime: "rt"})
	auth := &evidence.Authorization{Action: "x", Tool: "tool", IdempotencyKey: "k", Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime}
	a := w.line(run, auth)
	exec := func(n int64) evidence.ID {
		return w.line(run, &evidence.Execution{Authorization: a, Action: "x", Tool: "tool", Attempt: n, Status: evidence.StatusFailure, Source: evidence.SourceRuntime})
	}
	says := func(about evidence.ID, s evidence.Status) {
		word := w.beside(run, about, &evidence.Confirmation{Status: s}, Signer{Name: "tool", Role: evidence.RoleTool})
		w.line(run, &evidence.Escalation{}, word)
	}
	first := exec(1)
	says(first, evidence.StatusFailure)
	exec(2)
	says(first, evidence.StatusSuccess)
	if len(w.brief.lost) > 0 {
		t.Error("lost too soon: nothing depends on the first attempt yet")
	}
	w.line(run, &evidence.RunResumed{Reason: "r", InDoubt: []evidence.ID{first}})
	if !w.brief.lost[run] || len(w.whole.tally.found[RuleResume]) > 0 {
		t.Errorf("lost %v, found %v", w.brief.lost, w.whole.tally.found)
	}
}

// A play is a run that does this and that, and sometimes what it should not.
type play struct {
	t     *rapid.T
	w     *twins
	run   evidence.RunID
	odd   func() bool
	acts  []*played
	since []evidence.ID
	tried []evidence.ID // executions
	said  []evidence.ID // beside the line
	point int64
}

type played struct {
	id       evidence.ID
	body     *evidence.Authorization
	attempts int64
	last     evidence.ID
	status   evidence.Status
	answered bool
}

func (p *play) pick(ids []evidence.ID) evidence.ID {
	if len(ids) == 0 {
		return evidence.IDOf([]byte("nobody's"))
	}
	return rapid.SampledFrom(ids).Draw(p.t, "id")
}

func (p *play) act(may func(*played) bool) *played {
	var list []*played
	for _, a := range p.acts {
		if may(a) || p.odd() {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return rapid.SampledFrom(list).Draw(p.t, "act")
}

var statuses = []evidence.Status{evidence.StatusSuccess, evidence.StatusSuccess, evidence.StatusFailure, evidence.StatusFailure, evidence.StatusUnknown, evidence.StatusAccepted, evidence.StatusNotRun}

func (p *play) step() {
	t := p.t
	if p.odd() {
		p.w.twice = true
	}
	switch rapid.IntRange(0, 9).Draw(t, "step") {
	case 0, 1:
		p.authorize()
	case 2, 3, 4:
		p.execute()
	case 5:
		p.settle()
	case 6:
		p.confirm()
	case 7:
		covers := slices.Clone(p.since)
		if p.odd() {
			covers = append(covers, p.pick(p.w.ids))
		}
		if p.odd() {
			slices.Reverse(covers)
		}
		covers = once(covers) // the format allows no other
		p.point++
		p.w.line(p.run, &evidence.Checkpoint{Name: "p", Sequence: p.point, Covers: covers})
		p.since = nil
	case 8:
		p.resume()
	default:
		p.approve()
	}
}

// once keeps the first of each.
func once(ids []evidence.ID) []evidence.ID {
	var kept []evidence.ID
	for _, id := range ids {
		if !slices.Contains(kept, id) {
			kept = append(kept, id)
		}
	}
	return kept
}

func (p *play) authorize() {
	t := p.t
	n := len(p.acts)
	if n > 0 && p.odd() {
		n--
	}
	in := evidence.Commitment{Commit: evidence.Digest{byte(n)}}
	b := &evidence.Authorization{
		Step: "s", Action: "x", Tool: "tool", Input: in, IdempotencyKey: fmt.Sprint(n), Effect: evidence.Allow, Mode: evidence.Enforce,
		Source: evidence.SourceRuntime, Policies: []string{"p"},
	}
	switch rapid.IntRange(0, 9).Draw(t, "effect") {
	case 0, 1:
		b.Effect = evidence.Deny
	case 2, 3:
		b.Effect, b.Team = evidence.Escalate, "team"
	}
	switch rapid.IntRange(0, 9).Draw(t, "mode") {
	case 0:
		b.Mode = evidence.Observe
	case 1:
		b.Source = evidence.SourceImported
	}
	p.acts = append(p.acts, &played{id: p.w.line(p.run, b), body: b})
}

// approve has a human answer an escalation, and perhaps the run use the answer.
func (p *play) approve() {
	asked := p.act(func(a *played) bool { return a.body.Effect == evidence.Escalate && !a.answered })
	if asked == nil {
		return
	}
	human := Signer{Name: "h", Role: evidence.RoleHuman, Teams: []string{"team"}}
	approval := p.w.beside(p.run, asked.id, &evidence.Approval{Answer: evidence.Approve, Until: 1 << 40}, human)
	p.said = append(p.said, approval)
	if rapid.Bool().Draw(p.t, "cites the approval") {
		p.w.line(p.run, &evidence.Escalation{}, approval)
	}
	if p.odd() {
		return
	}
	b := *asked.body
	b.Effect, b.Team, b.Escalated, b.Approval = evidence.Allow, "", asked.id, approval
	if p.odd() {
		b.Escalated = p.pick(p.w.ids)
	}
	if p.odd() {
		b.Approval = p.pick(p.said)
	}
	p.acts = append(p.acts, &played{id: p.w.line(p.run, &b), body: &b})
	if !p.odd() {
		asked.answered = true
	}
}

func (p *play) execute() {
	a := p.act(func(a *played) bool {
		free := a.body.Mode == evidence.Observe || a.body.Source == evidence.SourceImported || a.body.Effect == evidence.Allow
		return free && (a.status == "" || a.status == evidence.StatusFailure || a.status == evidence.StatusNotRun)
	})
	if a == nil {
		return
	}
	a.attempts++
	a.status = rapid.SampledFrom(statuses).Draw(p.t, "status")
	b := &evidence.Execution{Authorization: a.id, Action: a.body.Action, Tool: a.body.Tool, Input: a.body.Input, Attempt: a.attempts, Status: a.status, Source: a.body.Source}
	if p.odd() {
		b.Tool = "another"
	}
	if p.odd() {
		b.Authorization = p.pick(p.w.ids)
	}
	if rapid.IntRange(0, 5).Draw(p.t, "confirmed") == 0 {
		b.Confirmation = p.w.beside(p.run, a.id, &evidence.Confirmation{Status: evidence.StatusSuccess}, Signer{Name: "tool", Role: evidence.RoleTool})
		p.said = append(p.said, b.Confirmation)
		a.status = evidence.StatusSuccess
	}
	if p.odd() {
		b.Confirmation = p.pick(p.said)
	}
	a.last = p.w.line(p.run, b)
	p.tried = append(p.tried, a.last)
	p.since = append(p.since, a.last)
}

func (p *play) settle() {
	a := p.act(func(a *played) bool {
		return a.status == evidence.StatusUnknown || a.status == evidence.StatusAccepted || a.status == "" && a.body.Effect == evidence.Allow
	})
	if a == nil {
		return
	}
	b := &evidence.Settlement{Settles: a.id, By: evidence.ByProbe}
	if !a.last.IsZero() && rapid.Bool().Draw(p.t, "the execution") {
		b.Settles = a.last
	}
	if p.odd() {
		b.Settles = p.pick(p.w.ids)
	}
	if p.odd() {
		b.By, b.Answer = evidence.ByConfirmation, p.pick(p.said)
	}
	b.Finding = rapid.SampledFrom([]evidence.Status{evidence.StatusSuccess, evidence.StatusFailure, evidence.StatusNotRun}).Draw(p.t, "finding")
	a.status = b.Finding
	p.since = append(p.since, p.w.line(p.run, b))
}

// confirm has the tool speak, and the run cite it.
func (p *play) confirm() {
	a := p.act(func(a *played) bool { return a.status != "" })
	if a == nil {
		return
	}
	about := a.id
	if rapid.Bool().Draw(p.t, "about the execution") && !a.last.IsZero() {
		about = a.last
	}
	if p.odd() {
		about = p.pick(p.w.ids)
	}
	status := evidence.StatusSuccess
	if a.status == evidence.StatusFailure || a.status == evidence.StatusNotRun || p.odd() {
		status = evidence.StatusFailure
	}
	cites := []evidence.ID{p.w.beside(p.run, about, &evidence.Confirmation{Status: status}, Signer{Name: "tool", Role: evidence.RoleTool})}
	p.said = append(p.said, cites...)
	if p.odd() {
		cites = append(cites, p.pick(p.said))
	}
	p.w.line(p.run, &evidence.Escalation{}, cites...)
	if !p.odd() {
		a.status = status
	}
}

func (p *play) resume() {
	b := &evidence.RunResumed{Reason: "r"}
	if r := p.w.whole.runs[p.run]; r != nil {
		for _, d := range r.InDoubt() {
			if !p.odd() {
				b.InDoubt = append(b.InDoubt, d.ID)
			}
		}
	}
	if p.odd() {
		b.InDoubt = append(b.InDoubt, p.pick(p.tried))
	}
	p.w.line(p.run, b)
}

// longRun has a run go on for n records more: attempts that fail, actions that
// succeed or are denied, doubts that are settled, what tools and humans said.
func longRun(w *twins, run evidence.RunID, n int) {
	tool, human := Signer{Name: "t", Role: evidence.RoleTool}, Signer{Name: "h", Role: evidence.RoleHuman, Teams: []string{"team"}}
	for from := w.index; w.index < from+uint64(n); {
		in := evidence.Commitment{Commit: evidence.Digest(evidence.IDOf(fmt.Appendf(nil, "in %d", w.index))), Media: "application/json"}
		auth := evidence.Authorization{
			Step: fmt.Sprint(w.index), Action: "x", Tool: "t", Input: in, IdempotencyKey: fmt.Sprint(w.index), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime,
		}
		exec := func(id evidence.ID, attempt int64, s evidence.Status) evidence.ID {
			out := in
			return w.line(run, &evidence.Execution{Authorization: id, Action: "x", Tool: "t", Input: in, Attempt: attempt, Status: s, Source: evidence.SourceRuntime, Output: &out})
		}
		// One action is tried and tried again for as long as the run is open.
		if w.retried == nil {
			w.retried = &played{id: w.line(run, &auth), body: &auth}
		}
		in = w.retried.body.Input
		for range 100 {
			w.retried.attempts++
			exec(w.retried.id, w.retried.attempts, evidence.StatusFailure)
		}
		w.line(run, &evidence.Escalation{}, w.beside(run, w.retried.id, &evidence.Confirmation{Status: evidence.StatusFailure}, tool))

		a := auth
		a.IdempotencyKey, in = "doubtful "+a.IdempotencyKey, auth.Input
		first := w.line(run, &a)
		w.line(run, &evidence.Settlement{Settles: exec(first, 1, evidence.StatusUnknown), By: evidence.ByProbe, Finding: evidence.StatusSuccess})
		word := w.beside(run, first, &evidence.Confirmation{Status: evidence.StatusSuccess}, tool)
		w.line(run, &evidence.Escalation{}, word)

		b := auth
		b.IdempotencyKey, b.Effect = "denied "+b.IdempotencyKey, evidence.Deny
		w.line(run, &b)

		c := auth
		c.IdempotencyKey, c.Effect, c.Team = "asked "+c.IdempotencyKey, evidence.Escalate, "team"
		asked := w.line(run, &c)
		d := c
		d.Effect, d.Team, d.Escalated = evidence.Allow, "", asked
		d.Approval = w.beside(run, asked, &evidence.Approval{Answer: evidence.Approve, Until: 1 << 40}, human)
		exec(w.line(run, &d), 1, evidence.StatusSuccess)

		claim := w.line(run, &evidence.Claim{Statements: []evidence.Statement{{Text: in}}})
		w.line(run, &evidence.Verdict{Claim: claim, Result: evidence.NoContract, Document: in})
	}
}

// TestOpenRunMemory: what an audit of a log holds on to does not grow with what
// a run that stays open has done and decided. Each authorization leaves a
// fingerprint, lest its idempotency key is used again, and so does a record beside
// the line; and each record of a run with a budget one, lest a child names it.
func TestOpenRunMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("memory is not what it is with the race detector")
	}
	for name, tt := range map[string]struct {
		budget evidence.Amounts
		most   int64 // bytes
	}{
		// 7,000 fingerprints of 8 bytes. Everything kept would be 60 MB.
		"without a budget": {nil, 1 << 20},
		// And 100,000 more, of the records from which a child may be started.
		"with a budget": {evidence.Amounts{"tokens": 1}, 6 << 20},
	} {
		t.Run(name, func(t *testing.T) { openRunMemory(t, tt.budget, tt.most) })
	}
}

func openRunMemory(t *testing.T, budget evidence.Amounts, most int64) {
	heap := func() int64 {
		goruntime.GC()
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	run := runNumber(1)
	w := newTwins()
	w.whole, w.log, w.ids = nil, nil, nil
	w.line(run, &evidence.RunOpened{Runtime: "rt", Budget: budget})
	held := func(n int) (int64, [4]int) {
		longRun(w, run, n)
		w.log, w.ids = nil, nil
		r := w.brief.runs[run]
		return heap(), [4]int{len(r.acts), len(r.byID), len(r.attempts), len(r.beside)}
	}
	before, few := held(10_000)
	after, many := held(100_000)
	if few != many {
		t.Errorf("acts, authorizations, attempts and records beside the line: %v after 10,000 records, %v after 110,000", few, many)
	}
	if grown := after - before; grown > most {
		t.Errorf("%d bytes more after 100,000 records more of one open run", grown)
	}
	r := w.brief.runs[run]
	if len(r.brief.seen) > 8*110_000/100 || len(r.claims)+len(r.verdicts)+len(r.uses)+len(r.since) > 0 || len(w.brief.lost) > 0 {
		t.Errorf("%d fingerprints, %d claims, %d verdicts, %d uses, %d uncovered, lost %v", len(r.brief.seen), len(r.claims), len(r.verdicts), len(r.uses), len(r.since), w.brief.lost)
	}
	t.Logf("%d bytes more after 100,000 records more, %v", after-before, many)
	for _, x := range w.brief.tally.results(w.brief.asEnforced) {
		for i := range x.Findings {
			t.Errorf("%v", &x.Findings[i])
		}
	}
}
