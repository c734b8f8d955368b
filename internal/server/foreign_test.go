package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	foreign "golang.org/x/mod/sumdb/tlog"

	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/raced"
	"ledgerd/internal/server"
)

// The tests of this file read a running daemon with code that is not ours.

// served is a daemon with a public log of n records and a few more.
func served(t *testing.T, n int) *daemontest.Daemon {
	t.Helper()
	d := daemontest.New(t, func(c *server.Config) { c.PublicLog = true })
	line := d.Line()
	for n > 0 {
		k := min(n, 400)
		if _, err := d.Ledger.Append(context.Background(), d.Records(line, k)...); err != nil {
			t.Fatal(err)
		}
		n -= k
	}
	return d
}

// tiles is what golang.org/x/mod/sumdb/tlog reads tiles with. Its paths name
// the tile height, 8, which tlog-tiles leaves out.
type tiles struct {
	t *testing.T
	d *daemontest.Daemon
}

func (tiles) Height() int { return 8 }

func (r tiles) ReadTiles(all []foreign.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range all {
		path := strings.Replace(tile.Path(), "tile/8/", "/tile/", 1)
		a := request(r.t, http.MethodGet, r.d.URL+path, nil)
		if a.status != 200 {
			return nil, fmt.Errorf("%s: %d", path, a.status)
		}
		data = append(data, a.body)
	}
	return data, nil
}

func (tiles) SaveTiles([]foreign.Tile, [][]byte) {}

// openHead reads the tree head with transparency-dev/formats.
func openHead(t *testing.T, d *daemontest.Daemon) foreign.Tree {
	t.Helper()
	v, err := note.NewVerifier(d.Dir.Log)
	if err != nil {
		t.Fatal(err)
	}
	c, _, _, err := formats.ParseCheckpoint(request(t, http.MethodGet, d.URL+api.PathHead, nil).body, daemontest.Origin, v)
	if err != nil {
		t.Fatal(err)
	}
	return foreign.Tree{N: int64(c.Size), Hash: foreign.Hash(c.Hash)}
}

// TestForeignTiles: golang.org/x/mod checks every tile against the tree head,
// every entry against the tiles, and a later head against an earlier one.
func TestForeignTiles(t *testing.T) {
	d := served(t, 700)
	old := openHead(t, d)
	if _, err := d.Ledger.Append(context.Background(), d.Records(d.Line(), 90)...); err != nil {
		t.Fatal(err)
	}
	tree := openHead(t, d)
	if old.N != 703 || tree.N != 793 {
		t.Fatalf("want trees of 703 and 793, found %d and %d", old.N, tree.N)
	}
	hashes := foreign.TileHashReader(tree, tiles{t, d})
	proof, err := foreign.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		t.Errorf("consistency: %v", err)
	}
	index := int64(0)
	for n := int64(0); n*256 < tree.N; n++ {
		path := fmt.Sprintf("/tile/entries/%03d", n)
		if rest := tree.N - n*256; rest < 256 {
			path += fmt.Sprintf(".p/%d", rest)
		}
		body := request(t, http.MethodGet, d.URL+path, nil).body
		for len(body) > 0 {
			size := int(binary.BigEndian.Uint16(body))
			entry := body[2 : 2+size]
			body = body[2+size:]
			got, err := hashes.ReadHashes([]int64{foreign.StoredHashIndex(0, index)})
			if err != nil {
				t.Fatal(err)
			}
			if got[0] != foreign.RecordHash(entry) {
				t.Fatalf("entry %d is not the one in the tree", index)
			}
			index++
		}
	}
	if index != tree.N {
		t.Errorf("want %d entries, found %d", tree.N, index)
	}
	// The receipt of one of them, proof and head.
	id := d.Ledger.Registry().Tail()
	r, err := d.Client(d.Token).Receipt(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	var record foreign.RecordProof
	for _, h := range r.Hashes {
		record = append(record, foreign.Hash(h))
	}
	if err := foreign.CheckRecord(record, tree.N, tree.Hash, int64(r.Index), foreign.RecordHash(r.Entry)); err != nil {
		t.Errorf("receipt: %v", err)
	}
	// And the proof that the daemon makes itself.
	c, err := d.Client(d.Token).Consistency(context.Background(), uint64(old.N), uint64(tree.N))
	if err != nil {
		t.Fatal(err)
	}
	var ours foreign.TreeProof
	for _, h := range c.Hashes {
		ours = append(ours, foreign.Hash(h))
	}
	if err := foreign.CheckTree(ours, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		t.Errorf("/v1/consistency: %v", err)
	}
}

// TestForeignFsck runs the checker of another implementation of tlog-tiles, at
// the version that its authors published.
func TestForeignFsck(t *testing.T) {
	raced.Skip(t)
	const fsck = "github.com/transparency-dev/tessera/cmd/fsck@v1.0.4"
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	install := exec.CommandContext(ctx, "go", "install", fsck)
	install.Dir = dir
	install.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s: %v\n%s", fsck, err, out)
		}
		t.Skipf("%s cannot be built here: %v\n%s", fsck, err, out)
	}
	d := served(t, 20_000)
	key := filepath.Join(dir, "log.pub")
	if err := os.WriteFile(key, []byte(d.Dir.Log+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(url string) []byte {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "fsck"), "--storage_url="+url, "--public_key="+key,
			"--origin="+daemontest.Origin, "--ui=false", "--N=4", "--logtostderr").CombinedOutput()
		if err != nil {
			t.Fatalf("fsck: %v\n%s", err, out)
		}
		return out
	}
	// It exits 0 whatever it finds.
	if out := run(d.URL + "/"); bytes.Contains(out, []byte("fsck failed")) {
		t.Errorf("%s", out)
	}
	// What would it say of a log with a wrong byte?
	broken := tampered(t, d.URL)
	if out := run(broken + "/"); !bytes.Contains(out, []byte("fsck failed")) {
		t.Errorf("fsck does not see a wrong byte: this test cannot fail\n%s", out)
	}
}

// tampered serves the log at a URL with one byte changed in one entry tile.
func tampered(t *testing.T, url string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(url + r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if r.URL.Path == "/tile/entries/007" {
			b[100] ^= 1
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
