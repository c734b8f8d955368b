package evidence

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A form is how values of one Go type stand in a payload. Forms are worked out
// once, from the structs of the bodies and their json tags, so that each body
// is declared in one place and what [MarshalPayload] writes [ParsePayload]
// reads. Only the types that bodies are made of have one.
type form struct {
	read  func(s *scanner, v reflect.Value) error
	write func(b []byte, v reflect.Value) []byte
}

// objectForm is the form of a struct: its members in the order in which they
// are written.
type objectForm struct{ members []member }

type member struct {
	name     string
	key      string // the name as it is written: quoted, with the colon
	field    int
	optional bool // tagged omitzero: a zero value is absent. All else is required
	form     form
}

// objectFormOf reads the tags of a struct type. It panics on a struct that
// could not be written down: a mistake in this package.
func objectFormOf(t reflect.Type) *objectForm {
	o := &objectForm{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || option != "" && option != "omitzero" {
			panic("evidence: " + t.String() + "." + f.Name + ": want a tag with a name and at most omitzero")
		}
		o.members = append(o.members, member{
			name: name, key: `"` + name + `":`, field: i, optional: option != "", form: formOf(f.Type),
		})
	}
	if len(o.members) > 64 {
		panic("evidence: " + t.String() + ": want at most 64 members")
	}
	return o
}

func formOf(t reflect.Type) form {
	switch t {
	case reflect.TypeFor[Digest]():
		return form{readDigest, writeDigest}
	case reflect.TypeFor[ID]():
		return form{readID, writeID}
	case reflect.TypeFor[Time]():
		return form{readTime, writeTime}
	case reflect.TypeFor[Object]():
		return form{readFree, writeFree}
	case reflect.TypeFor[Amounts]():
		return form{readAmounts, writeAmounts}
	}
	switch t.Kind() {
	case reflect.String:
		return form{readText, writeText}
	case reflect.Int64:
		return form{readInteger, writeInteger}
	case reflect.Pointer:
		elem, of := t.Elem(), formOf(t.Elem())
		return form{
			func(s *scanner, v reflect.Value) error {
				p := reflect.New(elem)
				v.Set(p)
				return of.read(s, p.Elem())
			},
			func(b []byte, v reflect.Value) []byte { return of.write(b, v.Elem()) },
		}
	case reflect.Slice:
		return listForm(formOf(t.Elem()))
	case reflect.Struct:
		o := objectFormOf(t)
		return form{
			func(s *scanner, v reflect.Value) error { return o.read(s, v, nil) },
			o.write,
		}
	}
	panic("evidence: no form for " + t.String())
}

// read reads an object into v. Members that it does not have go to other, which
// may be nil and then refuses them.
func (o *objectForm) read(s *scanner, v reflect.Value, other func(name []byte) error) error {
	var seen uint64 // a bit for each member
	next := 0       // most writers keep our order
	_, err := s.object(func(name []byte) error {
		i := next
		if i >= len(o.members) || o.members[i].name != string(name) {
			i = slices.IndexFunc(o.members, func(m member) bool { return m.name == string(name) })
		}
		if i < 0 {
			if other == nil {
				return s.errorf("want no member %q, which version %d does not know", clip(name), Version)
			}
			return other(name)
		}
		m := &o.members[i]
		s.trail = append(s.trail, step{m.name, -1})
		if seen&(1<<i) != 0 {
			return s.errorf("want each member once, found it again")
		}
		seen |= 1 << i
		next = i + 1
		if err := m.form.read(s, v.Field(m.field)); err != nil {
			return err
		}
		s.trail = s.trail[:len(s.trail)-1]
		return nil
	})
	if err != nil {
		return err
	}
	for i := range o.members {
		if m := &o.members[i]; !m.optional && seen&(1<<i) == 0 {
			return s.errorf("want member %q, found none", m.name)
		}
	}
	return nil
}

// write appends the object. What is empty is not written.
func (o *objectForm) write(b []byte, v reflect.Value) []byte {
	b = append(b, '{')
	for i := range o.members {
		m := &o.members[i]
		f := v.Field(m.field)
		if m.optional && absent(f) {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(b, m.key...)
		b = m.form.write(b, f)
	}
	return append(b, '}')
}

func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}

