package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
)

// MaxLease is the longest lease that is given.
const MaxLease = 24 * time.Hour

// LeaseError says that a run has another driver.
type LeaseError struct {
	Run    evidence.RunID
	Holder string    // the driver, where it is known
	Until  time.Time // when its lease ends, unless it renews it
}

func (e *LeaseError) Error() string {
	return fmt.Sprintf("%s has another driver, whose lease ends at %s: wait until then, or take it over if that driver is known to be dead",
		e.Run, e.Until.UTC().Format(time.RFC3339))
}

// leases says who drives which run. That is liveness and no evidence: a driver
// without a lease is kept from writing by the run's line, on which a takeover
// leaves its record.
type leases struct {
	dir string // where they outlive this process; "": nowhere

	mu     sync.Mutex // guards held, and the files
	held   map[evidence.RunID]lease
	pruned int // entries that the last look at all of them left
}

type lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

// openLeases reads the leases in a directory, which it makes where there is none.
func openLeases(dir string) (*leases, error) {
	l := &leases{dir: dir, held: make(map[evidence.RunID]lease)}
	if dir == "" {
		return l, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	for _, f := range files {
		run := evidence.RunID(f.Name())
		var one lease
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if _, bad := keyOfRun(run); err != nil || bad != nil || json.Unmarshal(b, &one) != nil {
			// Half-written when we crashed: nobody was told that they have it.
			_ = os.Remove(filepath.Join(dir, f.Name()))
			continue
		}
		l.held[run] = one
	}
	return l, nil
}

// Lease takes or renews the lease of a run for holder, until ttl from now, and
// returns a *LeaseError where somebody else holds it and has not let it end.
// takeOver takes it all the same. A ttl of 0 gives it back.
func (l *Ledger) Lease(_ context.Context, run evidence.RunID, holder string, ttl time.Duration, takeOver bool) error {
	if _, err := keyOfRun(run); err != nil {
		return err
	}
	if err := evidence.CheckIdentifier(holder); err != nil {
		return fmt.Errorf("lease: its holder: %w", err)
	}
	return l.leases.take(run, holder, min(max(0, ttl), MaxLease), takeOver, l.cfg.Clock())
}

func (l *leases) take(run evidence.RunID, holder string, ttl time.Duration, takeOver bool, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.held[run]
	mine := ok && one.Holder == holder
	switch {
	case ok && !mine && !takeOver && now.Before(one.Until):
		return &LeaseError{run, one.Holder, one.Until}
	case ttl == 0 && !mine:
		return nil
	case ttl == 0:
		delete(l.held, run)
		return l.remove(run)
	}
	one = lease{holder, now.Add(ttl)}
	if err := l.write(run, one); err != nil {
		return err
	}
	l.held[run] = one
	return l.prune(now)
}

// prune forgets leases that have ended, when there are twice as many entries as
// after the last time.
func (l *leases) prune(now time.Time) error {
	if len(l.held) < 2*l.pruned+1024 {
		return nil
	}
	var errs []error
	for run, one := range l.held {
		if !now.Before(one.Until) {
			delete(l.held, run)
			errs = append(errs, l.remove(run))
		}
	}
	l.pruned = len(l.held)
	return errors.Join(errs...)
}

// write makes a lease durable. If we crash before the rename, nobody was told of
// it; the file under its other name is no run's, and goes at the next start.
func (l *leases) write(run evidence.RunID, one lease) error {
	if l.dir == "" {
		return nil
	}
	b, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	name := filepath.Join(l.dir, string(run))
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if err := errors.Join(os.Rename(name+".new", name), syncDir(l.dir)); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

func (l *leases) remove(run evidence.RunID) error {
	if l.dir == "" {
		return nil
	}
	if err := os.Remove(filepath.Join(l.dir, string(run))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}
