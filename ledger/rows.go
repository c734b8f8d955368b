package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// Index rows. All of them follow from the log alone; RowsOf is the one function
// that makes them, for a commit and for a reindex. Integers in keys are
// big-endian, in values varints.
//
//	r  run (16 bytes), index        –        a record on the run's line
//	b  run (16 bytes), index        –        a record beside it
//	h  leaf hash (32 bytes)         index    the record with that evidence ID
//	u  SHA-256(use)[:16]            index    the record that used something up
//	x  digest (32 bytes), index     –        an erasure of that payload
//	p  field, value, 0x00, first    deltas   the records of a batch with that value
//	k  origin, 0x00, size, index    –        a handoff.accepted that names the tree
//	                                         head of that size of that other ledger
//	form                            number   rowForm, with entry 0
//
// A row of kind p stands for many records: first is the index from which its
// batch was written on, the value holds the first record's distance from it,
// then the distance of each from the one before. How records fall into batches
// is chance, and no answer depends on it.
const (
	rowLine    = 'r'
	rowBeside  = 'b'
	rowHash    = 'h'
	rowUse     = 'u'
	rowErased  = 'x'
	rowPosting = 'p'
	rowKnown   = 'k'
)

// formRow is the row that says in which form the rows are: a store whose rows were
// made before some kind of them was thought of would answer that nothing is there.
// rowForm is raised with every such change.
const (
	formRow = "form"
	rowForm = 2
)

// The fields of posting rows.
const (
	fieldActor  = 'a'
	fieldAction = 'x'
	fieldKind   = 'k'
	fieldParent = 'o' // of run.opened: the record that the run continues
	fieldMinute = 'm' // of the record's time, since the Unix epoch: 8 bytes
	fieldHour   = 'h' // likewise
)

// unitOf is the length in milliseconds of what a field of time counts.
func unitOf(field byte) uint64 {
	if field == fieldHour {
		return 3_600_000
	}
	return 60_000
}

func isTime(field byte) bool { return field == fieldMinute || field == fieldHour }

// timeValue is the value of a field of time.
func timeValue(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

// runKey is a run ID as 16 bytes.
type runKey [16]byte

// keyOfRun turns a run ID, whose form was checked, into its bytes.
func keyOfRun(id evidence.RunID) (k runKey, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(string(id), "run_"), "-", ""))
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("run %q: expected run_ and a lowercase UUID", id)
	}
	return runKey(b), nil
}

func (k runKey) id() evidence.RunID {
	h := hex.EncodeToString(k[:])
	return evidence.RunID("run_" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
}

// useKey is a uniqueness key. 128 bits: two uses with one key would take 2^64
// tries to find, and then refuse one of the seeker's own records.
type useKey [16]byte

func keyOfUse(use string) useKey {
	sum := sha256.Sum256([]byte(use))
	return useKey(sum[:16])
}

func (k useKey) half() uint64 { return binary.BigEndian.Uint64(k[:8]) }

func runRow(kind byte, run runKey, index uint64) []byte {
	key := append(make([]byte, 0, 25), kind)
	key = append(key, run[:]...)
	return binary.BigEndian.AppendUint64(key, index)
}

func hashRow(id evidence.ID) []byte  { return append([]byte{rowHash}, id[:]...) }
func useRow(k useKey) []byte         { return append([]byte{rowUse}, k[:]...) }
func indexValue(index uint64) []byte { return binary.AppendUvarint(nil, index) }
func knownPrefix(origin string) []byte {
	return append(append([]byte{rowKnown}, origin...), 0) // no origin has a zero byte
}

func knownRow(origin string, size, index uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(knownPrefix(origin), size), index)
}

func erasedRow(d evidence.Digest, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{rowErased}, d[:]...), index)
}

// indexIn reads the value of a row that points to one record.
func indexIn(value []byte) (uint64, error) {
	index, n := binary.Uvarint(value)
	if n <= 0 || n != len(value) {
		return 0, fmt.Errorf("index row: expected an index as varint, found % x: run reindex", value)
	}
	return index, nil
}

// postingPrefix is what the keys of one field's value begin with.
func postingPrefix(field byte, value string) []byte {
	key := append(make([]byte, 0, 3+len(value)+8), rowPosting, field)
	key = append(key, value...)
	if isTime(field) {
		return key // of fixed length, and may hold zeros
	}
	return append(key, 0)
}

// An indexed record is what RowsOf makes rows of.
type indexed struct {
	index uint64
	id    evidence.ID
	rec   *evidence.Record // nil for an entry that this version cannot read
	uses  []useKey
}

