package tlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// Open reads back what a store holds, verifies it, and takes the log up where
// it ended. An empty store begins with the signed head of the empty tree.
//
// It refuses a store whose newest head is not signed by this log's key; whose
// open tile's entries and tiles do not give that head (the error is then a
// [CorruptError] that names what differs); or that does not contain the head
// kept outside ([ErrRollback]). The entries of full tiles are not read: [Check]
// does, and every read of them.
func Open(ctx context.Context, s Store, cfg Config) (*Log, error) {
	if err := cfg.checkKeys(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	cfg.setDefaults()
	l := &Log{
		store: s, cfg: cfg, cache: newTileCache(cfg.CacheBytes),
		keepNow: make(chan struct{}, 1), dead: make(chan struct{}), ended: make(chan struct{}),
	}
	signed, err := s.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	e, head := new(edge), (*SignedHead)(nil)
	if signed != nil {
		if head, err = ParseHead(signed, cfg.Verifier); err != nil {
			return nil, fmt.Errorf("open log: the store's newest head: %w", err)
		}
		if e, err = rebuild(ctx, s, head); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
	} else if cfg.ReadOnly {
		return nil, errors.New("open log: read-only, but the store holds no log yet")
	} else if head, err = SignHead(0, EmptyRoot, cfg.Signer); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	v := newView(head, e.clone())
	l.view.Store(v)
	if err := l.checkKept(ctx, v); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if signed == nil {
		// The store is bound to this origin and key from here on.
		p, err := s.Begin(&Batch{Head: head.Note})
		if err == nil {
			err = p.Wait()
		}
		if err != nil {
			return nil, fmt.Errorf("open log: write the first tree head: %w", err)
		}
	}
	if cfg.Keeper != nil && !cfg.ReadOnly {
		if err := cfg.Keeper.Keep(ctx, head.Note); err != nil {
			return nil, fmt.Errorf("open log: keep the tree head outside the store: %w", err)
		}
	}
	l.start(e)
	return l, nil
}

// checkKeys holds signer and verifier to one key. Only reading needs no signer.
func (c *Config) checkKeys() error {
	if c.Verifier == nil || c.Signer == nil && !c.ReadOnly {
		return errors.New("a signer and its verifier are needed")
	}
	if c.Signer != nil && (c.Signer.Name() != c.Verifier.Name() || c.Signer.KeyHash() != c.Verifier.KeyHash()) {
		return fmt.Errorf("the signer is %s+%08x, but the verifier %s+%08x: expected two halves of one key",
			c.Signer.Name(), c.Signer.KeyHash(), c.Verifier.Name(), c.Verifier.KeyHash())
	}
	return nil
}

// checkKept compares the store with the head that is kept outside of it.
func (l *Log) checkKept(ctx context.Context, v *view) error {
	if l.cfg.Keeper == nil {
		return nil
	}
	signed, err := l.cfg.Keeper.Newest(ctx)
	if err != nil {
		return fmt.Errorf("read the tree head kept outside the store: %w", err)
	}
	if signed == nil {
		return nil
	}
	kept, err := ParseHead(signed, l.cfg.Verifier)
	if err != nil {
		return fmt.Errorf("the tree head kept outside the store: %w", err)
	}
	if kept.Size > v.head.Size {
		return fmt.Errorf("%w: it ends at size %d, but size %d was signed: it is an older copy; open it read-only or bring the newer one back",
			ErrRollback, v.head.Size, kept.Size)
	}
	root, err := l.rootAt(ctx, v, kept.Size)
	if err != nil {
		return err
	}
	if root != kept.Root {
		return fmt.Errorf("%w: at size %d its root is %v, but %v was signed: it is another history",
			ErrRollback, kept.Size, root, kept.Root)
	}
	return nil
}

// rebuild recomputes the right edge from the store, every tile against its
// parent on the way, and compares with the head.
func rebuild(ctx context.Context, s Store, head *SignedHead) (*edge, error) {
	e := &edge{size: head.Size}
	var below []Hash // roots of the full tiles of the level below
	for level := uint8(0); head.Size>>(TileHeight*uint(level)) > 0; level++ {
		full := fullTiles(level, head.Size)
		roots, err := tileRoots(ctx, s, level, full, below)
		if err != nil {
			return nil, diagnose(ctx, s, head, err)
		}
		tail := make([]Hash, 0, TileWidth)
		if level == 0 {
			first := full * TileWidth
			for entry, err := range s.Entries(ctx, first, head.Size) {
				if err != nil {
					return nil, diagnose(ctx, s, head, fmt.Errorf("read entry %d: %w", first+uint64(len(tail)), err))
				}
				tail = append(tail, LeafHash(entry))
			}
		} else {
			tail = append(tail, below[full*TileWidth:]...)
		}
		if want := int(head.Size>>(TileHeight*uint(level)) - full*TileWidth); len(tail) != want {
			return nil, fmt.Errorf("the open tile %d/%d has %d hashes, expected %d", level, full, len(tail), want)
		}
		e.tails = append(e.tails, tail)
		below = roots
	}
	for level := len(e.tails) - 1; level >= 0; level-- {
		rest := e.tails[level]
		for w := TileWidth / 2; w > 0; w /= 2 {
			if len(rest) >= w {
				e.peaks = append(e.peaks, subtreeRoot(rest[:w]))
				rest = rest[w:]
			}
		}
	}
	if root := e.root(); root != head.Root {
		return nil, diagnose(ctx, s, head, &CorruptError{
			fmt.Sprintf("the tree of size %d", head.Size), "the root " + head.Root.String(), root.String(),
		})
	}
	return e, nil
}

// tileRoots reads the n full tiles of a level, compares them with the roots of
// the tiles below, which they list, and returns their own roots.
func tileRoots(ctx context.Context, s Store, level uint8, n uint64, below []Hash) ([]Hash, error) {
	roots := make([]Hash, n)
	if n == 0 {
		return roots, nil
	}
	parts := min(uint64(runtime.GOMAXPROCS(0)), n)
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() {
			first, end := n*p/parts, n*(p+1)/parts
			errs[p] = func() error {
				var nodes tileNodes
				at := first
				for data, err := range s.Tiles(ctx, level, first, end) {
					place := Tile{level, at, TileWidth}.String()
					if err != nil {
						return fmt.Errorf("read %s: %w", place, err)
					}
					if len(data) != tileBytes {
						return &CorruptError{place, fmt.Sprintf("%d bytes", tileBytes), fmt.Sprintf("%d bytes", len(data))}
					}
					for i := range TileWidth {
						copy(nodes[i][:], data[i*HashSize:])
						if level > 0 && nodes[i] != below[at*TileWidth+uint64(i)] {
							child := Tile{level - 1, at*TileWidth + uint64(i), TileWidth}
							return &CorruptError{
								child.String(), "the root " + nodes[i].String() + ", which its parent " + place + " holds",
								below[at*TileWidth+uint64(i)].String(),
							}
						}
					}
					roots[at] = nodes.expand()
					at++
				}
				if at != end {
					return &CorruptError{Tile{level, at, TileWidth}.String(), "a tile", "none"}
				}
				return nil
			}()
		})
	}
	wg.Wait()
	return roots, errors.Join(errs...)
}

// diagnose finds out what exactly differs, once something does. err is what was
// seen first.
func diagnose(ctx context.Context, s Store, head *SignedHead, err error) error {
	r, checkErr := checkTree(ctx, s, head, nil)
	if checkErr != nil || len(r.Differences) == 0 {
		return err
	}
	errs := []error{}
	for i := range r.Differences {
		errs = append(errs, &r.Differences[i])
	}
	return errors.Join(errs...)
}
