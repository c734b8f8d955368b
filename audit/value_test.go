package audit

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// number draws the text of a JSON number.
func drawNumber(t *rapid.T) string {
	s := rapid.StringMatching(`-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
	return s
}

// TestDecimal: two numbers are one value exactly where math/big says so.
func TestDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawNumber(t)
		b := drawNumber(t)
		if rapid.Bool().Draw(t, "respell") {
			b = respell(a, rapid.IntRange(-5, 5).Draw(t, "shift"))
		}
		x, okX := new(big.Rat).SetString(a)
		y, okY := new(big.Rat).SetString(b)
		if !okX || !okY {
			t.Fatalf("%q %q", a, b)
		}
		va, err := parseValue([]byte(a))
		if err != nil {
			t.Fatal(err)
		}
		vb, err := parseValue([]byte(b))
		if err != nil {
			t.Fatal(err)
		}
		if va.equal(vb) != (x.Cmp(y) == 0) {
			t.Fatalf("%s and %s: equal %v (%s, %s)", a, b, va.equal(vb), va.key, vb.key)
		}
	})
}

// respell writes a number with its point moved.
func respell(s string, shift int) string {
	r, _ := new(big.Rat).SetString(s)
	f := new(big.Rat).Mul(r, new(big.Rat).SetFrac(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(shift+5)), nil), big.NewInt(100_000)))
	if !f.IsInt() {
		return s
	}
	return fmt.Sprintf("%se%d", f.Num(), -shift)
}

func TestValues(t *testing.T) {
	equal := [][2]string{
		{`{"a":1,"b":[1,2]}`, ` { "b" : [ 1.0 , 20e-1 ] , "a" : 1 } `},
		{`"\u00e9"`, `"é"`},
		{`0`, `-0.0e9`},
		{`9007199254740993`, `9007199254740993.0`},
		{`{"a":{}}`, `{"a":{ }}`},
	}
	for _, p := range equal {
		if a, b := mustValue(t, p[0]), mustValue(t, p[1]); !a.equal(b) {
			t.Errorf("%s and %s differ: %s, %s", p[0], p[1], a.key, b.key)
		}
	}
	differ := [][2]string{
		{`9007199254740993`, `9007199254740992`},
		{`0.1`, `0.1000000000000000055511151231257827`},
		{`"1"`, `1`},
		{`null`, `"null"`},
		{`true`, `"true"`},
		{`[1,2]`, `[2,1]`},
		{`[]`, `{}`},
		{`[[1],2]`, `[[1,2]]`},
		{`{"a":1}`, `{"a":1,"b":null}`},
		{`"a\",\"b"`, `["a","b"]`},
		{`{"a":"b:\"c"}`, `{"a":"b","c":""}`},
		{`"é"`, `"e\u0301"`},
	}
	for _, p := range differ {
		if a, b := mustValue(t, p[0]), mustValue(t, p[1]); a.equal(b) {
			t.Errorf("%s and %s are equal: %s", p[0], p[1], a.key)
		}
	}
	for _, p := range [][3]string{
		{`{"a":{"b":1,"c":2},"d":3}`, `{"a":{"b":1}}`, "part"},
		{`{"a":[1,2]}`, `{"a":[1]}`, ""},
		{`{"a":1}`, `{}`, "part"},
		{`[1]`, `{}`, ""},
		{`{"a":null}`, `{"b":null}`, ""},
		{`7`, `7.0`, "part"},
	} {
		if got := mustValue(t, p[0]).has(mustValue(t, p[1])); got != (p[2] == "part") {
			t.Errorf("%s has %s: %v", p[0], p[1], got)
		}
	}
	for _, bad := range []string{
		``, ` `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, "\"\xff\"", `"\ud800"`, `1 2`, `{}x`, `[1,]`, `01`, `+1`, `.5`, `NaN`, `1e99999999999999999999`,
		"\ufeff{}", strings.Repeat("[", 600) + strings.Repeat("]", 600),
	} {
		if v, err := parseValue([]byte(bad)); err == nil {
			t.Errorf("%q is %s", bad, v.key)
		}
	}
}

func mustValue(t testing.TB, s string) *value {
	t.Helper()
	v, err := parseValue([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}
