package tlog

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/transparency-dev/merkle/compact"
)

// A view is the tree under one durable head. Its right edge is in memory, where
// nothing of the store can change it; everything else is read from the store
// and believed only if it hashes up to that edge.
type view struct {
	head *SignedHead
	edge *edge
	// tails holds, for each of the edge's, the nodes above its hashes, once
	// they are asked for.
	tails []tailNodes
}

type tailNodes struct {
	once  sync.Once
	nodes *tileNodes
}

func newView(head *SignedHead, e *edge) *view {
	return &view{head: head, edge: e, tails: make([]tailNodes, len(e.tails))}
}

// tail returns the node at a level within the open tile of a tile level. The
// caller has seen to it that all hashes below it are there.
func (v *view) tail(tileLevel, level uint8, index uint64) Hash {
	t := &v.tails[tileLevel]
	t.once.Do(func() {
		t.nodes = new(tileNodes)
		copy(t.nodes[:], v.edge.tails[tileLevel])
		t.nodes.expand() // the nodes above missing hashes mean nothing
	})
	return t.nodes.node(level, index)
}

// A CorruptError says that the store gave something that does not belong to the
// tree whose head was signed.
type CorruptError struct {
	Place string // "entry 1842", "tile 0/7"
	Want  string
	Found string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the store is corrupt: %s: expected %s, found %s; stop writing to it and run a full check", e.Place, e.Want, e.Found)
}

// one returns the only value of a sequence of one.
func one(what string, seq iter.Seq2[[]byte, error]) ([]byte, error) {
	for v, err := range seq {
		return v, err
	}
	return nil, fmt.Errorf("%s: the store gave nothing", what)
}

// tile returns the verified nodes of a full tile.
func (l *Log) tile(ctx context.Context, v *view, id tileID) (*tileNodes, error) {
	if t := l.cache.get(id); t != nil {
		return t, nil
	}
	place := Tile{id.level, id.n, TileWidth}.String()
	data, err := one(place, l.store.Tiles(ctx, id.level, id.n, id.n+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", place, err)
	}
	if len(data) != tileBytes {
		return nil, &CorruptError{place, fmt.Sprintf("%d bytes", tileBytes), fmt.Sprintf("%d bytes", len(data))}
	}
	t := new(tileNodes)
	for i := range TileWidth {
		copy(t[i][:], data[i*HashSize:])
	}
	root := t.expand()
	want, err := l.hashInTile(ctx, v, id.level+1, id.n)
	if err != nil {
		return nil, err
	}
	if root != want {
		return nil, &CorruptError{place, "the root " + want.String(), root.String()}
	}
	l.cache.put(id, t)
	return t, nil
}

// hashInTile returns the index-th hash at tree level 8×level, verified.
func (l *Log) hashInTile(ctx context.Context, v *view, level uint8, index uint64) (Hash, error) {
	n := index / TileWidth
	if n < fullTiles(level, v.edge.size) {
		t, err := l.tile(ctx, v, tileID{level, n})
		if err != nil {
			return Hash{}, err
		}
		return t.node(0, index%TileWidth), nil
	}
	if int(level) >= len(v.edge.tails) || index%TileWidth >= uint64(len(v.edge.tails[level])) {
		return Hash{}, fmt.Errorf("hash %d at tile level %d: %w, size %d", index, level, ErrBeyond, v.edge.size)
	}
	return v.edge.tails[level][index%TileWidth], nil
}

// node returns the hash of a node whose leaves all exist.
func (l *Log) node(ctx context.Context, v *view, level uint8, index uint64) (Hash, error) {
	tl, within := level/TileHeight, level%TileHeight
	first := index << within // of its hashes at tree level 8×tl
	n := first / TileWidth
	if n < fullTiles(tl, v.edge.size) {
		t, err := l.tile(ctx, v, tileID{tl, n})
		if err != nil {
			return Hash{}, err
		}
		return t.node(within, index-n<<(TileHeight-within)), nil
	}
	from, width := first%TileWidth, uint64(1)<<within
	if int(tl) >= len(v.edge.tails) || from+width > uint64(len(v.edge.tails[tl])) {
		return Hash{}, fmt.Errorf("node %d at level %d: %w, size %d", index, level, ErrBeyond, v.edge.size)
	}
	return v.tail(tl, within, from>>within), nil
}

// rangeRoot returns the root of the leaves from lo to hi-1, as RFC 6962 hashes
// them; lo must be a multiple of the smallest power of two not below hi-lo.
func (l *Log) rangeRoot(ctx context.Context, v *view, lo, hi uint64) (Hash, error) {
	var peaks []Hash
	for _, id := range compact.RangeNodes(lo, hi, nil) {
		h, err := l.node(ctx, v, uint8(id.Level), id.Index)
		if err != nil {
			return Hash{}, err
		}
		peaks = append(peaks, h)
	}
	return foldPeaks(peaks), nil
}

// leaves returns the leaf hashes of entry tile n that are in v.
func (l *Log) leaves(ctx context.Context, v *view, n uint64) ([]Hash, error) {
	if n < fullTiles(0, v.edge.size) {
		t, err := l.tile(ctx, v, tileID{0, n})
		if err != nil {
			return nil, err
		}
		return t[:TileWidth], nil
	}
	return v.edge.tails[0], nil
}
