package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/inspect"
	"ledgerd/internal/wholefile"
	"ledgerd/ledger/tlog"
)

// stateFile is what verify log and verify watch go on from. docs/verify.md describes
// the file. Version 1 has a tree head, and nothing to go on from.
type stateFile struct {
	Version  string       `json:"state"` // "v2"
	Origin   string       `json:"origin"`
	Head     string       `json:"head"` // signed note: proof, should the log ever say otherwise
	Size     uint64       `json:"size"`
	Root     string       `json:"root"`     // base64, as in the head
	Extended string       `json:"extended"` // RFC 3339: when the log was seen to be longer
	Tiles    [][]string   `json:"tiles"`    // base64url; by level, the hashes of the tile that is not full
	Kept     []keptWire   `json:"kept"`     // rising
	Closed   []byte       `json:"closed"`   // 16 bytes of each run that is closed
	Signed   []signedWire `json:"signed"`
}

type keptWire struct {
	Index uint64      `json:"index"`
	ID    evidence.ID `json:"id"`
}

type signedWire struct {
	Key   evidence.Digest `json:"key"`
	Index uint64          `json:"index"`
	ID    evidence.ID     `json:"id"`
}

// maxState bounds a state file, in bytes: some millions of records of open runs, and
// of closed runs.
const maxState = 256 << 20

// readState reads what an earlier audit left, and when that saw the log grow; nil at
// the first time. audit.Follow holds it to its tree head, and that to the trust file:
// it counts for no more than what is signed.
func readState(path string, trust *bundle.Trust) (*audit.LogState, time.Time, error) {
	if path == "" {
		return nil, time.Time{}, nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	b, err := readSmall(path, maxState)
	if err != nil {
		return nil, time.Time{}, err
	}
	bad := func(err error) (*audit.LogState, time.Time, error) {
		return nil, time.Time{}, inputError{fmt.Errorf("%s: expected the state of an earlier verify log or verify watch: %w", path, err)}
	}
	var w stateFile
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return bad(err)
	}
	h, err := trust.OpenHead([]byte(w.Head))
	if h == nil || err != nil && !errors.Is(err, bundle.ErrQuorum) {
		return bad(fmt.Errorf("a tree head that the trust file accepts: %w", err))
	}
	if w.Version == "v1" {
		return &audit.LogState{Origin: h.Ledger.Origin(), Size: h.Size, Root: h.Root, Head: h.Note}, time.Time{}, nil
	}
	if w.Version != "v2" {
		return bad(fmt.Errorf("expected \"state\":\"v2\", found %s", strconv.Quote(w.Version)))
	}
	extended, err := time.Parse(time.RFC3339, w.Extended)
	if err != nil {
		return bad(err)
	}
	st := &audit.LogState{Origin: w.Origin, Size: w.Size, Head: []byte(w.Head), Tiles: [][]tlog.Hash{}}
	if st.Root, err = tlog.ParseHash(w.Root); err != nil {
		return bad(err)
	}
	for _, row := range w.Tiles {
		hashes := make([]tlog.Hash, 0, len(row))
		for _, text := range row {
			h, err := base64.RawURLEncoding.Strict().DecodeString(text)
			if err != nil || len(h) != tlog.HashSize {
				return bad(errors.New("a hash that is none"))
			}
			hashes = append(hashes, tlog.Hash(h))
		}
		st.Tiles = append(st.Tiles, hashes)
	}
	for _, k := range w.Kept {
		st.Kept = append(st.Kept, audit.Kept(k))
	}
	if len(w.Closed)%16 != 0 {
		return bad(errors.New("runs of another length than 16 bytes"))
	}
	for b := w.Closed; len(b) > 0; b = b[16:] {
		st.Closed = append(st.Closed, [16]byte(b))
	}
	for _, s := range w.Signed {
		st.Signed = append(st.Signed, audit.Signed(s))
	}
	return st, extended, nil
}

func writeState(path string, st *audit.LogState, extended time.Time) error {
	if !st.Resumable() {
		return writeHead(path, st)
	}
	w := stateFile{
		Version: "v2", Origin: st.Origin, Size: st.Size, Root: st.Root.String(), Head: string(st.Head),
		Extended: extended.UTC().Format(time.RFC3339), Tiles: [][]string{}, Kept: []keptWire{}, Signed: []signedWire{},
	}
	for _, row := range st.Tiles {
		w.Tiles = append(w.Tiles, inspect.EncodeNodes(row))
	}
	for _, k := range st.Kept {
		w.Kept = append(w.Kept, keptWire(k))
	}
	for _, run := range st.Closed {
		w.Closed = append(w.Closed, run[:]...)
	}
	for _, s := range st.Signed {
		w.Signed = append(w.Signed, signedWire(s))
	}
	b, err := json.Marshal(&w)
	if err == nil {
		err = wholefile.Write(path, append(b, '\n'), true)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeHead writes a state that is a tree head alone.
func writeHead(path string, st *audit.LogState) error {
	b, err := json.Marshal(map[string]string{"state": "v1", "origin": st.Origin, "head": string(st.Head)}, json.Deterministic(true))
	if err == nil {
		err = wholefile.Write(path, append(b, '\n'), true)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
