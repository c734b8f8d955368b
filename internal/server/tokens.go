package server

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ledgerd/internal/api"
	"ledgerd/internal/wholefile"
)

// tokenPrefix marks a secret as one of ours, so that scanners of source code
// and logs can find a leaked one.
const tokenPrefix = "ledgerd_"

// Grant is what a token gives: an actor and rights.
type Grant struct {
	api.Token
	rights  map[api.Right]bool
	expires time.Time
}

// May reports whether the grant has a right.
func (g *Grant) May(r api.Right) bool { return g != nil && g.rights[r] }

// lacks is the answer to who may not.
func (g *Grant) lacks(need api.Right) *api.Problem {
	return api.NewProblem(http.StatusForbidden, api.ReasonRight, "want a token with the right %q, token %s has %v", need, g.ID, g.Rights)
}

// Tokens is the file of tokens. It holds SHA-256 values and no secret. Tokens
// have 256 bits of random, so that a slow hash would protect nothing.
//
// Reading is one lookup in a map that is never changed; a change writes the
// file, then replaces the map. A crash leaves the old file or the new one.
type Tokens struct {
	path   string
	byHash atomic.Pointer[map[[sha256.Size]byte]*Grant]

	mu     sync.Mutex    // one change at a time
	stored []storedToken // guarded by mu; what the file holds, in order of creation
}

type storedToken struct {
	api.Token
	Hash string `json:"sha256"` // hexadecimal
}

// ErrNoToken: there is no token of that ID.
var ErrNoToken = errors.New("no such token")

// OpenTokens reads the file of tokens; a missing one holds none.
func OpenTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	if err == nil {
		var file struct {
			Tokens []storedToken `json:"tokens"`
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&file); err != nil {
			return nil, fmt.Errorf("tokens: %s: %w", path, err)
		}
		t.stored = file.Tokens
	}
	return t, t.publish()
}

// publish makes what is stored the map that requests see.
func (t *Tokens) publish() error {
	m := make(map[[sha256.Size]byte]*Grant, len(t.stored))
	for _, s := range t.stored {
		sum, err := hex.DecodeString(s.Hash)
		if err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("tokens: %s: token %s: want 64 hexadecimal digits as sha256", t.path, s.ID)
		}
		g := &Grant{Token: s.Token, rights: make(map[api.Right]bool)}
		for _, r := range s.Rights {
			g.rights[r] = true
		}
		if s.Expires != "" {
			if g.expires, err = time.Parse(time.RFC3339, s.Expires); err != nil {
				return fmt.Errorf("tokens: %s: token %s: expires: %w", t.path, s.ID, err)
			}
		}
		m[[sha256.Size]byte(sum)] = g
	}
	t.byHash.Store(&m)
	return nil
}

// Lookup returns what a secret gives at a time, nil for nothing.
func (t *Tokens) Lookup(secret string, now time.Time) *Grant {
	g := (*t.byHash.Load())[sha256.Sum256([]byte(secret))]
	if g == nil || !g.expires.IsZero() && !now.Before(g.expires) {
		return nil
	}
	return g
}

// Add makes a token. Its secret is in the answer and nowhere else.
func (t *Tokens) Add(n api.NewToken, now time.Time) (*api.IssuedToken, error) {
	if n.Actor == "" || len(n.Actor) > 256 || strings.ContainsFunc(n.Actor, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("token: want an actor's name, printable ASCII without spaces, found %q", n.Actor)
	}
	if len(n.Rights) == 0 {
		return nil, fmt.Errorf("token: want at least one right of %v", api.Rights())
	}
	for _, r := range n.Rights {
		if !slices.Contains(api.Rights(), r) {
			return nil, fmt.Errorf("token: want rights among %v, found %q", api.Rights(), r)
		}
	}
	if n.Expires != "" {
		if at, err := time.Parse(time.RFC3339, n.Expires); err != nil || !at.After(now) {
			return nil, fmt.Errorf("token: want expires to be a later time in RFC 3339, found %q", n.Expires)
		}
	}
	var random [32]byte
	rand.Read(random[:]) // never fails: it ends the process instead
	secret := tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(secret))
	s := storedToken{
		Token: api.Token{
			// Names the token in lists and logs; the hash tells nothing about the secret.
			ID: "tok_" + hex.EncodeToString(sum[:6]), Actor: n.Actor, Rights: n.Rights,
			Created: now.UTC().Format(time.RFC3339), Expires: n.Expires, Note: n.Note,
		},
		Hash: hex.EncodeToString(sum[:]),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.replace(append(slices.Clone(t.stored), s)); err != nil {
		return nil, err
	}
	return &api.IssuedToken{Token: s.Token, Secret: secret}, nil
}

// Revoke ends a token from the next request on.
func (t *Tokens) Revoke(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(t.stored), func(s storedToken) bool { return s.ID == id })
	if len(kept) == len(t.stored) {
		return fmt.Errorf("token %q: %w", id, ErrNoToken)
	}
	return t.replace(kept)
}

// List returns the tokens in order of creation, without secrets or hashes.
func (t *Tokens) List() []api.Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]api.Token, len(t.stored))
	for i, s := range t.stored {
		all[i] = s.Token
	}
	return all
}

func (t *Tokens) replace(stored []storedToken) error {
	b, err := json.MarshalIndent(struct {
		Tokens []storedToken `json:"tokens"`
	}{stored}, "", "  ")
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	if err := wholefile.Write(t.path, append(b, '\n'), true); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	t.stored = stored
	return t.publish()
}
