package tlog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	foreign "golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

// oracle is the tree of entry(0), entry(1), … as golang.org/x/mod hashes it.
type oracle struct{ stored []foreign.Hash }

func (o *oracle) ReadHashes(at []int64) ([]foreign.Hash, error) {
	hs := make([]foreign.Hash, len(at))
	for i, x := range at {
		hs[i] = o.stored[x]
	}
	return hs, nil
}

func newOracle(t testing.TB, n int) *oracle {
	o := new(oracle)
	for i := range n {
		hs, err := foreign.StoredHashes(int64(i), entry(i), o)
		if err != nil {
			t.Fatal(err)
		}
		o.stored = append(o.stored, hs...)
	}
	return o
}

func (o *oracle) root(t testing.TB, size uint64) tlog.Hash {
	if size == 0 {
		return tlog.EmptyRoot
	}
	h, err := foreign.TreeHash(int64(size), o)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Hash(h)
}

const many = 70_000 // more than a full tile of level 1

// grown is a log of that many entries, and its oracle; both are only read.
func grown(t testing.TB) (*tlog.Log, *oracle) {
	c := config(t)
	c.BatchEntries = 997
	c.CacheBytes = 1 << 18
	l := mustOpen(t, new(tlogtest.Store), c)
	fill(t, l, 0, many)
	return l, newOracle(t, many)
}

// Heads, proofs and node sets of any size are those of golang.org/x/mod, and
// the verifier of transparency-dev/merkle takes them.
func TestProofsAgainstOthers(t *testing.T) {
	l, o := grown(t)
	if got, want := l.Head().Root, o.root(t, many); got != want {
		t.Fatalf("root %v, expected %v", got, want)
	}
	sizes := rapid.OneOf(rapid.Uint64Range(1, 600), rapid.Uint64Range(1, many), rapid.Map(rapid.Uint64Range(1, 273), func(n uint64) uint64 { return n * 256 }),
		rapid.SampledFrom([]uint64{65_535, 65_536, 65_537, many}))
	rapid.Check(t, func(t *rapid.T) {
		size := sizes.Draw(t, "size")
		index := rapid.Uint64Range(0, size-1).Draw(t, "index")
		root, err := l.Root(ctx, size)
		if err != nil || root != rootOf(o, size) {
			t.Fatalf("root of size %d: %v, %v", size, root, err)
		}
		p, err := l.Inclusion(ctx, index, size)
		if err != nil {
			t.Fatal(err)
		}
		want, err := foreign.ProveRecord(int64(size), int64(index), o)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(p.Hashes) != fmt.Sprint([]foreign.Hash(want)) {
			t.Fatalf("inclusion of %d in %d differs from x/mod's", index, size)
		}
		leaf := tlog.LeafHash(entry(int(index)))
		if err := p.Check(leaf, root); err != nil {
			t.Fatal(err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], bytesOf(p.Hashes), root[:]); err != nil {
			t.Fatal(err)
		}
		refused(t, p, leaf, root)

		from := rapid.Uint64Range(0, size).Draw(t, "from")
		cp, err := l.Consistency(ctx, from, size)
		if err != nil {
			t.Fatal(err)
		}
		if from > 0 {
			want, err := foreign.ProveTree(int64(size), int64(from), o)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(cp.Hashes) != fmt.Sprint([]foreign.Hash(want)) {
				t.Fatalf("consistency of %d with %d differs from x/mod's", from, size)
			}
		}
		old := rootOf(o, from)
		if err := cp.Check(old, root); err != nil {
			t.Fatal(err)
		}
		other := old
		other[3] ^= 1
		if cp.Check(other, root) == nil || from > 0 && cp.Check(old, other) == nil {
			t.Fatal("a consistency proof of another root is taken")
		}
		long := tlog.Consistency{From: from, To: size, Hashes: append(slices.Clone(cp.Hashes), root)}
		if long.Check(old, root) == nil {
			t.Fatal("an overlong consistency proof is taken")
		}
	})
}

func rootOf(o *oracle, size uint64) tlog.Hash {
	if size == 0 {
		return tlog.EmptyRoot
	}
	h, _ := foreign.TreeHash(int64(size), o)
	return tlog.Hash(h)
}

func bytesOf(hs []tlog.Hash) [][]byte {
	out := make([][]byte, len(hs))
	for i := range hs {
		out[i] = hs[i][:]
	}
	return out
}

