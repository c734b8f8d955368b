package runtime

import (
	"context"
	"fmt"
	goruntime "runtime"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
)

// loadBatch is how many records are verified together: verifying many costs less
// a record than verifying one.
const loadBatch = 128

// loaded is a batch of a run's records, and who signed each as far as the
// signatures say.
type loaded struct {
	records []evidence.Placed
	parsed  []*evidence.Unverified
	errs    []error // of signatures and forms
	end     error   // why no more could be read
}

// load folds what stands of the run, after a look at who signed it. Signatures
// are verified side by side, and folded in log order.
func (r *Run) load(ctx context.Context) error {
	registry, err := r.rt.cfg.Ledger.Actors(ctx)
	if err != nil {
		return fmt.Errorf("run %q: read the registry: %w", r.key, err)
	}
	r.state = checkpoint.New(registry)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for b := range r.verified(ctx, registry) {
		got := <-b
		for i := range got.records {
			if err := r.apply(registry, got, i); err != nil {
				return err
			}
		}
		if got.end != nil {
			return fmt.Errorf("run %q: read its records: %w", r.key, got.end)
		}
	}
	return nil
}

// verified reads the run, and yields batches in log order while they are being
// verified. It ends when ctx does.
func (r *Run) verified(ctx context.Context, registry *audit.Registry) <-chan chan *loaded {
	// As many wait as are worked on, and no more.
	batches := make(chan chan *loaded, goruntime.GOMAXPROCS(0))
	send := func(b *loaded) bool {
		done := make(chan *loaded, 1)
		select {
		case batches <- done:
		case <-ctx.Done():
			return false
		}
		go func() {
			b.verify(registry)
			done <- b
		}()
		return true
	}
	go func() {
		defer close(batches)
		b := new(loaded)
		for p, err := range r.rt.cfg.Ledger.Run(ctx, r.id) {
			if err != nil {
				b.end = err
				break
			}
			if b.records = append(b.records, p); len(b.records) == loadBatch {
				if !send(b) {
					return
				}
				b = new(loaded)
			}
		}
		if len(b.records) > 0 || b.end != nil {
			send(b)
		}
	}()
	return batches
}

func (b *loaded) verify(registry *audit.Registry) {
	b.parsed, b.errs = make([]*evidence.Unverified, len(b.records)), make([]error, len(b.records))
	keys := make([]*evidence.PublicKey, len(b.records))
	for i, p := range b.records {
		if b.parsed[i], b.errs[i] = evidence.Parse(p.Entry); b.errs[i] == nil {
			keys[i] = registry.Key(b.parsed[i].KeyID())
		}
	}
	for i, err := range evidence.VerifyEach(b.parsed, keys) {
		if b.errs[i] == nil {
			b.errs[i] = err
		}
	}
}

// apply folds one record. Records beside the line that nobody could sign do not
// get into a ledger, so each has a signer.
func (r *Run) apply(registry *audit.Registry, b *loaded, i int) error {
	p := b.records[i]
	err := b.errs[i]
	var by audit.Signer
	if err == nil {
		// Refuses a key that nobody has, too, under which nothing was verified.
		by, err = registry.Permit(p.Index, b.parsed[i])
	}
	if err != nil {
		return r.fail(RunUnsound, "record %d: %w", p.Index, err)
	}
	if found := r.state.Apply(p, by); len(found) > 0 {
		return r.fail(RunUnsound, "its records break a rule: %s", found[0].String())
	}
	switch body := p.Record.Body.(type) {
	case *evidence.RunOpened:
		r.body, r.opened, r.driven = body, p.Record.Time, p.Record.Ext
	case *evidence.RunResumed:
		r.driven = p.Record.Ext
	}
	r.last = max(r.last, p.Record.Time)
	return nil
}
