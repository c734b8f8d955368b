package tlog

import (
	"fmt"
	"math/bits"
)

// A Node names a node of the tree: the one with number Index, from the left, at
// a level, where leaves are level 0. It stands for the entries from
// Index<<Level on, 1<<Level of them or, at the right edge, as many as there are
// (such a node is a root of RFC 6962's own making, which a larger tree does not
// have).
type Node struct {
	Level uint8
	Index uint64
}

// span returns the leaves that n covers in a tree of the given size.
func (n Node) span(size uint64) (lo, hi uint64) {
	lo = n.Index << n.Level
	return lo, min(lo+1<<n.Level, size)
}

func (n Node) children() (left, right Node) {
	return Node{n.Level - 1, 2 * n.Index}, Node{n.Level - 1, 2*n.Index + 1}
}

// top returns the root's node: the lowest that covers all leaves.
func top(size uint64) Node {
	return Node{Level: uint8(bits.Len64(size - 1))}
}

// SetNodes returns the nodes that, with the leaves at the given indexes,
// determine the root of the tree of that size: each node once, none that the
// others and the leaves already give, from left to right. The indexes must rise.
//
// Where the leaves are a single one these are the hashes of its inclusion
// proof, in another order; for a contiguous range, at most two for each level.
func SetNodes(size uint64, indexes []uint64) ([]Node, error) {
	if size == 0 || size > 1<<62 {
		return nil, fmt.Errorf("node set: expected a tree of 1 to 2^62 entries, found %d", size)
	}
	for i, x := range indexes {
		if x >= size {
			return nil, fmt.Errorf("node set: index %d is not in a tree of size %d", x, size)
		}
		if i > 0 && x <= indexes[i-1] {
			return nil, fmt.Errorf("node set: index %d follows %d, expected them to rise", x, indexes[i-1])
		}
	}
	var nodes []Node
	setNodes(top(size), size, indexes, func(n Node) { nodes = append(nodes, n) })
	return nodes, nil
}

// setNodes goes down from n and emits the nodes without a leaf of the set.
// indexes are those within n.
func setNodes(n Node, size uint64, indexes []uint64, emit func(Node)) {
	lo, hi := n.span(size)
	switch {
	case lo >= hi: // beyond the right edge
	case len(indexes) == 0:
		emit(lowest(n, size))
	case uint64(len(indexes)) == hi-lo: // every leaf is known
	default:
		left, right := n.children()
		_, mid := left.span(size)
		k := 0
		// Indexes rise, so a binary search would do; sets are mostly runs,
		// for which one comparison at either end decides.
		switch {
		case indexes[0] >= mid:
		case indexes[len(indexes)-1] < mid:
			k = len(indexes)
		default:
			k = search(indexes, mid)
		}
		setNodes(left, size, indexes[:k], emit)
		setNodes(right, size, indexes[k:], emit)
	}
}

// lowest replaces a node at the right edge that has only a left child by that
// child, so that a hash has one name.
func lowest(n Node, size uint64) Node {
	for n.Level > 0 {
		left, right := n.children()
		if lo, _ := right.span(size); lo < size {
			break
		}
		n = left
	}
	return n
}

func search(indexes []uint64, mid uint64) int {
	lo, hi := 0, len(indexes)
	for lo < hi {
		if m := (lo + hi) / 2; indexes[m] < mid {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// A SetHasher recomputes the root of a tree from some of its leaves and the
// nodes that [SetNodes] lists for them. Leaves are added one by one, in order;
// what it holds grows with the number of their runs, not of the leaves.
type SetHasher struct {
	size  uint64
	next  uint64 // lowest index that may be added
	known []hashedNode
}

type hashedNode struct {
	Node
	hash Hash
}

// NewSetHasher returns a SetHasher for a tree of that size, 1 to 2^62.
func NewSetHasher(size uint64) *SetHasher { return &SetHasher{size: size} }

// Add adds the next leaf.
func (s *SetHasher) Add(index uint64, leaf Hash) error {
	if index < s.next {
		return fmt.Errorf("node set: index %d comes where at least %d was expected", index, s.next)
	}
	if index >= s.size {
		return fmt.Errorf("node set: index %d is not in a tree of size %d", index, s.size)
	}
	s.next = index + 1
	k := hashedNode{Node{0, index}, leaf}
	for n := len(s.known); n > 0 && k.Index%2 == 1 && s.known[n-1].Node == (Node{k.Level, k.Index - 1}); n = len(s.known) {
		k = hashedNode{Node{k.Level + 1, k.Index / 2}, NodeHash(s.known[n-1].hash, k.hash)}
		s.known = s.known[:n-1]
	}
	s.known = append(s.known, k)
	return nil
}

// Root returns the root, given the hashes of the nodes that SetNodes lists, in
// its order. More or fewer of them are an error.
func (s *SetHasher) Root(nodes []Hash) (Hash, error) {
	if s.size == 0 || s.size > 1<<62 {
		return Hash{}, fmt.Errorf("node set: expected a tree of 1 to 2^62 entries, found %d", s.size)
	}
	f := setFold{size: s.size, known: s.known, nodes: nodes}
	root, ok := f.hash(top(s.size))
	if !ok {
		return Hash{}, fmt.Errorf("node set: %d nodes are too few", len(nodes))
	}
	if len(f.nodes) > 0 {
		return Hash{}, fmt.Errorf("node set: %d nodes, %d more than the leaves need", len(nodes), len(f.nodes))
	}
	return root, nil
}

type setFold struct {
	size  uint64
	known []hashedNode // not yet used, from the left
	nodes []Hash       // likewise
}

func (f *setFold) hash(n Node) (Hash, bool) {
	n = lowest(n, f.size)
	_, hi := n.span(f.size)
	if len(f.known) > 0 && f.known[0].Node == n {
		h := f.known[0].hash
		f.known = f.known[1:]
		return h, true
	}
	if len(f.known) == 0 || f.known[0].Index<<f.known[0].Level >= hi {
		if len(f.nodes) == 0 {
			return Hash{}, false
		}
		h := f.nodes[0]
		f.nodes = f.nodes[1:]
		return h, true
	}
	left, right := n.children()
	l, ok := f.hash(left)
	if !ok {
		return Hash{}, false
	}
	r, ok := f.hash(right)
	return NodeHash(l, r), ok
}
