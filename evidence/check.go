package evidence

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of form, from docs/record-format.md.
const (
	MaxEntry      = 65535 // bytes of an entry: C2SP tlog-tiles
	maxIdentifier = 256   // bytes
	maxDepth      = 32    // nested objects and arrays
	maxInteger    = 1<<53 - 1
)

// checker keeps the first rule of form that is broken and where.
type checker struct {
	path []string
	err  error
}

func (c *checker) fail(member, format string, args ...any) {
	if c.err != nil {
		return
	}
	where := strings.Join(append(c.path, member), "/")
	c.err = fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
}

func (c *checker) in(member string, check func(*checker)) {
	c.path = append(c.path, member)
	check(c)
	c.path = c.path[:len(c.path)-1]
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
		c.fail(member, "want 1 to %d bytes of printable ASCII without spaces, found %q", maxIdentifier, clip([]byte(s)))
	}
}

func (c *checker) optional(member, s string) {
	if s != "" {
		c.identifier(member, s)
	}
}

func (c *checker) identifiers(member string, list []string) {
	for i, s := range list {
		c.identifier(fmt.Sprintf("%s/%d", member, i), s)
	}
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
	seen := make(map[ID]bool, len(list))
	for i, id := range list {
		if id.IsZero() || seen[id] {
			c.fail(fmt.Sprintf("%s/%d", member, i), "want each record once, found %s again", id)
		}
		seen[id] = true
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
	if _, err := t.MarshalText(); err != nil {
		c.fail(member, "%v", err)
	}
}

func (c *checker) amounts(member string, a Amounts) {
	for unit, n := range a {
		if !validUnit(unit) {
			c.fail(member, `want tokens, tool_calls, attempts, wall_ms or a currency such as usd_micro, found %q`, clip([]byte(unit)))
		}
		c.count(member+"/"+unit, n, 0)
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
	c.require(member+"/commit", !m.Commit.IsZero())
	c.count(member+"/size", m.Size, 0)
	c.identifier(member+"/media", m.Media)
}

func (c *checker) object(member string, o Object) {
	if o == nil {
		return
	}
	if o.Kind() != '{' || bytes.Equal(bytes.TrimSpace(o), []byte("{}")) {
		c.fail(member, "want a JSON object with a member")
		return
	}
	if err := scanFree(o); err != nil {
		c.fail(member, "%v", err)
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

// checkExt: an object whose member names carry a reverse-DNS prefix.
func checkExt(c *checker, ext Object) {
	c.object("ext", ext)
	if c.err != nil {
		return
	}
	d := jsontext.NewDecoder(bytes.NewReader(ext))
	if _, err := d.ReadToken(); err != nil {
		c.fail("ext", "%v", err)
		return
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			c.fail("ext", "%v", err)
			return
		}
		name := t.String()
		if host, rest, ok := strings.Cut(name, "."); !validIdentifier(name) || !ok || host == "" || rest == "" {
			c.fail("ext", "want member names with a reverse-DNS prefix such as com.example.trace, found %q", clip([]byte(name)))
			return
		}
		if err := d.SkipValue(); err != nil {
			c.fail("ext", "%v", err)
			return
		}
	}
}
