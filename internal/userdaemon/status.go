package userdaemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/internal/userdaemon/place"
)

// Status is what there is to know of a user's daemon.
type Status struct {
	Running bool   `json:"running"`
	Home    string `json:"home"`
	Socket  string `json:"socket"`
	PID     int    `json:"pid,omitempty"`
	Version string `json:"version,omitempty"` // the program's that runs
	DataDir string `json:"data_dir"`
	Origin  string `json:"origin,omitempty"`
	Records uint64 `json:"records,omitempty"` // in the log, as far as a running daemon tells
	Log     string `json:"log"`
	LogSize int64  `json:"log_bytes"`
	// Agents are those that a token is kept for.
	Agents []string `json:"agents"`
}

// Status looks, and starts nothing. Where the daemon answers and is not as it should be,
// the error says why.
func (h *Home) Status(ctx context.Context) (*Status, error) {
	s := &Status{Home: h.Path, Socket: h.Socket, DataDir: h.DataDir(), Log: h.file("daemon.log"), Agents: []string{}}
	if dir, err := h.dir(); err == nil {
		s.Origin = dir.Origin
	}
	if info, err := os.Stat(s.Log); err == nil {
		s.LogSize = info.Size()
	}
	files, err := os.ReadDir(h.file("tokens"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), place.AgentToken)
		if !ok {
			name, ok = strings.CutSuffix(f.Name(), place.GatewayToken)
		}
		if agent, err := url.PathUnescape(name); ok && err == nil && !slices.Contains(s.Agents, agent) {
			s.Agents = append(s.Agents, agent)
		}
	}
	health, err := h.ready(ctx)
	if absent(err) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.Running, s.Records, s.Version = true, health.Size, h.version(ctx)
	if a, err := h.announced(); err == nil {
		s.PID = a.PID
	}
	return s, nil
}

// version returns the version of the program that runs, as its OpenAPI document has it.
func (h *Home) version(ctx context.Context) string {
	var doc struct {
		Info struct {
			Version string `json:"version"`
		} `json:"info"`
	}
	transport := h.transport()
	defer transport.CloseIdleConnections()
	if err := get(ctx, transport, api.PathOpenAPI, &doc); err != nil || doc.Info.Version == "" {
		return "of unknown version"
	}
	return doc.Info.Version
}

// announced is where the daemon says that it listens, if it is still there.
func (h *Home) announced() (*datadir.Daemon, error) {
	dir, err := h.dir()
	if err != nil {
		return nil, err
	}
	return dir.Daemon()
}

// alive reports whether there is a process of that ID, which has not ended.
func alive(pid int) bool {
	_, err := look(pid)
	return !errors.Is(err, errGone)
}

// stopFor is how long a daemon has to end: what is under way has its time (--grace).
const stopFor = 30 * time.Second

// Stop stops the daemon, as a signal does it, and returns when it has ended. false: there
// was none. A client that is at work starts the next one.
func (h *Home) Stop(ctx context.Context) (bool, error) {
	if _, err := os.Stat(h.Path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	unlock, err := h.lock(ctx, "lock")
	if err != nil {
		return false, err
	}
	defer unlock()
	// What answers at the socket has written daemon.json before, and removes it when it ends.
	if _, err := h.ready(ctx); err != nil {
		if absent(err) {
			return false, nil
		}
		return false, err
	}
	a, err := h.announced()
	if err != nil {
		return false, err
	}
	if err := terminate(a.PID); err != nil {
		return false, fmt.Errorf("the daemon, process %d: %w", a.PID, err)
	}
	for over := time.Now().Add(stopFor); alive(a.PID); {
		if time.Now().After(over) {
			return false, fmt.Errorf("the daemon, process %d, was told to end, and has not within %s: %s says why", a.PID, stopFor, h.file("daemon.log"))
		}
		if err := pause(ctx); err != nil {
			return false, err
		}
	}
	return true, nil
}
