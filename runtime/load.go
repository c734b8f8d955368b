package runtime

import (
	"context"
	"fmt"
	"iter"
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

// seen is how far a run was read: everything of it up to there is folded, and of
// what comes later what this driver wrote.
type seen struct {
	registry *audit.Registry // with which it was folded
	tail     evidence.ID     // of the line up to there; zero: nothing was read
	index    uint64          // of the last record that was read
}

// load folds what stands of the run, after a look at who signed it. Signatures
// are verified side by side, and folded in log order.
func (r *Run) load(ctx context.Context) error {
	registry, err := r.rt.cfg.Ledger.Actors(ctx)
	if err != nil {
		return fmt.Errorf("run %q: read the registry: %w", r.key, err)
	}
	r.state, r.seen = checkpoint.New(registry), seen{registry: registry}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for b := range r.verified(ctx, registry) {
		got := <-b
		for i := range got.records {
			if err := r.apply(registry, got, i); err != nil {
				return err
			}
			r.seen = seen{registry, r.state.Run().Tail, got.records[i].Index}
		}
		if got.end != nil {
			return fmt.Errorf("run %q: read its records: %w", r.key, got.end)
		}
	}
	for _, a := range r.taken {
		a.Hand(r.state.Run())
	}
	return nil
}

// catchUp folds what was put beside the line since the run was read, and reports
// whether that comes to the same as reading the whole run again. It does where all
// of it stands behind what this driver wrote, which is folded already: records are
// folded in log order. r.mu is held.
//
// Who wrote on the line since is told by the links: from the tail that was read to
// the tail that this driver wrote, they lead over no other record.
func (r *Run) catchUp(ctx context.Context) (done bool, err error) {
	registry, err := r.rt.cfg.Ledger.Actors(ctx)
	if err != nil {
		return false, fmt.Errorf("run %q: read the registry: %w", r.key, err)
	}
	if registry != r.seen.registry {
		return false, nil
	}
	var since iter.Seq2[evidence.Placed, error]
	if r.seen.tail.IsZero() {
		since = r.rt.cfg.Ledger.Run(ctx, r.id)
	} else {
		since = r.rt.cfg.Ledger.RunAfter(ctx, r.id, r.seen.index)
	}
	own, tail := r.rt.cfg.Key.Public().Thumbprint(), r.state.Run().Tail
	at, b := r.seen, new(loaded)
	fold := func() error {
		b.verify(registry, own)
		for i := range b.records {
			if err := r.apply(registry, b, i); err != nil {
				return err
			}
			r.seen = seen{registry, tail, b.records[i].Index}
		}
		b = new(loaded)
		return nil
	}
	for p, err := range since {
		var u *evidence.Unverified
		if err == nil {
			u, err = p.Parsed()
		}
		if err != nil {
			return false, fmt.Errorf("run %q: read its records: %w", r.key, err)
		}
		rec := u.UnverifiedRecord()
		switch {
		case rec.OnLine() == (at.tail == tail) || rec.OnLine() && rec.Prev != at.tail:
			// Another driver's; or one that stands before what is folded.
			return false, nil
		case rec.OnLine():
			at.tail = u.ID()
		default:
			if b.records = append(b.records, p); len(b.records) == loadBatch {
				if err := fold(); err != nil {
					return false, err
				}
			}
		}
		at.index = p.Index
	}
	if at.tail != tail {
		return false, nil
	}
	if err := fold(); err != nil {
		return false, err
	}
	r.seen = at
	return true, nil
}

// verified reads the run, and yields batches in log order while they are being
// verified. It ends when ctx does.
func (r *Run) verified(ctx context.Context, registry *audit.Registry) <-chan chan *loaded {
	own := r.rt.cfg.Key.Public().Thumbprint()
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
			b.verify(registry, own)
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

// verify verifies the records, but not a second time those that this runtime's own
// key is said to have signed and the ledger in this process took: who could make
// the ledger hand out another could sign with that key. What others signed, a
// human's approval above all, is verified whatever the ledger says.
func (b *loaded) verify(registry *audit.Registry, own evidence.Digest) {
	b.parsed, b.errs = make([]*evidence.Unverified, len(b.records)), make([]error, len(b.records))
	keys := make([]*evidence.PublicKey, len(b.records))
	for i := range b.records {
		u, err := b.records[i].Parsed()
		if b.errs[i] = err; err != nil {
			continue
		}
		b.parsed[i] = u
		b.records[i] = u.PlacedAt(b.records[i].Index) // what is folded is what was verified
		if !u.Admitted() || u.KeyID() != own {
			keys[i] = registry.Key(u.KeyID())
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
		// It is folded all the same: nothing goes on from there.
		r.lost = r.fail(RunUnsound, "its records break a rule: %s", found[0].String())
		return r.lost
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
