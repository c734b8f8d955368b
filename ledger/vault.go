package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"ledgerd/evidence"
)

// DefaultMaxPayload is the size in bytes of the largest payload that a vault
// takes unless it is told otherwise.
const DefaultMaxPayload = 16 << 20

// What a vault answers, for callers to branch on.
var (
	// ErrNoPayload: the vault does not hold it. Whether it was erased, was
	// never disclosed to this ledger or never existed, only the log can say.
	ErrNoPayload = errors.New("no such payload")
	// ErrPayloadSize: longer than the vault takes.
	ErrPayloadSize = errors.New("the payload is too long")
	// ErrCommitment: a payload and what should commit to it do not match.
	ErrCommitment = errors.New("the payload does not open its commitment")
	// ErrErased: the ledger's log says that this payload was erased, and it is
	// not taken again.
	ErrErased = errors.New("the payload was erased")
)

// A Vault keeps payloads beside the log: one file for each commitment, named by
// the commitment's digest in hexadecimal, in one of 256 directories.
//
//	payloads/3f/3f9a…c2    the payload, its salt and its media type
//	payloads/tmp/          what is being written; emptied when the vault opens
//	payloads/erasing/      the names of what is being erased
//	payloads/keys          the keys of small payloads
//
// A file holds the magic "ledgerd-payload1", the salt (32 bytes), the length of
// the media type (2 bytes, big-endian), the media type, and the payload up to
// the file's end. A file that has its final name is complete: it was synced
// under another name first. Nothing is ever changed in place, except to erase.
//
// Where the ledger's store is a [CellStore], a payload of up to 32 KiB has no file:
// what would be its file lies there, encrypted.
//
// Its methods may be called from any goroutine. One process uses a vault's
// directory at a time: the lock of the store beside it sees to that.
type Vault struct {
	fs    VaultFS
	dir   string
	max   int64
	temps atomic.Int64 // temporary files made
	group syncGroup    // makes durable what is put
	cells *cells       // for small payloads; nil: they are files like the others

	maxCell   int64 // size in bytes of the largest payload that lies in a cell
	keysAhead int   // made at a time

	// stripes order the writing, erasing and (again) writing of one payload.
	stripes [64]sync.Mutex
}

const (
	payloadMagic = "ledgerd-payload1"
	payloadFixed = len(payloadMagic) + evidence.SaltSize + 2 // bytes before the media type
	tmpDir       = "tmp"
	erasingDir   = "erasing"
	maxMedia     = 256 // bytes: an identifier
)

// OpenVault opens the vault in dir and makes it where there is none. What a
// crash left half-written is removed. maxPayload is the size in bytes of the
// largest payload, DefaultMaxPayload if 0.
func OpenVault(dir string, maxPayload int64) (*Vault, error) {
	return OpenVaultOn(osFS{}, dir, maxPayload)
}

