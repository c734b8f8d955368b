// Package audittest makes small ledgers for tests: real records, signed with
// real keys, laid out in a real tree. A World checks nothing of what it is told
// to sign, so that a test can break any rule; only the form of records holds.
//
// Keys, salts and run IDs come from counters: a test that fails fails again.
package audittest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// Origin is the name of the ledger of a World, unless it was given another.
const Origin = "ledger.example/test"

// The actors that New registers.
const (
	Root    = "root"
	Runtime = "runtime-01"   // hosts Agent
	Agent   = "support"      // hosted
	Loner   = "auditor"      // an agent with a key of its own
	Tool    = "email_sender" // signs confirmations
	Human   = "ann"          // of Team
	Team    = "leads"
)

// A World is a ledger in memory.
type World struct {
	T        testing.TB
	Origin   string
	Clock    evidence.Time // of the next record; it moves a second a record
	Placed   []evidence.Placed
	Payloads map[evidence.Digest]evidence.Payload
	LogKey   ed25519.PrivateKey
	// Mutate, if not nil, may change each record before it is signed.
	Mutate  func(rec *evidence.Record)
	keys    map[string]*evidence.PrivateKey
	counter uint64
	numbers int64 // registry records
	tail    evidence.ID
}

// Empty returns a World without entries.
func Empty(t testing.TB, origin string) *World {
	seed := sha256.Sum256([]byte("log " + origin))
	return &World{
		T: t, Origin: origin, Clock: 1_780_000_000_000, LogKey: ed25519.NewKeyFromSeed(seed[:]),
		Payloads: make(map[evidence.Digest]evidence.Payload), keys: make(map[string]*evidence.PrivateKey),
	}
}

// New returns a World with entry 0 and the actors above.
func New(t testing.TB) *World { return Named(t, Origin) }

// Named is New for a ledger of another name.
func Named(t testing.TB, origin string) *World {
	w := Empty(t, origin)
	w.Create()
	w.Register(Runtime, evidence.RoleRuntime)
	w.RegisterHosted(Agent, Runtime)
	w.Register(Loner, evidence.RoleAgent)
	w.Register(Tool, evidence.RoleTool)
	w.Register(Human, evidence.RoleHuman, Team)
	return w
}

