package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// A keyFile holds the keys of the payloads that lie in cells: that of slot i at
// 32·i. It is the only place where they are, and the only file of a vault that is
// written in place: a key is wiped by zeros. Zeros are no key.
//
// Keys are made many at a time, before any of them is used, so that one sync
// serves thousands of payloads. Those beyond the last slot in use belong to
// nothing that is durable: a later process makes them anew.
type keyFile struct {
	fs    VaultFS
	dir   string
	ahead int                                      // keys made at a time
	last  func() (slot uint64, ok bool, err error) // in use; asked once, before the first key is taken

	mu    sync.RWMutex
	file  VaultFile       // nil: not opened yet
	known bool            // next is
	next  uint64          // slot, which no payload has
	made  [][keySize]byte // the keys from next on
	err   error           // of a sync that failed: nothing is taken any more
}

const (
	keysFile  = "keys"
	keySize   = 32
	keysAhead = 4096 // Vault.keysAhead
)

func (k *keyFile) path() string { return filepath.Join(k.dir, keysFile) }

// open opens the file; make: also where there is none. k.mu is held.
func (k *keyFile) open(create bool) error {
	if k.file != nil {
		return nil
	}
	f, err := k.fs.Overwrite(k.path())
	switch {
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		f, err = k.fs.Open(k.path()) // a copy on a medium that cannot be written
	case create:
		if f, err = k.fs.Create(k.path()); err == nil {
			err = k.fs.SyncDir(k.dir)
		}
	}
	if err != nil {
		return fmt.Errorf("the payloads' keys: %w", err)
	}
	k.file = f
	return nil
}

// get returns a slot's key, or ErrNoPayload where it was wiped.
func (k *keyFile) get(slot uint64) (*[keySize]byte, error) {
	if err := k.opened(); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: expected the payloads' keys in %s, found no such file: copy it from where the store was copied", ErrCommitment, k.path())
	} else if err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	key := new([keySize]byte)
	if _, err := k.file.ReadAt(key[:], int64(slot)*keySize); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the payloads' keys: slot %d: %w", slot, err)
	}
	if *key == [keySize]byte{} {
		return nil, ErrNoPayload
	}
	return key, nil
}

func (k *keyFile) opened() error {
	k.mu.RLock()
	open := k.file != nil
	k.mu.RUnlock()
	if open {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open(false)
}

// take returns a slot that nobody has, and its key, which is durable.
func (k *keyFile) take() (slot uint64, key [keySize]byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.made) == 0 {
		if err := k.more(); err != nil {
			return 0, key, err
		}
	}
	slot, key = k.next, k.made[0]
	k.made[0] = [keySize]byte{} // who has it has it
	k.next, k.made = k.next+1, k.made[1:]
	return slot, key, nil
}

// more makes keys. If we crash before they are synced, none was taken.
func (k *keyFile) more() error {
	if k.err != nil {
		return k.err
	}
	if err := k.open(true); err != nil {
		return err
	}
	if !k.known {
		last, ok, err := k.last()
		if err != nil {
			return err
		}
		if k.known = true; ok {
			k.next = last + 1
		}
	}
	b := make([]byte, k.ahead*keySize)
	_, _ = rand.Read(b) // never fails
	if _, err := k.file.WriteAt(b, int64(k.next)*keySize); err != nil {
		return fmt.Errorf("the payloads' keys: %w", err)
	}
	if err := k.file.Sync(); err != nil {
		k.err = fmt.Errorf("the payloads' keys: %w", err)
		return k.err
	}
	k.made = make([][keySize]byte, k.ahead)
	for i := range k.made {
		k.made[i] = [keySize]byte(b[i*keySize:])
	}
	return nil
}

// wipe overwrites a slot's key, and returns once that is durable.
func (k *keyFile) wipe(slot uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.open(false)
	if err == nil {
		_, err = k.file.WriteAt(make([]byte, keySize), int64(slot)*keySize)
	}
	if err == nil {
		err = k.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("the payloads' keys: slot %d: %w", slot, err)
	}
	return nil
}

// copyTo copies the keys of the slots up to but without end.
func (k *keyFile) copyTo(dir string, end uint64) error {
	if end == 0 {
		return nil
	}
	if err := k.opened(); err != nil {
		return err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	to, err := k.fs.Create(filepath.Join(dir, keysFile))
	if err != nil {
		return fmt.Errorf("the payloads' keys: %w", err)
	}
	_, err = io.Copy(to, io.NewSectionReader(k.file, 0, int64(end)*keySize))
	if err := errors.Join(err, to.Sync(), to.Close(), k.fs.SyncDir(dir)); err != nil {
		return fmt.Errorf("the payloads' keys: %w", err)
	}
	return nil
}

func (k *keyFile) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return nil
	}
	err := k.file.Close()
	k.file = nil
	return err
}
