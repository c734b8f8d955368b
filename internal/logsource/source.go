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

// maxEntryTile is the size in bytes of the largest entry tile.
const maxEntryTile = tlog.TileWidth * (2 + tlog.MaxEntry)

// IsURL says whether name is the URL of a log and no directory.
func IsURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// String returns the URL or directory.
func (s *Source) String() string { return s.name }

// Close ends all use of the source.
func (s *Source) Close() error { return s.done() }

// Head returns the newest tree head, a signed note.
func (s *Source) Head(ctx context.Context) ([]byte, error) {
	b, err := s.get(ctx, "checkpoint", tlog.MaxHead)
	if err != nil {
		return nil, fmt.Errorf("tree head: %w", err)
	}
	return b, nil
}

// Tile returns the bytes of a tile of hashes, 32 for each of its width.
func (s *Source) Tile(ctx context.Context, t tlog.Tile) ([]byte, error) {
	want := t.Width * tlog.HashSize
	b, err := s.partial(ctx, t.Path(), tlog.Tile{Level: t.Level, N: t.N, Width: tlog.TileWidth}.Path(), tlog.TileWidth*tlog.HashSize)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	if len(b) < want {
		return nil, fmt.Errorf("%v: expected %d bytes, found %d", t, want, len(b))
	}
	return b[:want], nil
}

// EntryTile returns the first width entries of the n-th entry tile, in the form
// of tlog-tiles.
func (s *Source) EntryTile(ctx context.Context, n uint64, width int) ([]byte, error) {
	b, err := s.partial(ctx, tlog.EntryTilePath(n, width), tlog.EntryTilePath(n, tlog.TileWidth), maxEntryTile)
	if err != nil {
		return nil, fmt.Errorf("entry tile %d: %w", n, err)
	}
	end := 0
	for i := range width {
		if len(b) < end+2 || len(b) < end+2+int(b[end])<<8+int(b[end+1]) {
			return nil, fmt.Errorf("entry tile %d: expected %d entries, found %d", n, width, i)
		}
		end += 2 + int(b[end])<<8 + int(b[end+1])
	}
	return b[:end], nil
}

// partial reads a tile. A log may drop a partial tile once it is full, and then
// the full one begins with it (tlog-tiles, "Partial Tiles").
func (s *Source) partial(ctx context.Context, path, full string, limit int64) ([]byte, error) {
	b, err := s.get(ctx, path, limit)
	if errors.Is(err, fs.ErrNotExist) && path != full {
		if b, again := s.get(ctx, full, limit); again == nil {
			return b, nil
		}
	}
	return b, err
}
