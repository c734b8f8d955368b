package evidence

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// TestRoundTrip: what is signed parses to the same record, verifies, and
// encodes to the same bytes.
func TestRoundTrip(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			k := testKey(t, s.key)
			entry, err := Sign(s.record, k)
			if err != nil {
				t.Fatal(err)
			}
			u, err := Parse(entry)
			if err != nil {
				t.Fatal(err)
			}
			if u.ID() != IDOf(entry) || u.KeyID() != k.Public().Thumbprint() || !bytes.Equal(u.Entry(), entry) {
				t.Errorf("ID %s, key %s: not those of the entry", u.ID(), u.KeyID())
			}
			r, err := u.Verify(k.Public())
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r, s.record) {
				t.Errorf("parsed\n%+v, signed\n%+v", r, s.record)
			}
			if r.OnLine() != (r.Run != "" && r.About.IsZero()) {
				t.Error("OnLine is wrong")
			}
			payload, err := MarshalPayload(s.record)
			if err != nil {
				t.Fatal(err)
			}
			again, err := MarshalPayload(r)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, payload) {
				t.Errorf("encoded\n%s\nthen\n%s", payload, again)
			}
			if _, err := u.Verify(testKey(t, "somebody else").Public()); !errors.Is(err, ErrSignature) {
				t.Errorf("verified under another key: %v", err)
			}
		})
	}
}

// TestSamplesCoverTheFormat: every kind has a sample, and every member of every
// struct stands in one of them: so do the vectors that are made from them.
func TestSamplesCoverTheFormat(t *testing.T) {
	var payloads []byte
	have := make(map[Kind]bool)
	for _, s := range samples(t) {
		have[s.record.Kind] = true
		b, err := MarshalPayload(s.record)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		payloads = append(payloads, b...)
	}
	for _, kind := range Kinds() {
		if !have[kind] {
			t.Errorf("no sample of kind %s", kind)
		}
	}
	for where, name := range memberNames() {
		if !bytes.Contains(payloads, []byte(`"`+name+`":`)) {
			t.Errorf("no sample has %s", where)
		}
	}
}

// memberNames returns every member of the format by Go struct and name.
func memberNames() map[string]string {
	names := make(map[string]string)
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
				names[t.Name()+"."+name] = name
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[envelope]())
	for _, kind := range Kinds() {
		walk(reflect.TypeOf(kinds[kind].body()))
	}
	return names
}

// TestKindsAgree: each body knows its kind, every kind has its place in the
// list, and nobody but the role of the table may sign it.
func TestKindsAgree(t *testing.T) {
	if len(Kinds()) != len(kinds) {
		t.Errorf("Kinds lists %d, the table has %d", len(Kinds()), len(kinds))
	}
	roles := []Role{RoleRoot, RoleRuntime, RoleAgent, RoleTool, RoleHuman}
	for _, kind := range Kinds() {
		if got := kinds[kind].body().Kind(); got != kind || !kind.Valid() {
			t.Errorf("the body of %s says that it is %s", kind, got)
		}
		for _, role := range roles {
			if !role.Valid() {
				t.Errorf("role %s is not valid", role)
			}
			want := role == kinds[kind].signer
			if got := MaySign(kind, role, false); got != want {
				t.Errorf("%s may sign %s: %v", role, kind, got)
			}
			if kinds[kind].signer == RoleAgent {
				want = role == RoleRuntime
			}
			if got := MaySign(kind, role, true); got != want {
				t.Errorf("%s may sign %s for whom it hosts: %v", role, kind, got)
			}
		}
	}
	if MaySign("tea.made", RoleRoot, false) || Kind("tea.made").Valid() || Role("operator").Valid() {
		t.Error("what is no kind or role counts as one")
	}
}

// TestEmptyIsAbsent: an empty list, map or object is not written.
func TestEmptyIsAbsent(t *testing.T) {
	r := samples(t)[0].record
	want, err := MarshalPayload(r)
	if err != nil {
		t.Fatal(err)
	}
	opened := *r.Body.(*RunOpened)
	opened.Budget = Amounts{}
	r.Body, r.Cites, r.Ext = &opened, []ID{}, Object{}
	got, err := MarshalPayload(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("wrote %s, want %s", got, want)
	}
}

// TestTimeBounds: what can be written can be read, to the last millisecond.
func TestTimeBounds(t *testing.T) {
	for ms, ok := range map[Time]bool{-1: false, 0: false, 1: true, maxTime: true, maxTime + 1: false} {
		text, err := ms.MarshalText()
		if (err == nil) != ok {
			t.Errorf("%d ms: %v", int64(ms), err)
		}
		var back Time
		if ok && (back.UnmarshalText(text) != nil || back != ms || len(text) != 24) {
			t.Errorf("%d ms: %s, then %d ms", int64(ms), text, int64(back))
		}
	}
}

// TestFreeFormDepth: what is signed has no more levels than a parser takes, also
// where a free-form object alone would not.
func TestFreeFormDepth(t *testing.T) {
	for levels := maxDepth - 3; levels <= maxDepth+1; levels++ {
		for _, s := range samples(t) {
			if s.name != "payload.erased/least" && s.name != "execution/full" {
				continue
			}
			deep := Object(`{"com.example.deep":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`)
			above := 1 // the record
			if x, ok := s.record.Body.(*Execution); ok {
				x.Refs, above = deep, 2 // and the body
			} else {
				s.record.Ext = deep
			}
			payload, err := MarshalPayload(s.record)
			if want := above+levels <= maxDepth; (err == nil) != want {
				t.Errorf("%s: %d levels below %d: %v", s.name, levels, above, err)
			}
			if err == nil {
				if _, err := ParsePayload(payload); err != nil {
					t.Errorf("%s: signed, and then: %v", s.name, err)
				}
			}
		}
	}
}

// TestNewerVersion: of a record that a later version wrote, only that it is
// I-JSON is asked.
func TestNewerVersion(t *testing.T) {
	k := testKey(t, "runtime")
	for _, v := range versionVectors() {
		entry, err := SignPayload(v.bytes(t), k)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(entry)
		var version *VersionError
		if got := errors.As(err, &version); got != (v.Newer > 0) || err == nil {
			t.Errorf("%s: %v, want a version error: %v", v.Name, err, v.Newer > 0)
		}
		var form *FormError
		if !errors.As(err, &form) || !form.Payload {
			t.Errorf("%s: %v: want a form error of the payload", v.Name, err)
		}
	}
}

// TestErrorsSayWhere: what was expected, what was found, and where.
func TestErrorsSayWhere(t *testing.T) {
	for payload, want := range map[string]string{
		`{"v":1,"claim":{"statements":[{"text":{"commit":"x","size":1,"media":"text/plain"}}]}}`: "claim/statements/0/text/commit: want 43 base64url characters",
		`{"v":1,"time":"2026-05-29T14:32:10Z"}`:                                                  "time: want the form 2006-01-02T15:04:05.000Z",
		`{"v":1,"execution":{"attempt":"1"}}`:                                                    "execution/attempt: want an integer, found a string",
		`{"v":1,"execution":{"tempt":1}}`:                                                        `execution: want no member "tempt"`,
		`{"v":1,"cites":[]}`:                                                                     "cites: want no empty list",
	} {
		_, err := ParsePayload([]byte(payload))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", payload, err, want)
		}
	}
	r := samples(t)[1].record
	r.Body.(*RunOpened).Contract.Document.Media = "text plain"
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "run.opened/contract/document/media: want 1 to 256 bytes") {
		t.Errorf("%v", err)
	}
}
