package audit

import "ledgerd/evidence"

// An act is one authorized action of a run and all that became of it. What is
// judged as of an earlier record is read off the indexes.
type act struct {
	id             evidence.ID // the authorization; zero for an execution that has none that fits
	index          uint64
	key            evidence.Digest // that signed it
	auth           *evidence.Authorization
	action         string
	resource, tool string
	input          evidence.Commitment
	time           evidence.Time
	fault          *Finding // why nothing may be executed under it
	misfit         bool     // an execution names it that does not repeat it
	answered       bool     // escalated, and an authorization used the approval
	gone           bool     // forgotten by a brief run
	before         int      // attempts that a brief run forgot
	attempts       []attempt
	answers        []answer
}

// An attempt is an execution.
type attempt struct {
	id     evidence.ID
	index  uint64
	key    evidence.Digest
	status evidence.Status
	source evidence.Source
	output *evidence.Commitment
	refs   evidence.Object
}

// An answer is a settlement, or a tool's confirmation from the record on that
// cites it.
type answer struct {
	id      evidence.ID
	index   uint64 // of the line record from which it counts
	key     evidence.Digest
	attempt int // position in attempts; -1: the authorization was never seen executed
	status  evidence.Status
	source  evidence.Source
	output  *evidence.Commitment
	refs    evidence.Object
}

// allowed reports whether the permission check let the action pass. Where it was
// only observed, everything passed.
func (a *act) allowed() bool {
	return a.auth != nil && (a.auth.Effect == evidence.Allow || a.auth.Mode == evidence.Observe)
}

func (a *act) imported() bool { return a.auth != nil && a.auth.Source == evidence.SourceImported }

// state is what is known of one attempt.
type state int

const (
	notDone state = iota // failed or did not run
	done
	maybe // a doubt: unknown, accepted, or answers that contradict each other
)

// outcome is the state of an attempt with the strongest word on it.
type outcome struct {
	state  state
	status evidence.Status
	source evidence.Source
	output *evidence.Commitment
	refs   evidence.Object
	ids    []evidence.ID // the attempt, and the answer that decides
	keys   []keyAt       // under which its word stands
	index  uint64        // when it was done, at the latest
}

type keyAt struct {
	key   evidence.Digest
	index uint64
}

// outcomeOf returns what is known of attempt i before index asOf; -1 stands for
// what was never seen executed.
func (a *act) outcomeOf(i int, asOf uint64) outcome {
	var o outcome
	if i >= 0 {
		t := &a.attempts[i]
		o = outcome{status: t.status, source: t.source, output: t.output, refs: t.refs, ids: []evidence.ID{t.id}, keys: []keyAt{{t.key, t.index}}, index: t.index}
	} else {
		o = outcome{status: evidence.StatusUnknown, source: a.auth.Source, ids: []evidence.ID{a.id}, keys: []keyAt{{a.key, a.index}}, index: a.index}
	}
	settled := false
	for n := range a.answers {
		w := &a.answers[n]
		if w.attempt != i || w.index >= asOf {
			continue
		}
		confirms := w.source == evidence.SourceConfirmed
		switch {
		case settled && confirms && o.source == evidence.SourceConfirmed && w.status != o.status:
			// The tool contradicts itself.
			o.status, o.ids = evidence.StatusUnknown, append(o.ids, w.id)
			continue
		case settled && !confirms:
			continue // the first settlement, or the tool, has spoken
		}
		settled = true
		if i < 0 || a.attempts[i].status != evidence.StatusSuccess {
			o.index = w.index // before that, nobody said that it was done
		}
		o.status, o.source = w.status, w.source
		if w.output != nil {
			o.output, o.refs = w.output, w.refs
		}
		o.ids = append(o.ids[:1:1], w.id)
		o.keys = append(o.keys[:1:1], keyAt{w.key, w.index})
	}
	switch o.status {
	case evidence.StatusSuccess:
		o.state = done
	case evidence.StatusUnknown, evidence.StatusAccepted:
		o.state = maybe
	}
	return o
}

// known returns how many attempts stand before index asOf.
func (a *act) known(asOf uint64) int {
	n := 0
	for n < len(a.attempts) && a.attempts[n].index < asOf {
		n++
	}
	return n
}

// last returns the outcome of the last attempt, and whether there is any word
// on the act at all.
func (a *act) last(asOf uint64) (outcome, bool) {
	if len(a.attempts)+len(a.answers) == 0 {
		return outcome{}, false
	}
	if n := a.known(asOf); n > 0 {
		return a.outcomeOf(n-1, asOf), true
	}
	if a.auth == nil {
		return outcome{}, false
	}
	o := a.outcomeOf(-1, asOf)
	return o, len(o.ids) > 1
}
