package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// Bounds of a contract.
const (
	maxContract   = 1 << 20 // bytes
	maxExpects    = 1000    // items of expects, of forbids and of only
	maxTimes      = 1000    // of one expectation, and of all of them together maxSlots
	maxSlots      = 10000
	maxConditions = 8 // different ones
)

// anyTimes is the most of an expectation that has none.
const anyTimes = math.MaxInt32

// Contract says what must have happened for a run to be complete:
//
//	{"contract": "v1", "task": "airline-change", "weakest_source": "imported",
//	 "expects": [{"action": "cancel_reservation", "input": {"reservation_id": {"$input": "/reservation"}}},
//	             {"action": "notify", "input_has": {"to": "mia"}, "after": ["cancel_reservation"]}],
//	 "forbids": [{"action": "send_certificate", "unless": {"succeeded": {"action": "approve"}}}],
//	 "only": ["cancel_reservation", "book_reservation", "notify"]}
//
// docs/rules.md is its reference, docs/contracts.md teaches it.
type Contract struct {
	Task          string
	WeakestSource evidence.Source // runtime where the document is silent
	Expects       []*Expectation
	Forbids       []*Expectation
	Only          []string // absent: any action may change anything

	digest     evidence.Digest
	conditions []*condition // different ones
}

// Expectation is one item of expects, or of forbids.
type Expectation struct {
	Action    string
	Runs      Runs     // in which runs
	Resource  string   // absent: any, or what a matcher says
	As        string   // the name by which others refer to its output
	Least     int      // how many successes it stands for; 1 where absent, and for forbids
	Most      int      // math.MaxInt32: any number
	After     []string // actions whose expectations were met before
	AfterLast []string // actions of which none succeeded after

	resource                           *pattern
	input, inputHas, output, outputHas *pattern
	reads                              patternReader // what its patterns refer to
	when, unless                       *condition
	words                              string // what it is about, in the contract's own
}

// Runs says in which runs what an item of a contract is about was done.
type Runs string

// The runs.
const (
	RunsOwn   Runs = ""      // in the run that has the contract
	RunsGiven Runs = "given" // in those on whose work it rests: handed to it, and to those who handed it over
	RunsAll   Runs = "all"   // in either
)

// A condition is when an item is there at all. All that it says has to hold.
type condition struct {
	key             string
	n               int      // its place among the contract's
	input, inputHas *pattern // of the run's input
	succeeded       *Expectation
	strict          bool // of unless: a success counts only where its source does
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
	As        string         `json:"as"`
	Runs      Runs           `json:"runs"`
	Resource  jsontext.Value `json:"resource"`
	Input     jsontext.Value `json:"input"`
	InputHas  jsontext.Value `json:"input_has"`
	Output    jsontext.Value `json:"output"`
	OutputHas jsontext.Value `json:"output_has"`
	Times     jsontext.Value `json:"times"`
	After     []string       `json:"after"`
	AfterLast []string       `json:"after_last"`
	When      *conditionWire `json:"when"`
	Unless    *conditionWire `json:"unless"`
}

type conditionWire struct {
	Input     jsontext.Value `json:"input"`
	InputHas  jsontext.Value `json:"input_has"`
	Succeeded *expectWire    `json:"succeeded"`
}

