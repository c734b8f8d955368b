package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"ledgerd/evidence"
	"ledgerd/ledger"
)

// syncFS counts syncs, takes a while for each, and says of one that it failed.
type syncFS struct {
	vaultOn
	syncs, fail *atomic.Int64
}

var errDisk = errors.New("the disk is gone")

func (s syncFS) sync() error {
	time.Sleep(time.Millisecond)
	if s.syncs.Add(1) == s.fail.Load() {
		return errDisk
	}
	return nil
}

func (s syncFS) SyncAll(string) error { return s.sync() }
func (s syncFS) SyncDir(string) error { return s.sync() }

func (s syncFS) Create(path string) (ledger.VaultFile, error) {
	f, err := s.vaultOn.Create(path)
	return syncFile{f, s}, err
}

type syncFile struct {
	ledger.VaultFile
	fs syncFS
}

func (f syncFile) Sync() error { return f.fs.sync() }

func newSyncFS(whole bool) syncFS {
	fs := syncFS{vaultOn: vaultOn{FS: vfs.NewMem()}, syncs: new(atomic.Int64), fail: new(atomic.Int64)}
	if whole {
		fs.all = fs.FS
	}
	return fs
}

// Puts that arrive while a sync is under way share the next one, and each is
// told what became of its own.
func TestPutsShareSyncs(t *testing.T) {
	fs := newSyncFS(true)
	v, err := ledger.OpenVaultOn(fs, "/payloads", 100)
	if err != nil {
		t.Fatal(err)
	}
	before := fs.syncs.Load()
	errs := make([]error, 100)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			p := payload(fmt.Sprint(i))
			if i%10 == 3 {
				p.Data = make([]byte, 101)
			}
			_, errs[i] = v.PutMany(context.Background(), []evidence.Payload{p})
		})
	}
	wg.Wait()
	for i, err := range errs {
		if i%10 == 3 {
			if !errors.Is(err, ledger.ErrPayloadSize) {
				t.Errorf("payload %d: want ErrPayloadSize, found %v", i, err)
			}
			continue
		}
		p := payload(fmt.Sprint(i))
		if _, read := v.Payload(p.Commitment().Commit); err != nil || read != nil {
			t.Errorf("payload %d: put: %v, read: %v", i, err, read)
		}
	}
	if n := fs.syncs.Load() - before; n >= 2*90 {
		t.Errorf("90 payloads took %d syncs: nobody shared", n)
	}
}

// Whatever failed to reach the disk, nobody is told that it did: neither those
// who shared the sync nor anybody after them.
func TestFailedSyncIsFinal(t *testing.T) {
	for _, whole := range []bool{true, false} {
		for at := int64(1); at <= 4; at++ {
			fs := newSyncFS(whole)
			v, err := ledger.OpenVaultOn(fs, "/payloads", 0)
			if err != nil {
				t.Fatal(err)
			}
			fs.fail.Store(fs.syncs.Load() + at)
			var wg sync.WaitGroup
			errs := make([]error, 40)
			for i := range errs {
				wg.Go(func() {
					late := fs.syncs.Load() >= fs.fail.Load()
					_, errs[i] = v.PutMany(context.Background(), []evidence.Payload{payload(fmt.Sprint(i))})
					if late && errs[i] == nil {
						t.Errorf("payload %d was acknowledged after a failed sync", i)
					}
				})
			}
			wg.Wait()
			if !slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, errDisk) }) {
				t.Errorf("sync %d failed, and nobody was told: %v", at, errs)
			}
			p := payload("later")
			if _, err := v.PutMany(context.Background(), []evidence.Payload{p}); !errors.Is(err, errDisk) {
				t.Errorf("after a failed sync: %v", err)
			}
			fs.fail.Store(0)
			if v, err = ledger.OpenVaultOn(fs, "/payloads", 0); err != nil {
				t.Fatal(err)
			}
			if _, err := v.PutMany(context.Background(), []evidence.Payload{p}); err != nil {
				t.Errorf("opened again: %v", err)
			}
		}
	}
}
