package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/wholefile"
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
	b, err := json.MarshalIndent(&stateFile{Version: "v1", Origin: s.Origin, Head: string(s.Head)}, "", "  ")
	if err != nil {
		return err
	}
	if err := wholefile.Write(path, append(b, '\n'), true); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
