package datadir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ledgerd/evidence"
	"ledgerd/internal/wholefile"
)

// Names of the keys that are not an actor's.
const (
	logKey  = "log"
	rootKey = "root"
)

// maxKey bounds a key file: a JWK of four members.
const maxKey = 4 << 10

// ErrNoKey: the key is not in this directory.
var ErrNoKey = errors.New("the key is not here")

// NewKey makes a key and writes it to a file of its own, 0600. A file that is
// there already is left alone.
func NewKey(path string) (*evidence.PrivateKey, error) {
	k, err := evidence.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return k, WriteKey(path, k)
}

// WriteKey writes a private key as JWK to a file of its own, 0600, and leaves a
// file that is there already alone.
func WriteKey(path string, k *evidence.PrivateKey) error {
	b, err := k.MarshalJWK()
	if err != nil {
		return err
	}
	if err := wholefile.Write(path, append(b, '\n'), false); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	return nil
}

// ReadKey reads a private key, and refuses a file that others may read.
func ReadKey(path string) (*evidence.PrivateKey, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: want a private key in %s", ErrNoKey, path)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("key file %s: want mode 0600, found %04o: others may have read it. If nobody has, chmod 600 it", path, info.Mode().Perm())
	}
	b := make([]byte, maxKey)
	n, err := f.Read(b)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	k, err := evidence.ParsePrivateJWK([]byte(strings.TrimSpace(string(b[:n]))))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// keyPath is where the key of an actor is kept. Names of actors are printable
// ASCII without spaces; a slash in them is no directory.
func (d *Dir) keyPath(name string) string {
	return filepath.Join(d.Path, "keys", strings.ReplaceAll(name, "/", "%2F")+".jwk")
}

// KeyPath returns where the private key of an actor is kept in this directory.
// An actor called log, or one whose name is a dot or two, has none.
func (d *Dir) KeyPath(actor string) (string, error) {
	if actor == logKey || actor == rootKey || strings.Trim(actor, ".") == "" {
		return "", fmt.Errorf("the private key of an actor called %q cannot be kept in %s: keep it elsewhere", actor, filepath.Join(d.Path, "keys"))
	}
	return d.keyPath(actor), nil
}

// Key returns the private key of an actor that was made here, or ErrNoKey.
func (d *Dir) Key(actor string) (*evidence.PrivateKey, error) { return ReadKey(d.keyPath(actor)) }

// Root returns the root's private key, or ErrNoKey where it is kept elsewhere.
func (d *Dir) Root() (*evidence.PrivateKey, error) { return ReadKey(d.keyPath(rootKey)) }
