package policy

import (
	"fmt"
	"iter"
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

// Decide evaluates every policy that the request can fit.
func (s *Set) Decide(r *runtime.PermissionRequest) Decision {
	req, err := s.request(r)
	if err != nil {
		return Decision{Effect: evidence.Deny, Errors: []string{err.Error()}, Why: "the input cannot be judged"}
	}
	return s.decide(s.evaluate(&req), r.Approved)
}

// found is what the evaluation of policies came to, each in the order of their
// IDs.
type found struct {
	permits, forbids []string // that apply
	errors           []failure
}

type failure struct {
	policy  *Policy
	message string
}

// evaluate finds out which policies apply.
//
// It evaluates less than Cedar would, and finds the same. Where the scope of a
// policy names another entity by ==, which cannot err, nothing after that is
// evaluated and the policy does not apply; where it names this one, what is left
// decides. Policies of which the same is left come to the same.
func (s *Set) evaluate(req *cedar.Request) found {
	fit := s.fitting(req)
	asked := asked{s.conditions, make([]state, len(s.conditions))}
	for _, p := range fit {
		asked.states[p.condition] = wanted
	}
	_, answers := cedar.Authorize(asked, s.entities, *req)
	for i := range answers.Reasons {
		asked.states[s.byID[string(answers.Reasons[i].PolicyID)].condition] = holds
	}
	for i := range answers.Errors {
		asked.states[s.byID[string(answers.Errors[i].PolicyID)].condition] = errs
	}
	var f found
	for _, p := range fit {
		switch asked.states[p.condition] {
		case errs:
			i := slices.IndexFunc(answers.Errors, func(e cedar.DiagnosticError) bool { return e.PolicyID == s.conditions[p.condition].id })
			f.errors = append(f.errors, failure{p, answers.Errors[i].Message})
		case holds:
			if p.cedar.Effect() == cedar.Permit {
				f.permits = append(f.permits, p.ID)
			} else {
				f.forbids = append(f.forbids, p.ID)
			}
		}
	}
	return f
}

// fitting returns the policies whose scope a request can have, by ID.
func (s *Set) fitting(req *cedar.Request) []*Policy {
	a, b := s.byAction[req.Action], s.any
	fit := make([]*Policy, 0, len(a)+len(b))
	for len(a)+len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].ID < a[0].ID {
			from = &b
		}
		if p := (*from)[0]; p.fits(req) {
			fit = append(fit, p)
		}
		*from = (*from)[1:]
	}
	return fit
}

// state is what is known of a condition.
type state uint8

const (
	unasked state = iota
	wanted        // and false, once it was evaluated
	holds
	errs
)

// asked are the conditions that are wanted.
type asked struct {
	conditions []condition
	states     []state
}

// All implements cedar.PolicyIterator.
func (a asked) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i := range a.conditions {
			if a.states[i] == wanted && !yield(a.conditions[i].id, a.conditions[i].cedar) {
				return
			}
		}
	}
}

// decide makes one decision of what all policies came to.
func (s *Set) decide(f found, approved bool) Decision {
	d := Decision{Effect: evidence.Deny, Permits: f.permits, Forbids: f.forbids}
	var plain, asking []string
	for _, id := range d.Forbids {
		switch {
		case s.byID[id].Escalate == "":
			plain = append(plain, id)
		case approved:
			d.Satisfied = append(d.Satisfied, id)
		default:
			asking = append(asking, id)
		}
	}
	if len(f.errors) > 0 {
		for _, e := range f.errors {
			d.Errors = append(d.Errors, fmt.Sprintf("policy %s (%s): %s", e.policy.ID, e.policy.Position, e.message))
			plain = append(plain, e.policy.ID)
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

// request writes a permission request down as Cedar has it, with what the set's
// policies can see of its context.
func (s *Set) request(r *runtime.PermissionRequest) (cedar.Request, error) {
	// The input is read whether a policy looks at it or not: what Cedar cannot
	// hold is denied.
	n := &s.need
	input, numbers, err := valueOf(r.Input, n.get("input"), n.get("numbers"))
	if err != nil {
		return cedar.Request{}, err
	}
	c := make(types.RecordMap, 8)
	if n.get("input") != nil {
		c["input"] = input
	}
	if n.get("numbers") != nil {
		c["numbers"] = types.NewRecord(numbers)
	}
	n.put(c, "resource", r.Resource)
	n.put(c, "tool", r.Tool)
	n.put(c, "step", r.Step)
	if n.get("approved") != nil {
		c["approved"] = types.Boolean(r.Approved)
	}
	if n := n.get("run"); n != nil {
		c["run"] = runRecord(&r.Run, n)
	}
	if n.get("spent") != nil {
		c["spent"] = spent(r)
	}
	if n.get("estimate") != nil {
		c["estimate"] = types.NewRecord(amounts(r.Estimate))
	}
	return cedar.Request{
		Principal: types.NewEntityUID("Agent", types.String(r.Principal)),
		Action:    types.NewEntityUID("Action", types.String(r.Action)),
		Resource:  resourceUID(r.Resource),
		Context:   types.NewRecord(c),
	}, nil
}

// put adds a string to a record where it is asked for.
func (n *need) put(m types.RecordMap, name types.String, text string) {
	if n.get(name) != nil {
		m[name] = types.String(text)
	}
}

func runRecord(f *runtime.RunFacts, n *need) types.Record {
	m := make(types.RecordMap, 6)
	n.put(m, "id", string(f.ID))
	n.put(m, "key", f.Key)
	n.put(m, "task", f.Task)
	n.put(m, "subject", f.Subject)
	n.put(m, "principal", f.Principal)
	if n.get("budget") != nil {
		m["budget"] = types.NewRecord(amounts(f.Budget))
	}
	return types.NewRecord(m)
}

// spent has 0 for what the budget or the estimate names and nothing was spent of.
func spent(r *runtime.PermissionRequest) types.Record {
	m := amounts(r.Spent)
	for _, named := range []evidence.Amounts{r.Run.Budget, r.Estimate} {
		for unit := range named {
			if _, ok := m[types.String(unit)]; !ok {
				m[types.String(unit)] = types.Long(0)
			}
		}
	}
	return types.NewRecord(m)
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
