package ledger

import (
	"context"
	"fmt"
	goruntime "runtime"
	"sync"

	"ledgerd/evidence"
)

// What one piece of the log holds at most, so that a check needs the same memory
// however long the log is.
const (
	pieceEntries = 256
	pieceBytes   = 1 << 20
)

// A piece is a part of the log: parsed and verified on some goroutine, taken in
// the log's order on one.
type piece struct {
	first   uint64
	entries [][]byte
	read    []readEntry // one for each entry
	err     error       // the store's
	done    chan struct{}
}

// A readEntry is what could be said of an entry out of order.
type readEntry struct {
	u        *evidence.Unverified
	err      error // it is no record
	verified bool  // under the key that it names; whether that key holds, the order says
}

// log verifies every record, and takes the facts that the log gives.
func (c *checker) log(ctx context.Context, size uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	workers := goruntime.GOMAXPROCS(0)
	queue, work := make(chan *piece, 2*workers), make(chan *piece)
	for range workers {
		wg.Go(func() {
			for p := range work {
				c.verify(p)
				close(p.done)
			}
		})
	}
	wg.Go(func() {
		defer close(queue)
		defer close(work)
		c.pieces(ctx, size, func(p *piece) bool {
			for _, to := range []chan *piece{queue, work} {
				select {
				case to <- p:
				case <-ctx.Done():
					return false
				}
			}
			return true
		})
	})
	for {
		var p *piece
		var ok bool
		select {
		case p, ok = <-queue:
		case <-ctx.Done():
		}
		if !ok {
			return ctx.Err()
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.err != nil {
			return p.err
		}
		for i := range p.read {
			if err := c.record(p.first+uint64(i), p.entries[i], &p.read[i]); err != nil {
				return err
			}
		}
		if c.progress != nil {
			c.progress(size+p.first+uint64(len(p.entries)), 2*size)
		}
	}
}

// pieces cuts the log.
func (c *checker) pieces(ctx context.Context, size uint64, yield func(*piece) bool) {
	bytes := 0
	p := &piece{done: make(chan struct{})}
	for entry, err := range c.store.Entries(ctx, 0, size) {
		if err != nil {
			p.err = err
			break
		}
		p.entries = append(p.entries, entry)
		if bytes += len(entry); bytes < pieceBytes && len(p.entries) < pieceEntries {
			continue
		}
		if !yield(p) {
			return
		}
		p, bytes = &piece{first: p.first + uint64(len(p.entries)), done: make(chan struct{})}, 0
	}
	if len(p.entries) > 0 || p.err != nil {
		yield(p)
	}
}

// verify does what needs no order.
func (c *checker) verify(p *piece) {
	p.read = make([]readEntry, len(p.entries))
	us, keys := make([]*evidence.Unverified, len(p.entries)), make([]*evidence.PublicKey, len(p.entries))
	for i, entry := range p.entries {
		r := &p.read[i]
		if r.u, r.err = evidence.Parse(entry); r.err == nil {
			// A key may be registered by an entry that was not taken yet; then
			// whoever takes this one verifies it.
			us[i], keys[i] = r.u, c.registry.Key(r.u.KeyID())
		}
	}
	for i, err := range evidence.VerifyEach(us, keys) {
		p.read[i].verified = keys[i] != nil && err == nil
	}
}

// record takes one record in the log's order.
func (c *checker) record(index uint64, entry []byte, r *readEntry) error {
	if r.err != nil {
		c.differs(fmt.Sprintf("entry %d", index), "a record", r.err.Error())
		return nil
	}
	p := evidence.Placed{Index: index, ID: r.u.ID(), Entry: entry, Record: r.u.UnverifiedRecord()}
	for _, row := range rowsOf(index, []indexed{indexedOf(p)}) {
		if err := c.facts(row, c.add); err != nil {
			return err
		}
	}
	c.commitments(p.Record)
	if err := c.permit(index, r); err != nil {
		// Nothing that it says of actors and keys is believed either.
		c.differs(fmt.Sprintf("record %s at index %d", p.ID, index), "the signature of whom the registry names", err.Error())
		return nil
	}
	c.report.Signatures++
	if p.Record.Kind.Place() == evidence.Registry {
		if err := c.registry.Apply(index, p.ID, p.Record); err != nil {
			c.differs(fmt.Sprintf("registry record %s at index %d", p.ID, index), "the next record of the registry", err.Error())
		}
	}
	return nil
}

// permit decides who signed, as admission and the audit do.
func (c *checker) permit(index uint64, r *readEntry) error {
	if r.verified {
		_, err := c.registry.Permit(index, r.u)
		return err
	}
	_, _, err := c.registry.Check(index, r.u)
	return err
}

// commitments counts what the vault does not hold.
func (c *checker) commitments(r *evidence.Record) {
	if c.vault == nil {
		return
	}
	for _, m := range r.Commitments() {
		if _, erased := c.erased[m.Commit]; erased {
			c.report.Erased++
		} else if !c.vault.has(m.Commit) {
			c.report.Absent++
		}
	}
}
