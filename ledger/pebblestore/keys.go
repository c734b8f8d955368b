package pebblestore

import (
	"encoding/binary"
	"fmt"
)

// The first byte of a key. All others belong to index rows.
const (
	keyCell  = 'c'
	keyEntry = 'e'
	keyTile  = 'T'
	keyHead  = 'H'
	keyMeta  = 'M'
	// keyBeyond is beyond every key.
	keyBeyond = 0xff
)

func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyEntry}, index)
}

func tileKey(level uint8, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyTile, level}, n)
}

var (
	headKey = []byte{keyHead}
	// formatKey names what the keys mean, so that a later version can tell.
	formatKey = []byte("Mformat")
	// rebuildKey stands while index rows are being replaced.
	rebuildKey = []byte("Mrebuild")
)

const formatValue = "ledgerd store 1"

// checkRow refuses a row that would lie among the store's own keys.
func checkRow(key []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("index row: expected a key, found an empty one")
	}
	switch key[0] {
	case keyCell, keyEntry, keyTile, keyHead, keyMeta:
		return fmt.Errorf("index row %q: keys that begin with %q are the store's own", key, key[0])
	case keyBeyond:
		return fmt.Errorf("index row %q: keys that begin with 0xff are not used", key)
	}
	return nil
}
