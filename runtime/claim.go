package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Evidenced is what a claim can rest on: a step's result, or [Given].
type Evidenced interface{ evidenced() *Result }

// Given is an action that was done before the work was handed over, by whoever did it:
// in one of the runs on which this one rests ([Continues], [Run.Take]).
type Given struct {
	Action, Resource string // Resource "": any
}

func (Given) evidenced() *Result { return nil }

// givens returns those of the results that are of other runs.
func givens(results []Evidenced) []Given {
	var list []Given
	for _, e := range results {
		if g, ok := e.(Given); ok && !slices.Contains(list, g) {
			list = append(list, g)
		}
	}
	return list
}

// rests reports whether a recorded claim rests on the same.
func rests(b *evidence.Claim, results []Evidenced) bool {
	s := &b.Statements[0]
	own, given := namesOf(results), givens(results)
	if !slices.Equal(s.Steps, own) || len(s.Assertions) < len(own)+len(given) {
		return false
	}
	for i, a := range s.Assertions[len(own):] {
		switch {
		case i < len(given) && (Given{a.Action, a.Resource} != given[i]):
			return false
		case i >= len(given) && a.Kind != evidence.AssertContract:
			return false
		}
	}
	return true
}

func (r *Result) evidenced() *Result { return r }

// Claim is a recorded claim with its verdict.
type Claim struct {
	ID       evidence.ID
	Text     string
	Verdict  Verdict
	Replayed bool
}

// Verdict is the result of checking a claim against the records before it. Its
// document is the same, to the byte, for everyone who checks the same.
type Verdict struct {
	ID       evidence.ID // of its record
	Result   evidence.Result
	Document []byte // canonical JSON (RFC 8785)

	claim evidence.ID
	now   evidence.Result // as judged by this runtime, whatever the record says
	need  bool            // a contract: [Config.NeedContract]
	why   []string
	notes []string
	unmet []string
}

// Err returns nil where the claim may leave as a completion: where it is
// supported, or where the run has no contract, nothing speaks against the claim,
// and the operator does not ask for one ([Config.NeedContract]). Else it is
// *Unsupported.
func (v *Verdict) Err() error {
	result := v.Result
	if v.now == evidence.Contradicted || v.now == evidence.Unsupported {
		// The records that it was reached from do not give what is recorded. (What
		// only is not to be read any more, was read when it was recorded.)
		result = v.now
	}
	switch {
	case result == evidence.Supported, result == evidence.NoContract && !v.need:
		return nil
	case result == evidence.NoContract:
		return &Unsupported{v.claim, v.ID, result, append(slices.Clone(v.why), v.notes...)}
	}
	return &Unsupported{v.claim, v.ID, result, v.why}
}

