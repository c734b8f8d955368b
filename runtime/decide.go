package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Reasoner answers questions: a model, or a function in its place. It can do
// nothing else: it holds no tool, no permission and no ledger.
type Reasoner interface {
	// Model names who answers: an identifier. A Reasoner that has a method
	// Provider() string as well says by it, in traces, who serves the model.
	Model() string
	// Reason answers a question. An error is bad_reasoning: the question is put
	// again, with nothing of the last try, as often as the rules say.
	Reason(ctx context.Context, q *Question) (*Thought, error)
}

// Question is what a Reasoner is asked.
type Question struct {
	Name string // of the decision
	Data []byte // JSON
	Try  int    // 1, 2, 3 …
}

// Thought is an answer.
type Thought struct {
	Choice    []byte // JSON
	Rationale string // in the model's words; "": none
	Cost      evidence.Amounts
	Usage     Usage
}

// Usage is the tokens that a model counted on the way in and out, for traces. The
// record has what the answer cost, under "tokens" in one sum. 0: not counted.
type Usage struct{ InputTokens, OutputTokens int }

// Decision is a recorded answer.
type Decision struct {
	ID       evidence.ID
	Choice   []byte // JSON
	Replayed bool   // it was recorded before; nobody was asked
}

// Decide puts a question to a model and records the answer. The same name again
// returns the recorded answer, and asks nobody. context names the records of the
// context that the question was made from ([Run.Context]).
func (r *Run) Decide(ctx context.Context, name string, model Reasoner, question []byte, context ...evidence.ID) (made *Decision, err error) {
	defer r.steps.lock("decision " + name)()
	var thought *Thought
	ctx, span := r.decisionSpan(ctx, name, model)
	defer func() { span.decided(made, thought, err) }()
	r.mu.Lock()
	d, ok := r.state.Decision(name)
	r.mu.Unlock()
	if ok {
		p, err := r.rt.cfg.Ledger.ReadPayload(ctx, d.Decision.Choice.Commit)
		if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload) {
			return nil, &InDoubt{Step: name, Action: "decide", Authorization: d.ID, Doubt: d.ID, Err: err}
		}
		if err != nil {
			return nil, fmt.Errorf("decision %q: %w", name, err)
		}
		return &Decision{d.ID, p.Data, true}, nil
	}
	thought, err = r.reason(ctx, name, model, question)
	if err != nil {
		return nil, err
	}
	body := &evidence.Decision{Step: name, Model: model.Model(), Context: context, Cost: thought.Cost}
	var payloads []evidence.Payload
	seal := r.rt.sealInto(&payloads)
	if body.Question, err = seal(mediaJSON, question); err != nil {
		return nil, err
	}
	choice, err := seal(mediaJSON, thought.Choice)
	if err != nil {
		return nil, err
	}
	body.Choice = *choice
	if thought.Rationale != "" {
		if body.Rationale, err = seal(mediaText, []byte(thought.Rationale)); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	placed, err := r.write(ctx, draft{body: body, actor: r.agent, payloads: payloads})
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r.budget.book(nil, thought.Cost)
	return &Decision{placed.ID, thought.Choice, false}, nil
}

// DecisionID returns the record of a decision that was made under a name, for an
// action that rests on it ([BecauseOf]); zero: there is none.
func (r *Run) DecisionID(name string) evidence.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, _ := r.state.Decision(name)
	return d.ID
}

