package exchange

import (
	"net/netip"
	"sync"
	"time"
)

// Quotas bounds what peers, and strangers, can make this daemon do. The zero value
// of a field stands for the default beside it.
type Quotas struct {
	Failures  int   // 60: requests of one address an hour that do not verify
	Waiting   int   // 1,000: offers of one peer that wait
	Bytes     int64 // 1 GiB: of one peer's bundles a day that verified, and of those that wait
	Verifying int   // 2: verifications at a time
}

func (q Quotas) withDefaults() Quotas {
	if q.Failures == 0 {
		q.Failures = 60
	}
	if q.Waiting == 0 {
		q.Waiting = 1000
	}
	if q.Bytes == 0 {
		q.Bytes = 1 << 30
	}
	if q.Verifying == 0 {
		q.Verifying = 2
	}
	return q
}

// share is a bucket that fills up over a while.
type share struct {
	used float64
	at   time.Time // when used was so much
}

// shares are buckets of one size by key, each of which is empty again after a while
// in which nobody puts anything into it.
type shares[K comparable] struct {
	size  float64
	while time.Duration
	most  int // buckets at a time

	mu sync.Mutex
	of map[K]*share // guarded by mu
}

func newShares[K comparable](size float64, while time.Duration, most int) *shares[K] {
	return &shares[K]{size: size, while: while, most: most, of: make(map[K]*share)}
}

// left reports whether a bucket has room for one more, and else how long until it has.
func (s *shares[K]) left(key K, now time.Time) (bool, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.of[key]
	if b == nil {
		return true, 0
	}
	s.drain(b, now)
	over := b.used + 1 - s.size
	if over <= 0 {
		return true, 0
	}
	return false, time.Duration(over / s.size * float64(s.while))
}

// put puts n into a bucket.
func (s *shares[K]) put(key K, n float64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.of[key]
	if b == nil {
		s.makeRoom(now)
		b = &share{at: now}
		s.of[key] = b
	}
	s.drain(b, now)
	b.used += n
}

func (s *shares[K]) drain(b *share, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.used = max(0, b.used-float64(d)/float64(s.while)*s.size)
		b.at = now
	}
}

// makeRoom forgets buckets that are empty, and any one where none is. s.mu is held.
func (s *shares[K]) makeRoom(now time.Time) {
	if len(s.of) < s.most {
		return
	}
	for key, b := range s.of {
		if s.drain(b, now); b.used == 0 {
			delete(s.of, key)
		}
	}
	for key := range s.of {
		if len(s.of) < s.most {
			return
		}
		delete(s.of, key)
	}
}

// addresses is how many of them are remembered at a time.
const addresses = 16384

// sourceOf is what counts as one sender: an address, or what one customer gets of
// IPv6.
func sourceOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // all that have no address are one
	}
	return p
}