type timesWire struct {
	Least *int `json:"least"`
	Most  *int `json:"most"`
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
		e, err := c.item(&w.Expects[i], fmt.Sprintf("/expects/%d", i), true)
		if err != nil {
			return nil, err
		}
		c.Expects = append(c.Expects, e)
	}
	for i := range w.Forbids {
		where, x := fmt.Sprintf("/forbids/%d", i), &w.Forbids[i]
		if x.Times != nil || x.After != nil || x.AfterLast != nil || x.As != "" {
			return nil, wrong(where, "expected no times, after, after_last or as: what is forbidden is forbidden once and always")
		}
		e, err := c.item(x, where, true)
		if err != nil {
			return nil, err
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
	if err := c.checkTimes(w.Expects, seen); err != nil {
		return nil, err
	}
	if err := c.checkNames(); err != nil {
		return nil, err
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
	for _, m := range []struct {
		name  string
		there bool
	}{{"after", w.After != nil}, {"after_last", w.AfterLast != nil}, {"as", w.As != ""}, {"when", w.When != nil}, {"unless", w.Unless != nil}} {
		if m.there {
			return nil, wrong("/"+m.name, "expected none: an assertion stands alone")
		}
	}
	return w.expectation("", false)
}

// readStrict decodes b into w and returns the digest of its canonical form.
func readStrict(b []byte, w any) (evidence.Digest, error) {
	if len(b) > maxContract {
		return evidence.Digest{}, wrong("", "expected at most %d bytes, found %d", maxContract, len(b))
	}
	v, err := parseValue(b)
	if err != nil {
		return evidence.Digest{}, &ContractError{placeOf(err), err}
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
	if err := noNulls("", v); err != nil {
		return evidence.Digest{}, err
	}
	if err := json.Unmarshal(b, w, json.RejectUnknownMembers(true)); err != nil {
		return evidence.Digest{}, &ContractError{placeOf(err), err}
	}
	return sha256.Sum256(canonical), nil
}

// placeOf returns the JSON pointer at which reading failed.
func placeOf(err error) string {
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic):
		return string(semantic.JSONPointer)
	case errors.As(err, &syntactic):
		return string(syntactic.JSONPointer)
	}
	return ""
}

// noNulls refuses members that are null or "", which the decoder would take for
// absent ones.
func noNulls(where string, v *value) error {
	for _, name := range sortedNames(v.members) {
		at, m := where+"/"+escapePointer(name), v.members[name]
		switch name {
		case "input", "input_has", "output", "output_has":
			continue // here null is a value
		case "expects", "forbids":
			for i, x := range m.items {
				if err := noNulls(fmt.Sprintf("%s/%d", at, i), x); err != nil {
					return err
				}
			}
		}
		if m.kind == 'n' || m.kind == '"' && m.text == "" {
			return wrong(at, "expected a value or no such member, found %s", m.key)
		}
		if err := noNulls(at, m); err != nil {
			return err
		}
	}
	return nil
}

// item reads an item with its conditions.
func (c *Contract) item(w *expectWire, where string, outputs bool) (*Expectation, error) {
	e, err := w.expectation(where, outputs)
	if err != nil {
		return nil, err
	}
	if e.when, err = c.condition(w.When, where+"/when", false); err == nil {
		e.unless, err = c.condition(w.Unless, where+"/unless", true)
	}
	return e, err
}

// condition reads a condition; alike ones are one.
func (c *Contract) condition(w *conditionWire, where string, strict bool) (*condition, error) {
	if w == nil {
		return nil, nil
	}
	k := &condition{strict: strict}
	var err error
	var r patternReader
	if k.input, k.inputHas, err = r.pair(where, "input", w.Input, w.InputHas); err != nil {
		return nil, err
	}
	if w.Succeeded != nil {
		x := w.Succeeded
		at := where + "/succeeded"
		if x.Times != nil || x.After != nil || x.AfterLast != nil || x.As != "" || x.When != nil || x.Unless != nil {
			return nil, wrong(at, "expected only action, runs, resource, input, input_has, output and output_has")
		}
		if k.succeeded, err = x.expectation(at, false); err != nil {
			return nil, err
		}
	}
	if k.input == nil && k.inputHas == nil && k.succeeded == nil {
		return nil, wrong(where, "expected input, input_has or succeeded: what the condition is")
	}
	for _, p := range []*pattern{k.input, k.inputHas} {
		k.key += "|"
		if p != nil {
			k.key += p.key
		}
	}
	if k.succeeded != nil {
		k.key += "|" + k.succeeded.key()
	}
	for _, same := range c.conditions {
		if same.key == k.key && same.strict == strict {
			return same, nil
		}
	}
	if k.n = len(c.conditions); k.n == maxConditions {
		return nil, wrong(where, "expected at most %d different conditions in a contract", maxConditions)
	}
	c.conditions = append(c.conditions, k)
	return k, nil
}

// pair reads name, the whole of a payload, or name_has, a part of it.
func (r *patternReader) pair(where, name string, whole, part jsontext.Value) (w, p *pattern, err error) {
	if whole != nil && part != nil {
		return nil, nil, wrong(where+"/"+name+"_has", "expected %s, the whole of it, or %s_has, a part; not both", name, name)
	}
	if w, err = r.raw(where+"/"+name, whole, false); err == nil {
		p, err = r.raw(where+"/"+name+"_has", part, false)
	}
	return w, p, err
}

func (r *patternReader) raw(where string, b jsontext.Value, absent bool) (*pattern, error) {
	if b == nil {
		return nil, nil
	}
	v, err := parseValue(b)
	if err != nil {
		return nil, &ContractError{where, err}
	}
	return r.read(where, v, absent)
}

func (w *expectWire) expectation(where string, outputs bool) (*Expectation, error) {
	e := &Expectation{Action: w.Action, As: w.As, Runs: w.Runs, Least: 1, Most: 1, After: w.After, AfterLast: w.AfterLast}
	e.reads.outputs = outputs
	if !identifier(w.Action) {
		return nil, wrong(where+"/action", "expected 1 to 256 bytes of printable ASCII without spaces, found %q", w.Action)
	}
	if w.As != "" && !identifier(w.As) {
		return nil, wrong(where+"/as", "expected 1 to 256 bytes of printable ASCII without spaces, found %q", w.As)
	}
	if w.Runs != RunsOwn && w.Runs != RunsGiven && w.Runs != RunsAll {
		return nil, wrong(where+"/runs", "expected given or all, found %q", w.Runs)
	}
	for i, action := range w.AfterLast {
		if !identifier(action) {
			return nil, wrong(fmt.Sprintf("%s/after_last/%d", where, i), "expected 1 to 256 bytes of printable ASCII without spaces, found %q", action)
		}
	}
	err := e.readResource(where+"/resource", w.Resource)
	if err != nil {
		return nil, err
	}
	if w.Times != nil {
		if err := e.readTimes(where+"/times", w.Times); err != nil {
			return nil, err
		}
	}
	if e.input, e.inputHas, err = e.reads.pair(where, "input", w.Input, w.InputHas); err != nil {
		return nil, err
	}
	e.output, e.outputHas, err = e.reads.pair(where, "output", w.Output, w.OutputHas)
	e.words = e.describe(w)
	return e, err
}

// readResource reads an identifier, or a matcher.
func (e *Expectation) readResource(where string, b jsontext.Value) error {
	p, err := e.reads.raw(where, b, true)
	switch {
	case err != nil || p == nil:
		return err
	case p.matcher != nil:
		e.resource = p
		return nil
	case p.literal == nil || p.literal.kind != '"' || !identifier(p.literal.text):
		return wrong(where, "expected 1 to 256 bytes of printable ASCII without spaces, or a matcher, found %s", p.key)
	}
	e.Resource = p.literal.text
	return nil
}

// readTimes reads a number, or the least and the most.
func (e *Expectation) readTimes(where string, b jsontext.Value) error {
	var n int
	if b.Kind() != '{' {
		if err := json.Unmarshal(b, &n); err != nil {
			return wrong(where, "expected a number from 1 to %d, or least and most: %v", maxTimes, err)
		}
		if n < 1 || n > maxTimes {
			return wrong(where, "expected 1 to %d, found %d: what must not happen belongs in forbids", maxTimes, n)
		}
		e.Least, e.Most = n, n
		return nil
	}
	var w timesWire
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return &ContractError{where + placeOf(err), err}
	}
	e.Least, e.Most = 0, anyTimes
	if w.Least != nil {
		if e.Least = *w.Least; e.Least < 0 || e.Least > maxTimes {
			return wrong(where+"/least", "expected 0 to %d, found %d", maxTimes, e.Least)
		}
	}
	if w.Most != nil {
		if e.Most = *w.Most; e.Most < max(1, e.Least) || e.Most > maxTimes {
			return wrong(where+"/most", "expected %d to %d, found %d", max(1, e.Least), maxTimes, e.Most)
		}
	}
	if w.Most == nil && e.Least == 0 {
		return wrong(where, "expected least, most or both")
	}
	return nil
}

