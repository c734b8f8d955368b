package audit

import (
	"math"
	"slices"
	"strings"
	"sync"

	"ledgerd/evidence"
)

// Registry knows the actors of one ledger and their keys, as the ledger's own
// records say, at every index of the log. Records are applied in log order; a
// registry record takes effect from the next index on. Nothing is forgotten, so
// that a record can be checked as of its own index after the whole chain has
// been read.
//
// One goroutine applies; any number may read at the same time.
type Registry struct {
	mu       sync.RWMutex
	origin   string
	pin      evidence.ID // of entry 0; zero: any
	root     string      // the actor of entry 0
	tail     evidence.ID
	numbers  []uint64 // log index of each registry record, by number
	keys     map[evidence.Digest]*keyEntry
	actors   map[string]*actorEntry
	reserved map[evidence.Digest]string // keys that no actor may have, and what they are
	pins     map[string][]pinned
}

// forever is the index before which a key that nobody revoked ends.
const forever = math.MaxUint64

// period is when a key or a host holds: for entries with from < index ≤ until.
type period struct {
	from, until uint64
	suspect     uint64 // from this index on its records are in doubt; forever: none
	told        uint64 // index of the record that says so
}

func (p *period) holds(index uint64) bool { return p.from < index && index <= p.until }

type keyEntry struct {
	period
	key   *evidence.PublicKey
	actor string
	role  evidence.Role
	first bool // a root key: it signs entry 0 itself
}

type hostEntry struct {
	period
	host string
}

type actorEntry struct {
	name  string
	role  evidence.Role
	keys  []*keyEntry
	hosts []*hostEntry
	teams []teamEntry
}

type teamEntry struct {
	from  uint64
	teams []string
}

type pinned struct {
	role evidence.Role
	key  *evidence.PublicKey
}

// NewRegistry returns the registry of a ledger before its entry 0. entry0 pins
// that entry's evidence ID; zero accepts any, which proves nothing about who
// made the ledger ([Registry.Pinned] says so).
func NewRegistry(origin string, entry0 evidence.ID) *Registry {
	return &Registry{
		origin: origin, pin: entry0,
		keys: make(map[evidence.Digest]*keyEntry), actors: make(map[string]*actorEntry),
		reserved: make(map[evidence.Digest]string), pins: make(map[string][]pinned),
	}
}

// Reserve keeps a key from being registered: what names its purpose, such as
// "log" or "witness". Call it before entries are applied.
func (g *Registry) Reserve(key *evidence.PublicKey, what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved[key.Thumbprint()] = what
}

// Pin says, over the registry, that only the keys pinned for the actor sign for
// it. The registry's own word still ends a pinned key.
func (g *Registry) Pin(name string, role evidence.Role, key *evidence.PublicKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pins[name] = append(g.pins[name], pinned{role, key})
}

// Pinned reports whether entry 0 was told from outside.
func (g *Registry) Pinned() bool { return !g.pin.IsZero() }

// Origin returns the name of the ledger.
func (g *Registry) Origin() string { return g.origin }

// Number returns the latest registry number; -1 before entry 0.
func (g *Registry) Number() int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return int64(len(g.numbers)) - 1
}

// Tail returns the evidence ID of the latest registry record.
func (g *Registry) Tail() evidence.ID {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.tail
}

// numberAt returns the latest number that an entry at index can know.
func (g *Registry) numberAt(index uint64) int64 {
	n, _ := slices.BinarySearch(g.numbers, index)
	return int64(n) - 1
}

// Key returns the key with that thumbprint, whether it holds or not, and nil
// where nobody ever had it. A signature can be verified under it in parallel;
// whether it counts, [Registry.Permit] decides.
func (g *Registry) Key(kid evidence.Digest) *evidence.PublicKey {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if e := g.keys[kid]; e != nil {
		return e.key
	}
	for _, list := range g.pins {
		for _, p := range list {
			if p.key.Thumbprint() == kid {
				return p.key
			}
		}
	}
	return nil
}

// KeyState is one key of an actor.
type KeyState struct {
	Key     *evidence.PublicKey
	From    uint64 // index of its registration: it holds for later entries
	Until   uint64 // last index at which it holds; MaxUint64: not revoked
	Suspect uint64 // from this index on its records are in doubt; MaxUint64: none
}

// ActorState is what the registry says of an actor at its latest number.
type ActorState struct {
	Name  string
	Role  evidence.Role
	Host  string // where a runtime signs for it now
	Keys  []KeyState
	Teams []string
}

// Active reports whether the actor has a key or a host now.
func (a *ActorState) Active() bool {
	return a.Host != "" || slices.ContainsFunc(a.Keys, func(k KeyState) bool { return k.Until == forever })
}

// Actors returns every actor that was ever registered, by name.
func (g *Registry) Actors() []ActorState {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var all []ActorState
	for _, a := range g.actors {
		s := ActorState{Name: a.name, Role: a.role, Teams: a.teamsAt(forever)}
		for _, h := range a.hosts {
			if h.until == forever {
				s.Host = h.host
			}
		}
		for _, k := range a.keys {
			s.Keys = append(s.Keys, KeyState{k.key, k.from, k.until, k.suspect})
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b ActorState) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (a *actorEntry) teamsAt(index uint64) []string {
	var teams []string
	for _, t := range a.teams {
		if t.from < index {
			teams = t.teams
		}
	}
	return teams
}

func (a *actorEntry) hostAt(index uint64) *hostEntry {
	for _, h := range a.hosts {
		if h.holds(index) {
			return h
		}
	}
	return nil
}

func (a *actorEntry) active(index uint64) bool {
	return a.hostAt(index) != nil || slices.ContainsFunc(a.keys, func(k *keyEntry) bool { return k.holds(index) })
}

// SplitInstance splits the name of an instance of a hosted agent, "support/7",
// into the agent's name and true. N is a decimal number without leading zeros.
func SplitInstance(name string) (agent string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i <= 0 || i+1 == len(name) || name[i+1] == '0' && i+2 < len(name) {
		return name, false
	}
	for _, c := range []byte(name[i+1:]) {
		if c < '0' || c > '9' {
			return name, false
		}
	}
	return name[:i], true
}

type suspectKey struct {
	kid   evidence.Digest
	actor string
	from  uint64
}

// suspectKeys returns the keys that a revocation put in doubt, by actor.
func (g *Registry) suspectKeys() []suspectKey {
	var all []suspectKey
	for _, a := range g.Actors() {
		for _, k := range a.Keys {
			if k.Suspect != forever {
				all = append(all, suspectKey{k.Key.Thumbprint(), a.Name, k.Suspect})
			}
		}
	}
	return all
}
