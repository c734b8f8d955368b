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
	// held is what it was offered so far: one of them has to permit an action.
	// None: the offer stands in another ledger, or was left out.
	held []*offerRecord
}

// scope is what the run was offered, all together.
func (h *handoffState) scope() []evidence.ScopeEntry {
	var all []evidence.ScopeEntry
	for _, o := range h.held {
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

// authorizes holds an allowed action to the scope of the handoff.
func (h *handoffState) authorizes(p place, b *evidence.Authorization) []Finding {
	if h == nil || len(h.held) == 0 || Within(h.scope(), b.Action, b.Resource) {
		return nil
	}
	return []Finding{p.broken(RuleHandoff, ReasonOutOfScope, "an action inside the scope of the offer", "%s on %q", b.Action, b.Resource).and(h.held[0].id, h.held[0].index)}
}

// offers holds an offer of a run that itself continues a handoff to what that
// run held: nothing is passed on that was not received.
func (h *handoffState) offers(p place, b *evidence.HandoffOffered) []Finding {
	if h == nil {
		return nil
	}
	if b.Parent != h.acceptance {
		return []Finding{p.broken(RuleHandoff, ReasonWidened, fmt.Sprintf("parent to name the acceptance %s that the run continues", h.acceptance), "%s", b.Parent)}
	}
	if len(h.held) > 0 && !Narrower(b.Scope, h.scope()) {
		return []Finding{p.broken(RuleHandoff, ReasonWidened, "a scope within that of the offer that the run continues", "a wider one").and(h.held[0].id, h.held[0].index)}
	}
	return nil
}
