package bundle

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	cosig "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// Bounds of a policy. C2SP recommends support for at least 32 of each.
const (
	maxPolicy     = 512 << 10 // bytes
	maxPolicyName = 256       // witnesses and groups together
)

// Signature types of https://c2sp.org/signed-note.
const (
	typeEd25519      = 0x01
	typeEd25519Cosig = 0x04
	typeMLDSA44Cosig = 0x06
)

// A Policy says which tree heads of one log are accepted: those signed by the
// log and cosigned by a quorum of witnesses. Its text is a C2SP tlog-policy
// (https://c2sp.org/tlog-policy) with exactly one log:
//
//	log ledger.example/support+e0b1c2d3+ARx0…
//	witness w1 w1.example+a1b2c3d4+BKm…
//	witness w2 w2.example+b2c3d4e5+BPq…
//	group both all w1 w2
//	quorum both
//
// Two lines with one public key are refused, whatever the keys are called, and
// a name can be a member of one group only: so a witness counts once.
type Policy struct {
	text      string
	log       note.Verifier
	logKey    string
	witnesses []witness
	groups    []group
	quorum    string // noQuorum: no cosignature is asked for
	keys      map[string]string
}

const noQuorum = "none"

type witness struct {
	name string
	note.Verifier
}

type group struct {
	name    string
	k       int
	members []string
}

// NewPolicy returns the policy that trusts a log on its own word, without
// witnesses.
func NewPolicy(vkey string) (*Policy, error) {
	return ParsePolicy("log " + vkey + "\nquorum none\n")
}

// ParsePolicy parses a tlog-policy.
func ParsePolicy(text string) (*Policy, error) {
	if len(text) > maxPolicy {
		return nil, fmt.Errorf("policy: %d bytes, expected at most %d", len(text), maxPolicy)
	}
	p := &Policy{text: text, keys: make(map[string]string)}
	parser := policyParser{Policy: p, defined: make(map[string]bool), member: make(map[string]bool)}
	for i, line := range strings.Split(text, "\n") {
		if err := parser.line(line); err != nil {
			return nil, fmt.Errorf("policy: line %d: %w", i+1, err)
		}
	}
	switch {
	case p.log == nil:
		return nil, errors.New("policy: expected one log line, found none")
	case p.quorum == "":
		return nil, errors.New("policy: expected one quorum line, found none: say \"quorum none\" to ask for no witness")
	}
	return p, nil
}

// String returns the text as it was read.
func (p *Policy) String() string { return p.text }

// Origin returns the log's name.
func (p *Policy) Origin() string { return p.log.Name() }

// LogKey returns the log's verifier key, "name+hash+key".
func (p *Policy) LogKey() string { return p.logKey }

// Witnesses returns the names of the witnesses, in the order of their lines.
func (p *Policy) Witnesses() []string {
	names := make([]string, len(p.witnesses))
	for i, w := range p.witnesses {
		names[i] = w.name
	}
	return names
}

// satisfied says whether the witnesses that cosigned make the quorum.
func (p *Policy) satisfied(cosigned map[string]bool) bool {
	if p.quorum == noQuorum {
		return true
	}
	met := make(map[string]bool, len(p.witnesses)+len(p.groups))
	for _, w := range p.witnesses {
		met[w.name] = cosigned[w.name]
	}
	for _, g := range p.groups { // members stand on lines before
		n := 0
		for _, m := range g.members {
			if met[m] {
				n++
			}
		}
		met[g.name] = n >= g.k
	}
	return met[p.quorum]
}

type policyParser struct {
	*Policy
	defined map[string]bool // witnesses and groups
	member  map[string]bool // of some group
}

func (p *policyParser) line(line string) error {
	for i := range len(line) {
		if c := line[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return fmt.Errorf("control character 0x%02x", c)
		}
	}
	f := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(f) == 0 || strings.HasPrefix(f[0], "#") {
		return nil
	}
	switch {
	case f[0] == "log" && (len(f) == 2 || len(f) == 3):
		return p.addLog(f[1])
	case f[0] == "witness" && (len(f) == 3 || len(f) == 4):
		return p.addWitness(f[1], f[2])
	case f[0] == "group" && len(f) >= 4:
		return p.addGroup(f[1], f[2], f[3:])
	case f[0] == "quorum" && len(f) == 2:
		return p.setQuorum(f[1])
	}
	return fmt.Errorf("expected log <vkey> [<url>], witness <name> <vkey> [<url>], group <name> <k|any|all> <name>..., or quorum <name>, found %q", clip(line))
}

