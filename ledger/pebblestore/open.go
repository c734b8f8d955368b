package pebblestore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options says how a store is opened. The zero value is right for a daemon.
type Options struct {
	// FS is where files are, the operating system's if nil. Tests crash it.
	FS vfs.FS
	// Logger takes what Pebble has to say; slog.Default if nil.
	Logger *slog.Logger
	// Fatal ends the process once Pebble cannot go on: its state in memory is
	// not to be trusted any more. It must not return. nil: os.Exit(70).
	Fatal func(message string)
	// MinFree is the free space, in bytes, below which batches are refused:
	// 512 MiB if 0. It has to hold the memtables, their flush, and the output
	// of one compaction.
	MinFree uint64
	// MemTableBytes is the size of a memtable, 32 MiB if 0.
	MemTableBytes uint64
	// CacheBytes is the size of Pebble's block cache, beside the memtables, 48
	// MiB if 0: what holds the Bloom filters and index blocks of a few million
	// records, which are asked whether a key is new.
	CacheBytes int64
	// MustExist refuses to make a new store.
	MustExist bool
	// ReadOnly opens the store without changing a file.
	ReadOnly bool
}

const (
	defaultMinFree  = 512 << 20
	defaultMemTable = 32 << 20
	defaultCache    = 48 << 20
	maxMemTables    = 3
	exitInternal    = 70 // EX_SOFTWARE
)

// ErrLocked: another process, or another Store of this one, holds the directory.
var ErrLocked = errors.New("another process has the store open")

// Open opens the store in a directory, and makes it where there is none.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MinFree == 0 {
		o.MinFree = defaultMinFree
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTable
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	if !o.ReadOnly && !o.MustExist {
		if err := makeDir(o.FS, dir); err != nil {
			return nil, fmt.Errorf("open store: make its directory: %w", err)
		}
	}
	if _, err := o.FS.Stat(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	// Pebble would take the lock as well, but its error does not say that it
	// is the lock which somebody else has.
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w: %w", dir, ErrLocked, err)
	}
	po := o.pebble()
	po.Lock = lock
	db, err := pebble.Open(dir, po)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	s := &Store{db: db, lock: lock, fs: o.FS, dir: dir, minFree: o.MinFree, readOnly: o.ReadOnly}
	s.cellBytes.Store(roomEvery)
	if err := s.checkFormat(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	return s, nil
}

// compression is the fastest where tables are short-lived. Where they stay it is
// zstd, for what zstd makes smaller: not for keys that are hashes.
var compression = func() pebble.DBCompressionSettings {
	s := pebble.UniformDBCompressionSettings(block.FastestCompression)
	s.Name = "ledgerd"
	s.Levels[len(s.Levels)-1] = block.BalancedCompression
	return s
}()

func (o *Options) pebble() *pebble.Options {
	po := &pebble.Options{
		FS: inOrder{o.FS},
		// The default cannot tell a torn tail of the write-ahead log from its
		// end.
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      logger{o.Logger, o.Fatal},
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: maxMemTables,
		// Pebble takes the memory of its memtables out of the block cache.
		CacheSize:                  o.CacheBytes + maxMemTables*int64(o.MemTableBytes),
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
		// Entries and tiles come in the order of their keys, hashes and uses at
		// random. Small tables keep the two apart, so that compactions of the
		// latter leave the former alone; and fewer, larger compactions rewrite
		// less. A lookup pays for both, but appends seldom need one.
		L0CompactionThreshold: 8,
		FlushSplitBytes:       1 << 20,
		ErrorIfNotExists:      o.MustExist || o.ReadOnly,
		ReadOnly:              o.ReadOnly,
	}
	// Pebble would end the process over a corrupt block. Whoever reads it gets
	// an error, which is enough: the others can be read, and a full check can
	// name what is lost. Background errors are not lost either.
	po.EventListener = &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			o.Logger.Error("the store is corrupt: run a full check", "file", info.Path, "error", info.Details)
		},
		BackgroundError: func(err error) { o.Logger.Error("the store's background work failed", "error", err) },
	}
	po.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return compression })
	for i := range po.Levels {
		// Most lookups of a hash or a uniqueness key are for one that is not
		// there: ten bits a key keep these off the disk.
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].BlockSize = 8 << 10
	}
	return po
}

// logger hands Pebble's words to slog.
type logger struct {
	log   *slog.Logger
	fatal func(string)
}

func (l logger) Infof(format string, args ...any) {
	l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("pebble", "message", fmt.Sprintf(format, args...))
}

// Fatalf ends the process: without a flush and without a close, either of which
// could make durable what nobody may rely on.
func (l logger) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	l.log.Error("the store cannot go on, ending the process", "message", message)
	if l.fatal != nil {
		l.fatal(message)
		panic("pebblestore: Options.Fatal returned: " + message)
	}
	os.Exit(exitInternal)
}

// OpenMemory opens a new store in memory, for tests of what stands on it: it is
// gone with the process.
func OpenMemory() (*Store, error) {
	return Open("store", Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler), MinFree: 1, MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
}
