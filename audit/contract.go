package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// Bounds of a contract.
const (
	maxContract = 1 << 20 // bytes
	maxExpects  = 1000    // items of expects, of forbids and of only
	maxTimes    = 1000    // of one expectation, and of all of them together maxSlots
	maxSlots    = 10000
)

// Contract says what must have happened for a run to be complete:
//
//	{"contract": "v1", "task": "airline-change", "weakest_source": "imported",
//	 "expects": [{"action": "cancel_reservation", "input": {"reservation_id": "SI5UKW"}},
//	             {"action": "notify", "input_has": {"to": "mia"}, "after": ["cancel_reservation"]}],
//	 "forbids": [{"action": "send_certificate"}],
//	 "only": ["cancel_reservation", "book_reservation", "notify"]}
//
// docs/rules.md is its reference.
type Contract struct {
	Task          string
	WeakestSource evidence.Source // runtime where the document is silent
	Expects       []*Expectation
	Forbids       []*Expectation
	Only          []string // absent: any action may change anything

	digest evidence.Digest
}

// Expectation is one item of expects, or of forbids.
type Expectation struct {
	Action   string
	Resource string   // absent: any
	Times    int      // how many successes it stands for; 1 where absent, and for forbids
	After    []string // actions whose expectations were met before

	input, inputHas, outputHas *value
}

// Digest identifies the contract: SHA-256 over the document's canonical form
// (RFC 8785).
func (c *Contract) Digest() evidence.Digest { return c.digest }

// Empty reports whether the contract asks for nothing, so that nothing could
// ever break it.
func (c *Contract) Empty() bool {
	return len(c.Expects) == 0 && len(c.Forbids) == 0 && c.Only == nil
}

type contractWire struct {
	Contract      string          `json:"contract"`
	Task          string          `json:"task"`
	WeakestSource evidence.Source `json:"weakest_source"`
	Expects       []expectWire    `json:"expects"`
	Forbids       []expectWire    `json:"forbids"`
	Only          []string        `json:"only"`
}

type expectWire struct {
	Action    string         `json:"action"`
	Resource  string         `json:"resource"`
	Input     jsontext.Value `json:"input"`
	InputHas  jsontext.Value `json:"input_has"`
	OutputHas jsontext.Value `json:"output_has"`
	Times     *int           `json:"times"`
	After     []string       `json:"after"`
}

// ContractError says where a contract is wrong: a JSON pointer (RFC 6901).
type ContractError struct {
	Where string
	Err   error
}

func (e *ContractError) Error() string {
	where := e.Where
	if where == "" {
		where = "/"
	}
	return fmt.Sprintf("contract: %s: %v", where, e.Err)
}

// Unwrap returns the reason.
func (e *ContractError) Unwrap() error { return e.Err }

func wrong(where, format string, args ...any) error {
	return &ContractError{where, fmt.Errorf(format, args...)}
}

// ParseContract reads a contract strictly: unknown and duplicate members,
// numbers that a double cannot carry exactly enough to be digested, identifiers
// that no record can hold and expectations that nothing can meet are refused.
// Every error is a *[ContractError].
func ParseContract(b []byte) (*Contract, error) {
	var w contractWire
	digest, err := readStrict(b, &w)
	if err != nil {
		return nil, err
	}
	if w.Contract != "v1" {
		return nil, wrong("/contract", `expected "v1", found %q`, w.Contract)
	}
	c := &Contract{Task: w.Task, WeakestSource: w.WeakestSource, Only: w.Only, digest: digest}
	if !identifier(w.Task) {
		return nil, wrong("/task", "expected 1 to 256 bytes of printable ASCII without spaces, found %q", w.Task)
	}
	if c.WeakestSource == "" {
		c.WeakestSource = evidence.SourceRuntime
	}
	if c.WeakestSource.Strength() == 0 {
		return nil, wrong("/weakest_source", "expected confirmed, runtime, reported, observed or imported, found %q", w.WeakestSource)
	}
	if max(len(w.Expects), len(w.Forbids), len(w.Only)) > maxExpects {
		return nil, wrong("", "expected at most %d items in expects, forbids and only", maxExpects)
	}
	for i := range w.Expects {
		e, err := w.Expects[i].expectation(fmt.Sprintf("/expects/%d", i))
		if err != nil {
			return nil, err
		}
		c.Expects = append(c.Expects, e)
	}
	for i := range w.Forbids {
		where := fmt.Sprintf("/forbids/%d", i)
		e, err := w.Forbids[i].expectation(where)
		if err != nil {
			return nil, err
		}
		if w.Forbids[i].Times != nil || w.Forbids[i].After != nil {
			return nil, wrong(where, "expected no times or after: what is forbidden is forbidden once and always")
		}
		c.Forbids = append(c.Forbids, e)
	}
	seen := make(map[string]bool)
	for i, action := range c.Only {
		if !identifier(action) || seen[action] {
			return nil, wrong(fmt.Sprintf("/only/%d", i), "expected each action once, found %q", action)
		}
		seen[action] = true
	}
	return c, c.checkOrder()
}

