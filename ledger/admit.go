package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// An admitter decides what the log takes (tlog.Admitter), by the rules of
// package audit, over everything that was admitted before.
//
// Everything but Prepare and Durable belongs to the log's sequencer.
type admitter struct {
	ledger  *Ledger
	runs    *runStates
	batch   []indexed // admitted since Rows was last called
	flying  []indexed // admitted, and not known to be durable when last looked at
	ids     map[evidence.ID]uint64
	uses    map[useKey]uint64 // of flying, as ids
	durable atomic.Uint64     // set by the log's committer
}

var _ tlog.Admitter = (*admitter)(nil)

func newAdmitter(l *Ledger) *admitter {
	return &admitter{
		ledger: l, runs: newRunStates(l.cfg.Runs),
		ids: make(map[evidence.ID]uint64), uses: make(map[useKey]uint64),
	}
}

// prepared is what Prepare found out about an entry.
type prepared struct {
	u        *evidence.Unverified
	uses     []useKey
	inRun    []bool // of uses: audit.InRun
	verified bool   // the signature, under the key that the record names
}

func preparedOf(c *tlog.Candidate) *prepared { return c.Value.(*prepared) }

// Prepare parses the entries, and verifies the signature of each of which anybody
// ever had the key that it names. Whether that key holds is decided in order.
func (a *admitter) Prepare(cs []*tlog.Candidate) []error {
	errs := make([]error, len(cs))
	us, keys := make([]*evidence.Unverified, len(cs)), make([]*evidence.PublicKey, len(cs))
	for i, c := range cs {
		u, err := evidence.Parse(c.Entry)
		if err != nil {
			errs[i] = a.count(refuseForm(c.Entry, err))
			continue
		}
		us[i], keys[i] = u, a.ledger.registry.Key(u.KeyID())
	}
	for i, err := range evidence.VerifyEach(us, keys) {
		switch {
		case errs[i] != nil:
		case err != nil:
			errs[i] = a.count(badSignature(err))
		default:
			p := &prepared{u: us[i], verified: keys[i] != nil}
			for _, use := range audit.Uses(p.u.UnverifiedRecord()) {
				p.uses = append(p.uses, keyOfUse(use))
				p.inRun = append(p.inRun, audit.InRun(use))
			}
			cs[i].Value = p
		}
	}
	return errs
}

func badSignature(err error) *Refusal {
	return &Refusal{Unacceptable, Reason(audit.ReasonSignature), err}
}

// Admit implements tlog.Admitter.
func (a *admitter) Admit(index uint64, c *tlog.Candidate) error {
	return a.count(a.decide(index, preparedOf(c)))
}

func (a *admitter) count(err error) error {
	if r := AsRefusal(err); r != nil {
		a.ledger.counts.refuse(r.Reason)
	}
	return err
}

// decide is where order is: the first rule that the record breaks is its
// refusal. An error that is no *Refusal says that something could not be looked
// up; then nothing was decided.
func (a *admitter) decide(index uint64, p *prepared) error {
	a.land()
	rec, id := p.u.UnverifiedRecord(), p.u.ID()
	fresh, err := a.unopened(p)
	if err != nil {
		return err
	}
	var st *runState
	if rec.Run != "" {
		if st, err = a.run(rec.Run, fresh); err != nil {
			return err
		}
	}
	// The next record of a line names a tail that no record named before, and
	// is not in the log already. Everything else may be.
	if extends := st != nil && rec.OnLine() && !rec.Prev.IsZero() && rec.Prev == st.line.Tail; !extends && !fresh {
		if at, ok, err := a.stands(id); err != nil {
			return err
		} else if ok {
			return &tlog.Duplicate{Index: at}
		}
	}
	signer, err := a.attribute(index, p)
	if err != nil {
		return err
	}
	if err := a.inTime(rec); err != nil {
		return err
	}
	if st != nil {
		if err := st.line.Next(rec, signer.Name); err != nil {
			return a.refusal(err)
		}
	}
	if rec.Kind.Place() == evidence.Registry && index > 0 {
		if err := a.ledger.registry.Admissible(index, id, rec); err != nil {
			return a.refusal(err)
		}
	}
	if !fresh {
		if err := a.unused(p, st); err != nil {
			return err
		}
	}
	return a.take(index, p, st)
}

