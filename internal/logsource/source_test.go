package logsource

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ledgerd/ledger/tlog"
)

// aLog is a static tree: a head, a full and a partial tile, entries.
func aLog(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(path string, b []byte) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("checkpoint", []byte("a head\n"))
	write("tile/0/000", bytes.Repeat([]byte{1}, 256*32))
	write("tile/0/001.p/3", bytes.Repeat([]byte{2}, 3*32))
	var entries []byte
	for i := range 256 {
		entries = tlog.AppendEntry(entries, fmt.Appendf(nil, "entry-%d", i))
	}
	write("tile/entries/000", entries)
	write("tile/entries/001.p/1", tlog.AppendEntry(nil, []byte("last")))
	return dir
}

func check(t *testing.T, s *Source) {
	t.Helper()
	ctx := context.Background()
	if b, err := s.head(ctx); err != nil || string(b) != "a head\n" {
		t.Errorf("head: %q, %v", b, err)
	}
	for _, c := range []struct{ n, width, first int }{{0, 256, 1}, {0, 17, 1}, {1, 3, 2}} {
		b, err := s.Read(ctx, tlog.Tile{N: uint64(c.n), Width: c.width}.Path(), maxTile)
		if err != nil || len(b) != 32*c.width || int(b[0]) != c.first {
			t.Errorf("tile %v: %d bytes, %v", c, len(b), err)
		}
	}
	for _, path := range []string{"tile/0/001.p/4", "tile/1/000", "elsewhere"} {
		if _, err := s.Read(ctx, path, maxTile); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, which is not there: %v", path, err)
		}
	}
	for _, c := range []struct{ n, width int }{{0, 256}, {0, 200}, {1, 1}} {
		b, err := s.Read(ctx, tlog.EntryTilePath(uint64(c.n), c.width), maxEntryTile)
		if err != nil {
			t.Errorf("entry tile %v: %v", c, err)
		}
		if entries, err := tlog.ParseEntryTile(b, c.width); err != nil || len(entries) != c.width {
			t.Errorf("entry tile %v: %v", c, err)
		}
	}
}

func (s *Source) head(ctx context.Context) ([]byte, error) {
	return s.Read(ctx, "checkpoint", tlog.MaxHead)
}

func TestDir(t *testing.T) {
	s, err := Dir(aLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	check(t, s)
}

func TestHTTP(t *testing.T) {
	srv := httptest.NewServer(http.FileServer(http.Dir(aLog(t))))
	defer srv.Close()
	s, err := HTTP(srv.URL+"/", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	check(t, s)
}

// Row 58: nothing outside the directory, nothing that is no file.
func TestRow58DirStaysInside(t *testing.T) {
	dir := aLog(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	head := filepath.Join(dir, "checkpoint")
	for name, put := range map[string]func() error{
		"absolute link":  func() error { return os.Symlink(secret, head) },
		"relative link":  func() error { return os.Symlink("../../../../../../../../"+secret, head) },
		"link to itself": func() error { return os.Symlink("checkpoint", head) },
		"directory":      func() error { return os.Mkdir(head, 0o755) },
		"pipe":           func() error { return syscall.Mkfifo(head, 0o600) },
		"too long":       func() error { return os.WriteFile(head, make([]byte, tlog.MaxHead+1), 0o600) },
	} {
		os.RemoveAll(head)
		if err := put(); err != nil {
			t.Fatal(err)
		}
		s, err := Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := s.head(context.Background()); err == nil {
			t.Errorf("%s: read %q", name, b)
		}
		s.Close()
	}
	if _, err := Dir(secret); err == nil {
		t.Error("a file passed for a directory")
	}
}

func serve(t *testing.T, o Options, h http.HandlerFunc) *Source {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	o.Backoff = time.Millisecond
	s, err := HTTP(srv.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHTTPRetries(t *testing.T) {
	var n atomic.Int32
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2: // cut off in the middle
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("x"))
		case 3:
			panic(http.ErrAbortHandler)
		default:
			w.Write([]byte("head"))
		}
	})
	if b, err := s.head(context.Background()); err != nil || string(b) != "head" || n.Load() != 4 {
		t.Errorf("%q, %v after %d requests", b, err, n.Load())
	}
	n.Store(0)
	s = serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) { n.Add(1); w.WriteHeader(500) })
	if _, err := s.head(context.Background()); err == nil || n.Load() != attempts {
		t.Errorf("%v after %d requests, expected %d", err, n.Load(), attempts)
	}
	n.Store(0)
	s = serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) { n.Add(1); w.WriteHeader(403) })
	if _, err := s.head(context.Background()); err == nil || !strings.Contains(err.Error(), "token") || n.Load() != 1 {
		t.Errorf("%v after %d requests, expected 1", err, n.Load())
	}
}

func TestHTTPToken(t *testing.T) {
	s := serve(t, Options{Token: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.Method != http.MethodGet {
			w.WriteHeader(401)
		}
	})
	if _, err := s.head(context.Background()); err != nil {
		t.Error(err)
	}
	// It goes to nobody else, and over no wire in the clear.
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was asked, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	s = serve(t, Options{Token: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	if _, err := s.head(context.Background()); err == nil {
		t.Error("a redirect to another host was followed")
	}
	if _, err := HTTP("http://ledger.example", Options{Token: "secret"}); err == nil {
		t.Error("a token would go over the wire in the clear")
	}
	for _, bad := range []string{"ftp://x", "http://", "http://u:p@x", "http://x?y", "http://x#y", "::"} {
		if _, err := HTTP(bad, Options{}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// Row 59: what is too long is cut off, also when it arrives compressed.
func TestRow59HTTPBounds(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 32 {
		z.Write(zeros)
	}
	z.Close()
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	})
	if b, err := s.head(context.Background()); err == nil {
		t.Errorf("read %d bytes", len(b))
	}
	s = serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		for range 64 {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	})
	if b, err := s.Read(context.Background(), "tile/0/000", maxTile); err == nil {
		t.Errorf("read %d bytes", len(b))
	}
	// A length that is not what follows is no invitation to allocate it.
	if b, err := s.Read(context.Background(), "tile/entries/000", maxEntryTile); err == nil {
		t.Errorf("read %d bytes", len(b))
	}
}
