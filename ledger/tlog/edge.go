package tlog

// An edge is the right edge of a growing tree: all that is needed to append to
// it, to know its root, and to read what is in no full tile yet.
//
// Appending never changes a hash that a copy made by clone can see.
type edge struct {
	size uint64
	// tails[l] holds the hashes at tree level 8×l that are in no full tile.
	// Its array has room for a full tile, and is left behind when it fills.
	tails [][]Hash
	// peaks are the roots of the full subtrees that make up the tree, from
	// left to right: one for each bit that is set in size.
	peaks []Hash
}

// append adds a leaf, and hands over every tile that it fills.
func (e *edge) append(leaf Hash, full func(FullTile)) {
	e.push(0, leaf, full)
	h, level := leaf, uint(0)
	for size := e.size; size&1 == 1; size >>= 1 {
		h = NodeHash(e.peaks[len(e.peaks)-1], h)
		e.peaks = e.peaks[:len(e.peaks)-1]
		level++
		if level%TileHeight == 0 {
			e.push(level/TileHeight, h, full)
		}
	}
	e.peaks = append(e.peaks, h)
	e.size++
}

func (e *edge) push(level uint, h Hash, full func(FullTile)) {
	if level == uint(len(e.tails)) {
		e.tails = append(e.tails, make([]Hash, 0, TileWidth))
	}
	tail := append(e.tails[level], h)
	if len(tail) == TileWidth {
		if full != nil {
			// e.size does not count the leaf yet that fills this tile.
			n := e.size >> (TileHeight * (level + 1))
			full(FullTile{Level: uint8(level), N: n, Data: bytesOf(tail)})
		}
		tail = make([]Hash, 0, TileWidth)
	}
	e.tails[level] = tail
}

// root returns the root of the tree.
func (e *edge) root() Hash { return foldPeaks(e.peaks) }

// foldPeaks hashes the roots of full subtrees, from left to right, to the root
// of the tree they make up.
func foldPeaks(peaks []Hash) Hash {
	if len(peaks) == 0 {
		return EmptyRoot
	}
	root := peaks[len(peaks)-1]
	for i := len(peaks) - 2; i >= 0; i-- {
		root = NodeHash(peaks[i], root)
	}
	return root
}

// clone returns a copy that appending to e leaves as it is, for reading.
// Appending to it would write into e.
func (e *edge) clone() *edge {
	return &edge{
		size:  e.size,
		tails: append([][]Hash(nil), e.tails...),
		peaks: append([]Hash(nil), e.peaks...),
	}
}

// with returns the size and root of the tree with one more leaf.
func (e *edge) with(leaf Hash) (uint64, Hash) {
	peaks, h := e.peaks, leaf
	for size := e.size; size&1 == 1; size >>= 1 {
		h = NodeHash(peaks[len(peaks)-1], h)
		peaks = peaks[:len(peaks)-1]
	}
	for i := len(peaks) - 1; i >= 0; i-- {
		h = NodeHash(peaks[i], h)
	}
	return e.size + 1, h
}

// subtreeRoot returns the root of a full subtree of len(hs) hashes, a power of
// two of them.
func subtreeRoot(hs []Hash) Hash {
	switch len(hs) {
	case 1:
		return hs[0]
	case 2:
		return NodeHash(hs[0], hs[1])
	}
	mid := len(hs) / 2
	return NodeHash(subtreeRoot(hs[:mid]), subtreeRoot(hs[mid:]))
}
