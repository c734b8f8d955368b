package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ledgerd/audit"
	"ledgerd/bundle"
)

// stateFile is what verify log remembers between two audits of a log: the tree
// head that it accepted, whole, so that it is proof should the log ever say
// otherwise. docs/verify.md describes the file.
type stateFile struct {
	Version string `json:"state"` // "v1"
	Origin  string `json:"origin"`
	Head    string `json:"head"` // signed note
}

const maxState = 1 << 20

// readState reads the state that an earlier audit left; nil at the first time.
// The head in it is verified again: it counts for no more than what is signed.
func readState(path string, trust *bundle.Trust) (*audit.LogState, error) {
	if path == "" {
		return nil, nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	b, err := readSmall(path, maxState)
	if err != nil {
		return nil, err
	}
	var s stateFile
	if err := json.Unmarshal(b, &s); err != nil || s.Version != "v1" {
		return nil, inputError{fmt.Errorf("%s: expected the state of an earlier audit, which begins with {\"state\":\"v1\"", path)}
	}
	h, err := trust.OpenHead([]byte(s.Head))
	if h == nil || err != nil && !errors.Is(err, bundle.ErrQuorum) {
		return nil, inputError{fmt.Errorf("%s: expected a tree head that the trust file accepts: %w", path, err)}
	}
	return &audit.LogState{Origin: h.Ledger.Origin(), Size: h.Size, Root: h.Root, Head: h.Note}, nil
}

func writeState(path string, s *audit.LogState) error {
	return writeJSON(path, &stateFile{Version: "v1", Origin: s.Origin, Head: string(s.Head)})
}

// proofFile keeps pairs of signed tree heads that cannot both be true.
type proofFile struct {
	Version      string      `json:"proof"` // "v1"
	Origin       string      `json:"origin"`
	Equivocation [][2]string `json:"equivocation"`
}

// writeProof keeps both tree heads beside the state, under a name that no other
// proof has, and returns it.
func writeProof(statePath, origin string, pairs [][2][]byte) (string, error) {
	p := proofFile{Version: "v1", Origin: origin}
	for _, pair := range pairs {
		p.Equivocation = append(p.Equivocation, [2]string{string(pair[0]), string(pair[1])})
	}
	for n := 1; ; n++ {
		path := fmt.Sprintf("%s.proof-%d", statePath, n)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		return path, writeJSON(path, &p)
	}
}

// writeJSON replaces a file in one step: a crash leaves the old one or the new
// one.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone once it was renamed
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
