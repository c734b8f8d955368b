package main

import (
	"context"
	"errors"

	"github.com/rogpeppe/go-internal/testscript"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"ledgerd/evidence"
	"ledgerd/internal/datadir"
	"ledgerd/runtime"
)

// agentProgram runs a program from the top that wants to pay, which the team finance has
// to approve, and then claims to have paid. What it says of itself is hostile. It
// sets RUN to its run, and EV to the authorization where it waits; with ! it has
// to be refused.
func agentProgram(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	d, err := datadir.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	l, err := d.Ledger(ctx, datadir.Options{Logger: quiet()})
	ts.Check(err)
	defer func() { ts.Check(l.Close()) }()
	key, err := d.Key("runtime")
	ts.Check(err)
	type order struct {
		To   string `json:"to"`
		Text string `json:"text"`
	}
	pay := runtime.NewFunc(runtime.Spec{Name: "bank", Action: "pay", Resource: "/to", Idempotent: true}, func(context.Context, *runtime.Call, order) (string, error) {
		return "paid", nil
	})
	rt, err := runtime.New(runtime.Config{
		Tracer: sdk.NewTracerProvider(),
		Ledger: runtime.Embedded{Ledger: l.Ledger}, Origin: l.Origin(), Actor: "runtime", Key: key, Tools: []runtime.Tool{pay},
		Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
			return runtime.Permission{Effect: evidence.Escalate, Mode: evidence.Enforce, Team: "finance", Policies: []string{"large-payment"}}, nil
		}),
	})
	ts.Check(err)
	run, err := rt.Open(ctx, args[1], runtime.As("support"), runtime.Task("refund", nil))
	ts.Check(err)
	defer func() { ts.Check(run.Close(ctx)) }()
	ts.Setenv("RUN", string(run.ID()))
	model := runtime.NewModel("model-1", func(context.Context, string) (runtime.ThoughtOf[string], error) {
		return runtime.ThoughtOf[string]{Choice: "pay", Rationale: "she is owed \x1b[31mmoney\u202e", Cost: evidence.Amounts{"tokens": 7}}, nil
	})
	_, err = runtime.Decide(ctx, run, "triage", model, "?")
	ts.Check(err)
	res, err := runtime.Do(ctx, run, "payment", pay, order{"account-1", "\x1b[2Jthanks\u202e"})
	var waiting *runtime.Waiting
	var denied *runtime.Denied
	switch {
	case errors.As(err, &waiting):
		ts.Setenv("EV", waiting.Authorization.String())
	case errors.As(err, &denied) && neg:
	default:
		ts.Check(err)
		_, err = run.Summarize(ctx, "paid \x1b[32mher", res)
		ts.Check(err)
	}
}
