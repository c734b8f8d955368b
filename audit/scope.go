package audit

import (
	"fmt"
	"strings"

	"ledgerd/evidence"
)

// handoffState is what a run that continues a handoff is held to. nil: the run
// continues none.
type handoffState struct {
	acceptance evidence.ID
	// offers are what it was offered so far: one of them has to permit an action.
	// None: the offer stands in another ledger, or was left out.
	offers []*offerRecord
}

// scope is what the run was offered, all together.
func (h *handoffState) scope() []evidence.ScopeEntry {
	var all []evidence.ScopeEntry
	for _, o := range h.offers {
		all = append(all, o.body.Scope...)
	}
	return all
}

// offerRecord is an offer that the audit has seen.
type offerRecord struct {
	place
	body *evidence.HandoffOffered
	rec  *evidence.Record
	by   Signer
}

// Within reports whether a scope permits an action on a resource. An entry's
// resource is the resource itself, or what it begins with and an asterisk; an
// action on no resource is permitted by "*" alone.
func Within(scope []evidence.ScopeEntry, action, resource string) bool {
	for _, s := range scope {
		if s.Action != action {
			continue
		}
		if prefix, ok := strings.CutSuffix(s.Resource, "*"); s.Resource == resource || ok && strings.HasPrefix(resource, prefix) {
			return true
		}
	}
	return false
}

// Narrower reports whether every entry of inner is permitted by outer.
func Narrower(inner, outer []evidence.ScopeEntry) bool {
	for _, s := range inner {
		if !covered(s, outer) {
			return false
		}
	}
	return true
}

func covered(s evidence.ScopeEntry, outer []evidence.ScopeEntry) bool {
	for _, o := range outer {
		if o.Action != s.Action {
			continue
		}
		prefix, open := strings.CutSuffix(o.Resource, "*")
		inner, innerOpen := strings.CutSuffix(s.Resource, "*")
		if o.Resource == s.Resource || open && strings.HasPrefix(inner, prefix) && (innerOpen || strings.HasPrefix(s.Resource, prefix)) {
			return true
		}
	}
	return false
}

// inScope holds an allowed action to the scope of the handoff that the run continues,
// and of those that its parents do.
func (a *account) inScope(p place, b *evidence.Authorization) []Finding {
	return a.heldTo(func(scope []evidence.ScopeEntry) bool { return Within(scope, b.Action, b.Resource) }, func() Finding {
		return p.broken(RuleHandoff, ReasonOutOfScope, "an action inside the scope of the offer", "%s on %q", b.Action, b.Resource)
	})
}

// passesOn holds an offer to what the run itself was handed, and its parents were:
// nothing is passed on that was not received.
func (a *account) passesOn(p place, b *evidence.HandoffOffered) []Finding {
	if a == nil {
		return nil // nobody opened the run, which is reported
	}
	if h := a.held; h != nil && b.Parent != h.acceptance {
		return []Finding{p.broken(RuleHandoff, ReasonWidened, fmt.Sprintf("parent to name the acceptance %s that the run continues", h.acceptance), "%s", b.Parent)}
	}
	return a.heldTo(func(scope []evidence.ScopeEntry) bool { return Narrower(b.Scope, scope) }, func() Finding {
		return p.broken(RuleHandoff, ReasonWidened, "a scope within that of the offer that the run continues", "a wider one")
	})
}

// heldTo reports the first account, from the run's own up, whose scope does not fit.
func (a *account) heldTo(fits func(scope []evidence.ScopeEntry) bool, broken func() Finding) []Finding {
	for own := a; a != nil; a = a.parent {
		h := a.held
		if h == nil || len(h.offers) == 0 || fits(h.scope()) {
			continue
		}
		if a != own {
			a.brief.lose() // is it the child's parent? a fingerprint says so
		}
		return []Finding{broken().and(h.offers[0].id, h.offers[0].index)}
	}
	return nil
}
