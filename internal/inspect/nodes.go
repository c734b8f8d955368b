package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"

	"ledgerd/audit"
	"ledgerd/ledger/tlog"
)

// A span is the leaves from lo to hi-1, which lie under one node of the tree.
type span struct{ lo, hi uint64 }

// spansOf returns the nodes that give the roots of a tree at the sizes m and n,
// m < n: those that a bundle with these two tree heads and no record would have
// (docs/bundle-format.md, "Nodes").
func spansOf(m, n uint64) []span {
	var out []span
	lo := uint64(0)
	for _, end := range []uint64{m, n} {
		for lo < end {
			hi := lo + widest(lo, end)
			switch {
			case end == n && lo == 0:
				hi = end
			case end == n:
				hi = min(lo+lo&-lo, end)
			}
			out = append(out, span{lo, hi})
			lo = hi
		}
	}
	return out
}

// widest is the width of the widest full subtree that begins at lo and ends at or
// before end.
func widest(lo, end uint64) uint64 {
	width := uint64(1) << (bits.Len64(end-lo) - 1)
	if lo != 0 {
		width = min(width, lo&-lo)
	}
	return width
}

// A fold joins nodes from left to right. It holds full subtrees of falling size.
type fold struct {
	spans  []span
	hashes []tlog.Hash
}

func (f *fold) push(s span, h tlog.Hash) {
	f.spans, f.hashes = append(f.spans, s), append(f.hashes, h)
	for i := len(f.spans) - 1; i > 0; i-- {
		width := f.spans[i].hi - f.spans[i].lo
		if f.spans[i-1].hi-f.spans[i-1].lo != width || bits.OnesCount64(width) != 1 {
			return
		}
		f.spans[i-1].hi = f.spans[i].hi
		f.hashes[i-1] = tlog.NodeHash(f.hashes[i-1], f.hashes[i])
		f.spans, f.hashes = f.spans[:i], f.hashes[:i]
	}
}

func (f *fold) root() tlog.Hash {
	if len(f.hashes) == 0 {
		return tlog.EmptyRoot
	}
	h := f.hashes[len(f.hashes)-1]
	for i := len(f.hashes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.hashes[i], h)
	}
	return h
}

// rootsOf returns the roots that nodes give a tree at the sizes m and n.
func rootsOf(m, n uint64, nodes []tlog.Hash) (atM, atN tlog.Hash, err error) {
	spans := spansOf(m, n)
	if len(spans) != len(nodes) {
		return atM, atN, fmt.Errorf("expected %d nodes for the sizes %d and %d, found %d", len(spans), m, n, len(nodes))
	}
	var f fold
	atM = tlog.EmptyRoot
	for i, s := range spans {
		f.push(s, nodes[i])
		if s.hi == m {
			atM = f.root()
		}
	}
	return atM, f.root(), nil
}

// tiles reads nodes out of the tiles of a log. It trusts none of them: whoever
// asked folds them into a root that somebody signed.
type tiles struct {
	source audit.Source
	size   uint64 // of the tree whose tiles are read
	read   map[tlog.Tile][]byte
}

func newTiles(s audit.Source, size uint64) *tiles {
	return &tiles{source: s, size: size, read: make(map[tlog.Tile][]byte)}
}

// nodes returns the hashes of the nodes that give the roots at m and n.
func (t *tiles) nodes(ctx context.Context, m, n uint64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, s := range spansOf(m, n) {
		var f fold
		for lo := s.lo; lo < s.hi; {
			part := span{lo, lo + widest(lo, s.hi)}
			h, err := t.full(ctx, part)
			if err != nil {
				return nil, err
			}
			f.push(part, h)
			lo = part.hi
		}
		out = append(out, f.root())
	}
	return out, nil
}

// full returns the hash of a full subtree.
func (t *tiles) full(ctx context.Context, s span) (tlog.Hash, error) {
	level := bits.Len64(s.hi-s.lo) - 1
	row := level / tlog.TileHeight
	height := tlog.TileHeight * row // of the hashes in the row's tiles
	first, count := s.lo>>height, uint64(1)<<(level-height)
	tile := tlog.Tile{Level: uint8(row), N: first / tlog.TileWidth, Width: tlog.TileWidth}
	if last := t.size>>height - tile.N*tlog.TileWidth; last < tlog.TileWidth {
		tile.Width = int(last)
	}
	b, ok := t.read[tile]
	if !ok {
		var err error
		if b, err = t.source.Read(ctx, tile.Path(), tlog.TileWidth*tlog.HashSize); err != nil {
			return tlog.Hash{}, &audit.SourceError{Path: tile.Path(), Err: err}
		}
		if len(b) != tile.Width*tlog.HashSize {
			return tlog.Hash{}, &audit.SourceError{Path: tile.Path(), Err: fmt.Errorf("expected %d bytes, found %d", tile.Width*tlog.HashSize, len(b))}
		}
		t.read[tile] = b
	}
	var f fold
	for i := range count {
		at := (first + i) % tlog.TileWidth
		f.push(span{i, i + 1}, tlog.Hash(b[at*tlog.HashSize:]))
	}
	return f.root(), nil
}

// NodesOf reads the nodes that give the roots at m and n: from the tiles that a log
// of size n has, or, where it has grown to size and keeps only newer ones, from these.
func NodesOf(ctx context.Context, s audit.Source, m, n, size uint64) ([]tlog.Hash, error) {
	nodes, err := newTiles(s, n).nodes(ctx, m, n)
	if size > n && errors.Is(err, fs.ErrNotExist) {
		return newTiles(s, size).nodes(ctx, m, n)
	}
	return nodes, err
}
