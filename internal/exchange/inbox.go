package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/wholefile"
)

// ErrNoOffer: no offer of that ID waits here.
var ErrNoOffer = errors.New("no such offer waits here")

// inbox is the offers that wait for an agent: a file each, whose first line is what
// is told of it, and the rest the bundle. A crash leaves a file whole or not at all.
type inbox struct {
	dir string

	mu    sync.Mutex
	items map[evidence.ID]*api.Waiting // never changed once they are in it; guarded by mu
}

const offerSuffix = ".offer"

// openInbox reads what waits. A file that is none is left alone, and told of.
func openInbox(dir string, log *slog.Logger) (*inbox, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	b := &inbox{dir: dir, items: make(map[evidence.ID]*api.Waiting)}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), offerSuffix)
		if strings.HasPrefix(name, ".ev_") { // a crash left it half written
			_ = os.Remove(filepath.Join(dir, f.Name()))
			continue
		}
		if !ok {
			continue
		}
		w, _, err := readOffer(filepath.Join(dir, f.Name()))
		if err != nil || w.Offer.String() != name {
			log.Warn("no offer: the file is left alone", "file", f.Name(), "error", err)
			continue
		}
		b.items[w.Offer] = w
	}
	return b, nil
}

func readOffer(path string) (*api.Waiting, []byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	line, bundle, ok := bytes.Cut(text, []byte{'\n'})
	w := new(api.Waiting)
	if err := json.Unmarshal(line, w); err != nil || !ok {
		return nil, nil, fmt.Errorf("want a line about the offer, and the bundle: %w", err)
	}
	return w, bundle, nil
}

func (b *inbox) path(offer evidence.ID) string {
	return filepath.Join(b.dir, offer.String()+offerSuffix)
}

// put keeps an offer. It is durable when put returns.
func (b *inbox) put(w *api.Waiting, bundle []byte) error {
	line, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if err := wholefile.Write(b.path(w.Offer), slices.Concat(line, []byte{'\n'}, bundle), true); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items[w.Offer] = w
	return nil
}

// get returns an offer that waits and its bundle, or ErrNoOffer.
func (b *inbox) get(offer evidence.ID) (*api.Waiting, []byte, error) {
	if !b.has(offer) {
		return nil, nil, fmt.Errorf("%s: %w", offer, ErrNoOffer)
	}
	w, bundle, err := readOffer(b.path(offer))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", offer, ErrNoOffer) // it was taken since
	}
	return w, bundle, err
}

func (b *inbox) has(offer evidence.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.items[offer] != nil
}

// drop forgets an offer that does not wait any more. A file that a crash brings back
// is dropped again at the next start.
func (b *inbox) drop(offer evidence.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.items[offer] != nil {
		delete(b.items, offer)
		_ = os.Remove(b.path(offer))
	}
}

// list returns what waits, the oldest first, and drops what nobody can accept any
// more.
func (b *inbox) list(now evidence.Time) []api.Waiting {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []api.Waiting{}
	for offer, w := range b.items {
		if w.Expires < now {
			delete(b.items, offer)
			_ = os.Remove(b.path(offer))
			continue
		}
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b api.Waiting) int {
		if a.Received != b.Received {
			return int(min(max(int64(a.Received)-int64(b.Received), -1), 1))
		}
		return bytes.Compare(a.Offer[:], b.Offer[:])
	})
	return all
}

// held returns how many offers of a ledger wait, and how many bytes they have.
func (b *inbox) held(origin string, now evidence.Time) (n int, bytes int64) {
	for _, w := range b.list(now) {
		if w.Origin == origin {
			n++
			bytes += w.Size
		}
	}
	return n, bytes
}