// ParseExpectation reads one item of expects on its own: what an assertion
// commits to.
func ParseExpectation(b []byte) (*Expectation, error) {
	var w expectWire
	if _, err := readStrict(b, &w); err != nil {
		return nil, err
	}
	if w.After != nil {
		return nil, wrong("/after", "expected none: an assertion stands alone")
	}
	return w.expectation("")
}

// readStrict decodes b into w and returns the digest of its canonical form.
func readStrict(b []byte, w any) (evidence.Digest, error) {
	if len(b) > maxContract {
		return evidence.Digest{}, wrong("", "expected at most %d bytes, found %d", maxContract, len(b))
	}
	v, err := parseValue(b)
	if err != nil {
		return evidence.Digest{}, &ContractError{Err: err}
	}
	canonical := jsontext.Value(bytes.Clone(b))
	if err := canonical.Canonicalize(); err != nil {
		return evidence.Digest{}, &ContractError{Err: err}
	}
	// RFC 8785 writes numbers as doubles. Where that changes a value, two
	// contracts would have one digest.
	if again, err := parseValue(canonical); err != nil || !again.equal(v) {
		return evidence.Digest{}, wrong("", "expected numbers whose value a double can carry: write larger ones as strings")
	}
	if err := json.Unmarshal(b, w, json.RejectUnknownMembers(true)); err != nil {
		return evidence.Digest{}, &ContractError{Err: err}
	}
	return sha256.Sum256(canonical), nil
}

func (w *expectWire) expectation(where string) (*Expectation, error) {
	e := &Expectation{Action: w.Action, Resource: w.Resource, Times: 1, After: w.After}
	if !identifier(w.Action) {
		return nil, wrong(where+"/action", "expected 1 to 256 bytes of printable ASCII without spaces, found %q", w.Action)
	}
	if w.Resource != "" && !identifier(w.Resource) {
		return nil, wrong(where+"/resource", "expected 1 to 256 bytes of printable ASCII without spaces, found %q", w.Resource)
	}
	if w.Times != nil {
		if e.Times = *w.Times; e.Times < 1 || e.Times > maxTimes {
			return nil, wrong(where+"/times", "expected 1 to %d, found %d: what must not happen belongs in forbids", maxTimes, e.Times)
		}
	}
	if w.Input != nil && w.InputHas != nil {
		return nil, wrong(where+"/input_has", "expected input, the whole of it, or input_has, a part; not both")
	}
	for _, part := range []struct {
		name string
		raw  jsontext.Value
		to   **value
	}{{"/input", w.Input, &e.input}, {"/input_has", w.InputHas, &e.inputHas}, {"/output_has", w.OutputHas, &e.outputHas}} {
		if part.raw == nil {
			continue
		}
		v, err := parseValue(part.raw)
		if err != nil {
			return nil, &ContractError{where + part.name, err}
		}
		*part.to = v
	}
	return e, nil
}

// checkOrder requires that after names other expectations and no circle.
func (c *Contract) checkOrder() error {
	slots := 0
	before := make(map[string][]string)
	for i, e := range c.Expects {
		if slots += e.Times; slots > maxSlots {
			return wrong(fmt.Sprintf("/expects/%d/times", i), "expected at most %d successes in all", maxSlots)
		}
		before[e.Action] = append(before[e.Action], e.After...)
	}
	const doing, done = 1, 2
	state := make(map[string]int)
	var circle func(action string) bool
	circle = func(action string) bool {
		if state[action] != 0 {
			return state[action] == doing
		}
		state[action] = doing
		bad := slices.ContainsFunc(before[action], circle)
		state[action] = done
		return bad
	}
	for i, e := range c.Expects {
		for j, action := range e.After {
			where := fmt.Sprintf("/expects/%d/after/%d", i, j)
			if _, ok := before[action]; !ok {
				return wrong(where, "expected the action of another item of expects, found %q", action)
			}
		}
		if circle(e.Action) {
			return wrong(fmt.Sprintf("/expects/%d/after", i), "expected no circle: %q would come after itself", e.Action)
		}
	}
	return nil
}

// identifier: what a record can hold, design section 3.
func identifier(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 256
}
