package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
)

const (
	headerBefore = `{"alg":"EdDSA","kid":"`
	headerAfter  = `","typ":"evidence+jws"}`
	headerSize   = len(headerBefore) + 43 + len(headerAfter)
	sigSize      = 64
)

// ErrSignature is returned by [Unverified.Verify] for a signature that does not
// verify under the key.
var ErrSignature = errors.New("record: the signature does not verify under the key")

// ErrSize: a record does not fit into an entry.
var ErrSize = errors.New("too large")

// Sign checks r and returns its entry, signed by k.
func Sign(r *Record, k *PrivateKey) ([]byte, error) {
	payload, err := MarshalPayload(r)
	if err != nil {
		return nil, err
	}
	return SignPayload(payload, k)
}

// SignPayload signs a payload that was encoded elsewhere. It is [Sign] without
// the check of form: what comes out parses only if payload does.
//
// go-jose, asked to sign the same, gives the same bytes (a test holds that) at
// 1.4 times the cost of the signature alone, since it encodes the fixed header
// anew: so it is not asked.
func SignPayload(payload []byte, k *PrivateKey) ([]byte, error) {
	enc := base64.RawURLEncoding
	size := enc.EncodedLen(headerSize) + 1 + enc.EncodedLen(len(payload)) + 1 + enc.EncodedLen(sigSize)
	if size > MaxEntry {
		return nil, fmt.Errorf("record: %w: want an entry of at most %d bytes, found %d: put what is long into a payload", ErrSize, MaxEntry, size)
	}
	entry := enc.AppendEncode(make([]byte, 0, size), k.header)
	entry = append(entry, '.')
	entry = enc.AppendEncode(entry, payload)
	sig := ed25519.Sign(k.ed, entry)
	entry = append(entry, '.')
	return enc.AppendEncode(entry, sig), nil
}

// Unverified is an entry whose form is right and whose signature nobody has
// checked yet.
type Unverified struct {
	entry    []byte
	id       ID
	kid      Digest
	sig      []byte
	record   *Record
	admitted bool
}

// FormError says that an entry is not a record in the one form that there is.
// Payload tells where: false, in the JWS around the payload.
type FormError struct {
	Payload bool
	Err     error
}

func (e *FormError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *FormError) Unwrap() error { return e.Err }

// Parse checks the form of an entry, without cryptography. Every error is a
// *FormError, which wraps a *VersionError where the record is of a newer
// version. The entry is kept, not copied.
func Parse(entry []byte) (*Unverified, error) {
	kid, payload, sig, err := split(entry)
	if err != nil {
		return nil, &FormError{Err: err}
	}
	r, err := ParsePayload(payload)
	if err != nil {
		return nil, &FormError{Payload: true, Err: err}
	}
	return &Unverified{entry: entry, id: IDOf(entry), kid: kid, sig: sig, record: r}, nil
}

// ParseAdmitted is [Parse] for a ledger that reads its own log back: it took no
// entry whose signature it had not verified, and these bytes are those that it
// took, for they hash up to a tree head that it signed. Nobody else can say so,
// and nobody else calls it (a test of the layout holds that).
func ParseAdmitted(entry []byte) (*Unverified, error) {
	u, err := Parse(entry)
	if err == nil {
		u.admitted = true
	}
	return u, err
}