// reason asks until there is an answer, or the rules say stop.
func (r *Run) reason(ctx context.Context, name string, model Reasoner, question []byte) (*Thought, error) {
	rule := r.rt.rule("", evidence.BadReasoning)
	for try := 1; ; try++ {
		if err := r.budget.reserve(nil, r.rt.cfg.Clock.Now()); err != nil {
			return nil, &Failed{Step: name, Action: "decide", Class: evidence.BudgetExceeded, Attempts: try - 1, Err: err}
		}
		thought, err := model.Reason(ctx, &Question{Name: name, Data: question, Try: try})
		if err == nil && (thought == nil || strictJSON(thought.Choice) != nil) {
			err = errors.New("the answer is no JSON value")
		}
		if err == nil {
			return thought, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if rule.Answer != AnswerReplan || try >= rule.Attempts {
			failed := &Failed{Step: name, Action: "decide", Class: evidence.BadReasoning, Attempts: try, Err: err}
			r.mu.Lock()
			placed, writeErr := r.write(ctx, draft{body: &evidence.Escalation{
				Reason: string(evidence.BadReasoning), To: r.rt.cfg.Team, Concerns: []evidence.ID{r.state.Run().Tail},
			}})
			r.mu.Unlock()
			if writeErr != nil {
				return nil, errors.Join(failed, writeErr)
			}
			failed.Escalation = placed.ID
			return nil, failed
		}
	}
}

// ThoughtOf is a [Thought] with a typed choice.
type ThoughtOf[Out any] struct {
	Choice    Out
	Rationale string
	Cost      evidence.Amounts
	Usage     Usage
}

// Model is a Reasoner made of a function with typed question and choice. Make one
// with [NewModel].
type Model[In, Out any] struct {
	name string
	f    func(ctx context.Context, in In) (ThoughtOf[Out], error)
}

// NewModel makes a Reasoner of a function that calls a model, or stands for one.
func NewModel[In, Out any](name string, f func(ctx context.Context, in In) (ThoughtOf[Out], error)) *Model[In, Out] {
	return &Model[In, Out]{name, f}
}

// Model implements [Reasoner].
func (m *Model[In, Out]) Model() string { return m.name }

// Reason implements [Reasoner].
func (m *Model[In, Out]) Reason(ctx context.Context, q *Question) (*Thought, error) {
	var in In
	if err := json.Unmarshal(q.Data, &in); err != nil {
		return nil, err
	}
	t, err := m.f(ctx, in)
	if err != nil {
		return nil, err
	}
	choice, err := marshal(t.Choice)
	if err != nil {
		return nil, err
	}
	return &Thought{choice, t.Rationale, t.Cost, t.Usage}, nil
}

// Decide is [Run.Decide] for a typed model. It returns the choice.
func Decide[In, Out any](ctx context.Context, r *Run, name string, model *Model[In, Out], in In, context ...evidence.ID) (Out, error) {
	var out Out
	question, err := marshal(in)
	if err != nil {
		return out, fmt.Errorf("decision %q: its question: %w", name, err)
	}
	d, err := r.Decide(ctx, name, model, question, context...)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(d.Choice, &out); err != nil {
		return out, fmt.Errorf("decision %q: the recorded choice: %w", name, err)
	}
	return out, nil
}

// Source is one part of what is laid before a model.
type Source struct {
	Name  string // an identifier: system, customer, a document's name
	Media string // text/plain if ""
	Data  []byte
	// Evidence is the record that it came from; zero: it is not of the ledger.
	Evidence evidence.ID
}

// Context records what is laid before a model, and returns the record's ID for
// the decisions that are made from it. A program that is run again from the top
// records its context again: what it saw the second time is evidence, too. Where
// the run is closed nothing is recorded, and the ID is zero.
//
// A source whose evidence is a handoff accepted for this run takes that up
// ([Run.Take]).
func (r *Run) Context(ctx context.Context, sources ...Source) (evidence.ID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Run().Closed {
		return evidence.ID{}, nil
	}
	body := &evidence.Context{}
	var payloads []evidence.Payload
	var named []evidence.ID
	for _, s := range sources {
		media := s.Media
		if media == "" {
			media = mediaText
		}
		p, err := r.rt.seal(media, s.Data)
		if err != nil {
			return evidence.ID{}, err
		}
		payloads = append(payloads, *p)
		if !s.Evidence.IsZero() {
			named = append(named, s.Evidence)
		}
		body.Sources = append(body.Sources, evidence.ContextSource{Name: s.Name, Content: p.Commitment(), Evidence: s.Evidence})
	}
	ctx, span := r.recordSpan(ctx, "context")
	placed, err := r.write(ctx, draft{body: body, actor: r.agent, payloads: payloads})
	if err == nil {
		if err = r.takesUp(ctx, named); err != nil {
			r.lost = err // who reads the run again knows what it rests on
		}
	}
	span.done(err)
	return placed.ID, err
}
