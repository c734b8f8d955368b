package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// Complaint is what the workflow is about.
type Complaint struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Triage is what the model decides.
type Triage struct {
	Escalate bool   `json:"escalate"`
	Team     string `json:"team,omitzero"`
}

// Mail is the input of the email tool, Sent its output.
type Mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
}

type Sent struct {
	MessageID string `json:"messageId"`
}

// triage stands for a call of a model.
var triage = runtime.NewModel("example-model", func(_ context.Context, c Complaint) (runtime.ThoughtOf[Triage], error) {
	if strings.Contains(c.Text, "lawyer") {
		return runtime.ThoughtOf[Triage]{Choice: Triage{true, "legal"}, Rationale: "The customer threatens to sue."}, nil
	}
	return runtime.ThoughtOf[Triage]{Choice: Triage{true, "logistics"}, Rationale: "A parcel is late."}, nil
})

// sendEmail stands for a call of a mail server.
var sendEmail = runtime.NewFunc(runtime.Spec{
	Name: "email_sender", Action: "send_email", Description: "Sends an email to a team.", Idempotent: true,
	Schema: []byte(`{"type":"object","required":["to","subject"]}`),
	Params: []string{"to"}, Refs: []string{"messageId"},
}, func(_ context.Context, _ *runtime.Call, m Mail) (Sent, error) {
	return Sent{"msg-for-" + m.To}, nil
})

// handle is the workflow, as a user would write it.
func handle(ctx context.Context, rt *runtime.Runtime, c Complaint) (*runtime.Summary, error) {
	// Open the run, or go on with it where an earlier process stopped.
	run, err := rt.Open(ctx, "complaint-"+c.ID, runtime.As(runtimetest.Agent), runtime.Task("complaint", c),
		runtime.Subject(c.ID), runtime.Budget(evidence.Amounts{"tool_calls": 3}))
	if err != nil {
		return nil, err
	}
	defer run.Close(ctx)
	seen, err := run.Context(ctx, runtime.Source{Name: "complaint", Data: []byte(c.Text)})
	if err != nil {
		return nil, err
	}
	// The model decides whether it needs escalation, and can do nothing else.
	d, err := runtime.Decide(ctx, run, "triage", triage, c, seen)
	if err != nil {
		return nil, err
	}
	// Permission is checked, the email sent, the evidence recorded; or the denial
	// is recorded, and comes back as *runtime.Denied.
	res, err := runtime.Do(ctx, run, "notify", sendEmail, Mail{To: d.Team, Subject: "Complaint " + c.ID})
	if err != nil {
		return nil, err
	}
	if err := run.Checkpoint(ctx, "notified", map[string]string{"messageId": res.Value.MessageID}); err != nil {
		return nil, err
	}
	// The summary leaves only if the evidence supports it.
	return run.Summarize(ctx, "The team "+d.Team+" was notified.", res)
}

// A customer's complaint, from the request to a verified summary.
func ExampleRuntime_Open() {
	w, done := runtimetest.Example()
	defer done()
	w.Permit = runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if strings.Contains(string(r.Input), `"to":"legal"`) {
			return runtime.Permission{Effect: evidence.Deny, Policies: []string{"legal-is-for-humans"}}, nil
		}
		return runtime.Permission{Effect: evidence.Allow, Policies: []string{"support-may-notify"}}, nil
	})
	rt := w.Runtime(sendEmail)
	ctx := context.Background()

	summary, err := handle(ctx, rt, Complaint{"4711", "Where is my parcel?"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(summary.Text, summary.Verdict.Result)
	for _, kind := range w.Kinds(rt.RunID("complaint-4711")) {
		fmt.Println(" ", kind)
	}

	_, err = handle(ctx, rt, Complaint{"4712", "You will hear from my lawyer."})
	denied, ok := errors.AsType[*runtime.Denied](err)
	fmt.Println(ok, denied.Action, denied.Policies)
	// Output:
	// The team logistics was notified. no_contract
	//   run.opened
	//   context
	//   decision
	//   authorization
	//   execution
	//   checkpoint
	//   claim
	//   verdict
	//   run.closed
	// true send_email [legal-is-for-humans]
}
