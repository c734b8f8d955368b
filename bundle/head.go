package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"filippo.io/edwards25519"
	"golang.org/x/mod/sumdb/note"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// What [Trust.OpenHead] answers where trust is missing. Every other error says
// that the tree head is proven wrong.
var (
	// ErrUntrusted: the trust file has no ledger of that origin, or the head is
	// signed by nobody whom the trust file names.
	ErrUntrusted = errors.New("the trust file does not name who signed the tree head")
	// ErrQuorum: signed by the log, but cosigned by too few witnesses.
	ErrQuorum = errors.New("too few witnesses cosigned the tree head")
)

// A Head is a tree head that the trust file accepts.
type Head struct {
	Ledger    *TrustedLedger
	Size      uint64    // number of entries
	Root      tlog.Hash // RFC 6962 root of the tree of that size
	Note      []byte    // the signed note as read
	Witnesses []string  // names, from the policy, of those who cosigned
	// Cosigned is the oldest time at which one of them did; zero where none did.
	// Nobody else dates a tree head.
	Cosigned evidence.Time
}

// OpenHead verifies a tree head, a signed note in the format of
// https://c2sp.org/tlog-checkpoint, under the policy of its ledger. With
// ErrQuorum it returns the head too, for the log's own word holds.
func (t *Trust) OpenHead(signed []byte) (*Head, error) {
	un, err := readNote(signed)
	if err != nil {
		return nil, err
	}
	l := t.Ledger(un.origin)
	if l == nil {
		if l := t.signerOf(un); l != nil {
			return nil, fmt.Errorf("tree head: expected the origin %q, whose key signed it, found %q", l.Origin(), clip(un.origin))
		}
		return nil, fmt.Errorf("tree head of %q: %w: no ledger of that origin in it", clip(un.origin), ErrUntrusted)
	}
	return l.OpenHead(signed)
}

// OpenHead is [Trust.OpenHead] for a head that has to be of this ledger.
func (l *TrustedLedger) OpenHead(signed []byte) (*Head, error) {
	un, err := readNote(signed)
	if err != nil {
		return nil, err
	}
	p := l.Policy
	if !un.signedBy(p.log) {
		if len(un.signers) == 0 {
			return nil, fmt.Errorf("tree head of size %d: expected a signature by %s, found none", un.size, p.log.Name())
		}
		if un.onlyBy(p.witnesses) {
			return nil, fmt.Errorf("tree head of size %d: expected a signature by %s, found only those of witnesses", un.size, p.log.Name())
		}
		return nil, fmt.Errorf("tree head of size %d: %w: expected the key %s", un.size, ErrUntrusted, clip(p.logKey))
	}
	h, err := tlog.ParseHead(signed, p.log)
	if err != nil {
		return nil, err
	}
	head := &Head{Ledger: l, Size: h.Size, Root: h.Root, Note: signed}
	cosigned := make(map[string]bool)
	for _, w := range p.witnesses {
		if at, ok := un.cosignedBy(w); ok {
			cosigned[w.name] = true
			if at != 0 && (head.Cosigned == 0 || at < head.Cosigned) {
				head.Cosigned = at
			}
			head.Witnesses = append(head.Witnesses, w.name)
		}
	}
	if !p.satisfied(cosigned) {
		return head, fmt.Errorf("tree head of size %d: %w: the quorum is %q, cosigned by %d of %d", un.size, ErrQuorum, p.quorum, len(cosigned), len(p.witnesses))
	}
	return head, nil
}

func (t *Trust) signerOf(un *unverifiedNote) *TrustedLedger {
	for _, l := range t.Ledgers {
		if un.signedBy(l.Policy.log) {
			return l
		}
	}
	return nil
}

// unverifiedNote is what a signed note says before anybody checked it.
type unverifiedNote struct {
	text    string
	origin  string
	size    uint64
	signers []noteSigner
}

type noteSigner struct {
	name string
	id   uint32
	sig  []byte
}

const (
	maxSigners = 256
	sigPrefix  = "— "
)

