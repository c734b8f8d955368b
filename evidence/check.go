package evidence

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of form, from docs/record-format.md.
const (
	MaxEntry      = 65535 // bytes of an entry: C2SP tlog-tiles
	maxIdentifier = 256   // bytes
	maxDepth      = 32    // nested objects and arrays
	maxInteger    = 1<<53 - 1
	maxRootKeys   = 16 // checking a key costs as much as two signatures, and comes before any is verified
)

// checker keeps the first rule of form that is broken and where.
type checker struct {
	trail trail
	err   error
}

func (c *checker) fail(member, format string, args ...any) {
	c.in(member, func(c *checker) { c.broken(fmt.Errorf(format, args...)) })
}

// broken is fail for the part that is being checked as a whole.
func (c *checker) broken(err error) {
	if c.err == nil {
		c.err = fmt.Errorf("%s: %w", c.trail, err)
	}
}

func (c *checker) in(member string, check func(*checker)) { c.item(member, -1, check) }

// item is in for element i of a list.
func (c *checker) item(member string, i int, check func(*checker)) {
	c.trail = append(c.trail, step{member, i})
	check(c)
	c.trail = c.trail[:len(c.trail)-1]
}

func (c *checker) require(member string, ok bool) {
	if !ok {
		c.fail(member, "missing or not allowed here")
	}
}

func (c *checker) only(member string, present, allowed bool, when string) {
	if present && !allowed {
		c.fail(member, "only allowed %s", when)
	}
}

// identifier: 1 to 256 bytes of printable ASCII without spaces.
func (c *checker) identifier(member, s string) {
	if !validIdentifier(s) {
		c.fail(member, "%w", identifierError(s))
	}
}

func identifierError(s string) error {
	return fmt.Errorf("want 1 to %d bytes of printable ASCII without spaces, found %q", maxIdentifier, clip([]byte(s)))
}

func (c *checker) optional(member, s string) {
	if s != "" {
		c.identifier(member, s)
	}
}

func (c *checker) identifiers(member string, list []string) {
	for i, s := range list {
		if !validIdentifier(s) {
			c.item(member, i, func(c *checker) { c.broken(identifierError(s)) })
		}
	}
}

// CheckIdentifier reports why s is no identifier: 1 to 256 bytes of printable
// ASCII without spaces.
func CheckIdentifier(s string) error {
	if !validIdentifier(s) {
		return identifierError(s)
	}
	return nil
}

// CheckPublic reports why o cannot stand in a record as params or refs.
func CheckPublic(o Object) error {
	var c checker
	c.public("params", o)
	return c.err
}

// CheckAmounts reports why a cannot stand in a record: a unit that is none, or an
// amount below 0 or beyond 2^53-1.
func CheckAmounts(a Amounts) error {
	var c checker
	c.amounts("amounts", a)
	return c.err
}

func validIdentifier(s string) bool {
	if len(s) == 0 || len(s) > maxIdentifier {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// origin: a C2SP origin that can also stand in a signed note's key name: an
// identifier without "+".
func (c *checker) origin(member, s string) {
	if !validIdentifier(s) || strings.Contains(s, "+") {
		c.fail(member, "want 1 to %d bytes of printable ASCII without spaces or plus signs, found %q", maxIdentifier, clip([]byte(s)))
	}
}

func (c *checker) ids(member string, list []ID) {
	var seen map[ID]bool
	for i, id := range list {
		again := seen[id]
		if i < 8 { // among a few, comparing is faster than a map
			again = slices.Contains(list[:i], id)
		} else {
			if seen == nil {
				seen = make(map[ID]bool, len(list))
				for _, before := range list[:i] {
					seen[before] = true
				}
				again = seen[id]
			}
			seen[id] = true
		}
		if id.IsZero() || again {
			c.item(member, i, func(c *checker) { c.broken(fmt.Errorf("want each record once, found %s again", id)) })
		}
	}
}

func (c *checker) id(member string, id ID) { c.require(member, !id.IsZero()) }

func (c *checker) count(member string, n, least int64) {
	if n < least || n > maxInteger {
		c.fail(member, "want an integer from %d to 2^53-1, found %d", least, n)
	}
}

func (c *checker) time(member string, t Time) {
	if t.absent() {
		return
	}
	if err := t.check(); err != nil {
		c.fail(member, "%w", err)
	}
}

func (c *checker) amounts(member string, a Amounts) {
	for unit, n := range a {
		if !validUnit(unit) {
			c.fail(member, `want tokens, tool_calls, attempts, wall_ms or a currency such as usd_micro, found %q`, clip([]byte(unit)))
		}
		if n < 0 || n > maxInteger {
			c.in(member, func(c *checker) { c.count(unit, n, 0) })
		}
	}
}

func validUnit(s string) bool {
	switch s {
	case "tokens", "tool_calls", "attempts", "wall_ms":
		return true
	}
	cur, ok := strings.CutSuffix(s, "_micro")
	if !ok || len(cur) != 3 {
		return false
	}
	for i := range 3 {
		if cur[i] < 'a' || cur[i] > 'z' {
			return false
		}
	}
	return true
}

func (c *checker) commitment(member string, m *Commitment) {
	if m == nil {
		return
	}
	c.trail = append(c.trail, step{member, -1})
	m.check(c)
	c.trail = c.trail[:len(c.trail)-1]
}

// object checks a free-form object that stands at the given depth of a record:
// I-JSON with a member, and nothing around it.
func (c *checker) object(member string, o Object, depth int, names func(name []byte) error) {
	if len(o) == 0 {
		return
	}
	s := &scanner{in: o, depth: depth}
	var seen nameSet
	n, err := s.object(func(name []byte) error {
		if !seen.add(name) {
			return s.errorf("want each member once, found %q again", clip(name))
		}
		if names != nil {
			if err := names(name); err != nil {
				return err
			}
		}
		return s.any()
	})
	switch {
	case err != nil:
		c.fail(member, "%w", err)
	case n == 0:
		c.fail(member, "want no empty object: what is absent is not written")
	case s.at != len(o):
		c.fail(member, "want nothing after the object, found %d bytes", len(o)-s.at)
	}
}

func oneOf[T ~string](c *checker, member string, v T, allowed ...T) {
	for _, a := range allowed {
		if v == a {
			return
		}
	}
	c.fail(member, "want one of %q, found %q", allowed, clip([]byte(v)))
}

// public: the members of an input or output that a tool declares public.
func (c *checker) public(member string, o Object) { c.object(member, o, 2, nil) }

// ext: an object whose member names carry a reverse-DNS prefix.
func (c *checker) ext(o Object) {
	c.object("ext", o, 1, func(b []byte) error {
		name := string(b)
		if host, rest, ok := strings.Cut(name, "."); !validIdentifier(name) || !ok || host == "" || rest == "" {
			return fmt.Errorf("want member names with a reverse-DNS prefix such as com.example.trace, found %q", clip(b))
		}
		return nil
	})
}
