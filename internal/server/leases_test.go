package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
)

const leasedRun = "run_0197f3c2-0000-7000-8000-000000000001"

func TestLease(t *testing.T) {
	ctx := context.Background()
	d := daemontest.New(t, nil)
	c := d.Client(d.Token)
	if err := c.Lease(ctx, leasedRun, "a", time.Minute, false); err != nil {
		t.Fatal(err)
	}
	held := func() *ledger.LeaseError {
		t.Helper()
		e, _ := errors.AsType[*ledger.LeaseError](c.Lease(ctx, leasedRun, "b", time.Minute, false))
		return e
	}
	e := held()
	if e == nil || e.Run != leasedRun || time.Until(e.Until) < 50*time.Second || time.Until(e.Until) > time.Minute {
		t.Errorf("held by another: found %+v", e)
	}
	// The next daemon on the directory.
	d.Stop()
	if err := d.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.Ledger, err = d.Dir.Ledger(ctx, datadir.Options{Leases: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Ledger.Close() })
	d.Serve(nil)
	c = d.Client(d.Token)
	if again := held(); again == nil || !again.Until.Equal(e.Until) {
		t.Errorf("after a restart: found %+v, want until %v", again, e.Until)
	}
	if err := c.Lease(ctx, leasedRun, "a", 0, false); err != nil {
		t.Error(err)
	}
	if e := held(); e != nil {
		t.Errorf("given back: %v", e)
	}
	if err := c.Lease(ctx, leasedRun, "a", time.Minute, true); err != nil {
		t.Errorf("taken over: %v", err)
	}
	if held() == nil {
		t.Error("taken over, and the old driver renews")
	}
	var p *api.Problem
	if err := d.Client(d.Grant("runtime", api.RightRead)).Lease(ctx, leasedRun, "a", time.Minute, false); !errors.As(err, &p) || p.Status != http.StatusForbidden {
		t.Errorf("without the right: %v", err)
	}
}

func TestLeaseRefuses(t *testing.T) {
	d := daemontest.New(t, nil)
	for body, want := range map[string]int{
		`{"holder":"a","ttl_ms":1000}`:             204,
		`{"holder":"a","ttl_ms":-1}`:               400,
		`{"holder":"a","ttl_ms":86400001}`:         400,
		`{"holder":"a b","ttl_ms":1000}`:           400,
		`{"ttl_ms":1000}`:                          400,
		`{"holder":"a","ttl_ms":1000,"until":"x"}`: 400,
		``: 400,
	} {
		if got := putLease(t, d, leasedRun, body); got != want {
			t.Errorf("%s: want %d, found %d", body, want, got)
		}
	}
	if got := putLease(t, d, "run_1", `{"holder":"a","ttl_ms":1000}`); got != 404 {
		t.Errorf("no run's name: want 404, found %d", got)
	}
}

func putLease(t *testing.T, d *daemontest.Daemon, run, body string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, d.URL+"/v1/runs/"+run+"/lease", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}
