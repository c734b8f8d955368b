package userdaemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"ledgerd/internal/agent"
	"ledgerd/internal/userdaemon/place"
	"ledgerd/internal/wholefile"
)

// A Session is what an agent does from its start to its end, as one of the programs
// knows it that it starts meanwhile.
type Session struct {
	Home  string // "": as the environment says
	Agent string
	// Key is the key of the session's run, where the user says so; "": LEDGERD_RUN.
	Key string
	// ID is the agent's own name of the session, where it is known, as hooks know it.
	// Whoever comes later from the same process and knows none, joins that one's run.
	ID string
}

// SessionRun returns the key of the run of a session: the same to every program that one
// agent starts, also after a restart of the daemon. A run is opened by it with OpenRun.
//
// The session is the process of the agent: the nearest ancestor of this process that is
// no shell and no other launcher. An agent whose session goes on in another process, or
// begins anew in the same one, says so by another ID.
func SessionRun(ctx context.Context, s Session) (string, error) {
	if s.Key == "" {
		s.Key = os.Getenv("LEDGERD_RUN")
	}
	if s.Key != "" {
		if err := agent.CheckKey(s.Key); err != nil {
			return "", fmt.Errorf("the run of the session (LEDGERD_RUN): %w", err)
		}
		return s.Key, nil
	}
	if s.ID == "" {
		if run := runHere(s); run != "" {
			return run, nil
		}
	}
	b, unlock, err := openBook(ctx, s)
	if err != nil {
		return "", err
	}
	defer unlock()
	return b.run(s)
}

// runHere reads the run of the session that the agent's process is in, as it stands in
// the book; "": none is there. A gateway asks before each call.
func runHere(s Session) string {
	h, err := Find(s.Home)
	if err != nil || place.Private(h.Path) != nil {
		return ""
	}
	of, err := agentOf(os.Getpid(), look)
	if err != nil {
		return ""
	}
	b := &book{home: h, of: of, world: world()}
	if here, err := b.read(b.byProcess(s.Agent)); err == nil && here != nil {
		return here.Run
	}
	return ""
}

// Process names the process of the agent that this program belongs to: the same to all
// programs that it starts, and as no other process is named.
func Process() (string, error) {
	of, err := agentOf(os.Getpid(), look)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(of.pid, " ", of.start, " ", world()), nil
}

// EndSession forgets a session that has ended: who comes later gets another run. A
// session that nobody ends is forgotten when its process has ended.
func EndSession(ctx context.Context, s Session) error {
	b, unlock, err := openBook(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	return b.end(s)
}

// keepID is how long the run of a session ID is kept that nobody named since: agents
// take sessions up again.
const keepID = 30 * 24 * time.Hour

// A book has the runs of sessions, a file each, by the agent and its process, and by the
// agent and its ID of the session. Whoever has it has the lock on it.
type book struct {
	home  *Home
	of    *process // the agent's
	world string
	now   time.Time
}

// A page is one file of the book.
type page struct {
	Run   string `json:"run"`
	Agent string `json:"agent"`
	ID    string `json:"id,omitempty"` // the agent's own of the session
	PID   int    `json:"pid,omitempty"`
	Start string `json:"start,omitempty"` // of the process; with World no other has the same
	World string `json:"world,omitempty"`
	Name  string `json:"process,omitempty"`
}

func openBook(ctx context.Context, s Session) (*book, func(), error) {
	h, err := Find(s.Home)
	if err != nil {
		return nil, nil, err
	}
	if err := h.make(); err != nil {
		return nil, nil, err
	}
	of, err := agentOf(os.Getpid(), look)
	if err != nil {
		return nil, nil, fmt.Errorf("the agent whose session this is cannot be told: %w: set LEDGERD_RUN", err)
	}
	if err := os.MkdirAll(h.file("sessions"), 0o700); err != nil {
		return nil, nil, err
	}
	unlock, err := h.lock(ctx, "sessions", "lock")
	if err != nil {
		return nil, nil, err
	}
	return &book{home: h, of: of, world: world(), now: time.Now()}, unlock, nil
}

// run finds the run of a session, or makes one up.
func (b *book) run(s Session) (string, error) {
	if err := b.tidy(); err != nil {
		return "", err
	}
	mine := page{Agent: s.Agent, PID: b.of.pid, Start: b.of.start, World: b.world, Name: b.of.name, ID: s.ID}
	here, err := b.read(b.byProcess(s.Agent))
	if err != nil {
		return "", err
	}
	if s.ID == "" && here != nil {
		return here.Run, nil
	}
	var named *page
	if s.ID != "" {
		if named, err = b.read(b.byID(s)); err != nil {
			return "", err
		}
	}
	switch {
	case named != nil:
		mine.Run = named.Run
	case here != nil && here.ID == "":
		mine.Run = here.Run // it was there before its name
	default:
		var key [16]byte
		rand.Read(key[:]) // never fails: it ends the process instead
		mine.Run = "session-" + hex.EncodeToString(key[:])
	}
	if s.ID != "" {
		if err := b.write(b.byID(s), page{Run: mine.Run, Agent: s.Agent, ID: s.ID}); err != nil {
			return "", err
		}
	}
	return mine.Run, b.write(b.byProcess(s.Agent), mine)
}

func (b *book) end(s Session) error {
	here, err := b.read(b.byProcess(s.Agent))
	if err != nil {
		return err
	}
	if here != nil && (s.ID == "" || here.ID == "" || here.ID == s.ID) {
		if s.ID == "" {
			s.ID = here.ID
		}
		if err := remove(b.byProcess(s.Agent)); err != nil {
			return err
		}
	}
	if s.ID == "" {
		return nil
	}
	return remove(b.byID(s))
}

// tidy removes what is of no use any more: of processes that have ended, and of session
// IDs that nobody named in a long time.
func (b *book) tidy() error {
	files, err := os.ReadDir(b.home.file("sessions"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		path := b.home.file("sessions", f.Name())
		p, err := b.read(path)
		if err != nil {
			return err
		}
		info, err := f.Info()
		if err != nil || p == nil {
			continue
		}
		old := b.now.Sub(info.ModTime()) > keepID
		if p.PID != 0 && p.World == b.world { // of another one, it cannot be told
			now, err := look(p.PID)
			old = errors.Is(err, errGone) || err == nil && now.start != p.Start
		}
		if old {
			if err := remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *book) byProcess(agent string) string {
	return place.Session(b.home.Path, "process", agent, fmt.Sprint(b.of.pid), b.of.start, b.world)
}

func (b *book) byID(s Session) string { return place.Session(b.home.Path, "id", s.Agent, s.ID) }

// read returns a page, nil where there is none.
func (b *book) read(path string) (*page, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := new(page)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: want what this program writes there: %w: remove it", path, err)
	}
	if err := agent.CheckKey(p.Run); err != nil {
		return nil, fmt.Errorf("%s: %w: remove it", path, err)
	}
	return p, nil
}

func (b *book) write(path string, p page) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return wholefile.Write(path, append(text, '\n'), true)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