func (p *policyParser) addLog(vkey string) error {
	if p.log != nil {
		return errors.New("a second log: a trust file has one ledger for each log")
	}
	key, err := publicKeyOf(vkey, typeEd25519)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if err := p.use(key, "log"); err != nil {
		return err
	}
	v, err := tlog.NewVerifier(vkey)
	if err != nil {
		return err
	}
	p.log, p.logKey = v, vkey
	return nil
}

func (p *policyParser) addWitness(name, vkey string) error {
	if err := p.define(name); err != nil {
		return err
	}
	key, err := publicKeyOf(vkey, typeEd25519Cosig, typeMLDSA44Cosig)
	if err != nil {
		return fmt.Errorf("witness %q: %w", clip(name), err)
	}
	if err := p.use(key, "witness "+clip(name)); err != nil {
		return err
	}
	v, err := cosig.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		return fmt.Errorf("witness %q: %w", clip(name), err)
	}
	p.witnesses = append(p.witnesses, witness{name, v})
	return nil
}

func (p *policyParser) addGroup(name, k string, members []string) error {
	g := group{name: name, members: members}
	switch n, err := strconv.Atoi(k); {
	case k == "any":
		g.k = 1
	case k == "all":
		g.k = len(members)
	case err == nil && strconv.Itoa(n) == k && n >= 1 && n <= len(members):
		g.k = n
	default:
		return fmt.Errorf("group %q: expected any, all, or a number from 1 to %d, found %q", clip(name), len(members), clip(k))
	}
	for _, m := range members {
		if !p.defined[m] {
			return fmt.Errorf("group %q: no witness or group %q on a line before", clip(name), clip(m))
		}
		if p.member[m] {
			return fmt.Errorf("group %q: %q is a member already, and can count once only", clip(name), clip(m))
		}
		p.member[m] = true
	}
	if err := p.define(name); err != nil {
		return err
	}
	p.groups = append(p.groups, g)
	return nil
}

func (p *policyParser) setQuorum(name string) error {
	if p.quorum != "" {
		return errors.New("a second quorum line")
	}
	if name != noQuorum && !p.defined[name] {
		return fmt.Errorf("quorum: no witness or group %q on a line before", clip(name))
	}
	p.quorum = name
	return nil
}

func (p *policyParser) define(name string) error {
	if name == noQuorum {
		return fmt.Errorf("%q is no name for a witness or group", name)
	}
	if p.defined[name] {
		return fmt.Errorf("%q is defined twice", clip(name))
	}
	if len(p.defined) == maxPolicyName {
		return fmt.Errorf("more than %d witnesses and groups", maxPolicyName)
	}
	p.defined[name] = true
	return nil
}

// use notes what a public key is for, and refuses a second purpose.
func (p *policyParser) use(key []byte, purpose string) error {
	if other, ok := p.keys[string(key)]; ok {
		return fmt.Errorf("%s: its public key is that of the %s: expected one key for each", purpose, other)
	}
	p.keys[string(key)] = purpose
	return nil
}

// publicKeyOf takes a vkey apart (https://c2sp.org/signed-note#verifier-keys)
// and returns the key without its type. The libraries that use the key do not
// compare the key ID with the key, nor refuse weak points.
func publicKeyOf(vkey string, types ...byte) ([]byte, error) {
	name, rest, ok := strings.Cut(vkey, "+")
	id, key64, ok2 := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.Strict().DecodeString(key64)
	if !ok || !ok2 || name == "" || err != nil || len(key) < 2 {
		return nil, fmt.Errorf("%q: expected a verifier key, name+hash+key", clip(vkey))
	}
	if bytes.IndexByte(types, key[0]) < 0 {
		return nil, fmt.Errorf("%q: expected a key of signature type %v, found %d", clip(vkey), types, key[0])
	}
	if want := fmt.Sprintf("%08x", keyID(name, key)); want != id {
		return nil, fmt.Errorf("%q: expected the key ID %s, found %q", clip(vkey), want, clip(id))
	}
	if key[0] != typeMLDSA44Cosig {
		if _, err := evidence.NewPublicKey(key[1:]); err != nil {
			return nil, fmt.Errorf("%q: %w", clip(vkey), err)
		}
	}
	return key[1:], nil
}
