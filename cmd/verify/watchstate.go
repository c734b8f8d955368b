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
	"ledgerd/evidence"
	"ledgerd/internal/wholefile"
	"ledgerd/ledger/tlog"
)

// watchState is what verify watch goes on from. docs/verify.md describes the file.
type watchState struct {
	Version  string     `json:"watch"` // "v1"
	Head     string     `json:"head"`  // signed note
	Origin   string     `json:"origin"`
	Size     uint64     `json:"size"`
	Root     string     `json:"root"`     // base64, as in the head
	Extended string     `json:"extended"` // RFC 3339: when the log was seen to be longer
	Tiles    [][]string `json:"tiles"`    // base64url; by level, the hashes of the tile that is not full
	Kept     []keptWire `json:"kept"`     // rising
}

type keptWire struct {
	Index uint64      `json:"index"`
	ID    evidence.ID `json:"id"`
}

// maxWatchState bounds a state file, in bytes: some millions of records of open runs.
const maxWatchState = 256 << 20

// readWatchState reads what an earlier watch left; nil at the first time. audit.Follow
// holds it to its tree head.
func readWatchState(path string) (*audit.FollowState, time.Time, error) {
	if path == "" {
		return nil, time.Time{}, nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	b, err := readSmall(path, maxWatchState)
	if err != nil {
		return nil, time.Time{}, err
	}
	bad := func(err error) (*audit.FollowState, time.Time, error) {
		return nil, time.Time{}, inputError{fmt.Errorf("%s: expected the state of an earlier verify watch: %w", path, err)}
	}
	var w watchState
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return bad(err)
	}
	if w.Version != "v1" {
		return bad(fmt.Errorf("expected \"watch\":\"v1\", found %s", strconv.Quote(w.Version)))
	}
	extended, err := time.Parse(time.RFC3339, w.Extended)
	if err != nil {
		return bad(err)
	}
	st := &audit.FollowState{LogState: audit.LogState{Origin: w.Origin, Size: w.Size, Head: []byte(w.Head)}}
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
	return st, extended, nil
}

func writeWatchState(path string, st *audit.FollowState, extended time.Time) error {
	w := watchState{
		Version: "v1", Origin: st.Origin, Size: st.Size, Root: st.Root.String(), Head: string(st.Head),
		Extended: extended.UTC().Format(time.RFC3339), Tiles: [][]string{}, Kept: []keptWire{},
	}
	for _, row := range st.Tiles {
		w.Tiles = append(w.Tiles, encodeNodes(row))
	}
	for _, k := range st.Kept {
		w.Kept = append(w.Kept, keptWire(k))
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
