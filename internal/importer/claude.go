package importer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/internal/claudecode"
)

// A session file of Claude Code (~/.claude/projects/…/SESSION.jsonl): a JSON object
// a line, written as the session goes on. Lines of the types user and assistant hold
// messages of Anthropic's form; those with isSidechain are of agents that the session
// started. All others are notes of the program's own.
//
// The order is the file's. uuid and parentUuid tell which message came after which
// where the user went back to an earlier one; what was done on a way that was left
// was done all the same.

// Bounds of a run, which is held while it is imported, and of a file of which all is
// held, because its runs lie among each other. Tests have smaller ones.
var maxRun, maxHeld = MaxLine, 4 * MaxLine

// sessions reads the runs of a session file.
type sessions struct {
	in    *Reader
	actor string
	runs  []*session // nil until the file was read
	read  bool
}

// session is the lines of one run.
type session struct {
	id    string
	line  int // the first
	lines [][]byte
	size  int
}

// lineOverhead is what a line that is held costs besides its bytes.
const lineOverhead = 64

// Next implements [Transcripts].
func (s *sessions) Next() (*Transcript, error) {
	if !s.read {
		if err := s.gather(); err != nil {
			return nil, err
		}
		s.read = true
	}
	if len(s.runs) == 0 {
		return nil, io.EOF
	}
	run := s.runs[0]
	s.runs[0], s.runs = nil, s.runs[1:]
	t, err := run.transcript(s.actor)
	if err != nil {
		return nil, &LineError{run.line, err}
	}
	t.Line = run.line
	return t, nil
}

// gather reads all lines, and puts each to its session. One that names none is of
// the session around it: notes stand in front of a session, too.
func (s *sessions) gather() error {
	byID := make(map[string]*session)
	var before [][]byte // of no session yet
	var last *session
	held := 0
	for {
		line, err := s.in.readLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if held += len(line) + lineOverhead; held > maxHeld {
			return &LineError{s.in.line, fmt.Errorf("want at most %d MiB in a file, found more: import its sessions one by one", maxHeld>>20)}
		}
		o, _ := parseObject(line)
		if id := o.str("sessionId"); isIdentifier(id) {
			if last = byID[id]; last == nil {
				last = &session{id: id, line: s.in.line}
				byID[id] = last
				s.runs = append(s.runs, last)
			}
		}
		if last == nil {
			before = append(before, line)
			continue
		}
		if last.size += len(line) + lineOverhead; last.size > maxRun {
			return &LineError{s.in.line, fmt.Errorf("want at most %d MiB in a session, found more", maxRun>>20)}
		}
		last.lines = append(last.lines, line)
	}
	if len(s.runs) == 0 && len(before) > 0 {
		var all []byte
		for _, x := range before {
			all = append(append(all, x...), '\n')
		}
		s.runs = []*session{{id: digestName(all), line: 1, lines: before}}
	} else if len(before) > 0 {
		s.runs[0].lines = append(before, s.runs[0].lines...)
	}
	return nil
}

// claudeLine is what every line has of itself and its place: it is read, or names
// other lines and says nothing of what was done.
var claudeLine = []string{
	"type", "message", "timestamp", "toolUseResult", "isSidechain", "isMeta", "isCompactSummary", "isVisibleInTranscriptOnly",
	"uuid", "parentUuid", "logicalParentUuid", "sessionId", "session_id", "agentId", "requestId", "sourceToolUseID", "sourceToolAssistantUUID",
}

// claudeSession is what lines say of the session: kept when it changes.
var claudeSession = []string{"cwd", "version", "gitBranch", "userType", "entrypoint", "permissionMode", "slug"}

// claudeReader makes a run of a session's lines.
type claudeReader struct {
	*conversation
	alone   bool                         // all lines are of one subagent: its conversation is the run's
	seen    map[string][sha256.Size]byte // of each uuid, its line
	about   string                       // what the session was last said to be
	turns   map[string]*turn             // of each thread, the message that is being said
	refused map[string][]int             // of each thread, answers that say that a call was rejected, since the agent last spoke
}

// turn is one message of the model, which stands in a line for each of its blocks.
type turn struct {
	id     string
	at     int // index of the message
	blocks map[[sha256.Size]byte]bool
	raws   []jsontext.Value
	said   []byte
	calls  []Call
}

func (s *session) transcript(actor string) (*Transcript, error) {
	r := &claudeReader{
		conversation: newConversation(actor), seen: make(map[string][sha256.Size]byte),
		turns: make(map[string]*turn), refused: make(map[string][]int),
	}
	r.t.ID = s.id
	if agent := s.onlySidechain(); agent != "" && isIdentifier(s.id+"/"+agent) {
		r.t.ID, r.alone = s.id+"/"+agent, true // a file of its own, beside the session's
	}
	for _, x := range s.lines {
		r.line(x)
	}
	for thread := range r.turns {
		r.end(thread)
	}
	return r.finish()
}

// onlySidechain returns the one agent whose lines these are, "" where there is a
// line of the session itself.
func (s *session) onlySidechain() string {
	agent := ""
	for _, x := range s.lines {
		o, _ := parseObject(x)
		id := o.str("agentId")
		if !o.is("isSidechain") || id == "" || agent != "" && agent != id {
			return ""
		}
		agent = id
	}
	return agent
}

