package audit

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a pattern.
const (
	maxOneOf   = 1000 // values of one $in
	maxPointer = 1024 // bytes
)

// A pattern is what an expectation asks of a value. Most are JSON values, to be
// equal or a part. An object whose members all begin with $ is a matcher: all
// that its members say has to hold.
//
//	{"order": {"$input": "/order"}, "amount": {"$above": 0, "$most": {"$output": "/paid", "$of": "lookup"}}}
//
// docs/rules.md is the reference.
type pattern struct {
	key     string // canonical text, by which patterns are alike
	literal *value // there is no matcher in it: the rest is empty
	members map[string]*pattern
	items   []*pattern
	object  bool // of members; else of items, or a matcher
	matcher *matcher
}

// matcher is a pattern's $ members; nil is what it does not say.
type matcher struct {
	exists               *bool
	value                *pattern // literal: nothing in it is a matcher
	same, least, most    *operand
	above, below, prefix *operand
	in                   []*pattern
	not                  *pattern
}

// An operand is a number or string that stands in a contract, or a reference to
// one.
type operand struct {
	literal *value
	of      string   // the name of an expectation, whose success' output is meant; "": the run's input
	path    []string // in there
}

// patternReader reads the patterns of one item.
type patternReader struct {
	inputs  bool     // refers to the run's input
	sources []string // names whose outputs it refers to
	outputs bool     // whether it may
}

// isMatcher reports whether v is an object whose members all begin with $.
func isMatcher(v *value) bool {
	if v.kind != '{' || len(v.members) == 0 {
		return false
	}
	for name := range v.members {
		if !strings.HasPrefix(name, "$") {
			return false
		}
	}
	return true
}

// plain reports whether there is no matcher in v.
func plain(v *value) bool {
	if isMatcher(v) {
		return false
	}
	for _, m := range v.members {
		if !plain(m) {
			return false
		}
	}
	return !slices.ContainsFunc(v.items, func(m *value) bool { return !plain(m) })
}

// read makes a pattern of v. absent: where v stands, there may be no value.
func (r *patternReader) read(where string, v *value, absent bool) (*pattern, error) {
	p := &pattern{key: v.key}
	var err error
	switch {
	case plain(v):
		p.literal = v
	case isMatcher(v):
		p.matcher, err = r.matcher(where, v, absent)
	case v.kind == '{':
		p.object, p.members = true, make(map[string]*pattern)
		for _, name := range sortedNames(v.members) {
			if p.members[name], err = r.read(where+"/"+escapePointer(name), v.members[name], true); err != nil {
				return nil, err
			}
		}
	default:
		for i, m := range v.items {
			q, err := r.read(fmt.Sprintf("%s/%d", where, i), m, false)
			if err != nil {
				return nil, err
			}
			p.items = append(p.items, q)
		}
	}
	return p, err
}

