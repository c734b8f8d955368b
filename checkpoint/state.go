package checkpoint

import (
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
	names     map[string]bool // of checkpoints
	claims    []evidence.ID
	claimed   map[evidence.ID]*evidence.Claim
	asked     map[evidence.ID]evidence.ID      // escalations, by what they concern
	verdicts  map[evidence.ID]evidence.Verdict // by claim; the zero ID: of the run
}

// step is what was recorded under one name.
type step struct {
	name    string
	auths   []evidence.ID
	failure *evidence.Execution // the last execution of the last authorization, where it failed
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

// New returns the State of a run of which nothing is known. registry tells which
// keys are in doubt; nil: none are.
func New(registry *audit.Registry) *State {
	return &State{
		run: audit.NewRun(registry), registry: registry,
		steps: make(map[string]*step), decisions: make(map[string]Decided), answers: make(map[evidence.ID][]answer),
		names: make(map[string]bool), claimed: make(map[evidence.ID]*evidence.Claim), asked: make(map[evidence.ID]evidence.ID), verdicts: make(map[evidence.ID]evidence.Verdict),
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
		st.auths, st.failure = append(st.auths, p.ID), nil
	case *evidence.Execution:
		if a := s.run.Authorization(b.Authorization); a != nil {
			s.steps[a.Step].failure = nil
			if b.Status == evidence.StatusFailure {
				s.steps[a.Step].failure = b
			}
		}
	case *evidence.Approval:
		s.answers[rec.About] = append(s.answers[rec.About], answer{p.ID, b, by, p.Index})
	case *evidence.Decision:
		if _, again := s.decisions[b.Step]; !again && b.Step != "" {
			s.decisions[b.Step] = Decided{p.ID, b}
		}
	case *evidence.Checkpoint:
		s.saved = &Saved{ID: p.ID, Name: b.Name, Sequence: b.Sequence, State: b.State}
		s.names[b.Name] = true
	case *evidence.Escalation:
		for _, id := range b.Concerns {
			s.asked[id] = p.ID
		}
	case *evidence.Claim:
		s.claims = append(s.claims, p.ID)
		s.claimed[p.ID] = b
	case *evidence.Verdict:
		s.verdicts[b.Claim] = *b
	}
	return found
}

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
func (s *State) Has(name string) bool { return s.names[name] }

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
