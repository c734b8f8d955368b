package tlog

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/note"
)

// maxDifferences is how many differences a Report lists.
const maxDifferences = 100

// A Report says what a full check found.
type Report struct {
	Head    *SignedHead
	Entries uint64 // rehashed
	Tiles   uint64 // compared
	// Differences names what does not belong to the signed tree, the first
	// 100; empty: everything does.
	Differences []CorruptError
}

// Check rehashes every entry of a store up to its newest head, compares every
// tile with what the entries give, and the root with the head. It does not
// believe anything that the store holds apart from the head's signature, and
// needs no Log: it works on a store that [Open] refuses. progress, if not nil,
// is told how many entries are done.
//
// An error says that the check could not be done: there is no head, it is not
// signed by v, or ctx ended.
func Check(ctx context.Context, s Store, v note.Verifier, progress func(done, size uint64)) (*Report, error) {
	signed, err := s.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	if signed == nil {
		return nil, fmt.Errorf("check: the store is empty, it holds no tree head")
	}
	head, err := ParseHead(signed, v)
	if err != nil {
		return nil, fmt.Errorf("check: the store's newest head: %w", err)
	}
	return checkTree(ctx, s, head, progress)
}

// Check is the function of that name over the durable tree, while the Log is at
// work.
func (l *Log) Check(ctx context.Context, progress func(done, size uint64)) (*Report, error) {
	return checkTree(ctx, l.store, l.Head(), progress)
}

func checkTree(ctx context.Context, s Reader, head *SignedHead, progress func(done, size uint64)) (*Report, error) {
	r := &Report{Head: head}
	c := &checker{report: r, reader: s, ctx: ctx}
	defer c.close()
	next, stop := iter.Pull2(s.Entries(ctx, 0, head.Size))
	defer stop()
	var e edge
	for ; r.Entries < head.Size; r.Entries++ {
		if r.Entries%TileWidth == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if progress != nil {
				progress(r.Entries, head.Size)
			}
		}
		entry, err, ok := next()
		if !ok || err != nil {
			c.differs(fmt.Sprintf("entry %d", r.Entries), "an entry", found(err))
			return r, ctx.Err()
		}
		e.append(LeafHash(entry), c.tile)
	}
	if progress != nil {
		progress(r.Entries, head.Size)
	}
	c.verdict(e.root(), &e)
	return r, ctx.Err()
}

func found(err error) string {
	if err != nil {
		return err.Error()
	}
	return "none"
}

// A checker compares stored tiles with those that the entries give.
type checker struct {
	report *Report
	reader Reader
	ctx    context.Context
	levels []tilePull
	// suspects are places that differ between entries and tiles; which of the
	// two is wrong is known when the root is.
	suspects []suspect
}

type tilePull struct {
	next func() ([]byte, error, bool)
	stop func()
}

type suspect struct {
	tile   Tile
	hash   int // which of its hashes; only where tile.Level is 0
	stored Hash
	given  Hash
}

func (c *checker) close() {
	for _, p := range c.levels {
		p.stop()
	}
}

func (c *checker) differs(place, want, found string) {
	if len(c.report.Differences) < maxDifferences {
		c.report.Differences = append(c.report.Differences, CorruptError{place, want, found})
	}
}

// tile compares one full tile. They come in order, level by level.
func (c *checker) tile(given FullTile) {
	if int(given.Level) == len(c.levels) {
		next, stop := iter.Pull2(c.reader.Tiles(c.ctx, given.Level, 0, fullTiles(given.Level, c.report.Head.Size)))
		c.levels = append(c.levels, tilePull{next, stop})
	}
	t := Tile{given.Level, given.N, TileWidth}
	stored, err, ok := c.levels[given.Level].next()
	switch {
	case !ok || err != nil:
		c.differs(t.String(), "a tile", found(err))
	case len(stored) != tileBytes:
		c.differs(t.String(), fmt.Sprintf("%d bytes", tileBytes), fmt.Sprintf("%d bytes", len(stored)))
	case !bytes.Equal(stored, given.Data):
		for i := range TileWidth {
			s, g := stored[i*HashSize:(i+1)*HashSize], given.Data[i*HashSize:(i+1)*HashSize]
			if !bytes.Equal(s, g) && len(c.suspects) < maxDifferences {
				c.suspects = append(c.suspects, suspect{t, i, Hash(s), Hash(g)})
			}
		}
	}
	c.report.Tiles++
}

// verdict decides whether entries or tiles are wrong, now that the root is known
// that the entries give.
func (c *checker) verdict(root Hash, e *edge) {
	head := c.report.Head
	if root == head.Root {
		// The entries are what was signed.
		for _, s := range c.suspects {
			c.differs(fmt.Sprintf("%v, hash %d", s.tile, s.hash), s.given.String(), s.stored.String())
		}
		return
	}
	named := false
	for _, s := range c.suspects {
		if s.tile.Level == 0 {
			named = true
			c.differs(fmt.Sprintf("entry %d", s.tile.N*TileWidth+uint64(s.hash)),
				"the leaf hash "+s.stored.String()+", which "+s.tile.String()+" holds", s.given.String())
		}
	}
	if !named && len(c.report.Differences) == 0 {
		open := fullTiles(0, head.Size)
		c.differs(fmt.Sprintf("the open tile 0/%d (entries %d to %d), or the tree head itself", open, open*TileWidth, int64(head.Size)-1),
			fmt.Sprintf("the root %v of size %d", head.Root, head.Size), root.String())
	}
}

func (e CorruptError) String() string { return e.Error() }
