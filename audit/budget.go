package audit

import (
	"fmt"
	"slices"

	"ledgerd/evidence"
)

// account is the budget of a run and what the run and its children spent. It
// outlives the run where a child still spends.
type account struct {
	run    evidence.RunID
	budget evidence.Amounts
	spent  evidence.Amounts
	parent *account
	ids    []evidence.ID // records of its line, while the run is open: children name one
}

// charge books cost and reports where a budget is exceeded by more than the
// estimate of the one attempt that crossed it.
func (a *account) charge(p place, cost, estimate evidence.Amounts) []Finding {
	var found []Finding
	for ; a != nil; a = a.parent {
		for _, unit := range units(cost) {
			before := a.spent[unit]
			after := before + cost[unit]
			if after < before { // beyond any budget
				after = 1<<63 - 1
			}
			if a.spent == nil {
				a.spent = make(evidence.Amounts)
			}
			a.spent[unit] = after
			limit, limited := a.budget[unit]
			if !limited || cost[unit] == 0 {
				continue
			}
			if before > limit || after-limit > estimate[unit] {
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

// attemptCost is what an execution costs: what its record says, and the attempt
// itself, which the ledger counts and no record needs to say.
func attemptCost(b *evidence.Execution, first bool) evidence.Amounts {
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
