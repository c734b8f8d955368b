package audit

import "ledgerd/evidence"

// Action is what a run knows of one authorized action: what a runtime that runs
// the program again from the top replays.
type Action struct {
	Authorization evidence.ID
	Index         uint64
	Record        *evidence.Authorization
	// Executable: an execution under it would keep the rule authorized.
	Executable bool
	Attempts   int
	Last       evidence.ID // the last execution; zero: none
	// Status is the outcome with the strongest word on it: the tool's, a
	// settlement's or the last execution's. "": nothing is known.
	Status evidence.Status
	Source evidence.Source
	Output *evidence.Commitment
	Refs   evidence.Object
}

// Actions returns the authorizations of the run with what became of each, in log
// order.
func (r *Run) Actions() []Action {
	list := make([]Action, 0, len(r.acts))
	for _, a := range r.acts {
		if a.auth == nil {
			continue // an execution that fits no authorization
		}
		list = append(list, a.asAction())
	}
	return list
}

// Action returns what became of one authorization of the run.
func (r *Run) Action(authorization evidence.ID) (Action, bool) {
	a := r.byID[authorization]
	if a == nil {
		return Action{}, false
	}
	return a.asAction(), true
}

// Authorization returns an authorization of the run; nil: it has none of that ID.
func (r *Run) Authorization(id evidence.ID) *evidence.Authorization {
	if a := r.byID[id]; a != nil {
		return a.auth
	}
	return nil
}

func (a *act) asAction() Action {
	x := Action{Authorization: a.id, Index: a.index, Record: a.auth, Executable: a.fault == nil && a.allowed(), Attempts: a.before + len(a.attempts)}
	if n := len(a.attempts); n > 0 {
		x.Last = a.attempts[n-1].id
	}
	if o, any := a.last(forever); any {
		x.Status, x.Source, x.Output, x.Refs = o.status, o.source, o.output, o.refs
	}
	return x
}

// Spent returns what the run and its children have spent so far, in the units of
// a budget; children only where one [Auditor] folds them too.
func (r *Run) Spent() evidence.Amounts {
	spent := make(evidence.Amounts)
	if r.account != nil {
		for unit, n := range r.account.spent {
			spent[unit] = n
		}
	}
	return spent
}

// LastCheckpoint returns the last checkpoint, nil where there is none, and the
// executions and settlements since: what the next one covers.
func (r *Run) LastCheckpoint() (c *evidence.Checkpoint, since []evidence.ID) {
	return r.lastPt, append([]evidence.ID(nil), r.since...)
}
