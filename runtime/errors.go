package runtime

import (
	"fmt"
	"strings"

	"ledgerd/evidence"
)

// What a step can come to, other than a result. Each carries its evidence: the
// records from which anyone can see that it was so.

// Denied says that an action was not permitted. It was not executed.
type Denied struct {
	Step          string
	Action        string
	Authorization evidence.ID
	Policies      []string    // that decided
	Errors        []string    // of the evaluation, where these denied
	Refusal       evidence.ID // the human's, where it was one who said no
	Escalation    evidence.ID // where a human was told
}

func (e *Denied) Error() string {
	switch {
	case !e.Refusal.IsZero():
		return fmt.Sprintf("step %q: %s was refused by a human (%s)", e.Step, e.Action, e.Refusal)
	case len(e.Errors) > 0:
		return fmt.Sprintf("step %q: %s is denied, for policies could not be evaluated: %s (%s)", e.Step, e.Action, strings.Join(e.Errors, "; "), e.Authorization)
	case len(e.Policies) > 0:
		return fmt.Sprintf("step %q: %s is denied by %s (%s)", e.Step, e.Action, strings.Join(e.Policies, ", "), e.Authorization)
	}
	return fmt.Sprintf("step %q: %s is denied: no policy permits it (%s)", e.Step, e.Action, e.Authorization)
}

// Waiting says that a human was asked, or a tool will finish later. The same
// step again finds out.
type Waiting struct {
	Step          string
	Action        string
	Authorization evidence.ID
	Team          string      // who is asked; "": the tool is at work
	Policies      []string    // that ask
	Execution     evidence.ID // that was accepted
}

func (e *Waiting) Error() string {
	if e.Team == "" {
		return fmt.Sprintf("step %q: %s was accepted, and is not finished (%s)", e.Step, e.Action, e.Execution)
	}
	return fmt.Sprintf("step %q: %s waits for an approval by the team %q (%s)", e.Step, e.Action, e.Team, e.Authorization)
}

// Failed says that a step failed for good.
type Failed struct {
	Step          string
	Action        string
	Class         evidence.Class
	Authorization evidence.ID
	Execution     evidence.ID // the last; zero: none was made
	Escalation    evidence.ID // where a human was told
	Attempts      int
	Err           error // the last attempt's; nil where it was made by another driver
}

func (e *Failed) Error() string {
	id := e.Execution
	if id.IsZero() {
		id = e.Authorization
	}
	text := fmt.Sprintf("step %q: %s failed: %s", e.Step, e.Action, e.Class)
	if e.Attempts > 1 {
		text += fmt.Sprintf(" after %d attempts", e.Attempts)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s (%s)", text, id)
}

func (e *Failed) Unwrap() error { return e.Err }

// InDoubt says that nobody knows whether an action happened, or what came of it.
// It was not, and will not be, repeated; a human was asked.
type InDoubt struct {
	Step          string
	Action        string
	Authorization evidence.ID
	Doubt         evidence.ID // the authorization or execution without an outcome
	Escalation    evidence.ID
	Err           error // why it could not be found out
}

func (e *InDoubt) Error() string {
	text := fmt.Sprintf("step %q: whether %s happened is not known (%s)", e.Step, e.Action, e.Doubt)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *InDoubt) Unwrap() error { return e.Err }

// Unsupported says that a claim is not supported by the evidence.
type Unsupported struct {
	Claim   evidence.ID
	Verdict evidence.ID // its record
	Result  evidence.Result
	Why     []string
}

func (e *Unsupported) Error() string {
	text := fmt.Sprintf("the claim %s is %s", e.Claim, strings.ReplaceAll(string(e.Result), "_", " "))
	if e.Result == evidence.NoContract {
		text = fmt.Sprintf("the claim %s is held to no contract, and one is needed", e.Claim)
	}
	if len(e.Why) > 0 {
		text += ": " + strings.Join(e.Why, "; ")
	}
	return text
}
