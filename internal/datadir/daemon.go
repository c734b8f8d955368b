package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ledgerd/internal/wholefile"
)

// Daemon says where the daemon that holds a directory listens. It is a hint for
// commands on the same machine: the lock decides who holds it.
type Daemon struct {
	URL      string `json:"url"`
	PID      int    `json:"pid"`
	Handoffs string `json:"handoffs,omitempty"` // URL of the inbox, where it has one
}

// Announce writes down where this process listens.
func (d *Dir) Announce(url, handoffs string) error {
	b, err := json.Marshal(Daemon{URL: url, PID: os.Getpid(), Handoffs: handoffs})
	if err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(d.Path, daemonFile), append(b, '\n'), true)
}

// Withdraw removes what Announce wrote.
func (d *Dir) Withdraw() error {
	err := os.Remove(filepath.Join(d.Path, daemonFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Daemon returns what the daemon that holds the directory announced.
func (d *Dir) Daemon() (*Daemon, error) {
	b, err := os.ReadFile(filepath.Join(d.Path, daemonFile))
	if err != nil {
		return nil, fmt.Errorf("another process holds %s, and does not say where it listens: %w", d.Path, err)
	}
	var a Daemon
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(d.Path, daemonFile), err)
	}
	return &a, nil
}

// AdminToken returns the secret of the first token.
func (d *Dir) AdminToken() (string, error) {
	b, err := os.ReadFile(d.AdminTokenPath())
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
