package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// None is the resource of an action that is done to nothing in particular. It has
// a type of its own, so that no resource can be called like it.
var None = types.NewEntityUID("None", "none")

// Decision is what a set says about a request, and why.
type Decision struct {
	Effect   evidence.Effect `json:"effect"`
	Team     string          `json:"team,omitempty"`     // with effect escalate
	Policies []string        `json:"policies,omitempty"` // that decided, sorted
	Permits  []string        `json:"permits,omitempty"`  // all that apply
	Forbids  []string        `json:"forbids,omitempty"`  // all that apply
	// Satisfied are the forbids that apply and that a human's approval answers.
	Satisfied []string `json:"satisfied,omitempty"`
	Errors    []string `json:"errors,omitempty"` // any of them denies
	Why       string   `json:"why"`
}

// Decide evaluates every policy.
func (s *Set) Decide(r *runtime.PermissionRequest) Decision {
	req, err := request(r)
	if err != nil {
		return Decision{Effect: evidence.Deny, Errors: []string{err.Error()}, Why: "the input cannot be judged"}
	}
	// Apart, because Cedar does not tell which permits apply where a forbid does.
	_, permits := cedar.Authorize(candidates{s.permits, req.Principal, req.Action}, s.entities, req)
	_, forbids := cedar.Authorize(candidates{s.forbids, req.Principal, req.Action}, s.entities, req)
	d := Decision{Effect: evidence.Deny, Permits: reasons(permits), Forbids: reasons(forbids)}
	var plain, asking []string
	for _, id := range d.Forbids {
		switch {
		case s.byID[id].Escalate == "":
			plain = append(plain, id)
		case r.Approved:
			d.Satisfied = append(d.Satisfied, id)
		default:
			asking = append(asking, id)
		}
	}
	if failed := append(permits.Errors, forbids.Errors...); len(failed) > 0 {
		for _, e := range failed {
			p := s.byID[string(e.PolicyID)]
			d.Errors = append(d.Errors, fmt.Sprintf("policy %s (%s): %s", p.ID, p.Position, e.Message))
			plain = append(plain, p.ID)
		}
		slices.Sort(d.Errors)
		slices.Sort(plain)
		d.Policies, d.Why = plain, "a policy could not be evaluated, and that denies, whatever the others say"
		return d
	}
	switch {
	case len(plain) > 0:
		d.Policies, d.Why = plain, "forbidden"
	case len(d.Permits) == 0:
		d.Policies, d.Why = asking, "no policy permits it"
	case len(asking) > 0:
		d.Effect, d.Team = evidence.Escalate, s.byID[asking[0]].Escalate
		d.Policies, d.Why = asking, "permitted once a human of the team approves"
	case len(d.Satisfied) > 0:
		d.Effect, d.Policies, d.Why = evidence.Allow, d.Permits, "permitted, and a human approved"
	default:
		d.Effect, d.Policies, d.Why = evidence.Allow, d.Permits, "permitted"
	}
	return d
}

// reasons are in the order of the policies, which is that of their IDs.
func reasons(d cedar.Diagnostic) []string {
	if len(d.Reasons) == 0 {
		return nil
	}
	ids := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		ids[i] = string(r.PolicyID)
	}
	return ids
}

// request writes a permission request down as Cedar has it.
func request(r *runtime.PermissionRequest) (cedar.Request, error) {
	input, numbers, err := valueOf(r.Input)
	if err != nil {
		return cedar.Request{}, err
	}
	spent := amounts(r.Spent)
	for _, named := range []evidence.Amounts{r.Run.Budget, r.Estimate} {
		for unit := range named {
			if _, ok := spent[types.String(unit)]; !ok {
				spent[types.String(unit)] = types.Long(0)
			}
		}
	}
	return cedar.Request{
		Principal: types.NewEntityUID("Agent", types.String(r.Principal)),
		Action:    types.NewEntityUID("Action", types.String(r.Action)),
		Resource:  resourceUID(r.Resource),
		Context: types.NewRecord(types.RecordMap{
			"input":    input,
			"numbers":  types.NewRecord(numbers),
			"resource": types.String(r.Resource),
			"tool":     types.String(r.Tool),
			"step":     types.String(r.Step),
			"approved": types.Boolean(r.Approved),
			"run": types.NewRecord(types.RecordMap{
				"id":        types.String(r.Run.ID),
				"key":       types.String(r.Run.Key),
				"task":      types.String(r.Run.Task),
				"subject":   types.String(r.Run.Subject),
				"principal": types.String(r.Run.Principal),
				"budget":    types.NewRecord(amounts(r.Run.Budget)),
			}),
			"spent":    types.NewRecord(spent),
			"estimate": types.NewRecord(amounts(r.Estimate)),
		}),
	}, nil
}

func resourceUID(name string) types.EntityUID {
	if name == "" {
		return None
	}
	return types.NewEntityUID("Resource", types.String(name))
}

func amounts(a evidence.Amounts) types.RecordMap {
	m := make(types.RecordMap, len(a))
	for unit, n := range a {
		m[types.String(unit)] = types.Long(n)
	}
	return m
}
