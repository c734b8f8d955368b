package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ledgerd/evidence"
)

// staged is a payload that nobody else knows of, in a temporary file or, where it
// is to lie in a cell, in memory.
type staged struct {
	fs         VaultFS
	file       VaultFile // nil once closed
	name       string    // "" once renamed
	cell       []byte    // what would be its file; nil: it is one
	commitment evidence.Commitment
}

// stage writes a payload to a temporary file, and computes its commitment on the
// way. If we crash from here on until the file is renamed, OpenVault removes it.
func (v *Vault) stage(ctx context.Context, salt [evidence.SaltSize]byte, media string, r io.Reader) (_ *staged, err error) {
	header, err := payloadHeader(salt, media)
	if err != nil {
		return nil, err
	}
	r = contextReader{ctx, r}
	if v.cells != nil {
		small, err := io.ReadAll(io.LimitReader(r, min(v.max, v.maxCell)+1))
		if err != nil {
			return nil, fmt.Errorf("payload: %w", err)
		}
		if v.inCell(int64(len(small))) {
			return v.stageBytes(ctx, &evidence.Payload{Salt: salt, Media: media, Data: small}, false)
		}
		r = io.MultiReader(bytes.NewReader(small), r)
	}
	f, err := v.fs.Create(v.tempPath())
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	s := &staged{fs: v.fs, file: f, name: f.Name()}
	defer func() {
		if err != nil {
			s.discard()
		}
	}()
	if _, err := f.Write(header); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	h := evidence.NewCommitHash(salt)
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(r, v.max+1))
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if n > v.max {
		return nil, fmt.Errorf("%w: expected at most %d bytes", ErrPayloadSize, v.max)
	}
	s.commitment = evidence.Commitment{Commit: evidence.Digest(h.Sum(nil)), Size: n, Media: media}
	return s, nil
}

// stageBytes is stage for a payload in memory: one write. Where files are not
// synced one by one they are closed at once, for there may be thousands.
func (v *Vault) stageBytes(ctx context.Context, p *evidence.Payload, open bool) (*staged, error) {
	if int64(len(p.Data)) > v.max {
		return nil, fmt.Errorf("%w: expected at most %d bytes, found %d", ErrPayloadSize, v.max, len(p.Data))
	}
	header, err := payloadHeader(p.Salt, p.Media)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if v.inCell(int64(len(p.Data))) {
		return &staged{cell: append(header, p.Data...), commitment: p.Commitment()}, nil
	}
	f, err := v.fs.Create(v.tempPath())
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	s := &staged{fs: v.fs, file: f, name: f.Name(), commitment: p.Commitment()}
	if _, err := f.Write(append(header, p.Data...)); err != nil {
		s.discard()
		return nil, fmt.Errorf("payload: %w", err)
	}
	if open {
		return s, nil
	}
	err = f.Close()
	s.file = nil
	if err != nil {
		s.discard()
		return nil, fmt.Errorf("payload: %w", err)
	}
	return s, nil
}

// sync makes the file's content durable, not yet its name. It has no effect on
// one that is closed.
func (s *staged) sync() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Sync()
	err = errors.Join(err, s.file.Close())
	s.file = nil
	if err != nil {
		return fmt.Errorf("payload %s: %w", s.commitment.Commit, err)
	}
	return nil
}

func (s *staged) rename(to string) error {
	if err := s.fs.Rename(s.name, to); err != nil {
		return fmt.Errorf("payload %s: %w", s.commitment.Commit, err)
	}
	s.name = ""
	return nil
}

// discard removes what was not renamed. Nothing depends on its success: the
// next OpenVault removes the rest.
func (s *staged) discard() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
	if s.name != "" {
		_ = s.fs.Remove(s.name)
		s.name = ""
	}
}

func payloadHeader(salt [evidence.SaltSize]byte, media string) ([]byte, error) {
	if len(media) == 0 || len(media) > maxMedia {
		return nil, fmt.Errorf("payload: expected a media type of 1 to %d bytes, found %d", maxMedia, len(media))
	}
	for i := range len(media) {
		if media[i] < 0x21 || media[i] > 0x7e {
			return nil, fmt.Errorf("payload: expected a media type of printable ASCII without spaces, found %q", media)
		}
	}
	b := make([]byte, 0, payloadFixed+len(media))
	b = append(b, payloadMagic...)
	b = append(b, salt[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(media)))
	return append(b, media...), nil
}

func readHeader(f VaultFile, d evidence.Digest) (*OpenPayload, error) {
	bad := func(want string) error {
		return fmt.Errorf("%w: %s: expected %s", ErrCommitment, f.Name(), want)
	}
	fixed := make([]byte, payloadFixed)
	if _, err := io.ReadFull(f, fixed); err != nil {
		return nil, bad(fmt.Sprintf("a header of %d bytes, read: %v", payloadFixed, err))
	}
	if string(fixed[:len(payloadMagic)]) != payloadMagic {
		return nil, bad("it to begin with " + payloadMagic)
	}
	p := &OpenPayload{Salt: [evidence.SaltSize]byte(fixed[len(payloadMagic):]), file: f}
	p.hash = evidence.NewCommitHash(p.Salt)
	n := binary.BigEndian.Uint16(fixed[payloadFixed-2:])
	if n == 0 || n > maxMedia {
		return nil, bad("a media type")
	}
	media := make([]byte, n)
	if _, err := io.ReadFull(f, media); err != nil {
		return nil, bad("a media type")
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("payload %s: %w", d, err)
	}
	p.Commitment = evidence.Commitment{Commit: d, Size: size - int64(payloadFixed) - int64(n), Media: string(media)}
	return p, nil
}

// contextReader ends reading when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
