package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

const (
	// MaxTrust is the size in bytes of the largest trust file.
	MaxTrust   = 8 << 20
	maxLedgers = 256
	maxPinned  = 10000 // actors of one ledger
)

// A Trust says whom an auditor trusts. It comes from outside: nothing in a
// receipt or bundle ever says whom to trust.
//
//	{
//	  "trust": "v1",
//	  "ledgers": [{
//	    "policy": "log ledger.example/support+e0b1c2d3+ARx0…\nquorum none\n",
//	    "entry0": "ev_…",
//	    "actors": [{"name": "email_sender", "role": "tool", "key": {"kty": "OKP", "crv": "Ed25519", "x": "…"}}],
//	    "weakest_source": "runtime"
//	  }]
//	}
type Trust struct {
	Ledgers []*TrustedLedger // no two of one origin
}

// A TrustedLedger is what the auditor knows of one ledger.
type TrustedLedger struct {
	Policy        *Policy         // which tree heads are accepted
	Entry0        evidence.ID     // the record from which the registry goes
	Actors        []PinnedActor   // known better than the operator's root knows them
	WeakestSource evidence.Source // the weakest that counts; absent: what the contract says
}

// A PinnedActor is an actor and a key that the auditor got from the actor, and
// not from the operator's root.
type PinnedActor struct {
	Name string
	Role evidence.Role
	Key  *evidence.PublicKey
}

type trustWire struct {
	Version string       `json:"trust"`
	Ledgers []ledgerWire `json:"ledgers"`
}

type ledgerWire struct {
	Policy        string          `json:"policy"`
	Entry0        evidence.ID     `json:"entry0"`
	Actors        []actorWire     `json:"actors,omitzero"`
	WeakestSource evidence.Source `json:"weakest_source,omitzero"`
}

type actorWire struct {
	Name string        `json:"name"`
	Role evidence.Role `json:"role"`
	Key  evidence.JWK  `json:"key"`
}

// ParseTrust reads a trust file: strict JSON, white space allowed.
func ParseTrust(b []byte) (*Trust, error) {
	if len(b) > MaxTrust {
		return nil, fmt.Errorf("trust file: %w", formErr("%d bytes, expected at most %d", len(b), MaxTrust))
	}
	var w trustWire
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("trust file: %w", &FormatError{Err: err})
	}
	if w.Version != "v1" {
		return nil, fmt.Errorf("trust file: %w", formErr("expected \"trust\":\"v1\", found %q", clip(w.Version)))
	}
	if len(w.Ledgers) > maxLedgers {
		return nil, fmt.Errorf("trust file: %w", formErr("%d ledgers, expected at most %d", len(w.Ledgers), maxLedgers))
	}
	t := new(Trust)
	for i, lw := range w.Ledgers {
		l, err := lw.ledger()
		if err != nil {
			return nil, fmt.Errorf("trust file: ledger %d: %w", i, &FormatError{Err: err})
		}
		t.Ledgers = append(t.Ledgers, l)
	}
	if err := t.Check(); err != nil {
		return nil, fmt.Errorf("trust file: %w", &FormatError{Err: err})
	}
	return t, nil
}

func (w *ledgerWire) ledger() (*TrustedLedger, error) {
	p, err := ParsePolicy(w.Policy)
	if err != nil {
		return nil, err
	}
	if len(w.Actors) > maxPinned {
		return nil, fmt.Errorf("%d actors, expected at most %d", len(w.Actors), maxPinned)
	}
	l := &TrustedLedger{Policy: p, Entry0: w.Entry0, WeakestSource: w.WeakestSource}
	for _, a := range w.Actors {
		key, err := a.Key.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("actor %q: %w", clip(a.Name), err)
		}
		l.Actors = append(l.Actors, PinnedActor{a.Name, a.Role, key})
	}
	return l, nil
}

// Check reports the first rule that t breaks: an origin or a log key twice, a
// key with two purposes, an actor without name or role. [ParseTrust] has
// checked what it returns.
func (t *Trust) Check() error {
	if len(t.Ledgers) == 0 {
		return errors.New("expected at least one ledger, found none")
	}
	origins := make(map[string]bool)
	for _, l := range t.Ledgers {
		if l.Policy == nil || l.Entry0.IsZero() {
			return errors.New("a ledger without policy or entry0")
		}
		if origins[l.Origin()] {
			return fmt.Errorf("two ledgers with the origin %q", clip(l.Origin()))
		}
		origins[l.Origin()] = true
		if l.WeakestSource != "" && l.WeakestSource.Strength() == 0 {
			return fmt.Errorf("%s: weakest_source: expected confirmed, runtime, reported, observed or imported, found %q", l.Origin(), clip(string(l.WeakestSource)))
		}
	}
	return t.checkKeys()
}