// OpenVaultOn is OpenVault on another file system than the operating system's.
func OpenVaultOn(fs VaultFS, dir string, maxPayload int64) (*Vault, error) {
	if maxPayload <= 0 {
		maxPayload = DefaultMaxPayload
	}
	v := &Vault{fs: fs, dir: dir, max: maxPayload, group: syncGroup{fs: fs, dir: dir}, maxCell: maxCell, keysAhead: keysAhead}
	if err := fs.RemoveAll(filepath.Join(dir, tmpDir)); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	// All directories are made at once, so that a payload's own costs one
	// directory sync and never two.
	names := []string{tmpDir, erasingDir}
	for i := range 256 {
		names = append(names, hex.EncodeToString([]byte{byte(i)}))
	}
	for _, n := range names {
		if err := fs.MkdirAll(filepath.Join(dir, n)); err != nil {
			return nil, fmt.Errorf("open vault: %w", err)
		}
	}
	if err := errors.Join(fs.SyncDir(dir), fs.SyncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return v, nil
}

// MaxPayload returns the size in bytes of the largest payload that is taken.
func (v *Vault) MaxPayload() int64 { return v.max }

func (v *Vault) path(d evidence.Digest) string {
	name := hex.EncodeToString(d[:])
	return filepath.Join(v.dir, name[:2], name)
}

func stripeOf(d evidence.Digest) int { return int(d[0] % 64) }

func (v *Vault) stripe(d evidence.Digest) *sync.Mutex { return &v.stripes[stripeOf(d)] }

// Close closes the vault, which is not used any more.
func (v *Vault) Close() error {
	if v.cells == nil {
		return nil
	}
	return v.cells.keys.close()
}

// Put stores the payload that r yields, and returns its commitment once it is
// durable. The same payload put twice is stored once; ErrCommitment if it stands
// there under another media type, which the digest does not cover.
func (v *Vault) Put(ctx context.Context, salt [evidence.SaltSize]byte, media string, r io.Reader) (evidence.Commitment, error) {
	return v.put(ctx, salt, media, r, nil, nil)
}

// PutCommitted is Put for a payload that is said to open want; if it does not,
// nothing is stored and the error is ErrCommitment.
func (v *Vault) PutCommitted(ctx context.Context, want evidence.Commitment, salt [evidence.SaltSize]byte, r io.Reader) error {
	_, err := v.put(ctx, salt, want.Media, r, &want, nil)
	return err
}

// put asks allowed, if set, once the digest is known and nothing else writes or
// erases it.
func (v *Vault) put(ctx context.Context, salt [evidence.SaltSize]byte, media string, r io.Reader,
	want *evidence.Commitment, allowed func(evidence.Digest) error,
) (evidence.Commitment, error) {
	s, err := v.stage(ctx, salt, media, r)
	if err != nil {
		return evidence.Commitment{}, err
	}
	defer s.discard()
	if want != nil && s.commitment != *want {
		return evidence.Commitment{}, fmt.Errorf("%w: expected %v, found %v", ErrCommitment, *want, s.commitment)
	}
	if s.commitment.Size > maxShared {
		// Nobody else is to wait for so much.
		if err := s.sync(); err != nil {
			return evidence.Commitment{}, err
		}
	}
	return s.commitment, v.settle([]*staged{s}, allowed, true)
}

// maxShared is the size in bytes of the largest payload whose content is synced
// together with others'.
const maxShared = 1 << 20

// PutMany stores many payloads, and returns their commitments once all of them
// are durable, for two syncs of the file system altogether instead of two for
// each payload (on Linux; elsewhere every file is synced). Calls at the same time
// share their syncs. An error means that any of them may be stored or not;
// putting them again does no harm.
func (v *Vault) PutMany(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error) {
	return v.putMany(ctx, payloads, nil, true)
}

// putMany is PutMany; not durable: cells are so once what is begun later is.
func (v *Vault) putMany(ctx context.Context, payloads []evidence.Payload, allowed func(evidence.Digest) error, durable bool) ([]evidence.Commitment, error) {
	all := make([]*staged, 0, len(payloads))
	defer func() {
		for _, s := range all {
			s.discard()
		}
	}()
	// Files that are not synced one by one are closed at once: there may be
	// thousands.
	files := 0
	for i := range payloads {
		if !v.inCell(int64(len(payloads[i].Data))) {
			files++
		}
	}
	open := !v.fs.SyncsAll() || files < wholeFrom
	out := make([]evidence.Commitment, len(payloads))
	for i := range payloads {
		s, err := v.stageBytes(ctx, &payloads[i], open)
		if err != nil {
			return nil, fmt.Errorf("payload %d of %d: %w", i+1, len(payloads), err)
		}
		all = append(all, s)
		out[i] = s.commitment
	}
	if err := v.settle(all, allowed, durable); err != nil {
		return nil, err
	}
	return out, nil
}

// settle makes staged payloads durable. Those in cells are so for one sync of the
// store or, if not durable, for that of the record that follows; then they are put
// unseen, too.
func (v *Vault) settle(all []*staged, allowed func(evidence.Digest) error, durable bool) error {
	var small, files []*staged
	for _, s := range all {
		if s.cell != nil {
			small = append(small, s)
		} else {
			files = append(files, s)
		}
	}
	if len(small) > 0 {
		if err := v.placeCells(small, allowed, !durable); err != nil {
			return err
		}
	}
	if len(files) > 0 {
		if err := v.settleFiles(files, allowed); err != nil {
			return err
		}
	}
	if len(small) == 0 || !durable {
		return nil
	}
	// Also where they were there before: whoever put them may not have come this
	// far.
	if err := v.cells.store.SyncCells(); err != nil {
		return fmt.Errorf("payloads: %w", err)
	}
	return nil
}

// settleFiles makes files durable: first what is in them, then, under their own
// names, the names. If we crash in between, what has its name is complete.
func (v *Vault) settleFiles(all []*staged, allowed func(evidence.Digest) error) error {
	if err := v.group.sync(all); err != nil {
		return err
	}
	dirs := make([]string, 0, len(all))
	for _, s := range all {
		if err := v.placeLocked(s, allowed); err != nil {
			return err
		}
		// Synced even where the file was there before: whoever put it may not
		// have come this far.
		dirs = append(dirs, filepath.Dir(v.path(s.commitment.Commit)))
	}
	return v.group.sync(nil, dirs...)
}

func (v *Vault) placeLocked(s *staged, allowed func(evidence.Digest) error) error {
	mu := v.stripe(s.commitment.Commit)
	mu.Lock()
	defer mu.Unlock()
	if allowed != nil {
		if err := allowed(s.commitment.Commit); err != nil {
			return err
		}
	}
	return v.place(s)
}

// place gives a synced file its name. The first of a digest stays: it may be
// open for reading, and its media type is what others rely on.
func (v *Vault) place(s *staged) error {
	if stands, err := v.stands(s); stands || err != nil {
		return err
	}
	return s.rename(v.path(s.commitment.Commit))
}

// stands reports whether a payload is there already, undamaged: ErrCommitment if
// it is under another media type.
func (v *Vault) stands(s *staged) (bool, error) {
	d := s.commitment.Commit
	stands, err := v.stat(d)
	switch {
	case err == nil && stands == s.commitment:
		return v.Verify(d) == nil, nil
	case err == nil && stands.Size == s.commitment.Size && stands.Media != s.commitment.Media && v.Verify(d) == nil:
		return false, fmt.Errorf("%w: payload %s stands there as media type %q, found %q", ErrCommitment, d, stands.Media, s.commitment.Media)
	case err != nil && !errors.Is(err, ErrNoPayload) && !errors.Is(err, ErrCommitment):
		return false, err
	}
	return false, nil // none, or one that is damaged
}

// Stat returns the commitment under a digest as its file says it, without
// reading the payload: size and media, not yet verified.
func (v *Vault) Stat(d evidence.Digest) (evidence.Commitment, error) { return v.stat(d) }

// has reports whether there is something under a digest, whatever is in it.
func (v *Vault) has(d evidence.Digest) bool {
	if v.cells != nil {
		if _, err := v.cells.slots(d); !errors.Is(err, ErrNoPayload) {
			return true
		}
	}
	return v.fs.Exists(v.path(d))
}

func (v *Vault) stat(d evidence.Digest) (evidence.Commitment, error) {
	f, h, err := v.open(d)
	if err != nil {
		return evidence.Commitment{}, err
	}
	return h.Commitment, f.Close()
}

// An OpenPayload is a payload being read. Its bytes were verified before it was
// handed out, and are verified again as they are read: where they changed in
// between, Read returns ErrCommitment in place of io.EOF.
type OpenPayload struct {
	evidence.Commitment
	Salt [evidence.SaltSize]byte

	file VaultFile
	hash hash.Hash
}

// Read reads the payload.
func (p *OpenPayload) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	p.hash.Write(b[:n])
	if errors.Is(err, io.EOF) {
		if sum := evidence.Digest(p.hash.Sum(nil)); sum != p.Commit {
			return n, fmt.Errorf("%w: %s holds what opens %s", ErrCommitment, p.Commit, sum)
		}
	}
	return n, err
}

