package userdaemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strings"
	"time"

	"ledgerd/internal/datadir"
	"ledgerd/internal/wholefile"
)

// firstPolicy is what agents may do until the user says otherwise. A permission that
// nobody gave would be one that nobody reads.
const firstPolicy = `// What agents of this user may do. Changes of this file, and further *.cedar files
// beside it, count within a second. docs/policies.md says how they are written;
// ledgerd policy check says whether they are sound.

// Everything, to every agent: it is written down, and nothing is held back. Put policies
// that permit less in the place of this one, and nothing is permitted but what they do.
@id("first-use-permits-all")
permit (principal, action, resource);

// What is forbidden is so whatever permits it:
//
//   @id("nothing-is-deleted")
//   forbid (principal, action == Action::"delete_file", resource);
//
// With @escalate a human of that team is asked (ledgerd approvals):
//
//   @id("somebody-looks-at-pushes") @escalate("me")
//   forbid (principal, action == Action::"git_push", resource);
`

// firstConfig is what the daemon is started with. Paths are those in its directory.
const firstConfig = `{
  "idle-stop": "10m",
  "mode": "enforce",
  "policies": "policies",
  "contracts": "contracts"
}
`

// first makes what a daemon needs, where no ledger is yet. The caller has the lock. The
// ledger comes last: with it, the rest is the user's, and what he took away stays away.
func (h *Home) first(ctx context.Context) error {
	if _, err := os.Stat(h.DataDir()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := h.whole("policies", func(dir string) error {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		return wholefile.Write(dir+"/first-use.cedar", []byte(firstPolicy), false)
	})
	if err == nil {
		err = h.whole("contracts", func(dir string) error { return os.Mkdir(dir, 0o700) })
	}
	if err == nil {
		err = wholefile.Write(h.file("config.json"), []byte(firstConfig), false)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	// After a crash between the two renames the ledger has no head file, and makes one.
	made := h.file("ledger.new.head")
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	head := h.file("ledger.head")
	if _, err := os.Stat(head); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there, and the ledger whose newest tree head it is, %s, is not: bring it back, or put the file elsewhere for a new ledger", head, h.DataDir())
	}
	err = h.whole("ledger", func(dir string) error {
		_, err := datadir.Init(ctx, dir, datadir.InitOptions{Origin: origin(), Runtime: "runtime", HeadFile: made, Now: time.Now()})
		return err
	})
	if err != nil {
		return err
	}
	return os.Rename(made, head)
}

// whole makes a directory that is there whole or not at all, and leaves one that is
// there alone.
func (h *Home) whole(name string, make func(dir string) error) error {
	if _, err := os.Stat(h.file(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	begun := h.file(name + ".new")
	if err := os.RemoveAll(begun); err != nil {
		return err
	}
	if err := make(begun); err != nil {
		return err
	}
	if err := os.Rename(begun, h.file(name)); err != nil {
		return err
	}
	return wholefile.SyncDir(h.Path)
}

// origin names a new ledger: local/USER@HOST/RANDOM. A user may come to have several,
// and no two ledgers have one name.
func origin() string {
	who := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	host, _, _ = strings.Cut(host, ".")
	var b [4]byte
	rand.Read(b[:]) // never fails: it ends the process instead
	return "local/" + plain(who, "user") + "@" + plain(host, "host") + "/" + hex.EncodeToString(b[:])
}

// plain returns a name in letters, digits, dots, dashes and underscores.
func plain(name, otherwise string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '-'
	}, strings.ToLower(name))
	if s = strings.Trim(s, "-."); s == "" {
		return otherwise
	}
	return s[:min(len(s), 64)]
}
