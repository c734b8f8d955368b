package overa2a

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
	"ledgerd/handoff"
)

// URI names the extension: on an agent's card, in the A2A-Extensions header, and as
// the key of a task's metadata.
const URI = "urn:ledgerd:a2a:handoff:v1"

// Media is the media type of the extension's parts.
const Media = "application/vnd.ledgerd.handoff+json"

// MaxRequest is the size in bytes of the largest request that a receiver has to read:
// the largest bundle as a JSON string, twice as long at most, and what is around it.
// A server bounds its bodies by it (http.MaxBytesHandler).
const MaxRequest = 2*handoff.MaxBundle + 1<<20

// ArtifactID is that of the task's artifact which holds the acceptance.
const ArtifactID a2a.ArtifactID = "handoff-acceptance"

// The members of a part.
const (
	version          = "v1"
	memberVersion    = "handoff"
	memberOffer      = "offer"
	memberAcceptance = "acceptance"
	memberRefused    = "refused"
)

// Message returns a message that begins a task: it hands over what a bundle about an
// offer shows, and has other parts beside it, which nobody verifies.
func Message(bundle []byte, parts ...*a2a.Part) (*a2a.Message, error) {
	part, err := bundlePart(memberOffer, bundle)
	if err != nil {
		return nil, err
	}
	m := a2a.NewMessage(a2a.MessageRoleUser, append([]*a2a.Part{part}, parts...)...)
	m.Extensions = []string{URI}
	return m, nil
}

func newPart(member string, value any) *a2a.Part {
	p := a2a.NewDataPart(map[string]any{memberVersion: version, member: value})
	p.MediaType = Media
	return p
}

func bundlePart(member string, bundle []byte) (*a2a.Part, error) {
	if !utf8.Valid(bundle) {
		return nil, fmt.Errorf("a2a: want a bundle, which is UTF-8, found %d bytes that are not", len(bundle))
	}
	return newPart(member, string(bundle)), nil
}

// handed returns the extension's parts among others.
func handed(parts a2a.ContentParts) []*a2a.Part {
	var found []*a2a.Part
	for _, p := range parts {
		if p != nil && p.MediaType == Media {
			found = append(found, p)
		}
	}
	return found
}

// member returns the one member of a part's data beside its version.
func member(p *a2a.Part, name string) (any, error) {
	data, ok := p.Data().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("want a data part that is an object, found %T", p.Content)
	}
	if data[memberVersion] != version {
		return nil, fmt.Errorf("want the version %q, found %v", version, data[memberVersion])
	}
	value, ok := data[name]
	if !ok || len(data) != 2 {
		return nil, fmt.Errorf("want the members %s and %s alone, found %d members", memberVersion, name, len(data))
	}
	return value, nil
}

// text is member of one that is a string.
func text(p *a2a.Part, name string) (string, error) {
	value, err := member(p, name)
	if err != nil {
		return "", err
	}
	s, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("want %s to be a string, found %T", name, value)
	}
	return s, nil
}

// offered returns the bundle that a message hands over: it has one part of the
// extension, with an offer in it.
func offered(parts a2a.ContentParts) ([]byte, *handoff.Refused) {
	found := handed(parts)
	if len(found) != 1 {
		return nil, &handoff.Refused{
			Reason: handoff.Malformed, Expected: "a message with one part of " + Media,
			Found: fmt.Sprintf("%d: what an agent says of its work in words is no handoff", len(found)),
		}
	}
	bundle, err := text(found[0], memberOffer)
	if err != nil {
		return nil, &handoff.Refused{Reason: handoff.Malformed, Expected: "a part with the bundle about an offer", Found: err.Error()}
	}
	return []byte(bundle), nil
}

// withoutBundle returns a message as it is kept and handed on: a bundle is in the
// ledger if it was accepted, and would otherwise go back with each answer.
func withoutBundle(m *a2a.Message) *a2a.Message {
	if m == nil {
		return nil
	}
	c := *m
	c.Parts = make(a2a.ContentParts, len(m.Parts))
	for i, p := range m.Parts {
		if c.Parts[i] = p; p != nil && p.MediaType == Media {
			c.Parts[i] = a2a.NewTextPart("[what was handed over: the receiver's ledger has it, if it was accepted]")
		}
	}
	return &c
}