func listForm(of form) form {
	return form{
		func(s *scanner, v reflect.Value) error {
			here := len(s.trail) - 1
			n, err := s.array(func(i int) error {
				s.trail[here].index = i
				v.Grow(1)
				v.SetLen(i + 1)
				return of.read(s, v.Index(i))
			})
			if err != nil {
				return err
			}
			if n == 0 {
				return s.errorf("want no empty list: what is absent is not written")
			}
			return nil
		},
		func(b []byte, v reflect.Value) []byte {
			b = append(b, '[')
			for i := range v.Len() {
				if i > 0 {
					b = append(b, ',')
				}
				b = of.write(b, v.Index(i))
			}
			return append(b, ']')
		},
	}
}

func readText(s *scanner, v reflect.Value) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return s.errorf("want no empty string: what is absent is not written")
	}
	v.SetString(string(text))
	return nil
}

func writeText(b []byte, v reflect.Value) []byte { return appendQuoted(b, v.String()) }

// appendQuoted quotes s. Strings that passed the checks of form are printable
// ASCII, of which two characters need an escape.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func readInteger(s *scanner, v reflect.Value) error {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return s.errorf("want an integer, found %s", s.found())
	}
	text, err := s.number()
	if err != nil {
		return err
	}
	n, ok := parseInteger(text)
	if !ok {
		return s.errorf("want an integer without fraction or exponent, found %s", clip(text))
	}
	v.SetInt(n)
	return nil
}

func writeInteger(b []byte, v reflect.Value) []byte { return strconv.AppendInt(b, v.Int(), 10) }

// unmarshalText reads a string into what knows its own text form.
func unmarshalText(s *scanner, to interface{ UnmarshalText([]byte) error }) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	if err := to.UnmarshalText(text); err != nil {
		return s.errorf("%w", err)
	}
	return nil
}

func readDigest(s *scanner, v reflect.Value) error {
	return unmarshalText(s, v.Addr().Interface().(*Digest))
}

func readID(s *scanner, v reflect.Value) error {
	return unmarshalText(s, v.Addr().Interface().(*ID))
}

func readTime(s *scanner, v reflect.Value) error {
	return unmarshalText(s, v.Addr().Interface().(*Time))
}

func writeDigest(b []byte, v reflect.Value) []byte {
	b = append(b, '"')
	b = v.Addr().Interface().(*Digest).append(b)
	return append(b, '"')
}

func writeID(b []byte, v reflect.Value) []byte {
	b = append(b, '"')
	b = v.Addr().Interface().(*ID).append(b)
	return append(b, '"')
}

func writeTime(b []byte, v reflect.Value) []byte {
	return Time(v.Int()).Std().AppendFormat(b, `"`+timeLayout+`"`)
}

// readFree keeps a free-form object as it was written, less the white space
// between its tokens.
func readFree(s *scanner, v reflect.Value) error {
	if s.peek() != '{' {
		return s.errorf("want an object, found %s", s.found())
	}
	spaced, start := s.spaced, s.at
	s.spaced = false
	if err := s.any(); err != nil {
		return err
	}
	o := Object(slices.Clone(s.in[start:s.at]))
	if s.spaced {
		o = compact(o)
	}
	s.spaced = s.spaced || spaced
	v.SetBytes(o) // the checks of form refuse an empty one
	return nil
}

func writeFree(b []byte, v reflect.Value) []byte { return append(b, compact(v.Bytes())...) }

// compact removes the white space between the tokens of a valid object.
func compact(o Object) Object {
	c := jsontext.Value(slices.Clone(o))
	if err := c.Compact(); err != nil {
		panic("evidence: " + err.Error()) // callers have scanned it
	}
	return Object(c)
}

func readAmounts(s *scanner, v reflect.Value) error {
	a := make(Amounts)
	_, err := s.object(func(name []byte) error {
		if _, again := a[string(name)]; again {
			return s.errorf("want each unit once, found %q again", clip(name))
		}
		var n int64
		err := readInteger(s, reflect.ValueOf(&n).Elem())
		a[string(name)] = n
		return err
	})
	if err != nil {
		return err
	}
	if len(a) == 0 {
		return s.errorf("want no empty object: what is absent is not written")
	}
	v.Set(reflect.ValueOf(a))
	return nil
}

func writeAmounts(b []byte, v reflect.Value) []byte {
	a := v.Interface().(Amounts)
	units := make([]string, 0, len(a))
	for unit := range a {
		units = append(units, unit)
	}
	slices.Sort(units)
	b = append(b, '{')
	for i, unit := range units {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, unit)
		b = append(b, ':')
		b = strconv.AppendInt(b, a[unit], 10)
	}
	return append(b, '}')
}
