package runtime

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ledgerd/evidence"
)

// account is the budget of a run, and what the run and its children spent of it.
// A child's account books with its parent's, up the line.
type account struct {
	limits evidence.Amounts
	parent *account
	began  time.Time // of the run, for wall_ms

	mu       sync.Mutex
	spent    evidence.Amounts
	reserved evidence.Amounts               // by attempts under way: what they may cost
	asked    map[attemptAt]evidence.Amounts // those of them that others make: see Ask
}

func newAccount(limits evidence.Amounts, parent *account, spent evidence.Amounts, began time.Time) *account {
	if spent == nil {
		spent = make(evidence.Amounts)
	}
	return &account{
		limits: limits, parent: parent, began: began,
		spent: spent, reserved: make(evidence.Amounts), asked: make(map[attemptAt]evidence.Amounts),
	}
}

// BudgetError says that an attempt could cost more than is left.
type BudgetError struct {
	Unit                   string
	Limit, Spent, Estimate int64 // Spent counts what is under way
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("the budget of %d %s is spent up to %d, and the next attempt may cost %d", e.Limit, e.Unit, e.Spent, e.Estimate)
}

// attemptEstimate is what an attempt may cost: what the tool says, and the
// attempt itself.
func attemptEstimate(estimate evidence.Amounts, first bool) evidence.Amounts {
	e := evidence.Amounts{"attempts": 1}
	for unit, n := range estimate {
		e[unit] = n
	}
	if first {
		e["tool_calls"] = 1
	}
	return e
}

// reserve sets an attempt's estimate aside, here and with all parents, or
// nothing at all. now is for budgets of wall time. An account locks its parent's
// while it holds its own, and never the other way round.
func (a *account) reserve(estimate evidence.Amounts, now time.Time) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, unit := range sortedUnits(a.limits) {
		limit, spent, want := a.limits[unit], a.spent[unit]+a.reserved[unit], estimate[unit]
		if unit == "wall_ms" {
			spent = now.Sub(a.began).Milliseconds()
		}
		if want > 0 && spent+want > limit || spent > limit {
			return &BudgetError{unit, limit, spent, want}
		}
	}
	if err := a.parent.reserve(estimate, now); err != nil {
		return err
	}
	for unit, n := range estimate {
		a.reserved[unit] += n
	}
	return nil
}

// ask sets an estimate aside for an attempt that somebody else makes, until it is
// answered: once, however often it is asked for.
func (a *account) ask(at attemptAt, estimate evidence.Amounts, now time.Time) error {
	a.mu.Lock()
	_, asked := a.asked[at]
	a.mu.Unlock()
	if asked {
		return nil
	}
	if err := a.reserve(estimate, now); err != nil {
		return err
	}
	for ; a != nil; a = a.parent {
		a.mu.Lock()
		a.asked[at] = estimate
		a.mu.Unlock()
	}
	return nil
}

// hold is ask whatever is left: for an attempt that was permitted before this
// driver.
func (a *account) hold(at attemptAt, estimate evidence.Amounts) {
	for ; a != nil; a = a.parent {
		a.mu.Lock()
		if _, asked := a.asked[at]; !asked {
			a.asked[at] = estimate
			for unit, n := range estimate {
				a.reserved[unit] += n
			}
		}
		a.mu.Unlock()
	}
}

// answered books what an attempt came to that somebody else made.
func (a *account) answered(at attemptAt, cost evidence.Amounts) {
	a.mu.Lock()
	estimate := a.asked[at]
	a.mu.Unlock()
	a.book(estimate, cost)
	for ; a != nil; a = a.parent {
		a.mu.Lock()
		delete(a.asked, at)
		a.mu.Unlock()
	}
}

// book ends a reservation: cost is what the attempt came to.
func (a *account) book(estimate, cost evidence.Amounts) {
	for ; a != nil; a = a.parent {
		a.mu.Lock()
		for unit, n := range estimate {
			a.reserved[unit] -= n
		}
		for unit, n := range cost {
			a.spent[unit] += n
		}
		a.mu.Unlock()
	}
}

// total returns what was spent.
func (a *account) total() evidence.Amounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := make(evidence.Amounts, len(a.spent))
	for unit, n := range a.spent {
		sum[unit] = n
	}
	return sum
}

func sortedUnits(a evidence.Amounts) []string {
	units := make([]string, 0, len(a))
	for u := range a {
		units = append(units, u)
	}
	slices.SortFunc(units, strings.Compare)
	return units
}
