// Package support is a program that uses the runtime, as a user would write it:
// an agent of a kitchen shop that works through customers' complaints.
//
// agent.go has the work, desk.go what the operator decides: tools, policies and
// contracts. Nothing in here knows that it is a demonstration. What goes wrong is
// done to it from outside, and that it is killed it does not even notice: it is
// run again, from the top.
package support

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/tools"
)

// Agent is the actor that works.
const Agent = "support-agent"

// Complaint is what a customer wants.
type Complaint struct {
	ID       string `json:"id"`
	Task     string `json:"task"` // complaint or refund: by this the operator chooses the contract
	Customer string `json:"customer"`
	Email    string `json:"email"`
	Order    string `json:"order"`
	Cents    int    `json:"cents,omitzero"` // what is to be refunded
	Text     string `json:"text"`           // the customer's own words
}

// Plan is what the model decides to do about it.
type Plan struct {
	Refund int    `json:"refund,omitzero"` // cents; 0: none
	Ticket string `json:"ticket,omitzero"` // the team that gets one; "": none
	Reply  string `json:"reply,omitzero"`  // an email to the customer; "": none
	Done   string `json:"done"`            // what the agent says when it is through
}

// model stands for a language model. It is a function here, so that the same
// happens each time; like one it is fluent, eager to please, and not to be trusted.
var model = runtime.NewModel("scripted-model", func(_ context.Context, c Complaint) (runtime.ThoughtOf[Plan], error) {
	plan := Plan{Refund: c.Cents}
	did := "refunded " + euros(c.Cents)
	if c.Cents == 0 {
		plan.Ticket = "quality"
		if strings.Contains(c.Text, "parcel") {
			plan.Ticket = "logistics"
		}
		did = "passed this on to " + plan.Ticket
	}
	plan.Done = fmt.Sprintf("I have %s for %s, and emailed the confirmation.", did, c.Customer)
	if !strings.Contains(c.Text, "Just tell me") { // who asks for words gets words
		plan.Reply = fmt.Sprintf("Dear %s,\n\nwe are sorry. We have %s.\n\nKettle & Crane", c.Customer, did)
	}
	return runtime.ThoughtOf[Plan]{Choice: plan, Rationale: "Settle it at once, and say so."}, nil
})

// Work takes a complaint from the request to its end, and returns what the agent
// may say about it. It is all there is to resume by: a program that was stopped,
// or had to wait, calls it again for the same complaint.
func (d *Desk) Work(ctx context.Context, c Complaint, options ...runtime.Option) (*runtime.Summary, error) {
	run, err := d.runtime.Open(ctx, c.key(), append([]runtime.Option{
		runtime.As(Agent), runtime.Task(c.Task, c), runtime.Subject("order:" + c.Order), runtime.For("customer:" + c.ID),
		runtime.Intent(c.Text), runtime.Budget(evidence.Amounts{"tool_calls": 4, "attempts": 12}),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	defer run.Close(ctx)
	summary, err := d.handle(ctx, run, c)
	if err != nil {
		return nil, giveUp(ctx, run, err)
	}
	return summary, nil
}

// handle is the work itself. Each step is recorded before the next begins; one
// that is recorded already is not done again.
func (d *Desk) handle(ctx context.Context, run *runtime.Run, c Complaint) (*runtime.Summary, error) {
	// The model decides, and can do nothing else.
	plan, err := runtime.Decide(ctx, run, "plan", model, c)
	if err != nil {
		return nil, err
	}
	// Each action is permitted first, or denied, or a human is asked; then the
	// tool gets exactly what was permitted.
	var done []runtime.Evidenced
	if plan.Refund > 0 {
		res, err := do(ctx, run, "refund", d.refunds, Refund{c.Order, plan.Refund, "EUR"})
		if err != nil {
			return nil, err
		}
		done = append(done, res)
	}
	if plan.Ticket != "" {
		res, err := do(ctx, run, "ticket", d.tickets, Ticket{plan.Ticket, c.Order, c.Text})
		if err != nil {
			return nil, err
		}
		done = append(done, res)
	}
	if err := run.Checkpoint(ctx, "settled", plan); err != nil {
		return nil, err
	}
	if plan.Reply != "" {
		res, err := runtime.Do(ctx, run, "reply", d.mail, tools.Mail{
			To: []string{c.Email}, Subject: "Your complaint " + c.ID, Text: plan.Reply,
		})
		if err != nil {
			return nil, err
		}
		done = append(done, res)
	}
	// What the agent says leaves the runtime only if the evidence supports it.
	return run.Summarize(ctx, plan.Done, done...)
}

// giveUp ends a run that cannot come to a good end, and returns why. One that
// waits for a human, or of which nobody knows what happened, stays open.
func giveUp(ctx context.Context, run *runtime.Run, why error) error {
	var denied *runtime.Denied
	var failed *runtime.Failed
	var unsupported *runtime.Unsupported
	switch {
	case errors.As(why, &denied):
		return errors.Join(why, run.End(ctx, evidence.Stopped, string(evidence.PermissionDenied)))
	case errors.As(why, &failed):
		return errors.Join(why, run.End(ctx, evidence.Failed, string(failed.Class)))
	case errors.As(why, &unsupported):
		return errors.Join(why, run.End(ctx, evidence.Failed, string(evidence.ClaimUnsupported)))
	}
	return why
}

// do does a step with a tool whose input is JSON of any form.
func do(ctx context.Context, run *runtime.Run, step string, tool runtime.Tool, in any) (*runtime.Result, error) {
	input, err := json.Marshal(in, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return run.Do(ctx, runtime.Action{Step: step, Tool: tool.Spec().Name, Input: input})
}

// key names the run that is about a complaint: whoever opens it under the same key
// goes on with it.
func (c *Complaint) key() string { return "complaint-" + c.ID }

func euros(cents int) string { return fmt.Sprintf("%d.%02d EUR", cents/100, cents%100) }
