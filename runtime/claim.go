package runtime

import (
	"context"
	"errors"
	"fmt"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Evidenced is what a claim can rest on: a step's result.
type Evidenced interface{ evidenced() *Result }

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
	claim    evidence.ID
	why      []string
}

// Err returns nil where the claim is supported, or the run has no contract and
// nothing speaks against the claim; else *Unsupported.
func (v *Verdict) Err() error {
	if v.Result == evidence.Supported || v.Result == evidence.NoContract {
		return nil
	}
	return &Unsupported{v.claim, v.ID, v.Result, v.why}
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
		c, err := r.replayClaim(ctx, id, recorded, text)
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
	st := evidence.Statement{Text: words.Commitment()}
	for _, e := range results {
		if e == nil || e.evidenced() == nil {
			continue
		}
		res := e.evidenced()
		st.Assertions = append(st.Assertions, evidence.Assertion{Kind: evidence.AssertAction, Action: res.Action, Resource: res.Resource})
		if !res.Execution.IsZero() {
			st.Cites = append(st.Cites, res.Execution)
		}
		st.Steps = append(st.Steps, res.Step)
	}
	if r.body.Contract != nil {
		st.Assertions = append(st.Assertions, evidence.Assertion{Kind: evidence.AssertContract})
	}
	placed, err := r.write(ctx, draft{
		body: &evidence.Claim{Statements: []evidence.Statement{st}}, actor: r.agent, payloads: []evidence.Payload{*words},
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

// replayClaim returns a recorded claim if it says the same; nil if it says
// something else, and the program goes on from there.
func (r *Run) replayClaim(ctx context.Context, id evidence.ID, body *evidence.Claim, text string) (*Claim, error) {
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
	payloads := &lazyPayloads{ctx: ctx, ledger: r.rt.cfg.Ledger}
	v, err := audit.Judge(r.state.Run(), claim, "", payloads)
	if err == nil {
		err = payloads.err
	}
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
	out = &Verdict{ID: placed.ID, Result: v.Result, Document: document, claim: claim}
	out.explain(v)
	return out, nil
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
}

// Why says in words what speaks against the claim; empty: nothing does.
func (v *Verdict) Why() []string { return v.why }

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
// supports it.
type Summary struct {
	Text    string
	Claim   evidence.ID
	Verdict Verdict
}

// Summarize is [Run.Claim] for text that is to leave the runtime: it returns the
// text only where the verdict lets it, and *Unsupported otherwise.
func (r *Run) Summarize(ctx context.Context, text string, results ...Evidenced) (*Summary, error) {
	c, err := r.Claim(ctx, text, results...)
	if err != nil {
		return nil, err
	}
	if err := c.Verdict.Err(); err != nil {
		return nil, errors.Join(err, r.unsupported(ctx, c))
	}
	return &Summary{text, c.ID, c.Verdict}, nil
}
