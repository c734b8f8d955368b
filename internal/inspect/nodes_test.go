package inspect

import (
	"context"
	"io/fs"
	"testing"

	foreign "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"ledgerd/ledger/tlog"
)

// tileMap serves tiles from memory.
type tileMap map[string][]byte

func (m tileMap) Read(_ context.Context, path string, _ int64) ([]byte, error) {
	b, ok := m[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

// rootAt is the recursion of RFC 6962, section 2.1.
func rootAt(leaves []tlog.Hash) tlog.Hash {
	switch n := len(leaves); n {
	case 0:
		return tlog.EmptyRoot
	case 1:
		return leaves[0]
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return tlog.NodeHash(rootAt(leaves[:k]), rootAt(leaves[k:]))
	}
}

// serveTiles lays out the tiles of a tree.
func serveTiles(leaves []tlog.Hash) tileMap {
	files := make(tileMap)
	row := leaves
	for level := uint8(0); len(row) > 0; level++ {
		var above []tlog.Hash
		for lo := 0; lo < len(row); lo += tlog.TileWidth {
			part := row[lo:min(lo+tlog.TileWidth, len(row))]
			var b []byte
			for _, h := range part {
				b = append(b, h[:]...)
			}
			files[tlog.Tile{Level: level, N: uint64(lo / tlog.TileWidth), Width: len(part)}.Path()] = b
			if len(part) == tlog.TileWidth {
				above = append(above, rootAt(part))
			}
		}
		row = above
	}
	return files
}

// The nodes that are read from tiles give the roots of RFC 6962 at both sizes, and
// an implementation that is not ours finds the trees consistent.
func TestNodesGiveBothRoots(t *testing.T) {
	leaves := make([]tlog.Hash, 1100)
	for i := range leaves {
		leaves[i] = tlog.LeafHash([]byte{byte(i), byte(i >> 8)})
	}
	for _, n := range []uint64{1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 1099, 1100} {
		files := serveTiles(leaves[:n])
		for _, m := range []uint64{0, 1, 2, 3, 5, 8, 100, 255, 256, 257, 512, 768, 1024, 1099} {
			if m >= n {
				continue
			}
			nodes, err := NodesOf(context.Background(), files, m, n, n)
			if err != nil {
				t.Fatalf("%d to %d: %v", m, n, err)
			}
			atM, atN, err := rootsOf(m, n, nodes)
			if err != nil || atM != rootAt(leaves[:m]) || atN != rootAt(leaves[:n]) {
				t.Errorf("%d to %d: roots %v and %v, %v", m, n, atM, atN, err)
			}
			// From the tiles of a larger tree, too.
			later, err := NodesOf(context.Background(), serveTiles(leaves), m, n, uint64(len(leaves)))
			if err != nil || len(later) != len(nodes) {
				t.Errorf("%d to %d, from a larger tree: %v", m, n, err)
			}
			// Any other node gives other roots; a node too few or too many gives none.
			for i := range nodes {
				nodes[i][3] ^= 1
				if _, other, err := rootsOf(m, n, nodes); err != nil || other == atN {
					t.Errorf("%d to %d: node %d may be anything", m, n, i)
				}
				nodes[i][3] ^= 1
			}
			for _, wrong := range [][]tlog.Hash{nodes[1:], append(nodes[:len(nodes):len(nodes)], tlog.Hash{})} {
				if _, _, err := rootsOf(m, n, wrong); err == nil {
					t.Errorf("%d to %d: %d nodes passed for %d", m, n, len(wrong), len(nodes))
				}
			}
			if m > 0 {
				foreignProof(t, leaves, m, n)
			}
		}
	}
}

// foreignProof has another library check the proof made of the same tree.
func foreignProof(t *testing.T, leaves []tlog.Hash, m, n uint64) {
	t.Helper()
	ids, err := foreign.Consistency(m, n)
	if err != nil {
		t.Fatal(err)
	}
	tiles := newTiles(serveTiles(leaves[:n]), n)
	var hashes [][]byte
	for _, id := range ids.IDs {
		h, err := tiles.full(context.Background(), span{id.Index << id.Level, (id.Index + 1) << id.Level})
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h[:])
	}
	if hashes, err = ids.Rehash(hashes, rfc6962.DefaultHasher.HashChildren); err != nil {
		t.Fatal(err)
	}
	a, b := rootAt(leaves[:m]), rootAt(leaves[:n])
	if err := foreign.VerifyConsistency(rfc6962.DefaultHasher, m, n, hashes, a[:], b[:]); err != nil {
		t.Errorf("%d to %d: %v", m, n, err)
	}
}
