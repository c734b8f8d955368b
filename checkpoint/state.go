package checkpoint

import (
	"slices"

	"ledgerd/audit"
	"ledgerd/evidence"
)

// State is what the records of one run say, as far as they were applied. Make
// one with [New]. It is not safe for concurrent use.
type State struct {
	run       *audit.Run
	registry  *audit.Registry
	steps     map[string]*step
	order     []string // of steps, as they began
	decisions map[string]Decided
	answers   map[evidence.ID][]answer // approvals, by the authorization they are about
	saved     *Saved
	names     map[string]*Saved         // checkpoints
	context   *Laid                     // the last context
	reports   map[evidence.ID]*Reported // executions of source reported
	closed    *evidence.RunClosed
	claims    []evidence.ID
	said      []evidence.ID // claims on the line since something was done, or may have been taken up
	claimed   map[evidence.ID]*evidence.Claim
	asked     map[evidence.ID]evidence.ID      // escalations, by what they concern
	verdicts  map[evidence.ID]evidence.Verdict // by claim; the zero ID: of the run
	judged    map[evidence.ID]evidence.ID      // records of verdicts, by claim
}

// step is what was recorded under one name.
type step struct {
	name    string
	auths   []evidence.ID
	failure *evidence.Execution // the last execution of the last authorization, where it failed
	ext     evidence.Object     // of the last authorization's record
	// attempts counts the executions under all authorizations; reported has those
	// of source reported, by their number among them.
	attempts int
	reported map[int]*Reported
}

// answer is what a human said beside the line.
type answer struct {
	id    evidence.ID
	body  *evidence.Approval
	by    audit.Signer
	index uint64
}

// Decided is a recorded decision.
type Decided struct {
	ID       evidence.ID
	Decision *evidence.Decision
}

// Saved is a recorded checkpoint.
type Saved struct {
	ID       evidence.ID
	Name     string
	Sequence int64
	State    evidence.Commitment
}

// Reported is an execution that somebody reported.
type Reported struct {
	ID        evidence.ID
	Execution *evidence.Execution
	// Settlement ended the doubt that the report left; zero: none did, or there was
	// none.
	Settlement evidence.ID
	Settled    *evidence.Settlement // its body
}

// Laid is a recorded context: what was laid before a model.
type Laid struct {
	ID      evidence.ID
	Context *evidence.Context
}

// New returns the State of a run of which nothing is known. registry tells which
// keys are in doubt; nil: none are.
func New(registry *audit.Registry) *State {
	return &State{
		run: audit.NewRun(registry), registry: registry,
		steps: make(map[string]*step), decisions: make(map[string]Decided), answers: make(map[evidence.ID][]answer),
		names: make(map[string]*Saved), reports: make(map[evidence.ID]*Reported), claimed: make(map[evidence.ID]*evidence.Claim),
		judged: make(map[evidence.ID]evidence.ID), asked: make(map[evidence.ID]evidence.ID), verdicts: make(map[evidence.ID]evidence.Verdict),
	}
}

// Apply takes the next record of the run, on its line or beside it, in log
// order, with who signed it. It returns what the record breaks: a sound run
// breaks nothing, and a runtime goes on with no other.
func (s *State) Apply(p evidence.Placed, by audit.Signer) []audit.Finding {
	found := s.run.Apply(p.Index, p.ID, p.Record, by)
	rec := p.Record
	switch b := rec.Body.(type) {
	case *evidence.Authorization:
		if s.run.Authorization(p.ID) == nil {
			break // outside the run, or another writer's
		}
		st := s.steps[b.Step]
		if st == nil {
			st = &step{name: b.Step}
			s.steps[b.Step] = st
			s.order = append(s.order, b.Step)
		}
		st.auths, st.failure, st.ext = append(st.auths, p.ID), nil, rec.Ext
	case *evidence.Execution:
		s.said = nil
		if a := s.run.Authorization(b.Authorization); a != nil {
			s.steps[a.Step].executed(s, p.ID, b)
		}
	case *evidence.Settlement:
		s.said = nil
		if r := s.reports[b.Settles]; r != nil && r.Settled == nil {
			r.Settlement, r.Settled = p.ID, b
		}
	case *evidence.Context:
		s.context = &Laid{p.ID, b}
		if slices.ContainsFunc(b.Sources, func(c evidence.ContextSource) bool { return !c.Evidence.IsZero() }) {
			s.said = nil // it may take up a handoff, on which a claim rests too
		}
	case *evidence.RunClosed:
		s.closed = b
	case *evidence.Approval:
		s.answers[rec.About] = append(s.answers[rec.About], answer{p.ID, b, by, p.Index})
	case *evidence.Decision:
		if _, again := s.decisions[b.Step]; !again && b.Step != "" {
			s.decisions[b.Step] = Decided{p.ID, b}
		}
	case *evidence.Checkpoint:
		s.saved = &Saved{ID: p.ID, Name: b.Name, Sequence: b.Sequence, State: b.State}
		s.names[b.Name] = s.saved
	case *evidence.Escalation:
		for _, id := range b.Concerns {
			s.asked[id] = p.ID
		}
	case *evidence.Claim:
		s.claims = append(s.claims, p.ID)
		s.claimed[p.ID] = b
		if rec.OnLine() {
			s.said = append(s.said, p.ID)
		}
	case *evidence.Verdict:
		s.verdicts[b.Claim], s.judged[b.Claim] = *b, p.ID
	}
	return found
}

