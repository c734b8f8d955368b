// Package notify tells humans that something waits for them: it runs a command, or
// calls a webhook, with exactly what would be done.
//
//	n := notify.New(notify.Config{Senders: senders, Origin: origin, Waiting: waiting, Logger: log})
//	runtime.Config{Notify: n.Notify, ...}
//	n.Start()
//	...
//	n.Close(ctx)
//
// What is told is no evidence, and nothing rests on it: what waits stands in the
// ledger. So a message may be lost, by a crash or a receiver that is away, and is
// not kept on disk. Instead what waits is read from the ledger at each start, and
// after a time when there was too much to tell, and told again; in one life of the
// process at most once to each receiver.
//
// [Notifier.Notify] never blocks: messages wait in memory, within bounds.
package notify

import (
	"context"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// Message is what a receiver gets, as one JSON object.
type Message struct {
	Type      string    `json:"type"`      // approval.waiting, or escalated
	Timestamp time.Time `json:"timestamp"` // when it was first to be told
	Data      Data      `json:"data"`
}

// The types of messages.
const (
	Waiting   = "approval.waiting" // an authorization waits for an approval
	Escalated = "escalated"        // something else needs a human
)

// Data says what it is about.
type Data struct {
	Origin string         `json:"origin"` // the ledger's name
	Run    evidence.RunID `json:"run"`
	Key    string         `json:"key,omitzero"` // of the run; not known at a start, for no record has it
	Step   string         `json:"step,omitzero"`
	// About is the record that it concerns: with approval.waiting the authorization,
	// which `ledgerd approvals approve` takes.
	About    evidence.ID `json:"about"`
	Team     string      `json:"team"`
	Reason   string      `json:"reason"`
	Action   string      `json:"action,omitzero"`
	Resource string      `json:"resource,omitzero"`
	// Input is what would be done, or may have been, to the byte: JSON, in a string,
	// for another writer of JSON might change it. InputBase64 is it where it is no
	// text.
	Input       string `json:"input,omitzero"`
	InputBase64 []byte `json:"input_base64,omitzero"`
}

// A Sender brings one message to one receiver. It returns when it has it, or no
// more is to be tried. Its errors tell no secret and nothing of the message.
type Sender interface {
	// Send sends a message. id names it: the same message has the same one, also at
	// another start.
	Send(ctx context.Context, id string, body []byte) error
	// String names the receiver, without secrets.
	String() string
}

// Config says whom to tell, and of what.
type Config struct {
	Senders []Sender
	Origin  string
	// Waiting yields what waits, as the ledger has it. nil: nothing is told again.
	Waiting func(ctx context.Context) iter.Seq2[runtime.Notice, error]
	Logger  *slog.Logger // slog.Default if nil
	Now     func() time.Time

	Workers int // messages on their way to one receiver at a time: 4 if 0
	Queue   int // messages that wait for one: 256 if 0
	Bytes   int // of them: 32 MiB if 0
}

// Notifier tells several receivers, none of which waits for another. A nil one tells
// nobody.
type Notifier struct {
	cfg   Config
	lanes []*lane
	ctx   context.Context // of what is on its way
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// maxTold is of how many messages it is known that they were told.
const maxTold = 1 << 16

// lane is the way to one receiver.
type lane struct {
	*Notifier
	to     Sender
	rescan chan struct{} // has one where what waits is to be told

	mu     sync.Mutex
	some   *sync.Cond      // the queue is not empty, or has room, or it is over
	told   map[string]bool // handed to the sender or about to be; guarded by mu, like the rest
	order  []string        // of told, the oldest first
	queue  []message
	bytes  int
	missed bool // there was too much to tell
	over   bool
}

type message struct {
	id   string
	body []byte
}

// New returns a notifier that tells nobody yet.
func New(cfg Config) *Notifier {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	orElse := func(n *int, other int) {
		if *n <= 0 {
			*n = other
		}
	}
	orElse(&cfg.Workers, 4)
	orElse(&cfg.Queue, 256)
	orElse(&cfg.Bytes, 32<<20)
	n := &Notifier{cfg: cfg}
	n.ctx, n.stop = context.WithCancel(context.Background())
	for _, to := range cfg.Senders {
		l := &lane{Notifier: n, to: to, told: make(map[string]bool), rescan: make(chan struct{}, 1)}
		l.some = sync.NewCond(&l.mu)
		n.lanes = append(n.lanes, l)
	}
	return n
}

// Start begins to tell: what waits by the ledger, and what the runtime told of since
// New. Close ends it.
func (n *Notifier) Start() {
	if n == nil {
		return
	}
	for _, l := range n.lanes {
		for range n.cfg.Workers {
			n.done.Go(func() { l.work(n.ctx) })
		}
		if n.cfg.Waiting != nil {
			rescan := l.rescan
			rescan <- struct{}{}
			n.done.Go(func() { l.scan(n.ctx, rescan) })
		}
	}
}

// Notify is [runtime.Config]'s Notify. It does not block. What there is no room for
// is read from the ledger when there is.
func (n *Notifier) Notify(notice runtime.Notice) {
	if n == nil {
		return
	}
	for _, l := range n.lanes {
		l.put(notice, false)
	}
}

// Close stops. What is on its way may arrive until ctx ends; what waits to be told
// is not told by this process any more.
func (n *Notifier) Close(ctx context.Context) {
	if n == nil {
		return
	}
	for _, l := range n.lanes {
		l.mu.Lock()
		l.over, l.queue = true, nil
		l.some.Broadcast()
		close(l.rescan)
		l.rescan = nil
		l.mu.Unlock()
	}
	defer n.stop()
	done := make(chan struct{})
	go func() {
		n.done.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		n.stop()
		<-done
	}
}

// idOf names a message: it is about that record, for that reason. There is no dot
// in it, which separates it from what is signed after it.
func idOf(n *runtime.Notice) string {
	return n.Authorization.String() + "-" + strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
			return c
		}
		return '-'
	}, n.Reason)
}

