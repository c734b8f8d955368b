package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"ledgerd/ledger/tlog"
)

// exportLog writes a log as files that any web server can serve: the paths are
// those of C2SP tlog-tiles. The tree head comes last, so that a directory that
// has one has all that it covers.
func exportLog(c *cli.Context, t *target) error {
	dir := c.Path("o")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	ctx := c.Context
	note, size, err := t.head(ctx)
	if err != nil {
		return err
	}
	write := func(path string, b []byte) error {
		file := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return os.WriteFile(file, b, 0o644)
	}
	for level := uint8(0); size>>(8*level) > 0; level++ {
		for tile := range tilesOf(level, size>>(8*level)) {
			b, err := t.tile(ctx, tile, false)
			if err == nil {
				err = write(tile.Path(), b)
			}
			if err == nil && level == 0 {
				if b, err = t.tile(ctx, tile, true); err == nil {
					err = write(tlog.EntryTilePath(tile.N, tile.Width), b)
				}
			}
			if err != nil {
				return fmt.Errorf("export: %s: %w", tile, err)
			}
		}
	}
	if err := write("checkpoint", note); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.ErrWriter, "%d entries written to %s\n", size, dir)
	return err
}

// tilesOf yields the tiles of a level with n hashes: full ones, then what is
// left.
func tilesOf(level uint8, n uint64) func(yield func(tlog.Tile) bool) {
	return func(yield func(tlog.Tile) bool) {
		for i := range n / tlog.TileWidth {
			if !yield(tlog.Tile{Level: level, N: i, Width: tlog.TileWidth}) {
				return
			}
		}
		if rest := int(n % tlog.TileWidth); rest > 0 {
			yield(tlog.Tile{Level: level, N: n / tlog.TileWidth, Width: rest})
		}
	}
}

// head returns the newest tree head, and its size.
func (t *target) head(ctx context.Context) ([]byte, uint64, error) {
	if t.remote == nil {
		h := t.local.Head()
		return h.Note, h.Size, nil
	}
	note, err := t.remote.Head(ctx)
	if err != nil {
		return nil, 0, err
	}
	// The daemon's own key: what is written is checked by whoever reads it.
	trust, err := t.remote.Trust(ctx)
	if err != nil {
		return nil, 0, err
	}
	h, err := trust.OpenHead(note)
	if err != nil {
		return nil, 0, err
	}
	return note, h.Size, nil
}

func (t *target) tile(ctx context.Context, tile tlog.Tile, entries bool) ([]byte, error) {
	switch {
	case t.remote != nil && entries:
		return t.remote.Tile(ctx, tlog.EntryTilePath(tile.N, tile.Width))
	case t.remote != nil:
		return t.remote.Tile(ctx, tile.Path())
	case entries:
		return t.local.Log().EntryTile(ctx, tile.N, tile.Width)
	}
	return t.local.Log().Tile(ctx, tile)
}
