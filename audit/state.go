package audit

import (
	"cmp"
	"slices"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// LogState is what an audit of a log leaves for the next: the tree head that it saw,
// and by what the records after it will be judged. It goes to [Follow], which reads
// what is new, or to [VerifyLog], which reads everything and holds it to the head.
type LogState struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
	Head   []byte // the signed note: proof, should the log ever say otherwise

	// Tiles are the hashes of the tiles that are not full at that size, from
	// level 0 up: the right edge of the tree. Nil where the state is a head alone,
	// to which [VerifyLog] can hold a log, and from which none can be followed.
	Tiles [][]tlog.Hash
	Kept  []Kept // rising: the entries by which new ones are judged
	// Closed are the runs that are opened and closed: no record belongs to them any more.
	Closed [][16]byte
	Signed []Signed // by index: what each key signed last
}

// Kept is an entry that is read again when a log is followed from a state.
type Kept struct {
	Index uint64
	ID    evidence.ID
}

// Signed is the last record that a key signed. Should the key be said to have been
// in other hands since before that, it is in doubt.
type Signed struct {
	Key   evidence.Digest // its thumbprint
	Index uint64
	ID    evidence.ID
}

// Resumable reports whether a log can be followed from the state.
func (st *LogState) Resumable() bool { return st.Tiles != nil || st.Size == 0 }

// An audit of a whole log leaves its head alone where more than a share of its records
// are of runs that are open: to read those again, and to hold them whole, would cost more
// than the next audit of the whole does.
const (
	keptShare   = 4
	keptAtLeast = 20_000
)

// A keeper has an auditor take the entries of a log, and keeps what a state needs.
type keeper struct {
	always []Kept
	newer  bool                       // a record of a version that is not known is among them
	family map[evidence.RunID]*family // of open runs
	closed [][16]byte
}

// A family is runs that charge each other's budgets. Its records are kept while one
// of them is open.
type family struct {
	open int
	kept []Kept
}

func newKeeper() *keeper { return &keeper{family: make(map[evidence.RunID]*family)} }

// add has a take an entry, and keeps it as long as others are judged by it. A nil
// keeper keeps nothing.
func (k *keeper) add(a *Auditor, c *candidate) {
	if k == nil {
		a.add(c)
		return
	}
	if c.err != nil {
		if !k.newer { // one leaves the log undecided the next time too; the rest have no limit
			k.newer, k.always = true, append(k.always, Kept{c.index, c.id})
		}
		a.add(c)
		return
	}
	rec := c.u.UnverifiedRecord()
	kept := Kept{c.index, c.id}
	a.add(c)
	switch rec.Body.(type) {
	case *evidence.HandoffOffered, *evidence.HandoffAccepted:
		k.always = append(k.always, kept)
	default:
		if rec.Kind.Place() == evidence.Registry {
			k.always = append(k.always, kept)
			return
		}
	}
	if rec.Run == "" {
		return
	}
	r, fam := a.runs[rec.Run], k.family[rec.Run]
	switch {
	case fam == nil && r == nil:
		return
	case fam == nil:
		fam = new(family)
		if r.account != nil && r.account.parent != nil {
			if of := k.family[r.account.parent.run]; of != nil {
				fam = of
			}
		}
		fam.open++
		k.family[rec.Run] = fam
	}
	fam.kept = append(fam.kept, kept)
	if r == nil {
		fam.open--
		delete(k.family, rec.Run)
		k.closed = append(k.closed, [16]byte(packRun(rec.Run)))
	}
}

// kept returns the entries by which those are judged that follow.
func (k *keeper) kept() []Kept {
	all := slices.Clone(k.always)
	done := make(map[*family]bool)
	for _, fam := range k.family {
		if !done[fam] {
			done[fam] = true
			all = append(all, fam.kept...)
		}
	}
	slices.SortFunc(all, func(x, y Kept) int { return cmp.Compare(x.Index, y.Index) })
	return slices.Compact(all) // an offer is a record of its run, too
}

// state is what to go on from, now that everything up to head was judged.
func (v *logAudit) state(head *bundle.Head) *LogState {
	st := &LogState{Origin: head.Ledger.Origin(), Size: head.Size, Root: head.Root, Head: head.Note}
	if v.keep == nil {
		return st
	}
	st.Tiles = [][]tlog.Hash{}
	for _, row := range v.tree.rows {
		st.Tiles = append(st.Tiles, slices.Clone(row))
	}
	st.Kept, st.Closed = v.keep.kept(), slices.Clip(v.keep.closed)
	if v.a.brief && len(st.Kept) > max(keptAtLeast, int(st.Size/keptShare)) {
		return &LogState{Origin: st.Origin, Size: st.Size, Root: st.Root, Head: st.Head}
	}
	for key, last := range v.a.lastUse {
		st.Signed = append(st.Signed, Signed{key, last.index, last.id})
	}
	slices.SortFunc(st.Signed, func(x, y Signed) int { return cmp.Compare(x.Index, y.Index) })
	return st
}

// resume puts back what the entries that are kept do not say.
func (v *logAudit) resume(st *LogState) {
	v.keep.closed = slices.Clip(st.Closed)
	for _, run := range st.Closed {
		v.a.known[run] = struct{}{}
	}
	for _, s := range st.Signed {
		v.a.lastUse[s.Key] = place{index: s.Index, id: s.ID}
	}
}