func (w *World) check(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Key returns the key of that name, and makes it where there is none. Actors
// sign with the key of their own name, until RotateKey.
func (w *World) Key(name string) *evidence.PrivateKey {
	if k := w.keys[name]; k != nil {
		return k
	}
	seed := sha256.Sum256([]byte("key " + w.Origin + " " + name))
	k, err := evidence.NewPrivateKey(seed[:])
	w.check(err)
	w.keys[name] = k
	return k
}

// UseKey makes actor sign with the key called name from here on.
func (w *World) UseKey(actor, name string) { w.keys[actor] = w.Key(name) }

// Commit makes a payload of media application/json and returns what commits to it.
func (w *World) Commit(data string) evidence.Commitment {
	return w.CommitAs("application/json", data)
}

// CommitAs makes a payload.
func (w *World) CommitAs(media, data string) evidence.Commitment {
	p := evidence.Payload{Media: media, Data: []byte(data)}
	w.counter++
	p.Salt = sha256.Sum256(binary.BigEndian.AppendUint64([]byte("salt"), w.counter))
	c := p.Commitment()
	w.Payloads[c.Commit] = p
	return c
}

// Payload implements audit.Payloads: everything is disclosed.
func (w *World) Payload(commit evidence.Digest) ([]byte, bool) {
	p, ok := w.Payloads[commit]
	return p.Data, ok
}

// Append signs rec with the key of the actor called signer and appends it.
// Origin, time and, where the kind names one, the latest registry number are
// filled in where they are zero.
func (w *World) Append(rec *evidence.Record, signer string) evidence.Placed {
	w.T.Helper()
	w.Clock += 1000
	if rec.Origin == "" {
		rec.Origin = w.Origin
	}
	if rec.Time == 0 {
		rec.Time = w.Clock
	}
	rec.Kind = rec.Body.Kind()
	if rec.Registry == nil && rec.Kind.NamesRegistry() {
		n := w.numbers - 1
		rec.Registry = &n
	}
	if w.Mutate != nil {
		w.Mutate(rec)
	}
	entry, err := evidence.Sign(rec, w.Key(signer))
	w.check(err)
	return w.AppendEntry(entry)
}

// AppendEntry appends bytes as they are; Record is nil where they are no record.
func (w *World) AppendEntry(entry []byte) evidence.Placed {
	p := evidence.Placed{Index: uint64(len(w.Placed)), ID: evidence.IDOf(entry), Entry: entry}
	if u, err := evidence.Parse(entry); err == nil {
		p.Record = u.UnverifiedRecord()
	}
	w.Placed = append(w.Placed, p)
	return p
}

// Create appends entry 0.
func (w *World) Create() evidence.Placed {
	jwk := w.Key(Root).Public().JWK()
	return w.registry(&evidence.LedgerCreated{RootKeys: []evidence.JWK{jwk}})
}

// Register gives an actor the key of its name.
func (w *World) Register(name string, role evidence.Role, teams ...string) evidence.Placed {
	jwk := w.Key(name).Public().JWK()
	return w.registry(&evidence.ActorRegistered{Name: name, Role: role, Key: &jwk, Teams: teams})
}

// RegisterHosted registers an agent whose runtime signs for it.
func (w *World) RegisterHosted(name, host string) evidence.Placed {
	return w.registry(&evidence.ActorRegistered{Name: name, Role: evidence.RoleAgent, Host: host})
}

// Revoke ends an actor with all its keys. suspectFrom below zero: none.
func (w *World) Revoke(name string, suspectFrom int64) evidence.Placed {
	b := &evidence.ActorRevoked{Name: name, Reason: "test"}
	if suspectFrom >= 0 {
		b.SuspectFrom = &suspectFrom
	}
	return w.registry(b)
}

// Registry appends any registry record as the next of its chain.
func (w *World) Registry(b evidence.Body) evidence.Placed { return w.registry(b) }

func (w *World) registry(b evidence.Body) evidence.Placed {
	w.T.Helper()
	n := w.numbers
	w.numbers++
	p := w.Append(&evidence.Record{Registry: &n, Prev: w.tail, Actor: Root, Body: b}, Root)
	w.tail = p.ID
	return p
}

// Number returns the latest registry number.
func (w *World) Number() int64 { return w.numbers - 1 }

// Tail returns the latest registry record.
func (w *World) Tail() evidence.ID { return w.tail }

// Leaves returns the leaf hashes.
func (w *World) Leaves() []tlog.Hash {
	hs := make([]tlog.Hash, len(w.Placed))
	for i := range w.Placed {
		hs[i] = tlog.Hash(w.Placed[i].ID)
	}
	return hs
}

// rootOf computes RFC 6962's MTH by its definition.
func rootOf(leaves []tlog.Hash) tlog.Hash {
	switch len(leaves) {
	case 0:
		return tlog.EmptyRoot
	case 1:
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return tlog.NodeHash(rootOf(leaves[:k]), rootOf(leaves[k:]))
}

// Root returns the root of the first size entries.
func (w *World) Root(size int) tlog.Hash { return rootOf(w.Leaves()[:size]) }

// Head signs the tree head of the first size entries.
func (w *World) Head(size int) []byte { return w.SignHead(w.Origin, size, w.Root(size)) }

// SignHead signs any tree head with the log's key.
func (w *World) SignHead(origin string, size int, root tlog.Hash) []byte {
	w.T.Helper()
	s, err := tlog.NewSigner(origin, w.LogKey)
	w.check(err)
	h, err := tlog.SignHead(uint64(size), root, s)
	w.check(err)
	return h.Note
}

// VKey returns the log's verifier key.
func (w *World) VKey() string {
	v, err := tlog.VerifierKey(w.Origin, w.LogKey.Public().(ed25519.PublicKey))
	w.check(err)
	return v
}

// Trust trusts the log on its own word, from entry 0 on.
func (w *World) Trust() *bundle.Trust {
	p, err := bundle.NewPolicy(w.VKey())
	w.check(err)
	return &bundle.Trust{Ledgers: []*bundle.TrustedLedger{{Policy: p, Entry0: w.Placed[0].ID}}}
}

// Receipt places the record at index in the whole tree.
func (w *World) Receipt(index int) *bundle.Receipt {
	return &bundle.Receipt{Entry: w.Placed[index].Entry, Index: uint64(index), Hashes: path(index, w.Leaves()), Head: w.Head(len(w.Placed))}
}

// path is RFC 6962's PATH by its definition.
func path(m int, leaves []tlog.Hash) []tlog.Hash {
	if len(leaves) == 1 {
		return nil
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	if m < k {
		return append(path(m, leaves[:k]), rootOf(leaves[k:]))
	}
	return append(path(m-k, leaves[k:]), rootOf(leaves[:k]))
}

// Tiles lays the whole log out as https://c2sp.org/tlog-tiles has it: content by
// path.
func (w *World) Tiles() map[string][]byte {
	files := map[string][]byte{"checkpoint": w.Head(len(w.Placed))}
	for lo := 0; lo < len(w.Placed); lo += tlog.TileWidth {
		var tile []byte
		part := w.Placed[lo:min(lo+tlog.TileWidth, len(w.Placed))]
		for _, p := range part {
			tile = tlog.AppendEntry(tile, p.Entry)
		}
		files[tlog.EntryTilePath(uint64(lo/tlog.TileWidth), len(part))] = tile
	}
	row := w.Leaves()
	for level := uint8(0); len(row) > 0; level++ {
		var above []tlog.Hash
		for lo := 0; lo < len(row); lo += tlog.TileWidth {
			part := row[lo:min(lo+tlog.TileWidth, len(row))]
			var tile []byte
			for _, h := range part {
				tile = append(tile, h[:]...)
			}
			files[tlog.Tile{Level: level, N: uint64(lo / tlog.TileWidth), Width: len(part)}.Path()] = tile
			if len(part) == tlog.TileWidth {
				above = append(above, rootOf(part))
			}
		}
		row = above
	}
	return files
}

// Bundling says what goes into a bundle.
type Bundling struct {
	Header   bundle.Header
	Indexes  []int    // of records; rising
	Heads    [][]byte // none: that of the whole log
	Withhold map[evidence.Digest]bool
}

// Bundle writes a bundle.
func (w *World) Bundle(b Bundling) []byte {
	w.T.Helper()
	leaves := w.Leaves()
	var out bytes.Buffer
	bw := bundle.NewWriter(&out, b.Header, func(lo, hi uint64) (tlog.Hash, error) {
		if hi > uint64(len(leaves)) {
			return tlog.Hash{}, fmt.Errorf("no leaves %d to %d", lo, hi)
		}
		return rootOf(leaves[lo:hi]), nil
	})
	if b.Heads == nil {
		b.Heads = [][]byte{w.Head(len(w.Placed))}
	}
	for _, h := range b.Heads {
		w.check(bw.Head(h))
	}
	for _, i := range b.Indexes {
		p := w.Placed[i]
		w.check(bw.Record(p.Index, p.Entry))
		if p.Record == nil {
			continue
		}
		list := p.Record.Commitments()
		slices.SortFunc(list, func(a, b evidence.Commitment) int { return bytes.Compare(a.Commit[:], b.Commit[:]) })
		for _, c := range slices.Compact(list) {
			if d, ok := w.Payloads[c.Commit]; ok && !b.Withhold[c.Commit] {
				c.Size = int64(len(d.Data)) // whatever the record says
				w.check(bw.Payload(c, d.Salt, bytes.NewReader(d.Data)))
			}
		}
	}
	w.check(bw.Close())
	return out.Bytes()
}

// RunIndexes returns where the records of a run stand, and of the registry, and
// of what belongs to no run.
func (w *World) RunIndexes(run evidence.RunID) []int {
	var at []int
	for i, p := range w.Placed {
		if p.Record != nil && (p.Record.Run == run || p.Record.Run == "") {
			at = append(at, i)
		}
	}
	return at
}

// RunBundle is the bundle of a run.
func (w *World) RunBundle(run evidence.RunID) []byte {
	w.T.Helper()
	return w.Bundle(Bundling{Header: bundle.RunHeader(w.Origin, run), Indexes: w.RunIndexes(run)})
}
