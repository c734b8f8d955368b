package tlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ledgerd/internal/raced"
	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

func flip(bit int) func([]byte) []byte {
	return func(b []byte) []byte {
		bit := bit % (8 * len(b))
		b[bit/8] ^= 1 << (bit % 8)
		return b
	}
}

// A flipped bit, wherever it is, is named by Check, and never served; in what
// a start rereads, the start is refused.
func TestFlippedBits(t *testing.T) {
	raced.Skip(t)
	const size = 256*256 + 300 // full tiles at levels 0 and 1, and an open tile
	sound := new(tlogtest.Store)
	filled := mustOpen(t, sound, config(t))
	fill(t, filled, 0, size)
	filled.Close()
	for _, tc := range []struct {
		name    string
		level   int
		n       uint64
		bit     int
		want    string // in the differences
		refused bool   // at start
	}{
		{"entry in a full tile", -1, 1000, 13, "entry 1000", false},
		{"first entry", -1, 0, 0, "entry 0", false},
		{"entry in the open tile", -1, size - 3, 5, "tile 0/257 (entries 65792 to 65835)", true},
		{"tile of leaves", 0, 7, 8*32*9 + 1, "tile 0/7, hash 9", true},
		{"tile of leaves at the right edge", 0, 256, 8191*8 + 7, "tile 0/256, hash 255", true},
		{"tile above", 1, 0, 77, "tile 1/0, hash 0", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := sound.Restart(), config(t)
			c.CacheBytes = 1 // next to none, so that reads go to the store
			l := mustOpen(t, s, c)
			s.Change(tc.level, tc.n, flip(tc.bit))

			r, err := l.Check(ctx, nil)
			if err != nil || len(r.Differences) != 1 || !strings.Contains(r.Differences[0].Place, tc.want) {
				t.Errorf("check of the running log: %v, %v", err, r.Differences)
			}
			// Whatever is served is right, or it is an error.
			var corrupt *tlog.CorruptError
			wrong := 0
			step := uint64(1)
			if tc.level >= 0 {
				step = 997 // a bad tile spoils the reads of many
			}
			for i := uint64(0); i < size; i += step {
				e, err := l.Entry(ctx, i)
				if errors.As(err, &corrupt) {
					wrong++
				} else if err != nil || string(e) != string(entry(int(i))) {
					t.Fatalf("entry %d: %q, %v", i, e, err)
				}
			}
			for n := range uint64(258) {
				tile := tlog.Tile{Level: 0, N: n, Width: 44}
				data, err := l.Tile(ctx, tile)
				if errors.As(err, &corrupt) {
					wrong++
				} else if first := tlog.LeafHash(entry(int(n * 256))); err != nil || string(data[:32]) != string(first[:]) {
					t.Fatalf("%v: %v", tile, err)
				}
			}
			for i := uint64(0); i < size; i += 97 {
				p, err := l.Inclusion(ctx, i, size)
				if errors.As(err, &corrupt) {
					wrong++
				} else if err != nil || p.Check(tlog.LeafHash(entry(int(i))), l.Head().Root) != nil {
					t.Fatalf("proof of %d: %v", i, err)
				}
			}
			if wrong == 0 {
				t.Error("nothing that was read showed the flip")
			}
			l.Close()

			s2 := s.Restart()
			r, err = tlog.Check(ctx, s2, c.Verifier, nil)
			if err != nil || len(r.Differences) != 1 || !strings.Contains(r.Differences[0].Place, tc.want) {
				t.Errorf("check of the store: %v, %v", err, r.Differences)
			}
			l, err = tlog.Open(ctx, s2, c)
			if tc.refused != (err != nil) {
				t.Fatalf("start: %v", err)
			}
			if tc.refused && (!errors.As(err, &corrupt) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("start: got %v, expected it to name %q", err, tc.want)
			}
			if err == nil {
				l.Close()
			}
		})
	}
}

func TestFlippedHeadRefused(t *testing.T) {
	c := config(t)
	s := new(tlogtest.Store)
	l := mustOpen(t, s, c)
	fill(t, l, 0, 3)
	head := l.Head()
	l.Close()
	for bit := range 8 * len(head.Note) {
		_, err := tlog.Open(ctx, headStore{s.Restart(), flip(bit)(append([]byte(nil), head.Note...))}, c)
		if err == nil {
			t.Fatalf("a head with bit %d flipped is taken: %q", bit, head.Note)
		}
	}
	// A head that is signed, but for another tree.
	other, err := tlog.SignHead(3, tlog.LeafHash([]byte("x")), c.Signer)
	if err != nil {
		t.Fatal(err)
	}
	var corrupt *tlog.CorruptError
	if _, err := tlog.Open(ctx, headStore{s.Restart(), other.Note}, c); !errors.As(err, &corrupt) {
		t.Errorf("another tree's head: %v", err)
	}
}

type headStore struct {
	*tlogtest.Store
	head []byte
}

func (s headStore) Load(context.Context) ([]byte, error) { return s.head, nil }

// A store that does not contain the head kept outside is an older copy, or
// another history. One that only lags behind it is fine.
func TestRollback(t *testing.T) {
	keeper := new(tlogtest.HeadKeeper)
	c := config(t)
	c.Keeper = keeper
	s := new(tlogtest.Store)
	l := mustOpen(t, s, c)
	fill(t, l, 0, 300)
	l.Close()
	older := s.Restart()
	if n, _ := keeper.Newest(ctx); string(n) != string(l.Head().Note) {
		t.Errorf("after Close the keeper has %q", n)
	}
	lagging, _ := keeper.Newest(ctx)
	l = mustOpen(t, s.Restart(), c)
	fill(t, l, 300, 100)
	newer := l.Head()
	l.Close()

	if _, err := tlog.Open(ctx, older, c); !errors.Is(err, tlog.ErrRollback) {
		t.Errorf("an older copy: %v", err)
	}
	if _, err := tlog.Open(ctx, new(tlogtest.Store), c); !errors.Is(err, tlog.ErrRollback) {
		t.Errorf("an empty store: %v", err)
	}
	fork := new(tlogtest.Store)
	c2 := c
	c2.Keeper = nil
	l = mustOpen(t, fork, c2)
	for i := range 500 {
		if _, err := l.Append(ctx, candidate(fmt.Sprint("other ", i))); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if _, err := tlog.Open(ctx, fork.Restart(), c); !errors.Is(err, tlog.ErrRollback) {
		t.Errorf("another history: %v", err)
	}
	if n, _ := keeper.Newest(ctx); string(n) != string(newer.Note) {
		t.Errorf("a refused start replaced the kept head by %q", n)
	}
	_ = keeper.Keep(ctx, lagging)
	l = mustOpen(t, older, c) // it contains the kept head
	l.Close()

	other := c
	other.Signer, other.Verifier = pair(t, "another.example", 1)
	if _, err := tlog.Open(ctx, older, other); err == nil {
		t.Error("a store of another origin is opened")
	}
	other.Verifier = c.Verifier
	if _, err := tlog.Open(ctx, older, other); err == nil {
		t.Error("a signer and a verifier of two keys are taken")
	}
	// A keeper that fails does not stop appends, and is shown.
	keeper.Err = fmt.Errorf("no such disk")
	if _, err := tlog.Open(ctx, s.Restart(), c); err == nil {
		t.Error("a start with a keeper that fails is taken")
	}
}
