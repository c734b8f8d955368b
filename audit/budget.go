package audit

import (
	"fmt"
	"slices"

	"ledgerd/evidence"
)

// account is what a run shares with its children: its budget, what it and they spent,
// and the scope of the handoff that it continues. It outlives the run where a child
// goes on.
type account struct {
	run    evidence.RunID
	held   *handoffState // nil: the run continues no handoff
	budget evidence.Amounts
	spent  evidence.Amounts
	parent *account
	brief  *brief        // of its run
	ids    []evidence.ID // records of its line, while the run is open: children name one
	prints []uint64      // their fingerprints instead, of a brief run
}

// accounts finds the account of an open run that binds its children by any record of
// its line, for a child may be started from each. Of brief runs it knows only the
// fingerprints of the records. Nothing is decided by those: where two runs have
// records of one fingerprint, or a child that was found by one exceeds a budget,
// the runs are folded again whole.
type accounts struct {
	byID    map[evidence.ID]*account
	byPrint map[uint64]*account
}

func newAccounts() accounts {
	return accounts{make(map[evidence.ID]*account), make(map[uint64]*account)}
}

func (s *accounts) open(id evidence.ID, a *account) {
	if a.brief == nil {
		s.byID[id] = a
		a.ids = append(a.ids, id)
		return
	}
	f := fingerprint(evidence.Digest(id))
	if other := s.byPrint[f]; other != nil && other != a {
		other.brief.lose()
		a.brief.lose()
		return
	}
	s.byPrint[f] = a
	a.prints = append(a.prints, f)
}

// binds reports whether a child has to be held to it.
func (a *account) binds() bool { return len(a.budget) > 0 || a.held != nil || a.parent != nil }

// of returns the account that a record belongs to; nil: none, or the run binds no
// child, or it is closed.
func (s *accounts) of(id evidence.ID) *account {
	if a := s.byID[id]; a != nil {
		return a
	}
	return s.byPrint[fingerprint(evidence.Digest(id))]
}

func (s *accounts) close(a *account) {
	for _, id := range a.ids {
		delete(s.byID, id)
	}
	for _, f := range a.prints {
		delete(s.byPrint, f)
	}
	a.ids, a.prints = nil, nil
}

// counts reports whether it matters what the run spends.
func (a *account) counts() bool {
	return a.brief == nil || len(a.budget) > 0 || a.parent != nil
}

// charge books cost and reports where a budget is exceeded by more than the
// estimate of the one attempt that crossed it.
func (a *account) charge(p place, cost, estimate evidence.Amounts) []Finding {
	var found []Finding
	for own := a; a != nil; a = a.parent {
		for _, unit := range units(cost) {
			limit, limited := a.budget[unit]
			if !limited && a.brief != nil {
				continue // nobody asks, and records may name units without end
			}
			before := a.spent[unit]
			after := before + cost[unit]
			if after < before { // beyond any budget
				after = 1<<63 - 1
			}
			if a.spent == nil {
				a.spent = make(evidence.Amounts)
			}
			a.spent[unit] = after
			if !limited || cost[unit] == 0 {
				continue
			}
			if before > limit || after-limit > estimate[unit] {
				if a != own {
					a.brief.lose() // is it the child's parent? a fingerprint says so
				}
				found = append(found, p.broken(RuleBudget, ReasonOverBudget,
					fmt.Sprintf("%s to spend at most %d %s, or one attempt's estimate more", a.run, limit, unit),
					"%d, of which this record %d against an estimate of %d", after, cost[unit], estimate[unit]))
			}
		}
	}
	return found
}

// units returns the units of an amount in a fixed order.
func units(a evidence.Amounts) []string {
	names := make([]string, 0, len(a))
	for unit := range a {
		names = append(names, unit)
	}
	slices.Sort(names)
	return names
}

// AttemptCost is what an execution costs: what its record says, and the attempt
// itself, which the ledger counts and no record needs to say.
func AttemptCost(b *evidence.Execution, first bool) evidence.Amounts {
	cost := make(evidence.Amounts, len(b.Cost)+2)
	for unit, n := range b.Cost {
		cost[unit] = n
	}
	cost["attempts"], cost["tool_calls"] = 0, 0
	if b.Status != evidence.StatusNotRun {
		cost["attempts"] = 1
		if first {
			cost["tool_calls"] = 1
		}
	}
	return cost
}