// approval is the reason of notices about authorizations that wait.
const approval = "approval"

func (n *Notifier) bodyOf(notice *runtime.Notice) ([]byte, error) {
	m := Message{Type: Escalated, Timestamp: n.cfg.Now().UTC(), Data: Data{
		Origin: n.cfg.Origin, Run: notice.Run, Key: notice.Key, Step: notice.Step, About: notice.Authorization, Team: notice.Team,
		Reason: notice.Reason, Action: notice.Action, Resource: notice.Resource,
	}}
	if notice.Reason == approval {
		m.Type = Waiting
	}
	if utf8.Valid(notice.Input) {
		m.Data.Input = string(notice.Input)
	} else {
		m.Data.InputBase64 = notice.Input
	}
	return json.Marshal(m)
}

// put lets a message wait for a worker, unless it was told. Where there is no room,
// it waits for some itself, or leaves it to a scan.
func (l *lane) put(notice runtime.Notice, wait bool) {
	id := idOf(&notice)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.told[id] {
		return
	}
	body, err := l.bodyOf(&notice)
	if err != nil {
		l.cfg.Logger.Error("a human is not told", "about", notice.Authorization, "error", err)
		return
	}
	for len(l.queue) >= l.cfg.Queue || l.bytes > 0 && l.bytes+len(body) > l.cfg.Bytes {
		if !wait {
			l.missed = true
			return
		}
		if l.some.Wait(); l.over || l.told[id] {
			return
		}
	}
	l.told[id] = true
	if l.order = append(l.order, id); len(l.order) > maxTold {
		delete(l.told, l.order[0])
		l.order = l.order[1:]
	}
	l.queue, l.bytes = append(l.queue, message{id, body}), l.bytes+len(body)
	l.some.Broadcast()
}

// take returns the next message, false where it is over.
func (l *lane) take() (message, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.over {
		if l.missed {
			l.missed = false
			l.cfg.Logger.Warn("there was too much to tell at a time: what waits is read from the ledger again", "to", l.to)
			select {
			case l.rescan <- struct{}{}:
			default:
			}
		}
		l.some.Wait()
	}
	if l.over {
		return message{}, false
	}
	m := l.queue[0]
	l.queue, l.bytes = l.queue[1:], l.bytes-len(m.body)
	l.some.Broadcast() // there is room
	return m, true
}

// work brings messages to the receiver. One that cannot be brought is told again at
// the next start, if it still waits then.
func (l *lane) work(ctx context.Context) {
	for {
		m, ok := l.take()
		if !ok {
			return
		}
		if err := l.to.Send(ctx, m.id, m.body); err != nil {
			l.cfg.Logger.Error("a human was not told", "to", l.to, "message", m.id, "error", err)
		} else {
			l.cfg.Logger.Debug("told", "to", l.to, "message", m.id)
		}
	}
}

// scan tells what waits by the ledger, when it is asked to.
func (l *lane) scan(ctx context.Context, rescan <-chan struct{}) {
	for range rescan {
		for notice, err := range l.cfg.Waiting(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					l.cfg.Logger.Error("what waits for humans cannot be read", "to", l.to, "error", err)
				}
				break
			}
			l.put(notice, true)
			l.mu.Lock()
			over := l.over
			l.mu.Unlock()
			if over {
				return
			}
		}
	}
}