func split(entry []byte) (kid Digest, payload, sig []byte, err error) {
	if len(entry) > MaxEntry {
		return kid, nil, nil, fmt.Errorf("JWS: want at most %d bytes, found %d", MaxEntry, len(entry))
	}
	head, rest, ok := bytes.Cut(entry, []byte{'.'})
	body, tail, ok2 := bytes.Cut(rest, []byte{'.'})
	if !ok || !ok2 || bytes.IndexByte(tail, '.') >= 0 {
		return kid, nil, nil, errors.New("JWS: want three parts with a dot between them: a compact JWS")
	}
	if len(head) != base64.RawURLEncoding.EncodedLen(headerSize) {
		return kid, nil, nil, fmt.Errorf("JWS: want exactly the header %s<kid>%s, found another", headerBefore, headerAfter)
	}
	var room [headerSize]byte
	header, err := appendBase64url(room[:0], head)
	if err != nil {
		return kid, nil, nil, fmt.Errorf("JWS: header: %w", err)
	}
	text, ok := bytes.CutPrefix(header, []byte(headerBefore))
	text, ok2 = bytes.CutSuffix(text, []byte(headerAfter))
	if !ok || !ok2 {
		return kid, nil, nil, fmt.Errorf("JWS: want exactly the header %s<kid>%s, found another", headerBefore, headerAfter)
	}
	if kid, err = parseDigest(text); err != nil {
		return kid, nil, nil, fmt.Errorf("JWS: kid: %w", err)
	}
	if len(body) == 0 {
		return kid, nil, nil, errors.New("JWS: want a payload, found none: a detached one is no record")
	}
	if payload, err = appendBase64url(make([]byte, 0, len(body)*3/4), body); err != nil {
		return kid, nil, nil, fmt.Errorf("JWS: payload: %w", err)
	}
	if sig, err = appendBase64url(make([]byte, 0, sigSize), tail); err != nil {
		return kid, nil, nil, fmt.Errorf("JWS: signature: %w", err)
	}
	if len(sig) != sigSize {
		return kid, nil, nil, fmt.Errorf("JWS: want a signature of %d bytes, found %d", sigSize, len(sig))
	}
	return kid, payload, sig, nil
}

// Entry returns the bytes of the entry. The caller must not change them.
func (u *Unverified) Entry() []byte { return u.entry }

// ID returns the evidence ID.
func (u *Unverified) ID() ID { return u.id }

// KeyID returns the thumbprint of the key that is said to have signed.
func (u *Unverified) KeyID() Digest { return u.kid }

// Admitted reports whether a ledger in this process says that it verified the
// signature when it took the entry, and read the very bytes back
// ([ParseAdmitted]).
func (u *Unverified) Admitted() bool { return u.admitted }

// UnverifiedRecord returns what the entry says, whoever signed it.
func (u *Unverified) UnverifiedRecord() *Record { return u.record }

// Verify returns the record if k signed the entry, and ErrSignature otherwise.
func (u *Unverified) Verify(k *PublicKey) (*Record, error) {
	if err := VerifyEach([]*Unverified{u}, []*PublicKey{k})[0]; err != nil {
		return nil, err
	}
	return u.record, nil
}

// VerifyEach is Verify for many entries, each under the key beside it, and costs
// less than one after the other. Each has its own answer: nil, or an error that is
// ErrSignature. An entry or key that is nil is passed over, and its answer is nil.
func VerifyEach(us []*Unverified, keys []*PublicKey) []error {
	errs, checks, at := make([]error, len(us)), make([]*check, 0, len(us)), make([]int, 0, len(us))
	for i, u := range us {
		switch k := keys[i]; {
		case u == nil || k == nil:
		case k.kid != u.kid:
			errs[i] = fmt.Errorf("%w: want key %s, found key %s", ErrSignature, k.kid, u.kid)
		default:
			checks = append(checks, &check{key: k, message: u.entry[:bytes.LastIndexByte(u.entry, '.')], sig: u.sig})
			at = append(at, i)
		}
	}
	verify(checks...)
	for j, c := range checks {
		if !c.ok {
			errs[at[j]] = ErrSignature
		}
	}
	return errs
}

// Placed is a record and where it stands in its log.
type Placed struct {
	Index  uint64
	ID     ID
	Entry  []byte
	Record *Record

	parsed *Unverified // that the other members are of; nil: Entry was not kept parsed
}

// PlacedAt returns the record and where it stands in its log.
func (u *Unverified) PlacedAt(index uint64) Placed {
	return Placed{Index: index, ID: u.id, Entry: u.entry, Record: u.record, parsed: u}
}

// Parsed returns Entry as [Parse] has it. Where the Placed was made by [Unverified.PlacedAt],
// nothing is parsed again.
func (p *Placed) Parsed() (*Unverified, error) {
	// What somebody changed is not what was parsed.
	if u := p.parsed; u != nil && u.id == p.ID && u.record == p.Record && bytes.Equal(u.entry, p.Entry) {
		return u, nil
	}
	return Parse(p.Entry)
}
