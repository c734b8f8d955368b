package tlogtest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"ledgerd/ledger/tlog"
)

// A Store is a tlog.Store in memory whose commits end as a test wants: it holds
// them up, fails them with or without having stored them, or changes what it
// gives back.
type Store struct {
	mu      sync.Mutex
	durable contents
	begun   contents // what a reader in this process sees
	failed  bool
	begins  int

	// OnWait is called in each Wait, if set: nil makes the n-th batch (from 0)
	// durable. An error fails it, and all later ones; Persisted wraps errors
	// of commits that are durable all the same.
	OnWait func(n int, b *tlog.Batch) error
	// OnRoom answers Room, if set.
	OnRoom func() error
}

type contents struct {
	head    []byte
	entries [][]byte
	tiles   map[string][]byte
	rows    []tlog.Row
}

func (c contents) with(b *tlog.Batch) contents {
	n := contents{head: b.Head, entries: append(slices.Clip(c.entries), b.Entries...), rows: append(slices.Clip(c.rows), b.Rows...)}
	n.tiles = c.tiles
	if len(b.Tiles) > 0 || n.tiles == nil {
		n.tiles = make(map[string][]byte, len(c.tiles))
		maps.Copy(n.tiles, c.tiles)
	}
	for _, t := range b.Tiles {
		n.tiles[fmt.Sprint(t.Level, t.N)] = t.Data
	}
	return n
}

// Persisted marks an error of a commit that reached the disk all the same.
type Persisted struct{ Err error }

func (p Persisted) Error() string { return p.Err.Error() }
func (p Persisted) Unwrap() error { return p.Err }

// Restart returns a Store with what was durable, as after a crash.
func (s *Store) Restart() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{durable: s.durable, begun: s.durable}
}

// Rows returns the index rows that are durable.
func (s *Store) Rows() []tlog.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable.rows
}

// Begins returns how many batches were begun.
func (s *Store) Begins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begins
}

// Change replaces an entry, or a tile where level is not negative, by what f
// makes of it.
func (s *Store) Change(level int, n uint64, f func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range []*contents{&s.durable, &s.begun} {
		if level < 0 {
			c.entries = slices.Clone(c.entries)
			c.entries[n] = f(bytes.Clone(c.entries[n]))
		} else {
			key := fmt.Sprint(level, n)
			c.tiles = maps.Clone(c.tiles)
			c.tiles[key] = f(bytes.Clone(c.tiles[key]))
		}
	}
}

// Load implements tlog.Store.
func (s *Store) Load(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable.head, nil
}

// Room implements tlog.Store.
func (s *Store) Room(int) error {
	if s.OnRoom != nil {
		return s.OnRoom()
	}
	return nil
}

// Begin implements tlog.Store.
func (s *Store) Begin(b *tlog.Batch) (tlog.Pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return nil, fmt.Errorf("begin after a failure")
	}
	if b.First != uint64(len(s.begun.entries)) {
		return nil, fmt.Errorf("begin at %d, expected %d", b.First, len(s.begun.entries))
	}
	s.begun = s.begun.with(b)
	s.begins++
	return &pending{s, b, s.begins - 1}, nil
}

type pending struct {
	s *Store
	b *tlog.Batch
	n int
}

// Wait implements tlog.Pending.
func (p *pending) Wait() error {
	var err error
	if p.s.OnWait != nil {
		err = p.s.OnWait(p.n, p.b)
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	_, persisted := err.(Persisted)
	if !p.s.failed && (err == nil || persisted) {
		p.s.durable = p.s.durable.with(p.b)
	}
	if err != nil {
		p.s.failed = true
	}
	return err
}

// Entries implements tlog.Reader.
func (s *Store) Entries(_ context.Context, first, end uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for i := first; i < end; i++ {
			s.mu.Lock()
			c := s.begun
			s.mu.Unlock()
			if i >= uint64(len(c.entries)) {
				yield(nil, fmt.Errorf("no entry %d", i))
				return
			}
			if !yield(bytes.Clone(c.entries[i]), nil) {
				return
			}
		}
	}
}

// Tiles implements tlog.Reader.
func (s *Store) Tiles(_ context.Context, level uint8, first, end uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for i := first; i < end; i++ {
			s.mu.Lock()
			t := s.begun.tiles[fmt.Sprint(level, i)]
			s.mu.Unlock()
			if t == nil {
				yield(nil, fmt.Errorf("no tile %d/%d", level, i))
				return
			}
			if !yield(bytes.Clone(t), nil) {
				return
			}
		}
	}
}

// A HeadKeeper keeps a head in memory.
type HeadKeeper struct {
	mu   sync.Mutex
	head []byte
	Err  error // of Keep
}

// Newest implements tlog.HeadKeeper.
func (k *HeadKeeper) Newest(context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.head, nil
}

// Keep implements tlog.HeadKeeper.
func (k *HeadKeeper) Keep(_ context.Context, head []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.Err != nil {
		return k.Err
	}
	k.head = head
	return nil
}
