package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// The end of a run for who may ask twice: a request that is sent again, because
// nobody heard the answer, is the same claim, the same decision, the same end.

// ErrNoStep: a claim rests on a step that the run has not.
var ErrNoStep = errors.New("the run has no step of this name")

// ErrNoClaim: a run is to be completed of which nobody claims anything.
var ErrNoClaim = errors.New("nothing was claimed: claim what was done, and then complete the run")

// ClaimSteps is [Run.Claim] for who knows steps by their names, and may ask twice:
// the same text about the same, with nothing executed, settled or taken up since, is
// the same claim. A step that was denied, or failed, speaks against the claim; one
// that the run has not at all is ErrNoStep.
func (r *Run) ClaimSteps(ctx context.Context, text string, given []Given, steps ...string) (*Claim, error) {
	defer r.steps.lock("claim")()
	var results []Evidenced
	for _, g := range given {
		results = append(results, g)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(steps))) {
		r.mu.Lock()
		p := r.state.Plan(name, r.last)
		r.mu.Unlock()
		if p.Next == checkpoint.Begin {
			return nil, fmt.Errorf("run %q: step %q: %w", r.key, name, ErrNoStep)
		}
		b := p.Action.Record
		results = append(results, &Result{Step: name, Action: b.Action, Resource: b.Resource, Authorization: p.Action.Authorization, Execution: p.Action.Last})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id, err := r.saidBefore(ctx, text, results)
	if err != nil {
		return nil, err
	}
	if id.IsZero() {
		return r.say(ctx, text, results)
	}
	r.claims = len(r.state.Claims())
	v, err := r.verdictOn(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Claim{ID: id, Text: text, Verdict: *v, Replayed: true}, nil
}

// verdictOn returns the verdict on a claim of the line, with its document, and makes
// it where we crashed between the two. r.mu is held.
func (r *Run) verdictOn(ctx context.Context, claim evidence.ID) (*Verdict, error) {
	recorded, ok := r.state.Verdict(claim)
	if !ok {
		return r.judge(ctx, claim)
	}
	document, err := r.rt.cfg.Ledger.ReadPayload(ctx, recorded.Document.Commit)
	if err != nil {
		return nil, fmt.Errorf("the recorded verdict on %s: %w", claim, err)
	}
	v, err := r.weigh(ctx, claim, &recorded)
	if err != nil {
		return nil, err
	}
	v.Document = document.Data
	return v, nil
}

// weigh judges again a claim on which a verdict is recorded: for the reasons, which
// no document has, and because a record that says supported makes nothing so. r.mu
// is held.
func (r *Run) weigh(ctx context.Context, claim evidence.ID, recorded *evidence.Verdict) (*Verdict, error) {
	judged, err := r.judged(ctx, claim)
	if err != nil {
		return nil, fmt.Errorf("run %q: judge the claim %s: %w", r.key, claim, err)
	}
	v := r.verdict(r.state.Judged(claim), recorded.Result, judged)
	v.unmet, err = r.unmet(ctx, judged)
	return v, err
}

// judged decides a claim, or with the zero ID the contract over all that stands.
// r.mu is held.
func (r *Run) judged(ctx context.Context, claim evidence.ID) (*audit.Verdict, error) {
	payloads := &lazyPayloads{ctx: ctx, ledger: r.rt.cfg.Ledger}
	v, err := audit.Judge(r.state.Run(), claim, "", payloads)
	if err == nil {
		err = payloads.err
	}
	return v, err
}

// unmet says in words what of the contract is not met, where that is what speaks against a
// claim. r.mu is held.
func (r *Run) unmet(ctx context.Context, v *audit.Verdict) ([]string, error) {
	if c := v.Contract; c == nil || c.Result == evidence.Supported || c.Result == evidence.NoContract {
		return nil, nil
	}
	payloads := &lazyPayloads{ctx: ctx, ledger: r.rt.cfg.Ledger}
	unmet, err := audit.Unmet(r.state.Run(), payloads)
	return unmet, errors.Join(err, payloads.err)
}

// saidBefore returns the claim that says the same of the same steps, if nothing was
// done since; zero: there is none. r.mu is held.
func (r *Run) saidBefore(ctx context.Context, text string, results []Evidenced) (evidence.ID, error) {
	for _, id := range slices.Backward(r.state.Said()) {
		b := r.state.Claim(id)
		if len(b.Statements) != 1 || !rests(b, results) {
			continue
		}
		said, err := r.rt.cfg.Ledger.ReadPayload(ctx, b.Statements[0].Text.Commit)
		switch {
		case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
		case err != nil:
			return evidence.ID{}, fmt.Errorf("run %q: read a claim: %w", r.key, err)
		case string(said.Data) == text:
			return id, nil
		}
	}
	return evidence.ID{}, nil
}

func namesOf(results []Evidenced) []string {
	var names []string
	for _, res := range distinct(results) {
		names = append(names, res.Step)
	}
	return names
}

// Complete ends the run as completed. It returns ErrNoClaim where nothing was
// claimed; *Unsupported where the verdict on the last claim does not let it end, or
// the contract, judged over all that was done since, does not; and a *RunError
// with reason in_doubt where something is. A run that is completed stays so.
func (r *Run) Complete(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if closed := r.state.Closed(); closed != nil {
		return r.endedAs(closed, evidence.Completed, "")
	}
	if err := r.mayComplete(ctx); err != nil {
		return err
	}
	return r.completed(ctx)
}

// mayComplete says why the run cannot be completed; nil: it can. r.mu is held.
func (r *Run) mayComplete(ctx context.Context) error {
	claims := r.state.Claims()
	if len(claims) == 0 {
		return fmt.Errorf("run %q: %w", r.key, ErrNoClaim)
	}
	if err := r.sure(); err != nil {
		return err
	}
	last := claims[len(claims)-1]
	var v *Verdict
	var err error
	if recorded, ok := r.state.Verdict(last); ok {
		v, err = r.weigh(ctx, last, &recorded)
	} else {
		v, err = r.judge(ctx, last)
	}
	if err != nil {
		return err
	}
	if err := v.Err(); err != nil {
		return err
	}
	return r.contractHolds(ctx, v)
}

// completed writes run.closed. Nothing else closes a run as completed: mayComplete
// was asked first. r.mu is held.
func (r *Run) completed(ctx context.Context) error {
	ctx, span := r.recordSpan(ctx, "close")
	_, err := r.write(ctx, draft{body: &evidence.RunClosed{End: evidence.Completed}})
	span.done(err)
	return err
}

// contractHolds judges the contract over everything, for work may have been done
// since the claim. A contract that asks for nothing is as good as none, about which
// the verdict on the claim has decided. r.mu is held.
func (r *Run) contractHolds(ctx context.Context, last *Verdict) error {
	if r.body.Contract == nil {
		return nil
	}
	v, err := r.judged(ctx, evidence.ID{})
	if err != nil {
		return fmt.Errorf("run %q: judge the contract: %w", r.key, err)
	}
	if v.Result == evidence.Supported || v.Result == evidence.NoContract && !r.rt.cfg.NeedContract {
		return nil
	}
	why := []string{"something was done since the claim: claim again"}
	if v.Contract.Why != "" {
		why = append([]string{v.Contract.Why}, why...)
	}
	return &Unsupported{last.claim, last.ID, v.Result, why}
}

func (r *Run) endedAs(closed *evidence.RunClosed, end evidence.End, reason string) error {
	if closed.End == end && closed.Reason == reason {
		return nil
	}
	return r.fail(RunEnded, "it is closed: %s", closed.End).by(r.state.Run().Tail)
}

// sure refuses to end a run while something is in doubt, for afterwards nobody can
// settle it. r.mu is held.
func (r *Run) sure() error {
	if doubts := r.state.Run().InDoubt(); len(doubts) > 0 {
		return r.fail(RunInDoubt, "whether %s happened is not known (%s): settle it, then end the run", doubts[0].Action, doubts[0].ID).by(doubts[0].ID)
	}
	return nil
}

// NameTakenError says that a decision or checkpoint of that name is recorded, and
// says something else.
type NameTakenError struct {
	What, Name string
	Stands     evidence.ID
}

func (e *NameTakenError) Error() string {
	return fmt.Sprintf("a %s called %q is recorded, and says something else (%s): read it, or take another name", e.What, e.Name, e.Stands)
}

// told is a Reasoner that has answered before it is asked: what a model elsewhere
// said.
type told struct {
	model   string
	thought Thought
}

func (t *told) Model() string { return t.model }

func (t *told) Reason(context.Context, *Question) (*Thought, error) { return &t.thought, nil }

// Decided records what a model elsewhere answered to a question. The same answer
// under the same name again is the same decision; another one is a
// *NameTakenError. Who asks first whether there is one ([Run.Decision]) need not
// ask the model again.
func (r *Run) Decided(ctx context.Context, name, model string, question []byte, t Thought, laid ...evidence.ID) (*Decision, error) {
	for what, id := range map[string]string{"name": name, "model": model} {
		if err := evidence.CheckIdentifier(id); err != nil {
			return nil, &InvalidError{name, what, err}
		}
	}
	if err := evidence.CheckAmounts(t.Cost); err != nil {
		return nil, &InvalidError{name, "cost", err}
	}
	if err := strictJSON(t.Choice); err != nil {
		return nil, &InvalidError{name, "choice", err}
	}
	d, err := r.Decide(ctx, name, &told{model, t}, question, laid...)
	if err != nil || !d.Replayed {
		return d, err
	}
	r.mu.Lock()
	recorded, _ := r.state.Decision(name)
	r.mu.Unlock()
	if recorded.Decision.Model != model || string(d.Choice) != string(t.Choice) {
		return nil, &NameTakenError{"decision", name, d.ID}
	}
	return d, nil
}

// Decision returns what was decided under a name, nil where nothing was.
func (r *Run) Decision(ctx context.Context, name string) (*Decision, error) {
	r.mu.Lock()
	d, ok := r.state.Decision(name)
	r.mu.Unlock()
	if !ok {
		return nil, nil
	}
	p, err := r.rt.cfg.Ledger.ReadPayload(ctx, d.Decision.Choice.Commit)
	if err != nil {
		return nil, fmt.Errorf("decision %q: %w", name, err)
	}
	return &Decision{d.ID, p.Data, true}, nil
}

// Save is [Run.Checkpoint] for who may ask twice: state is JSON, and another one
// under a name that is taken is a *NameTakenError.
func (r *Run) Save(ctx context.Context, name string, state []byte) (*checkpoint.Saved, error) {
	if err := evidence.CheckIdentifier(name); err != nil {
		return nil, &InvalidError{name, "name", err}
	}
	if err := strictJSON(state); err != nil {
		return nil, &InvalidError{name, "state", err}
	}
	if len(state) > MaxState {
		return nil, &InvalidError{name, "state", fmt.Errorf("want at most %d bytes, found %d: keep what is large elsewhere, and its name here", MaxState, len(state))}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if saved := r.state.Saved(name); saved != nil {
		s := &stepper{Run: r}
		if same, err := s.samePayload(ctx, &saved.State, mediaJSON, state); err != nil || !same {
			return nil, errors.Join(err, &NameTakenError{"checkpoint", name, saved.ID})
		}
		return saved, nil
	}
	if err := r.save(ctx, name, state); err != nil {
		return nil, err
	}
	return r.state.Saved(name), nil
}

// Lay is [Run.Context] for who may ask twice: the same sources as the last context
// had are the same context.
func (r *Run) Lay(ctx context.Context, sources ...Source) (evidence.ID, error) {
	if len(sources) == 0 {
		return evidence.ID{}, &InvalidError{"context", "sources", errors.New("want at least one")}
	}
	for i := range sources {
		if sources[i].Media == "" {
			sources[i].Media = mediaText
		}
		for what, id := range map[string]string{"source": sources[i].Name, "media type": sources[i].Media} {
			if err := evidence.CheckIdentifier(id); err != nil {
				return evidence.ID{}, &InvalidError{"context", what, err}
			}
		}
	}
	defer r.steps.lock("context")()
	r.mu.Lock()
	last := r.state.Laid()
	r.mu.Unlock()
	if last != nil && len(last.Context.Sources) == len(sources) {
		same := true
		for i := range sources {
			b := &last.Context.Sources[i]
			if same = b.Name == sources[i].Name && b.Evidence == sources[i].Evidence; !same {
				break
			}
			var err error
			s := &stepper{Run: r}
			if same, err = s.samePayload(ctx, &b.Content, sources[i].Media, sources[i].Data); err != nil {
				return evidence.ID{}, err
			}
			if !same {
				break
			}
		}
		if same {
			return last.ID, nil
		}
	}
	return r.Context(ctx, sources...)
}