// refused changes one thing about a proof at a time.
func refused(t *rapid.T, p *tlog.Inclusion, leaf, root tlog.Hash) {
	mutate := func(name string, f func(p *tlog.Inclusion, leaf, root *tlog.Hash)) {
		q := &tlog.Inclusion{Index: p.Index, Size: p.Size, Hashes: slices.Clone(p.Hashes)}
		leaf, root := leaf, root
		f(q, &leaf, &root)
		if q.Check(leaf, root) == nil {
			t.Fatalf("inclusion of %d in %d: %s is taken", p.Index, p.Size, name)
		}
	}
	mutate("another leaf", func(_ *tlog.Inclusion, leaf, _ *tlog.Hash) { leaf[0] ^= 1 })
	mutate("another root", func(_ *tlog.Inclusion, _, root *tlog.Hash) { root[31] ^= 0x80 })
	mutate("an overlong proof", func(p *tlog.Inclusion, _, root *tlog.Hash) { p.Hashes = append(p.Hashes, *root) })
	mutate("index = size", func(p *tlog.Inclusion, _, _ *tlog.Hash) { p.Index = p.Size })
	if len(p.Hashes) > 0 {
		mutate("a short proof", func(p *tlog.Inclusion, _, _ *tlog.Hash) { p.Hashes = p.Hashes[1:] })
		mutate("another hash", func(p *tlog.Inclusion, _, _ *tlog.Hash) { p.Hashes[len(p.Hashes)-1][7] ^= 4 })
		mutate("another index", func(p *tlog.Inclusion, _, _ *tlog.Hash) { p.Index ^= 1 })
	}
}

// Attack row 56: size 0 with a root, index ≥ size, overlong proof.
func TestRow56(t *testing.T) {
	some := tlog.LeafHash([]byte("some"))
	if err := (&tlog.Consistency{From: 0, To: 3}).Check(some, some); err == nil {
		t.Error("a consistency proof from size 0 with a root is taken")
	}
	if err := (&tlog.Consistency{From: 0, To: 3}).Check(tlog.EmptyRoot, some); err != nil {
		t.Error(err)
	}
	if err := (&tlog.Inclusion{Index: 1, Size: 1}).Check(some, some); err == nil {
		t.Error("index = size is taken")
	}
	if err := (&tlog.Inclusion{Index: 0, Size: 0}).Check(some, some); err == nil {
		t.Error("an inclusion in the empty tree is taken")
	}
	if err := (&tlog.Inclusion{Index: 0, Size: 1}).Check(some, some); err != nil {
		t.Error(err)
	}
	if err := (&tlog.Inclusion{Index: 0, Size: 1, Hashes: []tlog.Hash{some}}).Check(some, some); err == nil {
		t.Error("an overlong proof is taken")
	}
}

func TestNodeSets(t *testing.T) {
	l, o := grown(t)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.Uint64Range(1, 40), rapid.Uint64Range(1, many)).Draw(t, "size")
		in := make(map[uint64]bool)
		for range rapid.IntRange(0, 4).Draw(t, "runs") {
			first := rapid.Uint64Range(0, size-1).Draw(t, "first")
			for i := first; i < min(size, first+rapid.Uint64Range(1, 300).Draw(t, "n")); i++ {
				in[i] = true
			}
		}
		var indexes []uint64
		for i := range in {
			indexes = append(indexes, i)
		}
		slices.Sort(indexes)
		nodes, err := tlog.SetNodes(size, indexes)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[tlog.Node]bool)
		for i, n := range nodes {
			if seen[n] {
				t.Fatalf("node %v comes twice", n)
			}
			seen[n] = true
			// Minimal: no node covers a leaf that is known, none lies beside
			// its sibling, which the parent would stand for.
			lo, hi := n.Index<<n.Level, min((n.Index+1)<<n.Level, size)
			if k, found := slices.BinarySearch(indexes, lo); found || k < len(indexes) && indexes[k] < hi {
				t.Fatalf("node %v covers a leaf of the set", n)
			}
			if n.Level > 0 && (2*n.Index+1)<<(n.Level-1) >= size {
				t.Fatalf("node %v has one child only, which has a name of its own", n)
			}
			if i > 0 && n.Index%2 == 1 && nodes[i-1] == (tlog.Node{Level: n.Level, Index: n.Index - 1}) {
				t.Fatalf("node %v and its sibling are both listed", n)
			}
		}
		hashes, err := l.NodeSet(ctx, size, indexes)
		if err != nil || len(hashes) != len(nodes) {
			t.Fatalf("%d hashes for %d nodes, %v", len(hashes), len(nodes), err)
		}
		root := func(hashes []tlog.Hash, change int) (tlog.Hash, error) {
			s := tlog.NewSetHasher(size)
			for i, x := range indexes {
				h := tlog.LeafHash(entry(int(x)))
				if i == change {
					h[0] ^= 1
				}
				if err := s.Add(x, h); err != nil {
					t.Fatal(err)
				}
			}
			return s.Root(hashes)
		}
		if got, err := root(hashes, -1); err != nil || got != rootOf(o, size) {
			t.Fatalf("root %v, %v, expected %v", got, err, rootOf(o, size))
		}
		if len(indexes) > 0 {
			if got, err := root(hashes, len(indexes)/2); err == nil && got == rootOf(o, size) {
				t.Fatal("a changed leaf gives the same root")
			}
		}
		if _, err := root(append(slices.Clone(hashes), tlog.Hash{}), -1); err == nil {
			t.Fatal("one node too many is taken")
		}
		if len(hashes) > 0 {
			if _, err := root(hashes[1:], -1); err == nil {
				t.Fatal("one node too few is taken")
			}
		}
		if len(indexes) == 1 {
			p, err := l.Inclusion(ctx, indexes[0], size)
			if err != nil || len(p.Hashes) != len(hashes) {
				t.Fatalf("%d nodes for one leaf, but its proof has %d hashes, %v", len(hashes), len(p.Hashes), err)
			}
		}
	})
	for _, size := range []uint64{1000, 4097, many, 1_000_000, 1 << 40} {
		for _, first := range []uint64{0, 1, 255, 300, size - 1000} {
			if first+1000 > size {
				continue
			}
			indexes := make([]uint64, 1000)
			for i := range indexes {
				indexes[i] = first + uint64(i)
			}
			nodes, err := tlog.SetNodes(size, indexes)
			if err != nil || size <= 1<<30 && len(nodes) >= 64 || len(nodes) > 2*40 {
				t.Errorf("1,000 records from %d of %d need %d nodes, %v", first, size, len(nodes), err)
			}
		}
	}
	for _, tc := range []struct {
		size    uint64
		indexes []uint64
	}{{0, nil}, {1<<62 + 1, nil}, {5, []uint64{5}}, {5, []uint64{2, 2}}, {5, []uint64{3, 2}}} {
		if _, err := tlog.SetNodes(tc.size, tc.indexes); err == nil {
			t.Errorf("node set of %v in %d is taken", tc.indexes, tc.size)
		}
	}
	s := tlog.NewSetHasher(5)
	if s.Add(3, tlog.Hash{}) != nil || s.Add(3, tlog.Hash{}) == nil || s.Add(2, tlog.Hash{}) == nil || s.Add(5, tlog.Hash{}) == nil {
		t.Error("leaves out of order, or beyond the tree, are taken")
	}
	if _, err := tlog.NewSetHasher(0).Root(nil); err == nil {
		t.Error("a node set of the empty tree is taken")
	}
}

