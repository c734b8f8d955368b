package logsource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"ledgerd/ledger/tlog"
)

// A Source reads a log. Its methods may be called from any goroutine.
type Source struct {
	get  func(ctx context.Context, path string, limit int64) ([]byte, error)
	name string
	done func() error
}

// ErrNotThere: the log has no such file. It is also fs.ErrNotExist.
var ErrNotThere = fmt.Errorf("not there: %w", fs.ErrNotExist)

// A full tile of hashes, and the largest full entry tile, in bytes.
const (
	maxTile      = tlog.TileWidth * tlog.HashSize
	maxEntryTile = tlog.TileWidth * (2 + tlog.MaxEntry)
)

// IsURL says whether name is the URL of a log and no directory.
func IsURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// String returns the URL or directory.
func (s *Source) String() string { return s.name }

// Close ends all use of the source.
func (s *Source) Close() error { return s.done() }

// Read returns what the log serves under a path below its prefix: "checkpoint",
// "tile/0/000", "tile/entries/000.p/3". More than limit bytes are an error.
//
// A log may drop a partial tile once it is full, for the full one begins with
// it (tlog-tiles, "Partial Tiles"); then that beginning is returned.
func (s *Source) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, err := s.get(ctx, path, limit)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	t, entries, notTile := tlog.ParseTilePath(path)
	if notTile != nil || t.Width == tlog.TileWidth {
		return nil, err
	}
	full := tlog.Tile{Level: t.Level, N: t.N, Width: tlog.TileWidth}.Path()
	bound := int64(maxTile)
	if entries {
		full, bound = tlog.EntryTilePath(t.N, tlog.TileWidth), maxEntryTile
	}
	whole, again := s.get(ctx, full, bound)
	if again != nil {
		return nil, err
	}
	end := t.Width * tlog.HashSize
	if entries {
		end = 0
		for range t.Width {
			if len(whole) < end+2 {
				break
			}
			end += 2 + int(whole[end])<<8 + int(whole[end+1])
		}
	}
	if len(whole) < end {
		return nil, fmt.Errorf("%s: expected it to begin with %s, found %d bytes", full, path, len(whole))
	}
	return whole[:end], nil
}