// rowsOf returns the index rows of the records of one batch, whose first entry
// stands at first, in the order of their keys: a memtable then finds the place of
// each from that of the one before.
func rowsOf(first uint64, batch []indexed) []tlog.Row {
	rows := make([]tlog.Row, 0, 3*len(batch)+8)
	var post postings
	for i := range batch {
		e := &batch[i]
		if e.index == 0 {
			rows = append(rows, tlog.Row{Key: []byte(formRow), Value: indexValue(rowForm)})
		}
		rows = append(rows, tlog.Row{Key: hashRow(e.id), Value: indexValue(e.index)})
		for _, u := range e.uses {
			rows = append(rows, tlog.Row{Key: useRow(u), Value: indexValue(e.index)})
		}
		r := e.rec
		if r.Run != "" {
			if run, err := keyOfRun(r.Run); err == nil { // it parsed
				rows = append(rows, tlog.Row{Key: runRow(placeRow(r), run, e.index)})
			}
		}
		switch b := r.Body.(type) {
		case *evidence.PayloadErased:
			rows = append(rows, tlog.Row{Key: erasedRow(b.Commit, e.index)})
		case *evidence.HandoffAccepted:
			rows = append(rows, tlog.Row{Key: knownRow(b.Origin, uint64(b.Head.Size), e.index)})
		}
		for f, v := range fieldsOf(r) {
			post.add(f, v, e.index)
		}
	}
	rows = post.rows(first, rows)
	slices.SortFunc(rows, func(a, b tlog.Row) int { return bytes.Compare(a.Key, b.Key) })
	return rows
}

func placeRow(r *evidence.Record) byte {
	if r.OnLine() {
		return rowLine
	}
	return rowBeside
}

// fieldsOf yields what a record is found by, apart from its run.
func fieldsOf(r *evidence.Record) func(yield func(byte, string) bool) {
	return func(yield func(byte, string) bool) {
		at := uint64(r.Time)
		_ = yield(fieldActor, r.Actor) && yield(fieldKind, string(r.Kind)) &&
			yield(fieldMinute, timeValue(at/unitOf(fieldMinute))) && yield(fieldHour, timeValue(at/unitOf(fieldHour))) &&
			(actionOf(r) == "" || yield(fieldAction, actionOf(r))) &&
			(parentOf(r) == "" || yield(fieldParent, parentOf(r)))
	}
}

// actionOf returns the action that a record is about, "" where there is none.
func actionOf(r *evidence.Record) string {
	switch b := r.Body.(type) {
	case *evidence.Authorization:
		return b.Action
	case *evidence.Execution:
		return b.Action
	}
	return ""
}

// parentOf returns the record that a run continues, "" where there is none.
func parentOf(r *evidence.Record) string {
	if b, ok := r.Body.(*evidence.RunOpened); ok && !b.Parent.IsZero() {
		return b.Parent.String()
	}
	return ""
}

// acceptedIn returns what a handoff.accepted says, nil for another record.
func acceptedIn(r *evidence.Record) *evidence.HandoffAccepted {
	b, _ := r.Body.(*evidence.HandoffAccepted)
	return b
}

// postings gathers the posting rows of one batch.
type postings struct {
	lists map[string]*[]uint64 // by prefix of the key
}

func (p *postings) add(field byte, value string, index uint64) {
	if p.lists == nil {
		p.lists = make(map[string]*[]uint64)
	}
	prefix := postingPrefix(field, value)
	l := p.lists[string(prefix)]
	if l == nil {
		l = new([]uint64)
		p.lists[string(prefix)] = l
	}
	*l = append(*l, index)
}

func (p *postings) rows(first uint64, rows []tlog.Row) []tlog.Row {
	for prefix, list := range p.lists {
		at := first
		value := make([]byte, 0, len(*list)+2)
		for _, index := range *list {
			value = binary.AppendUvarint(value, index-at)
			at = index
		}
		rows = append(rows, tlog.Row{Key: binary.BigEndian.AppendUint64([]byte(prefix), first), Value: value})
	}
	return rows
}

// posting reads a posting row: its field and value, and the records it lists,
// which rise.
func posting(row tlog.Row) (field byte, value string, indexes []uint64, err error) {
	bad := func(what string) error {
		return fmt.Errorf("index row % x: %s: run reindex", row.Key, what)
	}
	if len(row.Key) < 2+1+8 || row.Key[0] != rowPosting {
		return 0, "", nil, bad("expected a posting's key")
	}
	field = row.Key[1]
	body := row.Key[2 : len(row.Key)-8]
	switch {
	case isTime(field) && len(body) != 8:
		return 0, "", nil, bad("expected a time of 8 bytes")
	case !isTime(field) && body[len(body)-1] != 0:
		return 0, "", nil, bad("expected a zero byte after the value")
	case !isTime(field):
		body = body[:len(body)-1]
	}
	at := binary.BigEndian.Uint64(row.Key[len(row.Key)-8:])
	for rest := row.Value; len(rest) > 0; {
		d, n := binary.Uvarint(rest)
		if n <= 0 || (d == 0 && len(indexes) > 0) {
			return 0, "", nil, bad("expected rising distances as varints")
		}
		at, rest = at+d, rest[n:]
		indexes = append(indexes, at)
	}
	if len(indexes) == 0 {
		return 0, "", nil, bad("expected at least one record")
	}
	return field, string(body), indexes, nil
}