// Claim records that the agent says something is done, resting on results of
// steps, and checks it: each result's action has to have succeeded, and the run's
// contract has to be met. The verdict is recorded too.
//
// Whatever the verdict is, the claim stands. What may leave as a completion is
// what [Run.Summarize] returns.
func (r *Run) Claim(ctx context.Context, text string, results ...Evidenced) (made *Claim, err error) {
	defer r.steps.lock("claim")()
	ctx, span := r.recordSpan(ctx, "claim")
	defer func() { span.done(err) }()
	r.mu.Lock()
	var id evidence.ID
	var recorded *evidence.Claim
	if known := r.state.Claims(); r.claims < len(known) {
		id = known[r.claims]
		recorded = r.state.Claim(id)
	}
	r.mu.Unlock()
	if recorded != nil {
		c, err := r.replayClaim(ctx, id, recorded, text, results)
		if c != nil || err != nil {
			if err == nil {
				r.mu.Lock()
				r.claims++
				r.mu.Unlock()
			}
			return c, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.say(ctx, text, results)
}

// say records a claim and the verdict on it. r.mu is held.
func (r *Run) say(ctx context.Context, text string, results []Evidenced) (*Claim, error) {
	r.claims = len(r.state.Claims())
	words, err := r.rt.seal(mediaText, []byte(text))
	if err != nil {
		return nil, err
	}
	payloads := []evidence.Payload{*words}
	st := evidence.Statement{Text: words.Commitment()}
	claimed := distinct(results)
	if st.Assertions, err = r.assertions(ctx, claimed, &payloads); err != nil {
		return nil, err
	}
	for _, g := range givens(results) {
		doc, err := marshal(&expectation{Action: g.Action, Resource: g.Resource, Runs: audit.RunsGiven, Times: 1})
		if err != nil {
			return nil, err
		}
		expect, err := r.rt.sealInto(&payloads)(mediaJSON, doc)
		if err != nil {
			return nil, err
		}
		st.Assertions = append(st.Assertions, evidence.Assertion{Kind: evidence.AssertAction, Action: g.Action, Resource: g.Resource, Expect: expect})
	}
	for _, res := range claimed {
		if !res.Execution.IsZero() {
			st.Cites = append(st.Cites, res.Execution)
		}
		st.Steps = append(st.Steps, res.Step)
	}
	if r.body.Contract != nil {
		st.Assertions = append(st.Assertions, evidence.Assertion{Kind: evidence.AssertContract})
	}
	placed, err := r.write(ctx, draft{
		body: &evidence.Claim{Statements: []evidence.Statement{st}}, actor: r.agent, payloads: payloads,
	})
	if err != nil {
		return nil, err
	}
	r.claims++
	v, err := r.judge(ctx, placed.ID)
	if err != nil {
		return nil, err
	}
	return &Claim{ID: placed.ID, Text: text, Verdict: *v}, nil
}

// distinct returns the results that there are, each step's once.
func distinct(results []Evidenced) []*Result {
	var list []*Result
	for _, e := range results {
		if e == nil || e.evidenced() == nil {
			continue
		}
		res := e.evidenced()
		if !slices.ContainsFunc(list, func(other *Result) bool { return other.Step == res.Step }) {
			list = append(list, res)
		}
	}
	return list
}

// assertions says of each result that its action succeeded. Where several results
// are of one action on one resource, it says how often, for one success must not
// stand for two steps. And where a step did not succeed, and another one did the
// same to the same, it says by the input which: only there, for a claim should hold
// no copy of what may have to be erased. r.mu is held.
func (r *Run) assertions(ctx context.Context, claimed []*Result, payloads *[]evidence.Payload) ([]evidence.Assertion, error) {
	type what struct{ action, resource string }
	run := make(map[what]int)    // steps of the run
	failed := make(map[what]int) // of those that are claimed
	cited := make(map[what]int)  // likewise, all of them
	plans := make(map[string]checkpoint.Plan)
	for _, name := range r.state.Steps() {
		p := r.state.Plan(name, r.last)
		plans[name] = p
		run[what{p.Action.Record.Action, p.Action.Record.Resource}]++
	}
	for _, res := range claimed {
		w := what{res.Action, res.Resource}
		cited[w]++
		if p, ok := plans[res.Step]; ok && p.Next != checkpoint.Return {
			failed[w]++
		}
	}
	inputs := make([]jsontext.Value, len(claimed)) // canonical, where one has to be told from another
	for i, res := range claimed {
		w := what{res.Action, res.Resource}
		p, ok := plans[res.Step]
		if !ok || failed[w] == 0 || run[w] == 1 {
			continue
		}
		input, err := r.rt.cfg.Ledger.ReadPayload(ctx, p.Action.Record.Input.Commit)
		if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload) {
			continue // nobody could compare it
		}
		if err != nil {
			return nil, fmt.Errorf("run %q: read the input of step %q: %w", r.key, res.Step, err)
		}
		if v := jsontext.Value(slices.Clone(input.Data)); v.Canonicalize() == nil {
			inputs[i] = v
		}
	}
	var list []evidence.Assertion
	for i, res := range claimed {
		a := evidence.Assertion{Kind: evidence.AssertAction, Action: res.Action, Resource: res.Resource}
		w := what{res.Action, res.Resource}
		e := expectation{Action: res.Action, Resource: res.Resource, Times: cited[w]}
		if p, ok := plans[res.Step]; ok && p.Next != checkpoint.Return && inputs[i] != nil {
			e.Input, e.Times = inputs[i], 0
			for k, other := range claimed {
				if (what{other.Action, other.Resource}) == w && bytes.Equal(inputs[k], inputs[i]) {
					e.Times++
				}
			}
		}
		if e.Input != nil || e.Times > 1 {
			doc, err := marshal(&e)
			if err != nil {
				return nil, err
			}
			if _, err := audit.ParseExpectation(doc); err == nil { // else a number that no contract can hold
				if a.Expect, err = r.rt.sealInto(payloads)(mediaJSON, doc); err != nil {
					return nil, err
				}
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// expectation is an item of a contract's expects, as far as a claim needs it.
type expectation struct {
	Action   string         `json:"action"`
	Runs     audit.Runs     `json:"runs,omitzero"`
	Resource string         `json:"resource,omitzero"`
	Input    jsontext.Value `json:"input,omitzero"`
	Times    int            `json:"times"`
}

// replayClaim returns a recorded claim if it says the same; nil if it says
// something else, and the program goes on from there.
func (r *Run) replayClaim(ctx context.Context, id evidence.ID, body *evidence.Claim, text string, results []Evidenced) (*Claim, error) {
	if !rests(body, results) {
		return nil, nil // the same words, resting on something else
	}
	said, err := r.rt.cfg.Ledger.ReadPayload(ctx, body.Statements[0].Text.Commit)
	if err != nil || string(said.Data) != text {
		return nil, nil // erased: it cannot be the same for sure, so it is said again
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v, err := r.verdictOn(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Claim{ID: id, Text: text, Verdict: *v, Replayed: true}, nil
}

// judge decides a claim over the records before it and records the verdict. r.mu
// is held.
func (r *Run) judge(ctx context.Context, claim evidence.ID) (out *Verdict, err error) {
	ctx, span := r.recordSpan(ctx, "verdict")
	defer func() { span.judged(out, err) }()
	v, err := r.judged(ctx, claim)
	if err != nil {
		return nil, fmt.Errorf("run %q: judge the claim %s: %w", r.key, claim, err)
	}
	document, err := v.Bytes()
	if err != nil {
		return nil, fmt.Errorf("run %q: verdict: %w", r.key, err)
	}
	p, err := r.rt.seal(mediaJSON, document)
	if err != nil {
		return nil, err
	}
	placed, err := r.write(ctx, draft{
		body:     &evidence.Verdict{Claim: claim, Result: v.Result, Document: p.Commitment()},
		payloads: []evidence.Payload{*p},
	})
	if err != nil {
		return nil, err
	}
	out = r.verdict(placed.ID, v.Result, v)
	out.Document = document
	out.unmet, err = r.unmet(ctx, v)
	return out, err
}

// verdict is what was recorded about a claim, in the light of what it is judged
// to be.
func (r *Run) verdict(id evidence.ID, recorded evidence.Result, judged *audit.Verdict) *Verdict {
	v := &Verdict{ID: id, Result: recorded, claim: judged.Claim, now: judged.Result, need: r.rt.cfg.NeedContract}
	v.explain(judged)
	return v
}

// explain keeps in words why a verdict is what it is.
func (v *Verdict) explain(judged *audit.Verdict) {
	for _, a := range judged.Assertions {
		if a.Result != evidence.Supported && a.Why != "" {
			v.why = append(v.why, a.Why)
		}
	}
	if c := judged.Contract; len(judged.Assertions) == 0 && c != nil && c.Result != evidence.Supported && c.Why != "" {
		v.why = append(v.why, c.Why)
	}
	for _, g := range judged.Given {
		if g.Result != evidence.Supported && g.Result != evidence.NoContract {
			v.why = append(v.why, "it rests on what was handed over: "+g.Why)
		}
	}
	if judged.Contract == nil {
		v.notes = append(v.notes, "the run has no contract: nobody said what had to happen")
	}
	for _, b := range judged.Bare {
		v.notes = append(v.notes, b.String())
	}
}

// Why says in words what speaks against the claim; empty: nothing does.
func (v *Verdict) Why() []string { return v.why }

// Unmet says in words which items of the contract are not met, and why; empty where that
// is not what speaks against the claim.
func (v *Verdict) Unmet() []string { return v.unmet }

// Notes says what whoever reads the claim has to know of it, whatever the result:
// that a statement asserts nothing or cites nothing, that the run has no contract.
func (v *Verdict) Notes() []string { return v.notes }

// lazyPayloads reads what a judge asks for. It holds what it has read.
type lazyPayloads struct {
	ctx    context.Context
	ledger Ledger
	err    error // other than that a payload is not there
}

func (l *lazyPayloads) Payload(commit evidence.Digest) ([]byte, bool) {
	p, err := l.ledger.ReadPayload(l.ctx, commit)
	if err != nil {
		if !errors.Is(err, ledger.ErrErased) && !errors.Is(err, ledger.ErrNoPayload) {
			l.err = errors.Join(l.err, err)
		}
		return nil, false
	}
	return p.Data, true
}

// unsupported tells a human of a claim that the evidence does not support, if the
// rules say so.
func (r *Run) unsupported(ctx context.Context, c *Claim) error {
	if r.rt.rule("", evidence.ClaimUnsupported).Answer != AnswerEscalate {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, span := r.recordSpan(ctx, "escalate")
	_, told, err := r.escalated(ctx, string(evidence.ClaimUnsupported), c.ID)
	span.done(err)
	if told && r.rt.cfg.Notify != nil {
		r.rt.cfg.Notify(Notice{Run: r.id, Key: r.key, Team: r.rt.cfg.Team, Reason: string(evidence.ClaimUnsupported), Authorization: c.ID})
	}
	return err
}

// Summary is text that may leave the runtime as a completion, for the evidence
// supports it; with the verdict that says so, and what has to be shown with it
// ([Verdict.Notes]). Nothing but [Run.Summarize] makes one.
type Summary struct {
	Text    string
	Claim   evidence.ID
	Verdict Verdict
}

// Summarize is [Run.Claim] for text that is to leave the runtime: it returns the
// text only where the verdict lets it, and *Unsupported otherwise. A claim that is
// replayed is held to what was done since, too.
func (r *Run) Summarize(ctx context.Context, text string, results ...Evidenced) (*Summary, error) {
	c, err := r.Claim(ctx, text, results...)
	if err != nil {
		return nil, err
	}
	err = c.Verdict.Err()
	if err == nil && c.Replayed {
		r.mu.Lock()
		err = r.contractHolds(ctx, &c.Verdict)
		r.mu.Unlock()
	}
	var unsupported *Unsupported
	if errors.As(err, &unsupported) {
		return nil, errors.Join(err, r.unsupported(ctx, c))
	}
	if err != nil {
		return nil, err
	}
	return &Summary{text, c.ID, c.Verdict}, nil
}