// Close closes the payload's file.
func (p *OpenPayload) Close() error { return p.file.Close() }

// Open verifies the payload under a digest and returns it for reading. The
// errors are ErrNoPayload and, where the file is not what its name says,
// ErrCommitment. Close it after use: an erasure cannot wait for readers, and
// overwrites what they have not read yet.
func (v *Vault) Open(d evidence.Digest) (*OpenPayload, error) {
	f, h, err := v.open(d)
	if err != nil {
		return nil, err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err == nil {
		if _, err = io.Copy(h.hash, f); err == nil {
			if sum := evidence.Digest(h.hash.Sum(nil)); sum != d {
				err = fmt.Errorf("%w: %s holds what opens %s", ErrCommitment, f.Name(), sum)
			} else {
				_, err = f.Seek(at, io.SeekStart)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	h.hash = evidence.NewCommitHash(h.Salt)
	return h, nil
}

// Payload returns the payload under a digest, verified, in memory.
func (v *Vault) Payload(d evidence.Digest) (*evidence.Payload, error) {
	f, h, err := v.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, h.Size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("payload %s: %w", d, err)
	}
	p := &evidence.Payload{Salt: h.Salt, Media: h.Media, Data: data}
	if c := p.Commitment(); c.Commit != d {
		return nil, fmt.Errorf("%w: %s holds what opens %s", ErrCommitment, f.Name(), c.Commit)
	}
	return p, nil
}

// Verify reads a payload and reports whether it opens its digest.
func (v *Vault) Verify(d evidence.Digest) error {
	p, err := v.Open(d)
	if err != nil {
		return err
	}
	return p.Close()
}

// open reads the header of a payload's file and leaves it at the payload.
func (v *Vault) open(d evidence.Digest) (VaultFile, *OpenPayload, error) {
	f, err := v.openFile(d)
	if err != nil {
		return nil, nil, err
	}
	p, err := readHeader(f, d)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, p, nil
}

// openFile opens a payload's file, or what is one in a cell.
func (v *Vault) openFile(d evidence.Digest) (VaultFile, error) {
	if v.cells != nil {
		if f, err := v.cells.open(d); !errors.Is(err, ErrNoPayload) {
			return f, err
		}
	}
	f, err := v.fs.Open(v.path(d))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoPayload, d)
	}
	if err != nil {
		return nil, fmt.Errorf("payload %s: %w", d, err)
	}
	return f, nil
}

// Digests yields what the vault holds, in no order that means anything. What is
// in a file and in a cell comes twice.
func (v *Vault) Digests(ctx context.Context) iter.Seq2[evidence.Digest, error] {
	return func(yield func(evidence.Digest, error) bool) {
		if v.cells != nil {
			for d, err := range v.cells.digests(ctx) {
				if !yield(d, err) {
					return
				}
			}
		}
		for d, err := range v.files(ctx) {
			if !yield(d, err) {
				return
			}
		}
	}
}

// files yields the digests of which there is a file.
func (v *Vault) files(ctx context.Context) iter.Seq2[evidence.Digest, error] {
	return func(yield func(evidence.Digest, error) bool) {
		for i := range 256 {
			dir := filepath.Join(v.dir, hex.EncodeToString([]byte{byte(i)}))
			names, err := v.fs.List(dir)
			if err != nil {
				yield(evidence.Digest{}, fmt.Errorf("vault: %w", err))
				return
			}
			for _, name := range names {
				var d evidence.Digest
				b, err := hex.DecodeString(name)
				if err != nil || copy(d[:], b) != len(d) || len(b) != len(d) || int(d[0]) != i {
					err = fmt.Errorf("vault: %s: expected a payload's file, named by its digest in hexadecimal", filepath.Join(dir, name))
				}
				if err == nil {
					err = ctx.Err()
				}
				if !yield(d, err) {
					return
				}
			}
		}
	}
}
