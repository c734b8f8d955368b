// Package pebblestore keeps a log on one machine, in Pebble. It is the only
// package that imports Pebble.
//
// # Keys
//
// One byte of prefix, then big-endian integers:
//
//	e  index            the entry, exactly
//	T  level, number    a full tile, 8,192 bytes
//	H                   the newest signed tree head
//	M  name             facts about the store itself
//
// Every other first byte belongs to index rows, which mean nothing here. An
// entry is written once, a tile once, when it fills; partial tiles are not
// stored at all.
//
// # Commits
//
// A batch is one Pebble batch: Begin applies it and asks for the sync of the
// write-ahead log, Wait waits for that. If the process or the machine stops in
// between, the batch is there after recovery, whole, or it is not; and with
// [pebble.FormatNewest] recovery can tell the torn end of a log from a corrupt
// middle, which it refuses.
//
// A failed sync is final. Pebble goes on accepting writes after one, so the
// store itself refuses to begin anything more.
//
// What recovery cannot tell from a torn end is damage to the very last synced
// write of a process that was killed. The log would then end a commit earlier;
// the head kept outside the store shows it ([HeadFile]). Close leaves nothing in
// the write-ahead log.
//
// # A full disk
//
// To Pebble a write-ahead log that cannot be written is fatal. So the store
// looks at the free space before a batch is admitted, and answers
// tlog.ErrDiskFull once less than [Options.MinFree] is left: enough for
// the memtables to be flushed and for a compaction to finish. Reads go on, and
// appends do again as soon as there is room. Somebody else who fills the disk
// in the very moment of a commit ends the process, and costs nothing that was
// acknowledged.
//
// # Size
//
// Entries are base64url, which general compression takes to about two thirds;
// see Options in open.go for what was measured. Memory is bounded by
// the memtables (32 MiB each), a small block cache and one compaction at a
// time.
package pebblestore
