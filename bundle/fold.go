package bundle

import (
	"fmt"
	"math/bits"

	"ledgerd/ledger/tlog"
)

// maxSize is the size of the largest tree.
const maxSize = 1 << 62

// A span is the leaves from lo to hi-1, which lie under one node of the RFC
// 6962 tree: a full subtree or, where hi is the tree's size, what is left of one.
type span struct{ lo, hi uint64 }

// full says whether s is a full subtree.
func (s span) full() bool { return bits.OnesCount64(s.hi-s.lo) == 1 }

// A fold goes over a tree from left to right, leaf by leaf or node by node, and
// computes the root of every size at which there is a tree head. It holds no
// more than a stack of full subtrees of falling size.
type fold struct {
	sizes []uint64    // of the tree heads, not falling
	roots []tlog.Hash // of the sizes that were passed
	next  uint64      // index of the leaf to come
	stack []part
}

type part struct {
	span
	hash tlog.Hash
}

// newFold also returns the fold of a bundle's writer, which knows all sizes too.
func newFold(sizes []uint64) *fold {
	f := &fold{sizes: sizes}
	f.pass()
	return f
}

// size is that of the largest tree.
func (f *fold) size() uint64 { return f.sizes[len(f.sizes)-1] }

// gap returns the nodes between the leaf to come and the leaf at index, or the
// end of the tree if index is its size: the fewest, from left to right, but
// that none reaches over the size of a smaller tree head, so that its root can
// be computed from them too.
func (f *fold) gap(index uint64) []span {
	var out []span
	cuts := append(f.sizes[:len(f.sizes):len(f.sizes)], index)
	lo := f.next
	for _, cut := range cuts {
		for end := min(cut, index); lo < end; {
			s := f.widest(lo, end)
			out = append(out, s)
			lo = s.hi
		}
	}
	return out
}

// widest returns the largest node that begins at lo and ends at end or before.
func (f *fold) widest(lo, end uint64) span {
	if end == f.size() {
		// The right edge: a node may be cut off by the end of the tree.
		if lo == 0 {
			return span{0, end}
		}
		return span{lo, min(lo+lo&-lo, end)}
	}
	width := uint64(1) << (bits.Len64(end-lo) - 1)
	if align := lo & -lo; align != 0 {
		width = min(width, align)
	}
	return span{lo, lo + width}
}

// push adds what comes next.
func (f *fold) push(s span, h tlog.Hash) {
	p := part{s, h}
	// What lies before p, from leaf 0 on, is full subtrees of falling size: one
	// as wide as p is its left sibling.
	for n := len(f.stack); n > 0 && p.full() && f.stack[n-1].hi-f.stack[n-1].lo == p.hi-p.lo; n = len(f.stack) {
		left := f.stack[n-1]
		p = part{span{left.lo, p.hi}, tlog.NodeHash(left.hash, p.hash)}
		f.stack = f.stack[:n-1]
	}
	f.stack = append(f.stack, p)
	f.next = s.hi
	f.pass()
}

// pass computes the roots of the sizes that have been reached.
func (f *fold) pass() {
	for len(f.roots) < len(f.sizes) && f.sizes[len(f.roots)] == f.next {
		f.roots = append(f.roots, f.root())
	}
}

// root is RFC 6962's, of the leaves so far: subtrees of falling size, joined
// from the right.
func (f *fold) root() tlog.Hash {
	if len(f.stack) == 0 {
		return tlog.EmptyRoot
	}
	h := f.stack[len(f.stack)-1].hash
	for i := len(f.stack) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.stack[i].hash, h)
	}
	return h
}

// checkSize says whether a tree head may follow.
func checkSizes(sizes []uint64, next uint64) error {
	if len(sizes) == maxHeads {
		return fmt.Errorf("expected at most %d tree heads", maxHeads)
	}
	if len(sizes) > 0 && next < sizes[len(sizes)-1] {
		return fmt.Errorf("expected tree heads to rise, found size %d after %d", next, sizes[len(sizes)-1])
	}
	return nil
}