func sortedNames(m map[string]*value) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func (r *patternReader) matcher(where string, v *value, absent bool) (*matcher, error) {
	m := new(matcher)
	var err error
	for _, name := range sortedNames(v.members) {
		at, x := where+"/"+name, v.members[name]
		switch name {
		case "$exists":
			if x.kind != 't' && x.kind != 'f' {
				return nil, wrong(at, "expected true or false, found %s", x.key)
			}
			if !absent {
				return nil, wrong(at, "expected it of a member or a resource: what stands here always exists")
			}
			exists := x.kind == 't'
			m.exists = &exists
			if !exists && len(v.members) > 1 {
				return nil, wrong(at, "expected it alone: what is absent has no value")
			}
		case "$value":
			m.value = &pattern{key: x.key, literal: x}
		case "$least":
			m.least, err = r.operand(at, x, '0')
		case "$most":
			m.most, err = r.operand(at, x, '0')
		case "$above":
			m.above, err = r.operand(at, x, '0')
		case "$below":
			m.below, err = r.operand(at, x, '0')
		case "$prefix":
			m.prefix, err = r.operand(at, x, '"')
		case "$input", "$output", "$of":
			if m.same == nil {
				m.same, err = r.reference(where, v)
			}
		case "$in":
			if x.kind != '[' || len(x.items) == 0 || len(x.items) > maxOneOf {
				return nil, wrong(at, "expected an array of 1 to %d values", maxOneOf)
			}
			for i, one := range x.items {
				q, err := r.read(fmt.Sprintf("%s/%d", at, i), one, false)
				if err != nil {
					return nil, err
				}
				m.in = append(m.in, q)
			}
		case "$not":
			m.not, err = r.read(at, x, false)
		default:
			return nil, wrong(where+"/"+escapePointer(name),
				"expected $value, $exists, $least, $most, $above, $below, $in, $prefix, $not, $input, or $output with $of; an object that has this member is written {\"$value\": {…}}")
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// operand reads a number or a string, or an object that is a reference to one.
func (r *patternReader) operand(where string, v *value, kind byte) (*operand, error) {
	if byte(v.kind) == kind {
		return &operand{literal: v}, nil
	}
	if isMatcher(v) {
		for name := range v.members {
			if name != "$input" && name != "$output" && name != "$of" {
				return nil, wrong(where+"/"+escapePointer(name), "expected $input, or $output with $of")
			}
		}
		return r.reference(where, v)
	}
	what := "a number"
	if kind == '"' {
		what = "a string"
	}
	return nil, wrong(where, "expected %s, {\"$input\": …} or {\"$output\": …, \"$of\": …}, found %s", what, v.key)
}

// reference reads $input, or $output with $of.
func (r *patternReader) reference(where string, v *value) (*operand, error) {
	input, output, of := v.members["$input"], v.members["$output"], v.members["$of"]
	name, at := "/$input", input
	o := new(operand)
	switch {
	case input != nil && (output != nil || of != nil):
		return nil, wrong(where, "expected a reference to the run's input or to an output, not both")
	case input != nil:
		r.inputs = true
	case output == nil:
		return nil, wrong(where+"/$of", "expected $output beside it")
	case of == nil:
		return nil, wrong(where+"/$output", "expected $of beside it: the name of an item of expects")
	case of.kind != '"' || !identifier(of.text):
		return nil, wrong(where+"/$of", "expected the name of an item of expects, found %s", of.key)
	case !r.outputs:
		return nil, wrong(where+"/$output", "expected no reference to an output here")
	default:
		name, at, o.of = "/$output", output, of.text
		if !slices.Contains(r.sources, o.of) {
			r.sources = append(r.sources, o.of)
		}
		if len(r.sources) > 1 {
			return nil, wrong(where+"/$of", "expected one name in an item, found %q and %q", r.sources[0], o.of)
		}
	}
	ok := at.kind == '"' && len(at.text) <= maxPointer
	if ok {
		o.path, ok = pointer(at.text)
	}
	if !ok {
		return nil, wrong(where+name, "expected a JSON pointer (RFC 6901) of at most %d bytes, such as \"/order/id\", found %s", maxPointer, at.key)
	}
	return o, nil
}

// known is a value that a pattern refers to, as far as it is disclosed.
type known struct {
	v     *value // nil: there is none, or it is no JSON
	ok    bool   // whether it is disclosed
	clear *value // where it is not: what the record shows of it
}

// at returns what stands at a place in it, and whether that is known.
func (k known) at(path []string) (*value, bool) {
	switch {
	case k.ok:
		return k.v.at(path), true
	case k.clear != nil && len(path) > 0 && k.clear.members[path[0]] != nil:
		return k.clear.at(path), true
	}
	return nil, false
}

// references is what the references of a pattern lead to.
type references struct{ input, output known }

// of returns an operand's value, nil where there is none.
func (r *references) of(o *operand) (*value, bool) {
	switch {
	case o.literal != nil:
		return o.literal, true
	case o.of != "":
		return r.output.at(o.path)
	}
	return r.input.at(o.path)
}

// fits reports whether v is what p asks for. whole: objects have no further
// members. v is nil where there is no value.
func (p *pattern) fits(v *value, whole bool, r *references) truth {
	switch {
	case p.matcher != nil:
		return p.matcher.fits(v, whole, r)
	case v == nil:
		return no
	case p.literal != nil && whole:
		return truthOf(v.equal(p.literal))
	case p.literal != nil:
		return truthOf(v.has(p.literal))
	case p.object:
		if v.kind != '{' {
			return no
		}
		t := yes
		for name, q := range p.members {
			t = min(t, q.fits(v.members[name], whole, r))
		}
		if whole {
			for name := range v.members {
				if p.members[name] == nil {
					return no
				}
			}
		}
		return t
	}
	if v.kind != '[' || len(v.items) != len(p.items) {
		return no
	}
	t := yes
	for i, q := range p.items {
		t = min(t, q.fits(v.items[i], true, r)) // a part of an array is all of it
	}
	return t
}

func (m *matcher) fits(v *value, whole bool, r *references) truth {
	if v == nil {
		return truthOf(m.exists != nil && !*m.exists)
	}
	if m.exists != nil && !*m.exists {
		return no
	}
	t := yes
	if m.value != nil {
		t = min(t, m.value.fits(v, whole, r))
	}
	if m.in != nil {
		one := no
		for _, q := range m.in {
			one = max(one, q.fits(v, whole, r))
		}
		t = min(t, one)
	}
	if m.not != nil {
		t = min(t, yes-m.not.fits(v, whole, r))
	}
	compare := func(o *operand, holds func(w *value) bool) {
		if o == nil {
			return
		}
		switch w, known := r.of(o); {
		case !known:
			t = min(t, perhaps)
		case w == nil || !holds(w):
			t = no
		}
	}
	number := func(holds func(c int) bool) func(w *value) bool {
		return func(w *value) bool { return v.kind == '0' && w.kind == '0' && holds(v.compare(w)) }
	}
	compare(m.same, v.equal)
	compare(m.least, number(func(c int) bool { return c >= 0 }))
	compare(m.most, number(func(c int) bool { return c <= 0 }))
	compare(m.above, number(func(c int) bool { return c > 0 }))
	compare(m.below, number(func(c int) bool { return c < 0 }))
	compare(m.prefix, func(w *value) bool {
		return v.kind == '"' && w.kind == '"' && strings.HasPrefix(v.text, w.text)
	})
	return t
}

// fitsClear decides by the members of an object that stand in the record, as far
// as they go: the object itself is withheld.
func (p *pattern) fitsClear(clear *value, whole bool, r *references) truth {
	switch {
	case clear == nil || p.matcher != nil:
		return perhaps
	case p.literal != nil && p.literal.kind != '{', p.literal == nil && !p.object:
		return no // what has members in the clear is an object
	}
	t := yes
	member := func(name string, q *pattern) {
		if m := clear.members[name]; m == nil {
			t = min(t, perhaps)
		} else {
			t = min(t, q.fits(m, whole, r))
		}
	}
	if p.literal != nil {
		for name, m := range p.literal.members {
			member(name, &pattern{literal: m})
		}
	} else {
		for name, q := range p.members {
			member(name, q)
		}
	}
	if !whole {
		return t
	}
	for name := range clear.members {
		if p.literal != nil && p.literal.members[name] == nil || p.literal == nil && p.members[name] == nil {
			return no
		}
	}
	return min(t, perhaps) // there may be more
}