// checkTimes bounds how many successes there may be, and refuses a limit that
// limits nothing: successes of other actions than those of only may be left over,
// and those of other runs.
func (c *Contract) checkTimes(w []expectWire, only map[string]bool) error {
	slots := 0
	for i, e := range c.Expects {
		n := e.Most
		if n == anyTimes {
			n = e.Least
		}
		if slots += n; slots > maxSlots {
			return wrong(fmt.Sprintf("/expects/%d/times", i), "expected at most %d successes in all", maxSlots)
		}
		if w[i].Times.Kind() == '{' && e.Most != anyTimes && e.Most != e.Least {
			where := fmt.Sprintf("/expects/%d/times/most", i)
			switch {
			case e.Runs != RunsOwn:
				return wrong(where, "expected none with runs: only binds the run itself, so that a success too many elsewhere breaks nothing")
			case !only[e.Action]:
				return wrong(where, "expected %q in only: else a success too many is left over, and breaks nothing", e.Action)
			}
		}
	}
	return nil
}

// checkNames requires that names are given once, and that what items refer to
// is there.
func (c *Contract) checkNames() error {
	named := make(map[string]bool)
	for i, e := range c.Expects {
		if e.As != "" && named[e.As] {
			return wrong(fmt.Sprintf("/expects/%d/as", i), "expected each name once, found %q again", e.As)
		}
		named[e.As] = true
	}
	for n, items := range [][]*Expectation{c.Expects, c.Forbids} {
		for i, e := range items {
			if s := e.source(); s != "" && !named[s] {
				return wrong(fmt.Sprintf("/%s/%d", []string{"expects", "forbids"}[n], i), "expected $of to name an item of expects by its as, found %q", s)
			}
		}
	}
	return nil
}

