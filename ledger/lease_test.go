package ledger_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/ledger"
)

func (w *world) lease(run evidence.RunID, holder string, ttl time.Duration, takeOver bool) error {
	return w.Lease(w.t.Context(), run, holder, ttl, takeOver)
}

func held(err error) *ledger.LeaseError {
	e, _ := errors.AsType[*ledger.LeaseError](err)
	return e
}

func TestLease(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.dir, "leases")
	w.cfg.LeaseDir = dir
	w.restart()
	run := runID(1)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	must("take", w.lease(run, "a", time.Minute, false))
	until := w.clock.Now().Add(time.Minute)
	if e := held(w.lease(run, "b", time.Minute, false)); e == nil || !e.Until.Equal(until) || e.Run != run {
		t.Errorf("held by another: found %+v, want until %v", e, until)
	}
	if held(w.lease(run, "b", 0, false)) == nil {
		t.Error("one driver gave back what another has")
	}
	must("another run", w.lease(runID(2), "b", time.Minute, false))
	w.restart()
	if held(w.lease(run, "b", time.Minute, false)) == nil {
		t.Error("a restart forgot the lease")
	}
	must("renew", w.lease(run, "a", 2*time.Minute, false))
	w.clock.Add(90 * time.Second)
	if held(w.lease(run, "b", time.Minute, false)) == nil {
		t.Error("it was renewed, and ended before")
	}
	w.clock.Add(31 * time.Second)
	must("it has ended", w.lease(run, "b", time.Minute, false))
	must("take over", w.lease(run, "a", time.Minute, true))
	if held(w.lease(run, "b", time.Minute, false)) == nil {
		t.Error("it was taken over, and the old driver renews")
	}
	must("give back", w.lease(run, "a", 0, false))
	must("given back", w.lease(run, "b", time.Minute, false))
	for _, bad := range []error{w.lease("run_1", "a", time.Minute, false), w.lease(run, "a b", time.Minute, false)} {
		if bad == nil || held(bad) != nil {
			t.Errorf("want a refusal, found %v", bad)
		}
	}
}

// What a crash left half-written was promised to nobody, and does not keep the
// ledger from opening.
func TestLeaseHalfWritten(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.dir, "leases")
	w.cfg.LeaseDir = dir
	w.restart()
	for _, run := range []evidence.RunID{runID(1), runID(2)} {
		if err := w.lease(run, "a", time.Minute, false); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{string(runID(1)): `{"holder":"a","unt`, string(runID(2)) + ".new": `{"holder":"b","until":"2026-`, "other": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.restart()
	if err := w.lease(runID(1), "b", time.Minute, false); err != nil {
		t.Errorf("half-written: %v", err)
	}
	if held(w.lease(runID(2), "b", time.Minute, false)) == nil {
		t.Error("the lease beside a half-written one is gone")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("want the files of two leases, found %v, %v", files, err)
	}
}
