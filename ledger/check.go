package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A CheckReport says what a full check found.
type CheckReport struct {
	Log        *tlog.Report // entries and tiles against the signed tree head
	Signatures uint64       // of records, verified
	Rows       uint64       // index rows compared with the log
	Registry   int64        // the latest registry number that the log gives
	Payloads   uint64       // verified
	Erased     uint64       // commitments in records whose payload was erased
	Absent     uint64       // commitments in records whose payload the vault does not hold
	// Differences names what is not as the log says, the first 100; those of
	// the log itself are in Log.
	Differences []Difference
}

// A Difference is one thing that is not as it should be.
type Difference struct{ Place, Want, Found string }

func (d Difference) String() string {
	return fmt.Sprintf("%s: expected %s, found %s", d.Place, d.Want, d.Found)
}

// Sound reports whether nothing differs.
func (r *CheckReport) Sound() bool { return len(r.Differences) == 0 && len(r.Log.Differences) == 0 }

const maxDifferences = 100

// Check recomputes everything that a store and a vault hold: the tree from every
// entry (tlog.Check), the registry from entry 0, every record's signature under
// the key that the registry gives at its index, every index row from the log,
// every payload against its commitment. It works on a store that Open refuses.
// Where the log itself differs, nothing else is looked at. The rules beyond who
// may sign what are for `verify log`.
//
// progress, if not nil, is told how many steps are done of how many. An entry
// takes two: one for the tree, one for its record.
//
// A payload that was lost cannot be told from one that this ledger was never
// given: both are Absent.
func Check(ctx context.Context, s Store, v *Vault, verifierKey string, progress func(done, size uint64)) (*CheckReport, error) {
	verifier, err := tlog.NewVerifier(verifierKey)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	attachCells(v, s)
	r, err := tlog.Check(ctx, s, verifier, halfOf(progress))
	if err != nil {
		return nil, err
	}
	c := &checker{report: &CheckReport{Log: r, Registry: -1}, store: s, vault: v, progress: progress}
	return c.run(ctx, verifier.Name(), evidence.ID{}, verifierKey)
}

// Check is the function of that name over the durable log, while the ledger is
// at work.
func (l *Ledger) Check(ctx context.Context, progress func(done, size uint64)) (*CheckReport, error) {
	r, err := l.log.Check(ctx, halfOf(progress))
	if err != nil {
		return nil, err
	}
	c := &checker{report: &CheckReport{Log: r, Registry: -1}, store: l.store, vault: l.vault, progress: progress, live: true}
	return c.run(ctx, l.origin, l.entry0, l.cfg.VerifierKey)
}

// halfOf tells what the pass over the tree has done.
func halfOf(progress func(done, size uint64)) func(done, size uint64) {
	if progress == nil {
		return nil
	}
	return func(done, size uint64) { progress(done, 2*size) }
}

// A checker compares index rows with the log. Both say facts, each of one
// record. Facts are summed up by the bucket of their record's index: where the
// two sums of a bucket differ, its facts are compared one by one.
type checker struct {
	report   *CheckReport
	store    Store
	vault    *Vault
	registry *audit.Registry
	progress func(done, size uint64)
	live     bool // rows beyond the head belong to records in flight
	seeds    [2]maphash.Seed
	sums     [][2]uint64
	erased   map[evidence.Digest]struct{} // as the rows say, which are compared too
}

const bucketSize = 4096