// readNote parses the form of a signed tree head (https://c2sp.org/signed-note
// and tlog-checkpoint). No signature at all is allowed here: it is for the
// caller to call such a head unsigned.
func readNote(signed []byte) (*unverifiedNote, error) {
	bad := func(format string, args ...any) (*unverifiedNote, error) {
		return nil, fmt.Errorf("tree head: %w", formErr(format, args...))
	}
	if len(signed) > tlog.MaxHead {
		return bad("%d bytes, expected at most %d", len(signed), tlog.MaxHead)
	}
	if !utf8.Valid(signed) {
		return bad("expected UTF-8")
	}
	text, sigs := string(signed), ""
	if i := strings.LastIndex(text, "\n\n"); i >= 0 {
		text, sigs = text[:i+1], text[i+2:]
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" || lines[0] == "" {
		return bad("expected the lines origin, size and root, an empty line and signatures")
	}
	un := &unverifiedNote{text: text, origin: lines[0]}
	var err error
	if un.size, err = strconv.ParseUint(lines[1], 10, 64); err != nil || strconv.FormatUint(un.size, 10) != lines[1] || un.size > maxSize {
		return bad("expected a size in decimal, at most 2^62, found %q", clip(lines[1]))
	}
	if _, err := tlog.ParseHash(lines[2]); err != nil {
		return bad("root: %v", err)
	}
	if sigs == "" {
		return un, nil
	}
	if !strings.HasSuffix(sigs, "\n") {
		return bad("expected a newline after the last signature")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(sigs, "\n"), "\n") {
		name, b64, ok := strings.Cut(strings.TrimPrefix(line, sigPrefix), " ")
		raw, err := base64.StdEncoding.Strict().DecodeString(b64)
		if !ok || !strings.HasPrefix(line, sigPrefix) || name == "" || err != nil || len(raw) < 5 || base64.StdEncoding.EncodedLen(len(raw)) != len(b64) {
			return bad("expected a signature line, found %q", clip(line))
		}
		if len(un.signers) == maxSigners {
			return bad("more than %d signatures", maxSigners)
		}
		un.signers = append(un.signers, noteSigner{name, binary.BigEndian.Uint32(raw), raw[4:]})
	}
	return un, nil
}

func (s noteSigner) is(v note.Verifier) bool { return s.name == v.Name() && s.id == v.KeyHash() }

// signedBy says whether a signature claims to be v's, right or wrong.
func (un *unverifiedNote) signedBy(v note.Verifier) bool {
	for _, s := range un.signers {
		if s.is(v) {
			return true
		}
	}
	return false
}

func (un *unverifiedNote) onlyBy(ws []witness) bool {
	for _, s := range un.signers {
		known := false
		for _, w := range ws {
			known = known || s.is(w)
		}
		if !known {
			return false
		}
	}
	return true
}

// cosignedBy says whether w's cosignature verifies, and the time that it bears.
// However often it stands there, it is one witness; one that does not verify is as
// good as none.
func (un *unverifiedNote) cosignedBy(w witness) (at evidence.Time, ok bool) {
	for _, s := range un.signers {
		if s.is(w) {
			if weakR(s.sig) || !w.Verify([]byte(un.text), s.sig) {
				return 0, false
			}
			return cosignedAt(s.sig), true
		}
	}
	return 0, false
}

// cosignedAt is the time of a cosignature (https://c2sp.org/tlog-cosignature):
// seconds since 1970 in its first 8 bytes. What is too large for a time of ours is
// none.
func cosignedAt(sig []byte) evidence.Time {
	if len(sig) < 8 {
		return 0
	}
	s := binary.BigEndian.Uint64(sig)
	if s > 1<<40 {
		return 0
	}
	return evidence.Time(s * 1000)
}

// weakR says whether an Ed25519 cosignature (8 bytes of time, then the
// signature) has an R of small order: design section 5 has one rule for
// signatures everywhere. Others are of another length.
func weakR(sig []byte) bool {
	if len(sig) != 8+64 {
		return false
	}
	p, err := new(edwards25519.Point).SetBytes(sig[8:40])
	return err != nil || new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1
}

// keyID is the key ID of a note key whose bytes begin with their type.
func keyID(name string, key []byte) uint32 {
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte(name), key}, []byte("\n")))
	return binary.BigEndian.Uint32(sum[:])
}