// executed notes an execution under one of the step's authorizations.
func (st *step) executed(s *State, id evidence.ID, b *evidence.Execution) {
	st.attempts++
	st.failure = nil
	if b.Status == evidence.StatusFailure {
		st.failure = b
	}
	r := &Reported{ID: id, Execution: b}
	if st.reported == nil {
		st.reported = make(map[int]*Reported)
	}
	st.reported[st.attempts], s.reports[id] = r, r
}

// Said returns the claims on the line since something was executed or settled, in
// log order.
func (s *State) Said() []evidence.ID { return append([]evidence.ID(nil), s.said...) }

// Run returns the audit's view of the run: its line, its doubts, what it spent.
// It is not to be applied to.
func (s *State) Run() *audit.Run { return s.run }

// Opened reports whether the run has a run.opened.
func (s *State) Opened() bool { return !s.run.Opened.IsZero() }

// Decision returns what was decided under a name.
func (s *State) Decision(name string) (Decided, bool) {
	d, ok := s.decisions[name]
	return d, ok
}

// Last returns the last checkpoint, nil where there is none.
func (s *State) Last() *Saved { return s.saved }

// Has reports whether a checkpoint of that name was saved.
func (s *State) Has(name string) bool { return s.names[name] != nil }

// Saved returns the checkpoint of that name, nil where there is none.
func (s *State) Saved(name string) *Saved { return s.names[name] }

// Laid returns the last context, nil where there is none.
func (s *State) Laid() *Laid { return s.context }

// Closed returns the body of run.closed, nil while the run is open.
func (s *State) Closed() *evidence.RunClosed { return s.closed }

// Reported returns what is recorded as the outcome of a step's attempt of that number,
// counted over all its authorizations from 1: of a step that others execute, what was
// reported.
func (s *State) Reported(name string, attempt int) (Reported, bool) {
	if st := s.steps[name]; st != nil && st.reported[attempt] != nil {
		return *st.reported[attempt], true
	}
	return Reported{}, false
}

// Next returns the body of the checkpoint that would follow, without its state:
// its sequence, and the executions and settlements that it covers.
func (s *State) Next(name string) *evidence.Checkpoint {
	last, since := s.run.LastCheckpoint()
	c := &evidence.Checkpoint{Name: name, Sequence: 1, Covers: since}
	if last != nil {
		c.Sequence = last.Sequence + 1
	}
	return c
}

// Escalation returns the last escalation that concerns a record.
func (s *State) Escalation(concerns evidence.ID) (evidence.ID, bool) {
	id, ok := s.asked[concerns]
	return id, ok
}

// Judged returns the record of the verdict on a claim.
func (s *State) Judged(claim evidence.ID) evidence.ID { return s.judged[claim] }

// Steps returns the names of the steps that began, in that order.
func (s *State) Steps() []string { return append([]string(nil), s.order...) }

// Claims returns the claims on the line, or beside it, in log order.
func (s *State) Claims() []evidence.ID { return append([]evidence.ID(nil), s.claims...) }

// Claim returns what a claim says; nil: there is none of that ID.
func (s *State) Claim(id evidence.ID) *evidence.Claim { return s.claimed[id] }

// Verdict returns the recorded verdict on a claim; of the zero ID, on the run as
// such.
func (s *State) Verdict(claim evidence.ID) (evidence.Verdict, bool) {
	v, ok := s.verdicts[claim]
	return v, ok
}