// attribute decides who signed.
func (a *admitter) attribute(index uint64, p *prepared) (audit.Signer, error) {
	g := a.ledger.registry
	if index == 0 {
		return a.attributeFirst(p)
	}
	if p.verified {
		s, err := g.Permit(index, p.u)
		return s, a.refusal(err)
	}
	// The key was unknown when the record was prepared: registered by a record
	// before it in line, or by nobody.
	_, s, err := g.Check(index, p.u)
	return s, a.refusal(err)
}

// attributeFirst: entry 0 is signed by a key that it names itself, and becomes
// the registry's first record with that.
func (a *admitter) attributeFirst(p *prepared) (audit.Signer, error) {
	g, rec := a.ledger.registry, p.u.UnverifiedRecord()
	if b, ok := rec.Body.(*evidence.LedgerCreated); ok {
		for i := range b.RootKeys {
			k, err := b.RootKeys[i].PublicKey()
			if err != nil || k.Thumbprint() != p.u.KeyID() {
				continue
			}
			if _, err := p.u.Verify(k); err != nil {
				return audit.Signer{}, badSignature(err)
			}
			if err := g.Admissible(0, p.u.ID(), rec); err != nil {
				return audit.Signer{}, a.refusal(err)
			}
			return audit.Signer{Name: rec.Actor, Role: evidence.RoleRoot, Key: p.u.KeyID()}, nil
		}
	}
	return audit.Signer{}, refuse(Unacceptable, Reason(audit.ReasonEntryZero),
		"expected entry 0 to be a ledger.created signed by one of its own root keys, found a %s", rec.Kind)
}

// inTime: imported records too are signed now; when it happened is their at.
func (a *admitter) inTime(rec *evidence.Record) error {
	now := a.ledger.cfg.Clock()
	if d := rec.Time.Std().Sub(now); d > MaxSkew || d < -MaxSkew {
		return refuse(Unacceptable, ReasonTime, "expected a time within %v of the ledger's clock, %s, found %s: set the clock, and sign anew",
			MaxSkew, now.UTC().Format(time.RFC3339), rec.Time)
	}
	return nil
}

// take makes the record one of the ledger's.
func (a *admitter) take(index uint64, p *prepared, st *runState) error {
	rec, id := p.u.UnverifiedRecord(), p.u.ID()
	if rec.Kind.Place() == evidence.Registry {
		if err := a.ledger.registry.Apply(index, id, rec); err != nil {
			return a.refusal(err)
		}
	}
	if st != nil {
		st.line.Extend(index, id, rec)
		st.whole = st.whole || rec.Kind == evidence.KindRunOpened
		if a.runs.get(st.run) == nil {
			a.runs.put(st, a.durable.Load())
		}
		for i, u := range p.uses {
			if p.inRun[i] {
				a.runs.use(st, u)
			}
		}
		a.runs.trim(a.durable.Load())
	}
	if b, ok := rec.Body.(*evidence.PayloadErased); ok {
		a.ledger.erasures.add(b.Commit)
	}
	e := indexed{index, id, rec, p.uses}
	a.batch = append(a.batch, e)
	a.flying = append(a.flying, e)
	a.ids[id] = index
	for _, u := range p.uses {
		a.uses[u] = index
	}
	return nil
}

// land forgets what has become durable: from then on the store shows it.
func (a *admitter) land() {
	durable, n := a.durable.Load(), 0
	for ; n < len(a.flying) && a.flying[n].index < durable; n++ {
		e := &a.flying[n]
		delete(a.ids, e.id)
		for _, u := range e.uses {
			delete(a.uses, u)
		}
		*e = indexed{}
	}
	if a.flying = a.flying[n:]; len(a.flying) == 0 {
		a.flying = nil
	}
}

