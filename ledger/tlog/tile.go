package tlog

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/transparency-dev/tessera/api/layout"
)

const (
	// TileHeight is the number of tree levels in a tile (tlog-tiles fixes it).
	TileHeight = layout.TileHeight
	// TileWidth is the number of hashes in a full tile, and of entries in a
	// full entry tile.
	TileWidth = layout.TileWidth
	// tileBytes is the size of a full tile.
	tileBytes = TileWidth * HashSize
)

// A Tile names a tile of the tree, as https://c2sp.org/tlog-tiles has it: the
// Width hashes at tree level 8×Level that start at index 256×N, each the root
// of a full subtree of 2^(8×Level) entries. As bytes it is those hashes, one
// after the other.
type Tile struct {
	Level uint8  // 0 to 63; only 0 to 6 can be full in a tree of 2^63 entries
	N     uint64 // number of the tile in its level
	Width int    // 1 to 256; 256 is a full tile
}

// Path returns the tile's path below the log's prefix, without a leading
// slash: "tile/0/x001/x234/067" or, where it is partial, "tile/1/003.p/17".
func (t Tile) Path() string {
	return layout.TilePath(uint64(t.Level), t.N, partial(t.Width))
}

func (t Tile) String() string {
	if t.Width == TileWidth {
		return fmt.Sprintf("tile %d/%d", t.Level, t.N)
	}
	return fmt.Sprintf("tile %d/%d (%d wide)", t.Level, t.N, t.Width)
}

// EntryTilePath returns the path of the n-th entry tile with width entries:
// "tile/entries/x001/x234/067" or "tile/entries/000.p/3". tlog-tiles calls it
// an entry bundle; a bundle is something else here.
func EntryTilePath(n uint64, width int) string { return layout.EntriesPath(n, partial(width)) }

func partial(width int) uint8 {
	if width == TileWidth {
		return 0
	}
	return uint8(width)
}

// ParseTilePath parses what [Tile.Path] or [EntryTilePath] wrote, and nothing
// else. For an entry tile it returns entries = true, and the level 0.
func ParseTilePath(path string) (t Tile, entries bool, err error) {
	bad := func() (Tile, bool, error) {
		return Tile{}, false, fmt.Errorf("%q is not the path of a tile: expected tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]", clip(path))
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return bad()
	}
	level, index, ok := strings.Cut(rest, "/")
	if !ok {
		return bad()
	}
	var l uint64
	entries = level == "entries"
	if !entries {
		if l, err = layout.ParseTileLevel(level); err != nil {
			return bad()
		}
	}
	n, p, err := layout.ParseTileIndexPartial(index)
	if err != nil {
		return bad()
	}
	t = Tile{Level: uint8(l), N: n, Width: int(p)}
	if p == 0 {
		t.Width = TileWidth
	}
	// One tile has one path: what another spelling would reach is refused.
	again := t.Path()
	if entries {
		again = EntryTilePath(t.N, t.Width)
	}
	if again != path {
		return bad()
	}
	return t, entries, nil
}

// tileWidthAt returns how many hashes tile n of a level has in a tree of the
// given size; 0: there is no such tile.
func tileWidthAt(level uint8, n, size uint64) int {
	if 8*uint(level) > 63 {
		return 0
	}
	nodes := size >> (8 * uint(level))
	if n >= nodes/TileWidth+1 {
		return 0
	}
	return int(min(nodes-n*TileWidth, TileWidth))
}

// fullTiles returns how many full tiles a level has in a tree of that size.
func fullTiles(level uint8, size uint64) uint64 {
	if s := 8 * (uint(level) + 1); s < 64 {
		return size >> s
	}
	return 0
}

// AppendEntry appends an entry to an entry tile: its length as a big-endian
// uint16, then its bytes (tlog-tiles, "Log Entries").
func AppendEntry(tile, entry []byte) []byte {
	tile = binary.BigEndian.AppendUint16(tile, uint16(len(entry)))
	return append(tile, entry...)
}

// ParseEntryTile splits an entry tile of which width entries are expected. The
// entries alias tile.
func ParseEntryTile(tile []byte, width int) ([][]byte, error) {
	entries := make([][]byte, 0, min(width, TileWidth))
	for rest := tile; len(rest) > 0; {
		if len(rest) < 2 {
			return nil, fmt.Errorf("entry tile: length of entry %d is cut off after %d of %d bytes", len(entries), len(tile), len(tile))
		}
		n := int(binary.BigEndian.Uint16(rest))
		rest = rest[2:]
		if n > len(rest) {
			return nil, fmt.Errorf("entry tile: entry %d is %d bytes long, but only %d follow", len(entries), n, len(rest))
		}
		if len(entries) == width {
			return nil, fmt.Errorf("entry tile: expected %d entries, found more", width)
		}
		entries = append(entries, rest[:n:n])
		rest = rest[n:]
	}
	if len(entries) != width {
		return nil, fmt.Errorf("entry tile: expected %d entries, found %d", width, len(entries))
	}
	return entries, nil
}