// source names the expectation whose output e refers to; "": none.
func (e *Expectation) source() string {
	if len(e.reads.sources) == 0 {
		return ""
	}
	return e.reads.sources[0]
}

// checkOrder requires that after names other expectations, and that no
// expectation waits for itself.
func (c *Contract) checkOrder() error {
	byAction := make(map[string]bool)
	for _, e := range c.Expects {
		byAction[e.Action] = true
	}
	for i, e := range c.Expects {
		for j, action := range e.After {
			if !byAction[action] {
				return wrong(fmt.Sprintf("/expects/%d/after/%d", i, j), "expected the action of another item of expects, found %q", action)
			}
		}
	}
	if _, i := inTurn(c.Expects); i >= 0 {
		where := fmt.Sprintf("/expects/%d", i)
		if len(c.Expects[i].After) > 0 {
			where += "/after"
		}
		return wrong(where, "expected no circle: %q would come after itself", c.Expects[i].Action)
	}
	return nil
}

// inTurn orders expectations so that each comes after those that it waits for:
// all of the actions in after, and the one whose output it refers to. circle is
// one that leads into a circle, -1: there is none.
func inTurn(all []*Expectation) (order []int, circle int) {
	byAction, named := make(map[string][]int), make(map[string]int)
	for i, e := range all {
		byAction[e.Action] = append(byAction[e.Action], i)
		named[e.As] = i
	}
	const doing, done = 1, 2
	state := make([]int, len(all))
	var visit func(i int) bool
	visit = func(i int) bool {
		if state[i] != 0 {
			return state[i] == done
		}
		state[i] = doing
		after := slices.Clone(all[i].After)
		slices.Sort(after)
		for _, action := range slices.Compact(after) {
			for _, k := range byAction[action] {
				if !visit(k) {
					return false
				}
			}
		}
		if s := all[i].source(); s != "" && !visit(named[s]) {
			return false
		}
		state[i] = done
		order = append(order, i)
		return true
	}
	for i := range all {
		if !visit(i) {
			return nil, i
		}
	}
	return order, -1
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
