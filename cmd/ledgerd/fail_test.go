package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/urfave/cli/v2"

	"ledgerd/client"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/datadir"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

// TestFailedSync: writers hear "unknown", the process is to end with 70, and the
// store is not closed. After a restart, what was acknowledged is there.
func TestFailedSync(t *testing.T) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if broken.Load() && sync && strings.HasSuffix(op.Path, ".log") {
			return errors.New("input/output error")
		}
		return nil
	}))
	ctx := context.Background()
	d := daemontest.InitWith(t, pebblestore.Options{MinFree: 1 << 20})
	line := d.Line()
	if err := d.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	fatal := make(chan error, 1)
	l, err := d.Dir.Ledger(ctx, datadir.Options{
		Logger: quiet(), Store: pebblestore.Options{FS: fs, MinFree: 1 << 20, Fatal: func(m string) { t.Errorf("pebble ended the process: %s", m); select {} }},
		OnFatal: func(err error) { fatal <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Ledger = l
	d.Serve(nil)
	c := d.Client(d.Token)
	acked, err := c.Append(ctx, d.Records(line, 5)...)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- serveUntil(ctx, l, fatal, func(ctx context.Context) error { <-ctx.Done(); d.Stop(); return nil })
	}()

	broken.Store(true)
	// Ten writers, each with a run of its own: none is told anything but that
	// nobody knows, or that nothing was appended.
	var all sync.WaitGroup
	unknown := atomic.Int64{}
	for range 10 {
		e := d.Records(d.Line(), 1)
		all.Go(func() {
			_, err := c.Append(ctx, e...)
			var p *client.Problem
			switch {
			case errors.Is(err, tlog.ErrUnknown) && errors.As(err, &p) && p.Status == 500 && p.Reason == api.ReasonUnknown:
				unknown.Add(1)
			case errors.Is(err, tlog.ErrNotAppended):
			default:
				t.Errorf("want unknown or not appended, found %v", err)
			}
		})
	}
	all.Wait()
	if unknown.Load() == 0 {
		t.Error("nobody heard that it is unknown")
	}
	select {
	case err := <-ended:
		var code cli.ExitCoder
		if !errors.As(err, &code) || code.ExitCode() != exitInternal {
			t.Errorf("want exit code %d, found %v", exitInternal, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the daemon did not end")
	}
	// What is on disk now is what a new process finds, apart from the lock.
	copied := crashCopy(t, d.Dir)
	again, err := copied.Ledger(ctx, datadir.Options{Logger: quiet(), HeadFile: d.Dir.Path + ".head"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, p := range acked {
		if got, err := again.Get(ctx, p.ID); err != nil || got.Index != p.Index {
			t.Errorf("record %s was acknowledged at %d: %v", p.ID, p.Index, err)
		}
	}
}

// TestDiskFull: appends get 507, reads go on.
func TestDiskFull(t *testing.T) {
	ctx := context.Background()
	d := daemontest.InitWith(t, pebblestore.Options{MinFree: 1 << 20})
	tail := d.Ledger.Registry().Tail()
	if err := d.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := d.Dir.Ledger(ctx, datadir.Options{Logger: quiet(), Store: pebblestore.Options{MinFree: 1 << 60}})
	if err != nil {
		t.Fatal(err)
	}
	d.Ledger = l
	d.Serve(nil)
	c := d.Client(d.Token)
	entries := d.Records(d.Line(), 2)
	for _, some := range [][][]byte{entries[:1], entries} {
		var p *client.Problem
		if _, err := c.Append(ctx, some...); !errors.Is(err, tlog.ErrDiskFull) || !errors.As(err, &p) || p.Status != 507 {
			t.Errorf("%d records: want 507, found %v", len(some), err)
		}
	}
	if _, err := c.Get(ctx, tail); err != nil {
		t.Errorf("reads go on: %v", err)
	}
	if _, err := c.Receipt(ctx, tail); err != nil {
		t.Errorf("reads go on: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// crashCopy copies a directory as it lies on the disk, under another name.
func crashCopy(t *testing.T, d *datadir.Dir) *datadir.Dir {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(d.Path)); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"log", "root", "runtime"} { // CopyFS widens modes
		if err := os.Chmod(filepath.Join(to, "keys", k+".jwk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := datadir.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