func (r *claudeReader) line(raw []byte) {
	o, err := parseObject(raw)
	if err != nil {
		r.keep(Message{}, "line", raw)
		return
	}
	m := Message{}
	if at, err := (object{"time": o["timestamp"]}).time(); err == nil {
		m.At = at
	} else {
		r.keep(m, "timestamp", o["timestamp"])
	}
	if o.is("isSidechain") && !r.alone {
		m.Thread = "sidechain/" + o.str("agentId")
	}
	if id := o.str("uuid"); id != "" {
		sum := sha256.Sum256(raw)
		if r.seen[id] == sum {
			r.count("repeated")
			return
		}
		r.seen[id] = sum
	}
	r.session(m, o)
	message, err := parseObject(o["message"])
	switch kind := o.str("type"); {
	case kind == "assistant" && err == nil && message.str("role") == "assistant":
		r.assistant(m, message, o["message"])
		r.keepRest(m, "line", o, append(claudeLine, claudeSession...)...)
	case kind == "user" && err == nil && message.str("role") == "user":
		r.user(m, o, message)
		r.keepRest(m, "line", o, append(claudeLine, claudeSession...)...)
	case kind == "system" && o.str("subtype") != "":
		r.keep(m, o.str("subtype"), raw)
	default:
		r.keep(m, kind, raw)
	}
}

// session keeps what a line says of the session around it, where that changed.
func (r *claudeReader) session(m Message, o object) {
	about := make(object)
	for _, name := range claudeSession {
		if v := o[name]; v != nil && v.Kind() != 'n' {
			about[name] = v
		}
	}
	if now := string(about.marshal()); len(about) > 0 && now != r.about {
		r.about = now
		r.keep(m, "session", []byte(now))
	}
}

// assistant adds what the model said. Consecutive lines of one message are one
// decision; a block that stands in several of them is there once, for streams
// repeat themselves.
func (r *claudeReader) assistant(m Message, o object, raw jsontext.Value) {
	m.Model = modelName(o.str("model"))
	delete(r.refused, m.Thread)
	id, now := o.str("id"), r.turns[m.Thread]
	if now == nil || id == "" || now.id != id {
		r.end(m.Thread)
		now = &turn{id: id, at: len(r.t.Messages), blocks: make(map[[sha256.Size]byte]bool)}
		r.turns[m.Thread] = now
		r.speak(m, nil, nil, nil)
	}
	content := o["content"]
	if blocks, err := parseArray(content); err == nil {
		var fresh []jsontext.Value
		for _, b := range blocks {
			if sum := sha256.Sum256(b); !now.blocks[sum] {
				now.blocks[sum] = true
				fresh = append(fresh, b)
			}
		}
		if len(fresh) == 0 && len(blocks) > 0 {
			r.count("repeated")
			return
		}
		content = array(fresh)
	}
	text, calls := r.blocksSaid(content)
	if text != nil {
		now.said = append(now.said, *text...)
	}
	for _, c := range calls {
		r.open[c.ID] = append(r.open[c.ID], callAt{now.at, len(now.calls)})
		now.calls = append(now.calls, c)
		r.t.Messages[now.at].Calls = now.calls
	}
	now.raws = append(now.raws, raw)
}

// end puts together what was said in a message's lines.
func (r *claudeReader) end(thread string) {
	now := r.turns[thread]
	if now == nil {
		return
	}
	m := &r.t.Messages[now.at]
	m.raw = list(now.raws)
	if now.said != nil {
		m.Content = &part{mediaText, now.said}
	}
	delete(r.turns, thread)
}

const claudeInterrupted = "[Request interrupted by user"

// user adds what a line of the user's side holds: results, words, and what the
// program says in the user's name.
func (r *claudeReader) user(m Message, o, message object) {
	r.end(m.Thread)
	name := "user"
	switch {
	case o.is("isCompactSummary"):
		name = "compact-summary"
	case o.is("isMeta"):
		name = "meta"
	case m.Thread != "":
		name = "sidechain"
	}
	result, _ := parseObject(o["toolUseResult"])
	answers := 0
	before := len(r.t.Messages)
	r.blocksHeard(m, name, message["content"], func(block object, content part) (evidence.Status, string) {
		answers++
		switch {
		case !block.is("is_error") && result.is("interrupted"):
			return evidence.StatusUnknown, ""
		case !block.is("is_error") && (result.str("backgroundTaskId") != "" || result.str("status") == "async_launched"):
			return evidence.StatusAccepted, ""
		case !block.is("is_error"):
			return evidence.StatusSuccess, ""
		}
		return evidence.StatusFailure, claudecode.RefusedBy(string(content.data))
	})
	for i := before; i < len(r.t.Messages); i++ {
		x := &r.t.Messages[i]
		switch {
		case x.Role == "tool" && x.Denied == "user":
			r.refused[m.Thread] = append(r.refused[m.Thread], i)
		case x.Role == name && strings.HasPrefix(string(x.Content.data), claudeInterrupted):
			// The same is written for a call that was cut off and for one that was never begun.
			for _, j := range r.refused[m.Thread] {
				r.t.Messages[j].Denied, r.t.Messages[j].status = "", evidence.StatusUnknown
			}
			delete(r.refused, m.Thread)
		}
	}
	if v := o["toolUseResult"]; v != nil && v.Kind() != 'n' {
		r.keep(m, "toolUseResult", v)
	}
	r.keepRest(m, "message", message, "role", "content")
}
