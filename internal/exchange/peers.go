package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ledgerd/bundle"
	"ledgerd/internal/api"
	"ledgerd/internal/wholefile"
)

// Peers is the file of peers. Reading is one look at a view that is never changed; a
// change writes the file, then replaces the view. A crash leaves the old file or the
// new one.
type Peers struct {
	path string
	own  *bundle.TrustedLedger
	seen atomic.Pointer[peersView]

	mu     sync.Mutex // one change at a time
	stored []api.Peer // guarded by mu; what the file holds, in order of addition
}

type peersView struct {
	byOrigin map[string]*api.Peer
	trust    *bundle.Trust // own, and what every peer's trust file names
}

// ErrNoPeer: there is no peer of that origin.
var ErrNoPeer = errors.New("no such peer")

// OpenPeers reads the file of peers; a missing one holds none. own is the trust file
// of this ledger, which is always trusted.
func OpenPeers(path string, own *bundle.Trust) (*Peers, error) {
	p := &Peers{path: path, own: own.Ledgers[0]}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("peers: %w", err)
	}
	var file api.Peers
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&file); err != nil {
			return nil, fmt.Errorf("peers: %s: %w", path, err)
		}
	}
	v, err := p.view(file.Peers)
	if err != nil {
		return nil, fmt.Errorf("peers: %s: %w", path, err)
	}
	p.stored = file.Peers
	p.seen.Store(v)
	return p, nil
}

// view reads the trust of peers together. Two of them may name the same ledger, in
// the same words: whom to believe otherwise, nobody here said.
func (p *Peers) view(stored []api.Peer) (*peersView, error) {
	v := &peersView{byOrigin: make(map[string]*api.Peer), trust: &bundle.Trust{Ledgers: []*bundle.TrustedLedger{p.own}}}
	for i := range stored {
		peer := &stored[i]
		t, err := bundle.ParseTrust(peer.Trust)
		if err != nil {
			return nil, fmt.Errorf("the peer %s: %w", peer.Origin, err)
		}
		v.byOrigin[peer.Origin] = peer
		others := new(bundle.Trust)
		for _, l := range t.Ledgers {
			if l.Origin() == p.own.Origin() {
				if l.Policy.LogKey() != p.own.Policy.LogKey() || l.Entry0 != p.own.Entry0 {
					return nil, fmt.Errorf("the peer %s: its trust file names this ledger, %s, with another key or entry 0", peer.Origin, l.Origin())
				}
				continue // what is trusted here of this ledger is not for others to say
			}
			others.Ledgers = append(others.Ledgers, l)
		}
		if v.trust, err = bundle.JoinTrust(v.trust, others); err != nil {
			return nil, fmt.Errorf("the peer %s, beside those before it: %w", peer.Origin, err)
		}
	}
	return v, nil
}

// TrustOf returns what a ledger's own trust file and those of its peers name together.
func TrustOf(own *bundle.Trust, peers []api.Peer) (*bundle.Trust, error) {
	v, err := (&Peers{own: own.Ledgers[0]}).view(peers)
	if err != nil {
		return nil, err
	}
	return v.trust, nil
}

// Trust returns what is trusted now: this ledger, and those that the peers' trust
// files name. It is not to be changed.
func (p *Peers) Trust() *bundle.Trust { return p.seen.Load().trust }

// Peer returns the peer whose ledger has the origin, nil where there is none.
func (p *Peers) Peer(origin string) *api.Peer { return p.seen.Load().byOrigin[origin] }

// List returns the peers in order of addition.
func (p *Peers) List() []api.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stored)
}

// Add adds a peer, or replaces the one of its origin. An origin that is left out is
// that of the only other ledger in the trust file.
func (p *Peers) Add(n api.Peer, now time.Time) (*api.Peer, error) {
	if err := CheckURL(n.URL); err != nil {
		return nil, err
	}
	n.URL = strings.TrimSuffix(n.URL, "/")
	t, err := bundle.ParseTrust(n.Trust)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	if n.Origin, err = p.originOf(n.Origin, t); err != nil {
		return nil, err
	}
	if n.Trust, err = t.Marshal(); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	n.Added = now.UTC().Format(time.RFC3339)
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(p.stored), func(o api.Peer) bool { return o.Origin == n.Origin })
	return &n, p.replace(append(kept, n))
}

func (p *Peers) originOf(want string, t *bundle.Trust) (string, error) {
	var others []string
	for _, l := range t.Ledgers {
		if o := l.Origin(); o != p.own.Origin() {
			others = append(others, o)
		}
	}
	switch {
	case want == "" && len(others) == 1:
		return others[0], nil
	case want == "":
		return "", fmt.Errorf("peer: the trust file names %d ledgers beside this one, %v: say which is the peer's", len(others), others)
	case !slices.Contains(others, want):
		return "", fmt.Errorf("peer: want the origin of another ledger that the trust file names, %v, found %q", others, want)
	}
	return want, nil
}

// Remove forgets a peer: what it sends is refused, and what its trust file alone
// names is not trusted any more.
func (p *Peers) Remove(origin string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(p.stored), func(o api.Peer) bool { return o.Origin == origin })
	if len(kept) == len(p.stored) {
		return fmt.Errorf("peer %q: %w", origin, ErrNoPeer)
	}
	return p.replace(kept)
}

// replace writes the file and makes it what is seen. p.mu is held.
func (p *Peers) replace(stored []api.Peer) error {
	v, err := p.view(stored)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	b, err := json.MarshalIndent(api.Peers{Peers: stored}, "", "  ")
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	if err := wholefile.Write(p.path, append(b, '\n'), true); err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	p.stored = stored
	p.seen.Store(v)
	return nil
}

// CheckURL reports why a peer's inbox cannot be at a URL: it is https, or http at a
// loopback address, and has no user, query or fragment.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("peer: want a URL such as https://handoffs.example, without user, query and fragment, found %q", text)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("peer: want https for %s: what is handed over is nobody else's to read", u.Host)
	}
	return nil
}
