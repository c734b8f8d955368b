package evidence

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"
)

// Version is the version of the record format that this package writes and
// reads: the member v of every record.
const Version = 1

// Record is the payload of an entry. A zero member is absent.
type Record struct {
	Origin   string // the ledger that it is bound to
	Kind     Kind   //
	Run      RunID  // absent outside runs
	Prev     ID     // on a line: the record before it on that line
	About    ID     // beside the line: what it concerns
	Cites    []ID   // on the line: records beside it that count from here on, where the body names them nowhere
	Registry *int64 // the latest registry number; a registry record's own
	Actor    string // who it speaks for
	Time     Time   // the signer's clock
	At       Time   // when it happened, as the transcript that it was imported from says
	Body     Body   //
	Ext      Object // members with reverse-DNS names
}

// Object is a free-form JSON object, kept as it was written less the white
// space between its tokens.
type Object = jsontext.Value

// Amounts are quantities by unit: "tokens", "tool_calls", "attempts", "wall_ms",
// or a currency's micro-units ("usd_micro"). What is not priced is absent, not 0.
type Amounts map[string]int64

// envelope is the order in which the members around the body are written. The
// body stands before ext, under its kind's name.
type envelope struct {
	V        int64  `json:"v"`
	Origin   string `json:"origin"`
	Kind     Kind   `json:"kind"`
	Registry *int64 `json:"registry,omitzero"`
	Run      RunID  `json:"run,omitzero"`
	Prev     ID     `json:"prev,omitzero"`
	About    ID     `json:"about,omitzero"`
	Cites    []ID   `json:"cites,omitzero"`
	Actor    string `json:"actor"`
	Time     Time   `json:"time"`
	At       Time   `json:"at,omitzero"`
	Ext      Object `json:"ext,omitzero"`
}

var envelopeForm = objectFormOf(reflect.TypeFor[envelope]())

// bodyForms has the form of each kind's body.
var bodyForms = func() map[Kind]*objectForm {
	forms := make(map[Kind]*objectForm, len(kinds))
	for kind, rule := range kinds {
		forms[kind] = objectFormOf(reflect.TypeOf(rule.body()).Elem())
	}
	return forms
}()

// MarshalPayload checks r and returns its payload: the JSON object that [Sign]
// signs. Members are written in a fixed order without white space, so that
// equal records have equal payloads.
func MarshalPayload(r *Record) ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	e := envelope{
		V: Version, Origin: r.Origin, Kind: r.Kind, Registry: r.Registry, Run: r.Run, Prev: r.Prev, About: r.About,
		Cites: r.Cites, Actor: r.Actor, Time: r.Time, At: r.At,
	}
	b := envelopeForm.write(make([]byte, 0, 1024), reflect.ValueOf(&e).Elem())
	b = append(b[:len(b)-1], `,"`...)
	b = append(b, r.Kind...)
	b = append(b, `":`...)
	b = bodyForms[r.Kind].write(b, reflect.ValueOf(r.Body).Elem())
	if len(r.Ext) > 0 {
		b = append(b, `,"ext":`...)
		b = append(b, compact(r.Ext)...)
	}
	return append(b, '}'), nil
}

// VersionError is returned for a record of a newer version: its inclusion can
// be checked and nothing else.
type VersionError struct{ V int64 }

func (e *VersionError) Error() string {
	return fmt.Sprintf("record: want version %d, found %d: this program is older than the record", Version, e.V)
}

// ParsePayload reads a payload strictly: I-JSON, no unknown member, every rule
// of form. It returns a *VersionError for a newer version, of which it asks
// only that it is I-JSON.
func ParsePayload(b []byte) (*Record, error) {
	r, err := parsePayload(b)
	if err != nil {
		if v := newerVersion(b); v > Version {
			return nil, &VersionError{v}
		}
		return nil, err
	}
	return r, nil
}