// Acceptance returns the bundle about the receiver's acceptance that a task holds;
// nil: it holds none. Nobody has verified it: [handoff.Party.Returned] does.
func Acceptance(t *a2a.Task) ([]byte, error) {
	for _, a := range t.Artifacts {
		if a == nil || a.ID != ArtifactID {
			continue
		}
		found := handed(a.Parts)
		if len(found) != 1 {
			return nil, fmt.Errorf("a2a: task %s: want one part of %s in the artifact %s, found %d", visible(string(t.ID)), Media, ArtifactID, len(found))
		}
		bundle, err := text(found[0], memberAcceptance)
		if err != nil {
			return nil, fmt.Errorf("a2a: task %s: its acceptance: %w", visible(string(t.ID)), err)
		}
		return []byte(bundle), nil
	}
	return nil, nil
}

// Refused says why what a message handed over was not accepted. [handoff.AsRefused]
// finds it in an error. To a giver it is the receiver's word.
type Refused struct {
	*handoff.Refused
	// Known is the tree head of the giver's ledger that the receiver knows, a signed
	// note, where a bundle that holds it, too, would decide.
	Known []byte
	// Task works on the offer, or waits for a message, where the reason is
	// [handoff.Used] and one does.
	Task a2a.TaskID
	// Acceptance is the bundle about the acceptance that stands, where it is the
	// receiver's own and the reason is [handoff.Used]; nil: it is not.
	Acceptance []byte
	// Rejection is the record of the refusal in the receiver's ledger; zero: there
	// is none, because nobody can be shown to have made the offer.
	Rejection evidence.ID
}

// Unwrap makes [handoff.AsRefused] find what it is about.
func (r *Refused) Unwrap() error { return r.Refused }

// refusal is a Refused on the wire.
type refusal struct {
	Reason      handoff.Reason `json:"reason"`
	Undecidable bool           `json:"undecidable,omitzero"`
	Expected    string         `json:"expected"`
	Found       string         `json:"found"`
	Offer       evidence.ID    `json:"offer,omitzero"`
	Stands      evidence.ID    `json:"stands,omitzero"`
	Task        a2a.TaskID     `json:"task,omitzero"`
	Known       string         `json:"known,omitzero"`
	Acceptance  string         `json:"acceptance,omitzero"`
	Rejection   evidence.ID    `json:"rejection,omitzero"`
}

// part returns the refusal as a part. Expected and Found may quote what was sent,
// and are made visible.
func (r *Refused) part() (*a2a.Part, error) {
	b, err := json.Marshal(refusal{
		r.Reason, r.Undecidable, visible(r.Expected), visible(r.Found), r.Offer, r.Stands, r.Task, string(r.Known), string(r.Acceptance), r.Rejection,
	})
	if err != nil {
		return nil, fmt.Errorf("a2a: a refusal: %w", err)
	}
	var value map[string]any
	if err := json.Unmarshal(b, &value); err != nil {
		return nil, fmt.Errorf("a2a: a refusal: %w", err)
	}
	return newPart(memberRefused, value), nil
}

// RefusedIn returns why a task's last message was refused; nil: it was not. Members
// that this version does not know are passed over.
func RefusedIn(t *a2a.Task) (*Refused, error) {
	if t.Status.Message == nil {
		return nil, nil
	}
	found := handed(t.Status.Message.Parts)
	if len(found) == 0 {
		return nil, nil
	}
	value, err := member(found[0], memberRefused)
	if err != nil {
		return nil, fmt.Errorf("a2a: task %s: its refusal: %w", visible(string(t.ID)), err)
	}
	b, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("a2a: task %s: its refusal: %w", visible(string(t.ID)), err)
	}
	var w refusal
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("a2a: task %s: its refusal: %s", visible(string(t.ID)), visible(err.Error()))
	}
	r := &Refused{
		Refused: &handoff.Refused{
			Reason: handoff.Reason(visible(string(w.Reason))), Undecidable: w.Undecidable, Expected: visible(w.Expected), Found: visible(w.Found),
			Offer: w.Offer, Stands: w.Stands,
		},
		Task: w.Task, Rejection: w.Rejection,
	}
	if w.Known != "" {
		r.Known = []byte(w.Known)
	}
	if w.Acceptance != "" {
		r.Acceptance = []byte(w.Acceptance)
	}
	return r, nil
}

// maxText is how many bytes of hostile text are shown.
const maxText = 1 << 10

// visible makes hostile text safe to show, and short: what is not printable ASCII is
// escaped. Text that is visible already is left as it is.
func visible(s string) string {
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
	}
	var b strings.Builder
	for _, r := range s {
		if r >= 0x20 && r < 0x7f {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	if cut {
		b.WriteString("...")
	}
	return b.String()
}