func (c *checker) run(ctx context.Context, origin string, entry0 evidence.ID, verifierKey string) (*CheckReport, error) {
	if len(c.report.Log.Differences) > 0 {
		return c.report, nil
	}
	c.registry = audit.NewRegistry(origin, entry0)
	if err := reserveLogKey(c.registry, verifierKey); err != nil {
		return nil, fmt.Errorf("check: the log's verifier key: %w", err)
	}
	size := c.report.Log.Head.Size
	c.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	c.sums = make([][2]uint64, size/bucketSize+2) // the last: beyond the log
	c.erased = make(map[evidence.Digest]struct{})
	for row, err := range c.store.Rows(ctx, []byte{rowErased}, []byte{rowErased + 1}, false) {
		if err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
		if len(row.Key) == 41 {
			c.erased[evidence.Digest(row.Key[1:33])] = struct{}{}
		}
	}
	if err := c.payloads(ctx); err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	if err := c.log(ctx, size); err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	if err := c.rows(ctx, size); err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	for i, sum := range c.sums {
		if sum != [2]uint64{} && len(c.report.Differences) < maxDifferences {
			if err := c.locate(ctx, i, size); err != nil {
				return nil, fmt.Errorf("check: %w", err)
			}
		}
	}
	c.report.Registry = c.registry.Number()
	return c.report, nil
}

func (c *checker) differs(place, want, found string) {
	if len(c.report.Differences) < maxDifferences {
		c.report.Differences = append(c.report.Differences, Difference{place, want, found})
	}
}

// payloads verifies every payload of the vault.
func (c *checker) payloads(ctx context.Context) error {
	if c.vault == nil {
		return nil
	}
	for d, err := range c.vault.Digests(ctx) {
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.differs("the vault", "payloads, and nothing else", err.Error())
			continue
		}
		switch err := c.vault.Verify(d); {
		case err == nil:
			c.report.Payloads++
			if _, ok := c.erased[d]; ok {
				c.differs("payload "+d.String(), "none: the log says that it was erased", "one")
			}
		case errors.Is(err, ErrNoPayload): // erased meanwhile
		default:
			c.differs("payload "+d.String(), "what its commitment commits to", err.Error())
		}
	}
	return nil
}

// rows takes away the facts that the rows give.
func (c *checker) rows(ctx context.Context, size uint64) error {
	for row, err := range c.store.Rows(ctx, nil, nil, false) {
		if err != nil {
			return err
		}
		c.report.Rows++
		if err := c.facts(row, c.subtract); err != nil {
			c.differs(fmt.Sprintf("index row %q", row.Key), "a row that this version writes", err.Error())
		}
	}
	return nil
}

func (c *checker) add(index uint64, fact []byte)      { c.sum(index, fact, 1) }
func (c *checker) subtract(index uint64, fact []byte) { c.sum(index, fact, ^uint64(0)) }

func (c *checker) sum(index uint64, fact []byte, sign uint64) {
	b := c.bucket(index)
	if b < 0 {
		return
	}
	for i, seed := range c.seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		h.Write(fact)
		maphash.WriteComparable(&h, index)
		c.sums[b][i] += sign * (h.Sum64() | 1)
	}
}

// bucket returns where a record's facts are summed up, -1 if nowhere.
func (c *checker) bucket(index uint64) int {
	if index >= c.report.Log.Head.Size {
		if c.live {
			return -1
		}
		return len(c.sums) - 1
	}
	return int(index / bucketSize)
}

// facts tells what a row says: that something, which the fact names, is true of
// the record at an index.
func (c *checker) facts(row tlog.Row, tell func(index uint64, fact []byte)) error {
	if len(row.Key) == 0 {
		return errors.New("an empty key")
	}
	lengths := map[byte]int{rowLine: 25, rowBeside: 25, rowHash: 33, rowUse: 17, rowErased: 41}
	switch kind := row.Key[0]; kind {
	case rowLine, rowBeside, rowErased:
		if len(row.Key) != lengths[kind] || len(row.Value) != 0 {
			return fmt.Errorf("a key of %d bytes and a value of %d", len(row.Key), len(row.Value))
		}
		tell(indexOfKey(row.Key), row.Key[:len(row.Key)-8])
	case rowHash, rowUse:
		if len(row.Key) != lengths[kind] {
			return fmt.Errorf("a key of %d bytes", len(row.Key))
		}
		index, err := indexIn(row.Value)
		if err != nil {
			return err
		}
		tell(index, row.Key)
	case rowPosting:
		_, _, indexes, err := posting(row)
		if err != nil {
			return err
		}
		for _, i := range indexes {
			tell(i, row.Key[:len(row.Key)-8])
		}
	case rowKnown:
		if len(row.Key) < 1+1+1+16 || len(row.Value) != 0 {
			return fmt.Errorf("a key of %d bytes and a value of %d", len(row.Key), len(row.Value))
		}
		tell(indexOfKey(row.Key), row.Key[:len(row.Key)-8])
	case formRow[0]:
		if string(row.Key) != formRow {
			return errors.New("a key of no kind of row")
		}
		tell(0, append(bytes.Clone(row.Key), row.Value...))
	default:
		return errors.New("a key of no kind of row")
	}
	return nil
}