// checkKeys holds every key of the file to one purpose (design section 3). A
// witness may serve several logs, and an actor work in several ledgers.
func (t *Trust) checkKeys() error {
	type use struct{ kind, who string }
	uses := make(map[string]use)
	claim := func(key string, u use) error {
		other, ok := uses[key]
		if ok && (other.kind != u.kind || u.kind == "log" || u.kind == "actor" && other.who != u.who) {
			return fmt.Errorf("the key of %s %q is that of %s %q too: expected one key for each", u.kind, clip(u.who), other.kind, clip(other.who))
		}
		uses[key] = u
		return nil
	}
	for _, l := range t.Ledgers {
		for key, purpose := range l.Policy.keys {
			u := use{"witness", purpose}
			if purpose == "log" {
				u = use{"log", l.Origin()}
			}
			if err := claim(key, u); err != nil {
				return err
			}
		}
		pinned := make(map[string]evidence.Role)
		for _, a := range l.Actors {
			if a.Key == nil || !validName(a.Name) || !a.Role.Valid() {
				return fmt.Errorf("%s: actor %q: expected a name, a role and a key", l.Origin(), clip(a.Name))
			}
			if role, ok := pinned[a.Name]; ok && role != a.Role {
				return fmt.Errorf("%s: actor %q: expected one role, found %s and %s", l.Origin(), a.Name, role, a.Role)
			}
			pinned[a.Name] = a.Role
			if err := claim(string(a.Key.Bytes()), use{"actor", a.Name}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Marshal writes the trust file. The same trust gives the same bytes.
func (t *Trust) Marshal() ([]byte, error) {
	b, err := t.marshal(jsontext.WithIndent("  "))
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// JoinTrust returns what several trust files trust together. Two that name one ledger
// have to say the same of it.
func JoinTrust(files ...*Trust) (*Trust, error) {
	if len(files) == 1 {
		return files[0], nil
	}
	all := new(Trust)
	for _, t := range files {
		for _, l := range t.Ledgers {
			before := all.Ledger(l.Origin())
			if before == nil {
				all.Ledgers = append(all.Ledgers, l)
				continue
			}
			one, err := (&Trust{Ledgers: []*TrustedLedger{before}}).Digest()
			if err != nil {
				return nil, err
			}
			if other, err := (&Trust{Ledgers: []*TrustedLedger{l}}).Digest(); err != nil || one != other {
				return nil, errors.Join(fmt.Errorf("trust files: expected one word on the ledger %q, found two: trust one of them", clip(l.Origin())), err)
			}
		}
	}
	if len(all.Ledgers) > maxLedgers {
		return nil, fmt.Errorf("trust files: %d ledgers, expected at most %d", len(all.Ledgers), maxLedgers)
	}
	if err := all.Check(); err != nil {
		return nil, fmt.Errorf("trust files: %w", err)
	}
	return all, nil
}

// Digest returns the SHA-256 of the trust file without white space between its
// members: what a verdict says it was reached under.
func (t *Trust) Digest() (evidence.Digest, error) {
	b, err := t.marshal()
	return sha256.Sum256(b), err
}

func (t *Trust) marshal(opts ...json.Options) ([]byte, error) {
	if err := t.Check(); err != nil {
		return nil, fmt.Errorf("trust file: %w", err)
	}
	w := trustWire{Version: "v1"}
	for _, l := range t.Ledgers {
		lw := ledgerWire{Policy: l.Policy.text, Entry0: l.Entry0, WeakestSource: l.WeakestSource}
		for _, a := range l.Actors {
			lw.Actors = append(lw.Actors, actorWire{a.Name, a.Role, a.Key.JWK()})
		}
		w.Ledgers = append(w.Ledgers, lw)
	}
	return json.Marshal(&w, opts...)
}

// Ledger returns the ledger of that origin, nil if there is none.
func (t *Trust) Ledger(origin string) *TrustedLedger {
	for _, l := range t.Ledgers {
		if l.Origin() == origin {
			return l
		}
	}
	return nil
}

// Origin returns the name of the ledger's log.
func (l *TrustedLedger) Origin() string { return l.Policy.Origin() }

// Pinned returns the pinned keys of an actor, nil if it is not pinned.
func (l *TrustedLedger) Pinned(name string) []PinnedActor {
	var out []PinnedActor
	for _, a := range l.Actors {
		if a.Name == name {
			out = append(out, a)
		}
	}
	return out
}

// validName: 1 to 256 bytes of printable ASCII without spaces.
func validName(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 256
}
