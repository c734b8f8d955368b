package client_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
	"ledgerd/runtime"
)

type letter struct {
	To string `json:"to"`
}

type posted struct {
	MessageID string `json:"messageId"`
}

// governing is a daemon that permits sending email, and the client of an agent.
func governing(t *testing.T) *client.Client {
	t.Helper()
	d := daemontest.Init(t)
	permit := runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if r.Action == "send_email" {
			return runtime.Permission{Effect: evidence.Allow, Policies: []string{"support-mails"}}, nil
		}
		return runtime.Permission{Effect: evidence.Deny}, nil
	})
	contract := &runtime.Contract{
		Document:   []byte(`{"contract":"v1","task":"complaint","weakest_source":"reported","expects":[{"action":"send_email"}]}`),
		DeclaredBy: "operator",
	}
	host := d.Host(runtime.Config{Permit: permit, Contracts: func(string, []byte) (*runtime.Contract, error) { return contract, nil }}, 0)
	d.Serve(func(c *server.Config) { c.Agents = host })
	return d.Client(d.Grant(daemontest.Agent, api.RightAct))
}

// TestRun is the example of docs/clients.md. What else holds, clients/conformance says.
func TestRun(t *testing.T) {
	c := governing(t)
	ctx := context.Background()
	sendEmail := runtime.NewFunc(runtime.Spec{Name: "mail", Action: "send_email"}, func(_ context.Context, _ *runtime.Call, l letter) (posted, error) {
		return posted{"m-" + l.To}, nil
	})
	work := func() error {
		run, err := c.Open(ctx, "complaint-4711", client.OpenRun{Task: "complaint", Subject: "ticket-4711"})
		if err != nil {
			return err
		}
		_, err = run.Do(ctx, sendEmail, runtime.Action{Step: "notify", Input: []byte(`{"to":"lea"}`)})
		var denied *runtime.Denied
		if errors.As(err, &denied) {
			_, err = run.Stop(ctx, evidence.Stopped, "permission_denied")
			return errors.Join(denied, err)
		}
		if err != nil {
			return err
		}
		if _, err := run.Claim(ctx, "Lea was told.", "notify"); err != nil {
			return err
		}
		_, err = run.Close(ctx)
		return err
	}
	if err := work(); err != nil {
		t.Fatal(err)
	}
	state, err := c.RunState(ctx, "complaint-4711")
	if err != nil || state.State != "closed" || state.End != evidence.Completed || len(state.Steps) != 1 {
		t.Errorf("%+v, %v", state, err)
	}
}

// TestRunTwice: two uses of one step at a time are one call of its tool.
func TestRunTwice(t *testing.T) {
	c := governing(t)
	ctx := context.Background()
	var calls atomic.Int64
	begun := make(chan struct{})
	goOn := make(chan struct{})
	tool := runtime.NewFunc(runtime.Spec{Name: "mail", Action: "send_email"}, func(context.Context, *runtime.Call, letter) (posted, error) {
		if calls.Add(1) == 1 {
			close(begun)
			<-goOn
		}
		return posted{"m-1"}, nil
	})
	var all sync.WaitGroup
	for i := range 3 {
		run, err := c.Open(ctx, "both", client.OpenRun{Task: "complaint"})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			out, err := run.Do(ctx, tool, runtime.Action{Step: "notify", Input: []byte(`{"to":"lea"}`)})
			if err != nil || string(out.Data) != `{"messageId":"m-1"}` {
				t.Errorf("%+v, %v", out, err)
			}
		})
		if i == 0 {
			<-begun
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	run, err := c.Open(ctx, "both", client.OpenRun{Task: "complaint"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Do(gone, tool, runtime.Action{Step: "notify", Input: []byte(`{"to":"lea"}`)}); !errors.Is(err, context.Canceled) {
		t.Errorf("want a wait given up, found %v", err)
	}
	close(goOn)
	all.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("want one call, found %d", n)
	}
}

// TestRunHereWaits: a step with a tool of the daemon's waits for a human as one with a
// tool of the program's does.
func TestRunHereWaits(t *testing.T) {
	d := daemontest.Init(t)
	mia := d.Actor("mia", evidence.RoleHuman)
	refund := runtime.NewFunc(runtime.Spec{Name: "shop", Action: "refund"}, func(_ context.Context, c *runtime.Call, l letter) (posted, error) {
		return posted{"r-" + l.To}, nil
	})
	host := d.Host(runtime.Config{Tools: []runtime.Tool{refund}, Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Escalate, Team: "finance"}, nil
	})}, 0)
	d.Serve(func(c *server.Config) { c.Agents = host })
	ctx := t.Context()
	run, err := d.Client(d.Grant(daemontest.Agent, api.RightAct)).Open(ctx, "refund-1", client.OpenRun{Task: "refund"})
	if err != nil {
		t.Fatal(err)
	}
	here := func() (*runtime.Output, error) {
		return run.RunHere(ctx, runtime.Action{Step: "refund", Tool: "shop", Input: []byte(`{"to":"lea"}`)})
	}
	_, err = here()
	waiting, ok := errors.AsType[*runtime.Waiting](err)
	if !ok {
		t.Fatalf("want it to wait for the team, found %v", err)
	}
	run.Wait = time.Minute
	answered := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		n := d.Ledger.Registry().Number()
		b := &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(time.Now().Add(time.Hour))}
		entry, err := evidence.Sign(&evidence.Record{
			Origin: daemontest.Origin, Kind: b.Kind(), Run: run.ID(), About: waiting.Authorization, Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: b,
		}, mia)
		if err == nil {
			_, err = d.Ledger.Append(ctx, entry)
		}
		answered <- err
	}()
	out, err := here()
	if err != nil || string(out.Data) != `{"messageId":"r-lea"}` {
		t.Errorf("%+v, %v", out, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