// tiles reads a log as golang.org/x/mod reads one, through paths.
type tiles struct {
	t testing.TB
	l *tlog.Log
}

func (tiles) Height() int                        { return tlog.TileHeight }
func (tiles) SaveTiles([]foreign.Tile, [][]byte) {}
func (r tiles) ReadTiles(ts []foreign.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range ts {
		// x/mod writes tile/8/L/N, tlog-tiles tile/L/N.
		path := "tile/" + strings.TrimPrefix(t.Path(), "tile/8/")
		mine, entries, err := tlog.ParseTilePath(path)
		if err != nil || entries || mine.Path() != path {
			return nil, fmt.Errorf("%s: %v, %v", path, mine, err)
		}
		data, err := r.l.Tile(ctx, mine)
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// x/mod's client reads every size that was ever signed through our tiles, and
// verifies what it reads.
func TestTilesAgainstXMod(t *testing.T) {
	l, o := grown(t)
	for _, size := range []int64{1, 2, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 65_793, many} {
		tree := foreign.Tree{N: size, Hash: foreign.Hash(o.root(t, uint64(size)))}
		r := foreign.TileHashReader(tree, tiles{t, l})
		for _, index := range []int64{0, size / 3, size - 1} {
			p, err := foreign.ProveRecord(size, index, r)
			if err != nil {
				t.Fatal(err)
			}
			if err := foreign.CheckRecord(p, size, tree.Hash, index, foreign.RecordHash(entry(int(index)))); err != nil {
				t.Error(err)
			}
		}
	}
	data, err := l.EntryTile(ctx, 2, 37)
	if err != nil {
		t.Fatal(err)
	}
	es, err := tlog.ParseEntryTile(data, 37)
	if err != nil || string(es[36]) != "entry 548" {
		t.Errorf("entry tile: %d entries, %v", len(es), err)
	}
	for _, bad := range []tlog.Tile{
		{Level: 0, N: 273, Width: 113},
		{Level: 0, N: 274, Width: 1},
		{Level: 0, N: 0, Width: 0},
		{Level: 0, N: 0, Width: 257},
		{Level: 2, N: 0, Width: 2},
		{Level: 3, N: 0, Width: 1},
		{Level: 8, N: 0, Width: 1},
		{Level: 63, N: 0, Width: 1},
		{Level: 0, N: 1 << 60, Width: 1},
	} {
		if _, err := l.Tile(ctx, bad); !errors.Is(err, tlog.ErrBeyond) {
			t.Errorf("%v: %v, expected ErrBeyond", bad, err)
		}
	}
}
