package tlog

import (
	"context"
	"fmt"
	"iter"

	"github.com/transparency-dev/merkle/proof"
)

// Entry returns the entry at an index of the durable tree.
func (l *Log) Entry(ctx context.Context, index uint64) ([]byte, error) {
	for e, err := range l.Entries(ctx, index, index+1) {
		return e, err
	}
	return nil, fmt.Errorf("entry %d: %w", index, ErrBeyond)
}

// Entries yields the entries from first to end-1, each compared with its hash
// in the tree before it is handed out. Where end is beyond the durable head,
// the last thing it yields is an error that is ErrBeyond, after nothing else.
func (l *Log) Entries(ctx context.Context, first, end uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		v := l.view.Load()
		if end > v.head.Size || first > end {
			yield(nil, fmt.Errorf("entries %d to %d: %w, size %d", first, end, ErrBeyond, v.head.Size))
			return
		}
		if first == end {
			return
		}
		var leaves []Hash
		at := first
		for entry, err := range l.store.Entries(ctx, first, end) {
			if err != nil {
				yield(nil, fmt.Errorf("read entry %d: %w", at, err))
				return
			}
			if leaves == nil || at%TileWidth == 0 {
				if leaves, err = l.leaves(ctx, v, at/TileWidth); err != nil {
					yield(nil, err)
					return
				}
			}
			if h, want := LeafHash(entry), leaves[at%TileWidth]; h != want {
				yield(nil, &CorruptError{fmt.Sprintf("entry %d", at), "the leaf hash " + want.String(), h.String()})
				return
			}
			if at++; !yield(entry, nil) {
				return
			}
		}
		if at != end {
			yield(nil, &CorruptError{fmt.Sprintf("entry %d", at), "an entry", "none"})
		}
	}
}

// EntryTile returns the n-th entry tile with its first width entries, in the
// form of tlog-tiles.
func (l *Log) EntryTile(ctx context.Context, n uint64, width int) ([]byte, error) {
	if width < 1 || width > tileWidthAt(0, n, l.Head().Size) {
		return nil, fmt.Errorf("entry tile %d, %d wide: %w", n, width, ErrBeyond)
	}
	var data []byte
	for e, err := range l.Entries(ctx, n*TileWidth, n*TileWidth+uint64(width)) {
		if err != nil {
			return nil, err
		}
		data = AppendEntry(data, e)
	}
	return data, nil
}

// Tile returns the bytes of a tile. A partial one is the beginning of what
// there is now, so that every tree that was ever signed can be read.
func (l *Log) Tile(ctx context.Context, t Tile) ([]byte, error) {
	v := l.view.Load()
	if t.Width < 1 || t.Width > tileWidthAt(t.Level, t.N, v.head.Size) {
		return nil, fmt.Errorf("%v: %w", t, ErrBeyond)
	}
	if t.N < fullTiles(t.Level, v.head.Size) {
		nodes, err := l.tile(ctx, v, tileID{t.Level, t.N})
		if err != nil {
			return nil, err
		}
		return bytesOf(nodes[:t.Width]), nil
	}
	return bytesOf(v.edge.tails[t.Level][:t.Width]), nil
}

// Root returns the root of the tree of that size, at most the durable one.
func (l *Log) Root(ctx context.Context, size uint64) (Hash, error) {
	return l.rootAt(ctx, l.view.Load(), size)
}

func (l *Log) rootAt(ctx context.Context, v *view, size uint64) (Hash, error) {
	if size > v.head.Size {
		return Hash{}, fmt.Errorf("size %d: %w, size %d", size, ErrBeyond, v.head.Size)
	}
	if size == v.head.Size {
		return v.head.Root, nil
	}
	return l.rangeRoot(ctx, v, 0, size)
}

// Inclusion proves the entry at index in the tree of the given size, at most
// the durable one.
func (l *Log) Inclusion(ctx context.Context, index, size uint64) (*Inclusion, error) {
	v := l.view.Load()
	if index >= size || size > v.head.Size {
		return nil, fmt.Errorf("inclusion of index %d in size %d: %w, size %d", index, size, ErrBeyond, v.head.Size)
	}
	nodes, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, err
	}
	hs, err := l.path(ctx, v, nodes)
	return &Inclusion{Index: index, Size: size, Hashes: hs}, err
}

// Consistency proves that the tree of size to extends that of size from; to is
// at most the durable size.
func (l *Log) Consistency(ctx context.Context, from, to uint64) (*Consistency, error) {
	v := l.view.Load()
	if from > to || to > v.head.Size {
		return nil, fmt.Errorf("consistency of size %d with %d: %w, size %d", from, to, ErrBeyond, v.head.Size)
	}
	nodes, err := proof.Consistency(from, to)
	if err != nil {
		return nil, err
	}
	hs, err := l.path(ctx, v, nodes)
	return &Consistency{From: from, To: to, Hashes: hs}, err
}

func (l *Log) path(ctx context.Context, v *view, nodes proof.Nodes) ([]Hash, error) {
	hs := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		h, err := l.node(ctx, v, uint8(id.Level), id.Index)
		if err != nil {
			return nil, err
		}
		hs[i] = h[:]
	}
	hs, err := nodes.Rehash(hs, func(left, right []byte) []byte {
		h := NodeHash(Hash(left), Hash(right))
		return h[:]
	})
	if err != nil {
		return nil, err
	}
	out := make([]Hash, len(hs))
	for i := range hs {
		out[i] = Hash(hs[i])
	}
	return out, nil
}

// NodeSet returns the hashes of the nodes that [SetNodes] lists for these
// indexes, in its order.
func (l *Log) NodeSet(ctx context.Context, size uint64, indexes []uint64) ([]Hash, error) {
	v := l.view.Load()
	if size > v.head.Size {
		return nil, fmt.Errorf("node set in size %d: %w, size %d", size, ErrBeyond, v.head.Size)
	}
	nodes, err := SetNodes(size, indexes)
	if err != nil {
		return nil, err
	}
	hs := make([]Hash, len(nodes))
	for i, n := range nodes {
		lo, hi := n.span(size)
		if hs[i], err = l.rangeRoot(ctx, v, lo, hi); err != nil {
			return nil, err
		}
	}
	return hs, nil
}