func parsePayload(b []byte) (*Record, error) {
	s := &scanner{in: b, trail: make(trail, 0, 8)}
	var e envelope
	var body Body
	var kind Kind // of body
	err := envelopeForm.read(s, reflect.ValueOf(&e).Elem(), func(name []byte) error {
		rule, ok := kinds[Kind(name)]
		if !ok {
			return s.errorf("want no member %q, which version %d does not know", clip(name), Version)
		}
		if body != nil {
			return s.errorf("want one body, found a second: %q", name)
		}
		body, kind = rule.body(), Kind(name)
		s.trail = append(s.trail, step{string(kind), -1})
		if err := bodyForms[kind].read(s, reflect.ValueOf(body).Elem(), nil); err != nil {
			return err
		}
		s.trail = s.trail[:len(s.trail)-1]
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case s.at != len(b):
		return nil, s.errorf("want nothing after the object, found %d bytes", len(b)-s.at)
	case e.V != Version:
		return nil, fmt.Errorf("record: want member v to be %d, found %d", Version, e.V)
	case body == nil:
		return nil, fmt.Errorf("record: want the body under the name of its kind, %q, found none", clip([]byte(e.Kind)))
	case kind != e.Kind:
		return nil, fmt.Errorf("record: want the body under the name of its kind, %q, found %q", clip([]byte(e.Kind)), kind)
	}
	r := &Record{
		Origin: e.Origin, Kind: kind, Run: e.Run, Prev: e.Prev, About: e.About, Cites: e.Cites, Registry: e.Registry,
		Actor: e.Actor, Time: e.Time, At: e.At, Ext: e.Ext, Body: body,
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return r, nil
}

// newerVersion returns the member v of an I-JSON object, 0 if b is none.
func newerVersion(b []byte) (v int64) {
	s := &scanner{in: b}
	var seen nameSet
	_, err := s.object(func(name []byte) error {
		if !seen.add(name) {
			return errors.New("a duplicate member")
		}
		start := s.at
		if err := s.any(); err != nil {
			return err
		}
		if string(name) == "v" {
			v, _ = parseInteger(s.in[start:s.at])
		}
		return nil
	})
	if err != nil || s.at != len(b) {
		return 0
	}
	return v
}

// Check reports the first rule of form that r breaks.
func (r *Record) Check() error {
	c := &checker{trail: make(trail, 0, 8)}
	r.check(c)
	if c.err != nil {
		return fmt.Errorf("record: %s: %w", r.Kind, c.err)
	}
	return nil
}

func (r *Record) check(c *checker) {
	rule, ok := kinds[r.Kind]
	if !ok {
		c.fail("kind", "want a kind of version 1, found %q", clip([]byte(r.Kind)))
		return
	}
	if r.Body == nil || r.Body.Kind() != r.Kind {
		c.fail("kind", "want a body of the record's kind")
		return
	}
	c.origin("origin", r.Origin)
	c.identifier("actor", r.Actor)
	c.require("time", !r.Time.absent())
	c.time("time", r.Time)
	c.time("at", r.At)
	r.checkPlace(c, rule)
	if (r.Registry != nil) != rule.registry {
		c.fail("registry", "want it in records that open, resume, close, approve, judge, hand off or register, and in no other")
	}
	if r.Registry != nil {
		c.count("registry", *r.Registry, 0)
		c.require("registry", (*r.Registry == 0) == (r.Kind == KindLedgerCreated) || rule.place != Registry)
	}
	c.in(string(r.Kind), r.Body.check)
	c.ext(r.Ext)
}

func (r *Record) checkPlace(c *checker, rule kindRule) {
	inRun := rule.place == Line || rule.place == Beside || rule.place == LineOrBeside
	if inRun != (r.Run != "") {
		c.fail("run", "want it in the records of a run and in no other")
	}
	if r.Run != "" {
		if _, err := ParseRunID(string(r.Run)); err != nil {
			c.fail("run", "%v", err)
		}
	}
	prev, about := !r.Prev.IsZero(), !r.About.IsZero()
	var ok bool
	switch {
	case r.Kind == KindRunOpened || r.Kind == KindLedgerCreated || rule.place == Outside:
		ok = !prev && !about
	case rule.place == Line || rule.place == Registry:
		ok = prev && !about
	case rule.place == Beside:
		ok = !prev && about
	case rule.place == LineOrBeside:
		ok = prev != about
	}
	if !ok {
		c.fail("prev", "want prev in a record of a line (but its first), about in one beside it, and never both")
	}
	if len(r.Cites) > 0 && (!inRun || about) {
		c.fail("cites", "want it on the line of a run only")
	}
	c.ids("cites", r.Cites)
}

// OnLine reports whether r stands on the line of its run.
func (r *Record) OnLine() bool { return r.Run != "" && r.About.IsZero() }
