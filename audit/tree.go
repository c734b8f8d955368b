package audit

import (
	"ledgerd/ledger/tlog"
)

// tree computes the root of a growing tree (RFC 6962) and the rows of its tiles,
// from the leaves alone. It holds one hash for each level, and the open tiles.
type tree struct {
	size  uint64
	peaks []peak
	rows  [][]tlog.Hash // open tile of each tile level
	// full is called with each tile that fills.
	full func(t tlog.Tile, hashes []tlog.Hash) error
}

type peak struct {
	level uint8
	hash  tlog.Hash
}

func (t *tree) append(leaf tlog.Hash) error {
	p := peak{0, leaf}
	if err := t.row(p, t.size); err != nil {
		return err
	}
	t.size++
	for n := len(t.peaks); n > 0 && t.peaks[n-1].level == p.level; n = len(t.peaks) {
		p = peak{p.level + 1, tlog.NodeHash(t.peaks[n-1].hash, p.hash)}
		t.peaks = t.peaks[:n-1]
		if p.level%tlog.TileHeight == 0 {
			if err := t.row(p, t.size>>p.level-1); err != nil {
				return err
			}
		}
	}
	t.peaks = append(t.peaks, p)
	return nil
}

// row puts a node whose level is that of a tile row into its tile.
func (t *tree) row(p peak, index uint64) error {
	l := int(p.level) / tlog.TileHeight
	if l == len(t.rows) {
		t.rows = append(t.rows, nil)
	}
	t.rows[l] = append(t.rows[l], p.hash)
	if len(t.rows[l]) < tlog.TileWidth {
		return nil
	}
	tile := tlog.Tile{Level: uint8(l), N: index / tlog.TileWidth, Width: tlog.TileWidth}
	err := t.full(tile, t.rows[l])
	t.rows[l] = t.rows[l][:0]
	return err
}

// partial calls full with each tile that is not.
func (t *tree) partial() error {
	for l := range t.rows {
		if n := len(t.rows[l]); n > 0 {
			tile := tlog.Tile{Level: uint8(l), N: t.size >> (tlog.TileHeight * l) / tlog.TileWidth, Width: n}
			if err := t.full(tile, t.rows[l]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tree) root() tlog.Hash {
	if len(t.peaks) == 0 {
		return tlog.EmptyRoot
	}
	h := t.peaks[len(t.peaks)-1].hash
	for i := len(t.peaks) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.peaks[i].hash, h)
	}
	return h
}