// locate compares the facts of one bucket one by one.
func (c *checker) locate(ctx context.Context, bucket int, size uint64) error {
	type fact struct {
		index uint64
		what  string
	}
	balance := make(map[fact]int)
	tell := func(by int) func(uint64, []byte) {
		return func(index uint64, what []byte) {
			if c.bucket(index) == bucket {
				balance[fact{index, string(what)}] += by
			}
		}
	}
	first, end := min(uint64(bucket)*bucketSize, size), min(uint64(bucket+1)*bucketSize, size)
	if bucket == len(c.sums)-1 {
		first, end = size, size
	}
	at := first
	for entry, err := range c.store.Entries(ctx, first, end) {
		if err != nil {
			return err
		}
		if p, err := place(at, entry); err == nil {
			for _, row := range rowsOf(at, []indexed{indexedOf(p)}) {
				if err := c.facts(row, tell(1)); err != nil {
					return err
				}
			}
		}
		at++
	}
	for row, err := range c.store.Rows(ctx, nil, nil, false) {
		if err != nil {
			return err
		}
		_ = c.facts(row, tell(-1)) // told before
	}
	var wrong []fact
	for f, n := range balance {
		if n != 0 {
			wrong = append(wrong, f)
		}
	}
	slices.SortFunc(wrong, func(a, b fact) int {
		if a.index != b.index {
			return int(int64(a.index - b.index))
		}
		return slices.Compare([]byte(a.what), []byte(b.what))
	})
	for _, f := range wrong {
		place := fmt.Sprintf("index of record %d, %s", f.index, describe([]byte(f.what)))
		if balance[f] > 0 {
			c.differs(place, "a row that points to it", "none")
		} else {
			c.differs(place, "no such row: the log does not say this", "one")
		}
	}
	return nil
}

// describe names a row by the part of its key that is not an index.
func describe(key []byte) string {
	rest := key[1:]
	switch key[0] {
	case rowLine:
		return "line of " + string(runKey(rest).id())
	case rowBeside:
		return "beside the line of " + string(runKey(rest).id())
	case rowHash:
		return "evidence ID " + evidence.ID(rest).String()
	case rowUse:
		return "use " + hex.EncodeToString(rest)
	case rowErased:
		return "erasure of " + evidence.Digest(rest).String()
	case rowKnown:
		return fmt.Sprintf("acceptance by the tree head of size %d of %s", binary.BigEndian.Uint64(rest[len(rest)-8:]), bytes.TrimRight(rest[:len(rest)-8], "\x00"))
	case formRow[0]:
		return fmt.Sprintf("the form of the rows, % x", key[len(formRow):])
	}
	name := map[byte]string{fieldActor: "actor", fieldAction: "action", fieldKind: "kind", fieldParent: "parent", fieldMinute: "minute", fieldHour: "hour"}[rest[0]]
	if isTime(rest[0]) {
		return fmt.Sprintf("%s %x", name, rest[1:])
	}
	return fmt.Sprintf("%s %q", name, rest[1:len(rest)-1])
}

// indexedOf is what admission would have handed to rowsOf.
func indexedOf(p evidence.Placed) indexed {
	e := indexed{index: p.Index, id: p.ID, rec: p.Record}
	for _, u := range audit.Uses(p.Record) {
		e.uses = append(e.uses, keyOfUse(u))
	}
	return e
}
