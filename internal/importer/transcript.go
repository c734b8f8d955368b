package importer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/audit"
	"ledgerd/evidence"
)

// Transcript is one run as the input gives it.
type Transcript struct {
	Line      int    // of the input, from 1
	ID        string // the transcript's own name for the run
	Actor     string // the agent
	Intent    string // what was asked
	Principal string // on whose behalf; "user" where the line does not say
	Subject   string // what it is about; may be empty
	Task      string // task type; the contract's, or "imported"
	Model     string // "unknown" where the line does not say
	Contract  jsontext.Value
	At        evidence.Time // when the run began; 0 where the line does not say
	Messages  []Message
	// Observed: the messages are the spans of a trace that this program received
	// itself, and not read from a file.
	Observed bool
	// Kept counts, by kind, what the format has and this has not. It is in Messages
	// all the same, as payloads that nothing here reads.
	Kept map[string]int
}

// members that a line may have; the first five are those of every line.
var runMembers = []string{"id", "actor", "intent", "contract", "messages", "principal", "subject", "task", "model", "time"}

// Parse reads one line. Its errors name the member that is wrong, what was
// expected and what was found.
func Parse(line []byte) (*Transcript, error) {
	o, err := parseObject(line)
	if err != nil {
		return nil, err
	}
	if err := o.onlyMembers(runMembers); err != nil {
		return nil, err
	}
	t := &Transcript{Principal: "user", Task: "imported", Model: "unknown", Kept: make(map[string]int)}
	for _, f := range []struct {
		member   string
		to       *string
		required bool
	}{
		{"id", &t.ID, true},
		{"actor", &t.Actor, true},
		{"principal", &t.Principal, false},
		{"subject", &t.Subject, false},
		{"model", &t.Model, false},
	} {
		if err := o.identifier(f.member, f.to, f.required); err != nil {
			return nil, err
		}
	}
	if t.Intent, err = o.text("intent"); err != nil {
		return nil, err
	}
	if t.At, err = o.time(); err != nil {
		return nil, err
	}
	if err := o.identifier("task", &t.Task, false); err != nil {
		return nil, err
	}
	if err := t.parseContract(o["contract"]); err != nil {
		return nil, fmt.Errorf("member contract: %w", err)
	}
	if err := t.parseMessages(o["messages"]); err != nil {
		return nil, err
	}
	return t, nil
}

// parseContract keeps the contract as it is, with what makes it a contract of
// the ledger's where it does not say so itself: its version, its task, and
// imported as the weakest source that counts. A contract that no audit could
// read is refused here, before anything of the run is recorded.
func (t *Transcript) parseContract(v jsontext.Value) error {
	if v == nil || v.Kind() == 'n' {
		return nil
	}
	o, err := parseObject(v)
	if err != nil {
		return err
	}
	if err := o.identifier("task", &t.Task, false); err != nil {
		return err
	}
	for _, d := range []struct{ member, value string }{
		{"contract", `"v1"`},
		{"task", fmt.Sprintf("%q", t.Task)},
		{"weakest_source", fmt.Sprintf("%q", evidence.SourceImported)},
	} {
		if o[d.member] == nil {
			o[d.member] = jsontext.Value(d.value)
		}
	}
	doc := jsontext.Value(o.marshal())
	if err := doc.Compact(); err != nil {
		return err
	}
	t.Contract = doc
	_, err = audit.ParseContract(doc)
	return err
}

func (t *Transcript) parseMessages(v jsontext.Value) error {
	list, err := parseArray(v)
	if err != nil {
		return fmt.Errorf("member messages: %w", err)
	}
	if len(list) == 0 {
		return errors.New("member messages: want at least one message, found none")
	}
	p := pairing{}
	c := conversation{t: t}
	for i, raw := range list {
		m, err := parseMessage(raw)
		if err == nil {
			err = p.add(len(t.Messages), m)
		}
		if err != nil {
			return fmt.Errorf("messages/%d: %w", i, err)
		}
		t.Messages = append(t.Messages, *m)
		if m.whole() {
			c.keepRest(Message{At: m.At}, "message", m.rest)
			continue
		}
		for name := range m.rest { // the record has the whole message
			c.count("message." + name)
		}
	}
	p.settle(t.Messages)
	return nil
}

// pairing finds the call that each tool message answers: an unanswered call of
// the last assistant message, by its id. Ids repeat within a run in practice,
// so an id says nothing beyond the message that it stands in.
type pairing struct {
	asked   int // index of the assistant message whose calls are being answered
	pending []string
	taken   []bool
	pairs   []pair
}

// pair is one call and its answer, as indexes of messages.
type pair struct{ message, call, answer int }

func (p *pairing) add(i int, m *Message) error {
	switch m.Role {
	case "assistant":
		p.asked, p.pending, p.taken = i, nil, make([]bool, len(m.Calls))
		for _, c := range m.Calls {
			p.pending = append(p.pending, c.ID)
		}
	case "tool":
		for j, id := range p.pending {
			if !p.taken[j] && id == m.CallID {
				p.taken[j] = true
				p.pairs = append(p.pairs, pair{p.asked, j, i})
				return nil
			}
		}
		return fmt.Errorf("member tool_call_id: want the id of a call of the assistant message before that has no result yet (%s), found %q",
			p.open(), clip(m.CallID))
	}
	return nil
}

func (p *pairing) open() string {
	var ids []string
	for j, id := range p.pending {
		if !p.taken[j] {
			ids = append(ids, fmt.Sprintf("%q", clip(id)))
		}
	}
	if ids == nil {
		return "there is none"
	}
	return strings.Join(ids, ", ")
}

func (p *pairing) settle(messages []Message) {
	for _, q := range p.pairs {
		messages[q.message].Calls[q.call].Answer = &messages[q.answer]
	}
}
