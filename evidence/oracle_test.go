package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gowebpki/jcs"

	"ledgerd/internal/raced"
)

// oracleParse is ParsePayload written over a JSON library, in several passes
// and with no thought for speed: tokens by jsontext, decoding by its sibling,
// numbers as exact fractions. What the one-pass parser takes, it must take, with
// the same result, and the other way round.
func oracleParse(b []byte) (*Record, error) {
	if len(b) == 0 || b[0] != '{' || !jsontext.Value(b).IsValid() || b[len(b)-1] != '}' {
		return nil, errors.New("oracle: not one JSON object")
	}
	if err := oracleTokens(b); err != nil {
		return nil, err
	}
	var e struct {
		envelope
		Rest jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	var rest map[string]jsontext.Value
	if err := json.Unmarshal(e.Rest, &rest); err != nil {
		return nil, err
	}
	rule, ok := kinds[e.Kind]
	if !ok || len(rest) != 1 || rest[string(e.Kind)] == nil || e.V != Version {
		return nil, fmt.Errorf("oracle: version %d, kind %s", e.V, e.Kind)
	}
	body := rule.body()
	if err := json.Unmarshal(rest[string(e.Kind)], body, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	r := &Record{
		Origin: e.Origin, Kind: e.Kind, Run: e.Run, Prev: e.Prev, About: e.About, Cites: e.Cites, Registry: e.Registry,
		Actor: e.Actor, Time: e.Time, At: e.At, Body: body, Ext: e.Ext,
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	compactFree(reflect.ValueOf(r).Elem())
	compactFree(reflect.ValueOf(body).Elem())
	// Nothing that stands in the payload is lost, and nothing is invented.
	e.Rest = nil
	again, err := json.Marshal(&e.envelope)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(body, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	again = fmt.Appendf(again[:len(again)-1], ",%q:%s}", e.Kind, text)
	if !sameJSON(b, again) {
		return nil, fmt.Errorf("oracle: what was read does not say what stood there: %s", again)
	}
	return r, nil
}

// compactFree is what parsing does to free-form objects.
func compactFree(v reflect.Value) {
	for i := range v.NumField() {
		if o, ok := v.Field(i).Interface().(Object); ok && o != nil {
			c := jsontext.Value(bytes.Clone(o))
			_ = c.Compact()
			v.Field(i).Set(reflect.ValueOf(Object(c)))
		}
	}
}

// sameJSON compares by RFC 8785, with the tests' foreign implementation of it.
func sameJSON(a, b []byte) bool {
	x, err := jcs.Transform(a)
	y, err2 := jcs.Transform(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// oracleTokens refuses what the library takes and we do not.
func oracleTokens(b []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	var names []string // member names that are open, by depth
	free := func() bool {
		return len(names) > 0 && names[0] == "ext" || len(names) > 1 && (names[1] == "params" || names[1] == "refs")
	}
	for {
		t, err := d.ReadToken()
		if err != nil {
			return nil //nolint:nilerr // validity was checked: this is the end
		}
		depth := d.StackDepth()
		kind, n := d.StackIndex(depth)
		if depth > maxDepth {
			return errors.New("oracle: too deep")
		}
		isName := kind == '{' && t.Kind() == '"' && n%2 == 1
		if isName {
			for len(names) < depth {
				names = append(names, "")
			}
			names = append(names[:depth-1], t.String())
		}
		switch t.Kind() {
		case '"':
			for _, r := range t.String() {
				if r >= 0xfdd0 && r <= 0xfdef || r%0x10000 >= 0xfffe {
					return errors.New("oracle: a noncharacter")
				}
			}
			if t.String() == "" && !isName && !free() {
				return errors.New("oracle: an empty string")
			}
		case '0':
			if err := oracleNumber(t.String()); err != nil {
				return err
			}
		case 't', 'f', 'n':
			if !free() {
				return errors.New("oracle: true, false or null")
			}
		case '{', '[':
			root := free() && len(names) == depth-1 && (depth == 2 || depth == 3 && names[0] != "ext") // the free-form object itself
			if (!free() || root) && (d.PeekKind() == '}' || d.PeekKind() == ']') {
				return errors.New("oracle: something empty")
			}
		}
	}
}

var (
	wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)
	zeroNumber  = regexp.MustCompile(`^0(\.0+)?$`)
)

func oracleNumber(s string) error {
	limit := big.NewRat(maxInteger, 1)
	if wholeNumber.MatchString(s) {
		n, _ := new(big.Rat).SetString(s)
		if n.Abs(n).Cmp(limit) > 0 || s == "-0" {
			return errors.New("oracle: not an integer of a double")
		}
		return nil
	}
	if len(s) > maxNumber {
		return errors.New("oracle: a long number")
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		if !zeroNumber.MatchString(s) {
			return errors.New("oracle: an odd zero")
		}
		return nil
	}
	f, _, err := big.ParseFloat(s, 10, 2000, big.ToNearestEven)
	if err != nil {
		return err
	}
	if e := f.MantExp(nil); e > 60 || e < -1100 {
		return errors.New("oracle: out of range")
	}
	if v, _ := f.Float64(); v == 0 || v > maxInteger || v < -maxInteger {
		return errors.New("oracle: out of range")
	}
	return nil
}

// agree fails the test unless parser and oracle say the same of a payload.
func agree(t *testing.T, payload []byte) {
	t.Helper()
	got, err := ParsePayload(payload)
	var version *VersionError
	if errors.As(err, &version) {
		return
	}
	want, oracleErr := oracleParse(payload)
	if (err == nil) != (oracleErr == nil) {
		t.Fatalf("%q\nparser: %v\noracle: %v", payload, err, oracleErr)
	}
	if err != nil {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q\nparser: %+v %+v\noracle: %+v %+v", payload, got, got.Body, want, want.Body)
	}
	// Writing it down and reading it again changes neither record nor meaning.
	text, err := MarshalPayload(got)
	if err != nil {
		t.Fatalf("%q: parsed, and then: %v", payload, err)
	}
	if !sameJSON(text, payload) {
		t.Fatalf("%q\nbecame\n%s", payload, text)
	}
	again, err := ParsePayload(text)
	if err != nil || !reflect.DeepEqual(again, got) {
		t.Fatalf("%q\nbecame\n%s: %v", payload, text, err)
	}
}

// FuzzPayload holds the parser against the oracle. The fuzzer's input is a
// payload; the seeds are every sample and every mutation of the vectors.
func FuzzPayload(f *testing.F) {
	for _, s := range samples(f) {
		b, err := MarshalPayload(s.record)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, payload []byte) { agree(t, payload) })
}

// TestParserAgreesWithOracle mutates every sample in the ways in which JSON goes
// wrong, at every place in it: far more than a fuzzer finds in the same time.
func TestParserAgreesWithOracle(t *testing.T) {
	raced.Skip(t)
	inserts := []string{
		" ", "\n\t", "\x00", "\xef\xbb\xbf", `,`, `"`, `\`, `{`, `}`, `[]`, `0`, `-`, `.`, `e9`, `\u0041`, `\ud800`, `\udc00\ud800`,
		"\xc0\xaf", "\xed\xa0\x80", "\xff", "\ufdd0", "\uffff", "\U0010ffff", `\uFFFE`, `\ud83d\ude00`, "é", `"x":1,`, `"v":1,`, `"actor":"a",`, `"refs":{},`, `null`,
	}
	seen := 0
	for i, s := range samples(t) {
		chosen := strings.HasSuffix(s.name, "/full") || i%5 == 0 // "full" holds nearly every member
		if !chosen {
			continue
		}
		payload, err := MarshalPayload(s.record)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, payload)
		for i := range len(payload) + 1 {
			agree(t, payload[:i])
			if i < len(payload) {
				agree(t, append(bytes.Clone(payload[:i]), payload[i+1:]...))
			}
			// Everything at the beginning of a string, something at other places.
			for j, in := range inserts {
				if (i+j)%8 == 0 || payload[max(0, i-1)] == '"' {
					agree(t, bytes.Join([][]byte{payload[:i], []byte(in), payload[i:]}, nil))
					seen++
				}
			}
		}
		for _, value := range jsonValues(payload) {
			for _, with := range []string{
				`null`, `true`, `""`, `"x"`, `[]`, `{}`, `{"":0}`, `[1]`, `0`, `-0`, `-0.0`, `0.0`, `0e1`, `1.0`, `1e0`, `01`, `-1`, `1e-400`, `1e400`, `-1e400`, `1e15`, `1e16`,
				`9007199254740991`, `9007199254740992`, `-9007199254740992`, `9007199254740991.4`, `9007199254740991.6`, `4.9e-324`, `2e-324`,
				`0.` + strings.Repeat("3", 61), `0.` + strings.Repeat("3", 63), strings.Repeat("9", 400), `0.0000000`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `["\u0000"]`,
				strings.Repeat("[", 40) + strings.Repeat("]", 40), strings.Repeat(`{"a":`, 29) + "1" + strings.Repeat("}", 29),
				`"\uD83D\uDE00"`, `"\udbff\udfff"`, `"\u00zz"`, `"\x"`, `"A\/"`, `"` + strings.Repeat("x", 257) + `"`, ` 1 `, `{ "a" : [ 1 , 2 ] }`, `{"com.example.x":1}`,
			} {
				agree(t, bytes.Join([][]byte{payload[:value[0]], []byte(with), payload[value[1]:]}, nil))
				seen++
			}
		}
	}
	t.Logf("%d mutations", seen)
}

// jsonValues returns the offsets of every member's value.
func jsonValues(b []byte) (all [][2]int) {
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	for {
		t, err := d.ReadToken()
		if err != nil {
			return all
		}
		if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 && t.Kind() == '"' {
			start := d.InputOffset() + 1 // past the colon
			v := jsontext.NewDecoder(bytes.NewBuffer(b[start:]))
			if err := v.SkipValue(); err == nil {
				all = append(all, [2]int{int(start), int(start + v.InputOffset())})
			}
		}
	}
}

// TestStringsAgree: what a string stands for, over all code points.
func TestStringsAgree(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r += 1 + r/64 {
		escaped := fmt.Sprintf(`\u%04x`, r)
		if r > 0xffff {
			escaped = fmt.Sprintf(`\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		}
		for _, text := range []string{string(r), escaped} {
			quoted := `"x` + text + `y"`
			s := &scanner{in: []byte(quoted)}
			got, err := s.text()
			if s.at != len(s.in) {
				err = errors.New("more than one string")
			}
			var want string
			ok := json.Unmarshal([]byte(quoted), &want) == nil && !nonCharacter(r)
			if (err == nil) != ok || ok && string(got) != want {
				t.Fatalf("%s: %q, %v, want %q, %v", quoted, got, err, want, ok)
			}
		}
	}
}