// Rows implements tlog.Admitter.
func (a *admitter) Rows(first uint64, n int) []tlog.Row {
	if len(a.batch) != n || n > 0 && a.batch[0].index != first {
		panic(fmt.Sprintf("ledger: asked for the rows of %d entries from %d on, admitted were %d", n, first, len(a.batch)))
	}
	rows := rowsOf(first, a.batch)
	clear(a.batch)
	a.batch = a.batch[:0]
	return rows
}

// Durable implements tlog.Admitter.
func (a *admitter) Durable(size uint64) { a.durable.Store(size) }

// unopened reports whether p opens a run that nobody opened: then it is new, and
// uses nothing up a second time.
func (a *admitter) unopened(p *prepared) (bool, error) {
	if p.u.UnverifiedRecord().Kind != evidence.KindRunOpened {
		return false, nil
	}
	for _, u := range p.uses {
		if _, used, err := a.usedAt(u); used || err != nil {
			return false, err
		}
	}
	return true, nil
}

// run returns the state of a run: one that nobody opened has a zero line.
func (a *admitter) run(id evidence.RunID, fresh bool) (*runState, error) {
	key, err := keyOfRun(id)
	if err != nil {
		return nil, err
	}
	if st := a.runs.get(key); st != nil {
		return st, nil
	}
	st := &runState{run: key}
	if fresh {
		return st, nil
	}
	if st.line, err = a.ledger.loadLine(context.Background(), key); err != nil {
		return nil, err
	}
	if !st.line.Opened.IsZero() {
		a.runs.put(st, a.durable.Load())
	}
	return st, nil
}

// stands finds an entry by its whole hash. What an index row says is compared
// with the log.
func (a *admitter) stands(id evidence.ID) (index uint64, ok bool, err error) {
	if index, ok := a.ids[id]; ok {
		return index, true, nil
	}
	return a.ledger.indexOf(context.Background(), id)
}

func (a *admitter) usedAt(u useKey) (index uint64, used bool, err error) {
	if index, ok := a.uses[u]; ok {
		return index, true, nil
	}
	value, err := a.ledger.store.Row(context.Background(), useRow(u))
	if errors.Is(err, tlog.ErrNoRow) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up a use: %w", err)
	}
	index, err = indexIn(value)
	return index, err == nil, err
}

// unused refuses a second use.
func (a *admitter) unused(p *prepared, st *runState) error {
	for i, u := range p.uses {
		if p.inRun[i] && st.unused(u) {
			continue
		}
		index, used, err := a.usedAt(u)
		if err != nil {
			return err
		}
		if !used {
			continue
		}
		id, err := a.idAt(index, u)
		if err != nil {
			return err
		}
		rec := p.u.UnverifiedRecord()
		return &ConflictError{Refusal{
			Conflict, Reason(audit.ReasonUsed),
			fmt.Errorf("expected the first use of what a %s uses up (docs/log-format.md), found a second", rec.Kind),
		}, id, index}
	}
	return nil
}

// idAt returns the ID of the record at index, which is said to use u up.
func (a *admitter) idAt(index uint64, u useKey) (evidence.ID, error) {
	for i := range a.flying {
		if a.flying[i].index == index {
			return a.flying[i].id, nil
		}
	}
	p, err := a.ledger.At(context.Background(), index)
	if err != nil {
		return evidence.ID{}, err
	}
	for _, use := range audit.Uses(p.Record) {
		if keyOfUse(use) == u {
			return p.ID, nil
		}
	}
	return evidence.ID{}, &IndexError{tlog.Row{Key: useRow(u), Value: indexValue(index)}, fmt.Sprintf("a %s that uses up something else", p.Record.Kind)}
}

// refusal turns the audit's refusal into the ledger's.
func (a *admitter) refusal(err error) error {
	var r *audit.Refusal
	if !errors.As(err, &r) {
		return err
	}
	out := Refusal{classOf(r.Class()), Reason(r.Reason), err}
	if r.Stands.IsZero() || out.Class != Conflict {
		return &out
	}
	index, ok, lookup := a.stands(r.Stands)
	if lookup != nil {
		return lookup
	}
	if !ok {
		return &out
	}
	return &ConflictError{out, r.Stands, index}
}
