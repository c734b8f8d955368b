package ledger_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ledgerd/evidence"
	"ledgerd/ledger"
)

func payload(s string) evidence.Payload {
	return evidence.Payload{Salt: sha256.Sum256([]byte("salt of " + s)), Media: "text/plain", Data: []byte(s)}
}

// filed is a payload that is too long for a cell.
func filed(s string) evidence.Payload { return payload(s + strings.Repeat(" ", 40<<10)) }

func (w *world) put(p evidence.Payload) evidence.Commitment {
	w.t.Helper()
	c, err := w.PutPayload(w.t.Context(), p.Salt, p.Media, bytes.NewReader(p.Data))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func TestPayloadRoundTrip(t *testing.T) {
	w := newWorld(t)
	for _, p := range []evidence.Payload{payload("hello"), payload(""), payload(strings.Repeat("long ", 1<<20))} {
		c := w.put(p)
		if !p.Opens(c) {
			t.Errorf("committed to as %v, which it does not open", c)
		}
		w.restart()
		got, err := w.Payload(t.Context(), c.Commit)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(got)
		if err != nil || !bytes.Equal(b, p.Data) || got.Salt != p.Salt || got.Commitment != c {
			t.Errorf("read %d bytes as %v, %v; want %d", len(b), got.Commitment, err, len(p.Data))
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.Payload(t.Context(), evidence.Digest{1}); !errors.Is(err, ledger.ErrNoPayload) {
		t.Errorf("a payload that nobody put: %v", err)
	}
}

func TestPutManyOfAllSizes(t *testing.T) {
	for _, n := range []int{0, 1, 3, 300} {
		w := newWorld(t)
		ps := make([]evidence.Payload, n)
		for i := range ps {
			ps[i] = payload(fmt.Sprintf("payload %d of %d", i%250, n)) // some of them twice
		}
		cs, err := w.PutPayloads(t.Context(), ps)
		if err != nil || len(cs) != n {
			t.Fatalf("%d commitments, %v", len(cs), err)
		}
		for i, c := range cs {
			got, err := w.vault.Payload(c.Commit)
			if err != nil || !bytes.Equal(got.Data, ps[i].Data) || !got.Opens(c) {
				t.Errorf("payload %d: %v", i, err)
			}
		}
		if left, err := filepath.Glob(filepath.Join(w.dir, "payloads/tmp/*")); err != nil || len(left) > 0 {
			t.Errorf("temporary files stay: %v, %v", left, err)
		}
	}
}

func TestPutRefuses(t *testing.T) {
	w := newWorld(t)
	small, err := ledger.OpenVault(filepath.Join(t.TempDir(), "payloads"), 10)
	if err != nil {
		t.Fatal(err)
	}
	p := payload("eleven bytes")
	if _, err := small.Put(t.Context(), p.Salt, p.Media, bytes.NewReader(p.Data)); !errors.Is(err, ledger.ErrPayloadSize) {
		t.Errorf("too long: %v", err)
	}
	if _, err := small.PutMany(t.Context(), []evidence.Payload{p}); !errors.Is(err, ledger.ErrPayloadSize) {
		t.Errorf("too long, among many: %v", err)
	}
	// Not what it is said to be.
	other := payload("other")
	if err := w.PutCommitted(t.Context(), other.Commitment(), p.Salt, bytes.NewReader(p.Data)); !errors.Is(err, ledger.ErrCommitment) {
		t.Errorf("another payload: %v", err)
	}
	if _, err := w.vault.Stat(other.Commitment().Commit); !errors.Is(err, ledger.ErrNoPayload) {
		t.Errorf("it is stored all the same: %v", err)
	}
	if err := w.PutCommitted(t.Context(), p.Commitment(), p.Salt, bytes.NewReader(p.Data)); err != nil {
		t.Error(err)
	}
	// A digest does not cover the media type: the first one stands.
	if _, err := w.PutPayload(t.Context(), p.Salt, "text/html", bytes.NewReader(p.Data)); !errors.Is(err, ledger.ErrCommitment) {
		t.Errorf("another media type: %v", err)
	}
	if c, err := w.vault.Stat(p.Commitment().Commit); err != nil || c != p.Commitment() {
		t.Errorf("stands as %v, %v", c, err)
	}
	// A reader that fails leaves nothing.
	q := payload("cut off")
	broken := io.MultiReader(bytes.NewReader(q.Data), badReader{})
	if _, err := w.PutPayload(t.Context(), q.Salt, q.Media, broken); err == nil {
		t.Error("a broken upload was stored")
	}
	for _, media := range []string{"", "text plain", "text/\n", strings.Repeat("x", 300)} {
		if _, err := w.PutPayload(t.Context(), q.Salt, media, bytes.NewReader(q.Data)); err == nil {
			t.Errorf("media type %q was taken", media)
		}
	}
	if files := w.grep(q.Data); len(files) > 0 {
		t.Errorf("what was refused lies in %v", files)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errors.New("the client went away") }

// Whatever bit of a payload's file flips, nothing of it is handed out.
func TestDamagedPayloadIsNeverRead(t *testing.T) {
	w := newWorld(t)
	p := filed("the customer's address")
	c := w.put(p)
	path := w.payloadFile(c.Commit)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if i > 100 && i%997 > 0 {
			continue // any byte of the payload is like any other
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := w.Payload(t.Context(), c.Commit)
		if media := bytes.Index(good, []byte(p.Media)); i >= media && i < media+len(p.Media) {
			// The digest does not cover it; whoever compares with the
			// record's commitment sees it.
			if err == nil && f.Commitment == c {
				t.Errorf("byte %d: another media type goes unnoticed", i)
			}
			continue
		}
		if !errors.Is(err, ledger.ErrCommitment) {
			t.Errorf("byte %d of %d: %v", i, len(good), err)
		}
		if _, err := w.vault.Payload(c.Commit); !errors.Is(err, ledger.ErrCommitment) && err == nil {
			t.Errorf("byte %d of %d, in memory: %v", i, len(good), err)
		}
	}
	// Cut off, and longer; then put again, which repairs it.
	for _, bad := range [][]byte{good[:len(good)-1], good[:20], nil, append(bytes.Clone(good), 'x')} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Payload(t.Context(), c.Commit); !errors.Is(err, ledger.ErrCommitment) {
			t.Errorf("%d bytes of %d: %v", len(bad), len(good), err)
		}
	}
	w.put(p)
	if err := w.vault.Verify(c.Commit); err != nil {
		t.Errorf("put again: %v", err)
	}
}

// What changes between verification and reading is noticed at the end.
func TestPayloadChangedWhileRead(t *testing.T) {
	w := newWorld(t)
	c := w.put(filed("the customer's address"))
	f, err := w.Payload(t.Context(), c.Commit)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.vault.Stat(c.Commit); err != nil {
		t.Fatal(err)
	}
	h, err := os.OpenFile(w.payloadFile(c.Commit), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Seek(-3, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteString("xyz"); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(f); !errors.Is(err, ledger.ErrCommitment) {
		t.Errorf("read to the end: %v", err)
	}
}

func (w *world) payloadFile(d evidence.Digest) string {
	name := fmt.Sprintf("%x", d[:])
	return filepath.Join(w.dir, "payloads", name[:2], name)
}

// grep returns the files under the data directory that hold what.
func (w *world) grep(what []byte) (files []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, what) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

// An erased payload is gone: neither it, nor the salt that opens its commitment,
// is in any file, that of the log and its write-ahead log included.
func TestEraseLeavesNothing(t *testing.T) {
	t.Run("cell", func(t *testing.T) { eraseLeavesNothing(t, 300, 0) })
	t.Run("file", func(t *testing.T) { eraseLeavesNothing(t, 40<<10, 1) })
}

func eraseLeavesNothing(t *testing.T, size, files int) {
	w := newWorld(t)
	p := evidence.Payload{Media: "text/plain", Data: make([]byte, size)}
	for _, b := range [][]byte{p.Salt[:], p.Data} {
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	c := w.put(p)
	r := w.newRun()
	w.must(r.open(), r.next(&evidence.Escalation{Reason: "policy", To: "billing", Text: &c}))
	// An upload of the same that broke off leaves nothing either.
	if _, err := w.PutPayload(t.Context(), p.Salt, p.Media, io.MultiReader(bytes.NewReader(p.Data), badReader{})); err == nil {
		t.Fatal("a broken upload was stored")
	}
	// In a cell it is encrypted: what must go is the key.
	secrets := map[string][]byte{"payload": p.Data, "salt": p.Salt[:]}
	for name, secret := range secrets {
		if found := w.grep(secret); len(found) != files {
			t.Fatalf("the %s lies in %v, want %d files", name, found, files)
		}
	}
	if key, ok := w.keyOf(c.Commit); ok {
		secrets["key"] = key
		if found := w.grep(key); len(found) != 1 {
			t.Fatalf("the key lies in %v, want one file", found)
		}
	}
	if len(secrets) != 3-files {
		t.Fatalf("%d secrets", len(secrets))
	}
	erased, err := w.Erase(t.Context(), c.Commit, "gdpr-17")
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range secrets {
		if files := w.grep(secret); len(files) > 0 {
			t.Errorf("the %s still lies in %v", name, files)
		}
	}
	if _, err := w.Payload(t.Context(), c.Commit); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("read: %v", err)
	}
	// It does not come back.
	if _, err := w.PutPayload(t.Context(), p.Salt, p.Media, bytes.NewReader(p.Data)); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("put: %v", err)
	}
	if _, err := w.PutPayloads(t.Context(), []evidence.Payload{p}); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("put among many: %v", err)
	}
	if files := w.grep(p.Data); len(files) > 0 {
		t.Errorf("what was refused lies in %v", files)
	}
	// Once is enough, and the log says who and why.
	again, err := w.Erase(t.Context(), c.Commit, "again")
	if err != nil || again.ID != erased.ID {
		t.Errorf("erased again by %s, %v; want %s", again.ID, err, erased.ID)
	}
	if b, ok := erased.Record.Body.(*evidence.PayloadErased); !ok || b.Commit != c.Commit || b.Reason != "gdpr-17" {
		t.Errorf("recorded as %+v", erased.Record.Body)
	}
	w.restart()
	if _, err := w.Payload(t.Context(), c.Commit); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("read after a restart: %v", err)
	}
	w.sound()
}

// A crash between the record of an erasure and the end of the file: the next
// start finishes. Without the record it takes the intention back.
func TestErasureIsFinishedAtStart(t *testing.T) {
	w := newWorld(t)
	done, undone := w.put(filed("done")), w.put(payload("undone"))
	w.must(sign(t, &evidence.Record{
		Origin: origin, Kind: evidence.KindPayloadErased, Actor: "runtime-01", Time: w.clock.time(),
		Body: &evidence.PayloadErased{Commit: done.Commit, Reason: "gdpr-17"},
	}, runtimeKey))
	for _, c := range []evidence.Commitment{done, undone} {
		name := filepath.Join(w.dir, "payloads", "erasing", fmt.Sprintf("%x", c.Commit[:]))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.restart()
	if _, err := os.Stat(w.payloadFile(done.Commit)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was to be erased: %v", err)
	}
	if err := w.vault.Verify(undone.Commit); err != nil {
		t.Errorf("what nobody recorded as erased: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "payloads/erasing/*")); err != nil || len(left) > 0 {
		t.Errorf("intentions stay: %v, %v", left, err)
	}
	w.sound()
}

// What a crash left half-written is gone after the next start.
func TestHalfWrittenPayloadsGo(t *testing.T) {
	w := newWorld(t)
	left := filepath.Join(w.dir, "payloads", "tmp", "put-1")
	if err := os.WriteFile(left, []byte("half a letter"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if files := w.grep([]byte("half a letter")); len(files) > 0 {
		t.Errorf("it lies in %v", files)
	}
	w.sound()
}

// Writers and an eraser at once: when the erasure is over, so is the payload.
func TestEraseWhileItIsPut(t *testing.T) {
	w := newWorld(t)
	for _, p := range []evidence.Payload{payload("contended"), filed("contended")} {
		w.eraseWhileItIsPut(p)
	}
}

func (w *world) eraseWhileItIsPut(p evidence.Payload) {
	t := w.t
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := w.PutPayload(t.Context(), p.Salt, p.Media, bytes.NewReader(p.Data)); err != nil && !errors.Is(err, ledger.ErrErased) {
					t.Error(err)
					return
				}
			}
		})
	}
	if _, err := w.Erase(t.Context(), p.Commitment().Commit, "gdpr-17"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(w.payloadFile(p.Commitment().Commit)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
	if _, ok := w.keyOf(p.Commitment().Commit); ok {
		t.Error("the key is there")
	}
	close(stop)
	wg.Wait()
	if files := w.grep(p.Data); len(files) > 0 {
		t.Errorf("it lies in %v", files)
	}
}

// sound requires a full check to find nothing.
func (w *world) sound() *ledger.CheckReport {
	w.t.Helper()
	r, err := w.Check(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range r.Differences {
		w.t.Error(d)
	}
	for _, d := range r.Log.Differences {
		w.t.Error(d)
	}
	return r
}
