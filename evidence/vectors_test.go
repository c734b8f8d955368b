package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// update writes testdata/evidence anew. testdata/README.md describes the files.
var update = flag.Bool("update", false, "write the vectors of testdata/evidence anew")

const vectorDir = "../testdata/evidence"

type keyVector struct {
	Name       string `json:"name"`
	Seed       string `json:"seed"` // hexadecimal
	JWK        JWK    `json:"jwk"`
	Thumbprint string `json:"thumbprint"`
}

type recordVector struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	Key     string `json:"key"` // a name in keys.json
	Payload string `json:"payload"`
	Entry   string `json:"entry"`
	ID      string `json:"id"`
	Place   string `json:"place"`
	// The digests of the commitments that it holds.
	Commitments []string `json:"commitments"`
}

type entryVector struct {
	Name   string `json:"name"`
	Attack int    `json:"attack,omitempty"`
	Entry  string `json:"entry"`
	Jose   bool   `json:"accepted_by_go_jose"`
}

type payloadVector struct {
	Name   string `json:"name"`
	Attack int    `json:"attack,omitempty"`
	text
}

// text is bytes that JSON may not be able to hold as a string.
type text struct {
	Payload   *string `json:"payload,omitempty"`
	Base64url *string `json:"payload_base64url,omitempty"`
}

func textOf(b []byte) text {
	if utf8.Valid(b) && len(b) > 0 {
		return text{Payload: ptr(string(b))}
	}
	return text{Base64url: ptr(base64.RawURLEncoding.EncodeToString(b))}
}

func (v text) bytes(t *testing.T) []byte {
	t.Helper()
	if v.Payload != nil {
		return []byte(*v.Payload)
	}
	b, err := base64.RawURLEncoding.DecodeString(*v.Base64url)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type versionVector struct {
	Name  string `json:"name"`
	Newer int64  `json:"newer"` // the version that the payload has, 0: refused
	text
}

type commitmentVector struct {
	Name   string     `json:"name"`
	Salt   string     `json:"salt"` // hexadecimal
	Commit Commitment `json:"commitment"`
	text
	Opens bool `json:"opens"`
}

type signatureVector struct {
	Name      string `json:"name"`
	Key       string `json:"key"` // these three hexadecimal
	Message   string `json:"message"`
	Signature string `json:"signature"`
	KeyOK     bool   `json:"key_accepted"`
	Standard  bool   `json:"rfc8032_without_cofactor"`
	Valid     bool   `json:"valid"`
}

var placeNames = map[Place]string{Line: "line", Beside: "beside", LineOrBeside: "line or beside", Registry: "registry", Outside: "outside"}

// placeOf names where a record itself stands.
func placeOf(r *Record) string {
	if r.Kind.Place() != LineOrBeside {
		return placeNames[r.Kind.Place()]
	}
	if r.OnLine() {
		return placeNames[Line]
	}
	return placeNames[Beside]
}

// vectorFiles makes every file of the directory.
func vectorFiles(t *testing.T) map[string][]any {
	t.Helper()
	files := make(map[string][]any)
	add := func(file string, v any) { files[file] = append(files[file], v) }
	for _, name := range []string{"root", "root 2", "runtime", "agent", "tool", "human", "warehouse"} {
		k := testKey(t, name)
		add("keys.json", keyVector{name, hex.EncodeToString(k.Seed()), k.Public().JWK(), k.Public().Thumbprint().String()})
	}
	for _, s := range samples(t) {
		payload, err := MarshalPayload(s.record)
		if err != nil {
			t.Fatal(err)
		}
		entry, err := Sign(s.record, testKey(t, s.key))
		if err != nil {
			t.Fatal(err)
		}
		v := recordVector{
			Name: s.name, Kind: s.record.Kind, Key: s.key, Payload: string(payload), Entry: string(entry), ID: IDOf(entry).String(),
			Place: placeOf(s.record), Commitments: []string{},
		}
		for _, c := range s.record.Commitments() {
			v.Commitments = append(v.Commitments, c.Commit.String())
		}
		add("records.json", v)
	}
	for _, m := range entryMutations(t) {
		add("entries-refused.json", entryVector{m.name, m.row, m.entry, m.jose})
	}
	for _, m := range append(memberMutations(t), ruleMutations(t)...) {
		add("payloads-refused.json", payloadVector{m.name, m.row, textOf([]byte(m.payload))})
	}
	for _, v := range versionVectors() {
		add("versions.json", v)
	}
	for _, v := range commitmentVectors() {
		add("commitments.json", v)
	}
	for _, c := range signatureCases(t) {
		add("signatures.json", signatureVector{
			c.name, hex.EncodeToString(c.key), hex.EncodeToString(c.message), hex.EncodeToString(c.sig), c.keyOK, c.standard, c.valid,
		})
	}
	return files
}

func versionVectors() (all []versionVector) {
	for _, c := range []struct {
		name, payload string
		newer         int64
	}{
		{"version 2 with nothing else", `{"v":2}`, 2},
		{"version 2 with what version 1 does not allow", `{"v":2,"kind":"tea.made","time":17,"sweet":null,"":[]}`, 2},
		{"version 3 with v at the end", `{"kind":"execution","v":3}`, 3},
		{"the highest version", `{"v":9007199254740991}`, 1<<53 - 1},
		{"version 1 with nothing else", `{"v":1}`, 0},
		{"version 0", `{"v":0}`, 0},
		{"version -2", `{"v":-2}`, 0},
		{"version 2.0", `{"v":2.0}`, 0},
		{"version as a string", `{"v":"2"}`, 0},
		{"version 2 twice", `{"v":2,"v":2}`, 0},
		{"version 2 and white space behind", `{"v":2} `, 0},
		{"version 2 in an array", `[{"v":2}]`, 0},
		{"version 2 further in", `{"x":{"v":2}}`, 0},
		{"version 2 with 1e400", `{"v":2,"x":1e400}`, 0},
		{"version 2 with a lone surrogate", `{"v":2,"x":"\ud800"}`, 0},
		{"version 2 with 33 levels", `{"v":2,"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, 0},
	} {
		all = append(all, versionVector{c.name, c.newer, textOf([]byte(c.payload))})
	}
	return all
}

func commitmentVectors() (all []commitmentVector) {
	add := func(name, media, data string, change func(p *Payload, c *Commitment)) {
		p := testPayload(media, data)
		c := p.Commitment()
		if change != nil {
			change(p, &c)
		}
		all = append(all, commitmentVector{name, hex.EncodeToString(p.Salt[:]), c, textOf(p.Data), change == nil})
	}
	add("JSON", "application/json", `{"order":"A-17"}`, nil)
	add("text", "text/plain", "Your refund of 12 € is on its way.", nil)
	add("nothing", "application/octet-stream", "", nil)
	add("bytes that are no text", "application/octet-stream", "\x00\xff\xfe", nil)
	add("another salt", "text/plain", "x", func(p *Payload, _ *Commitment) { p.Salt[0] ^= 1 })
	add("another payload", "text/plain", "x", func(p *Payload, _ *Commitment) { p.Data = []byte("y") })
	add("another size", "text/plain", "x", func(_ *Payload, c *Commitment) { c.Size++ })
	return all
}

// TestVectors: what the files say of each vector holds, read as another
// implementation would read them; and they are what the generator makes.
func TestVectors(t *testing.T) {
	for file, vectors := range vectorFiles(t) {
		var b bytes.Buffer
		for i, v := range vectors {
			b.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if err := e.Encode(v); err != nil {
				t.Fatal(err)
			}
			b.Truncate(b.Len() - 1)
		}
		b.WriteString("\n]\n")
		path := filepath.Join(vectorDir, file)
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, b.Bytes()) {
			t.Errorf("%s is not what the generator makes: a change of the format? If it is meant: go test ./evidence -run TestVectors -update", path)
		}
	}
	keys := make(map[string]*PrivateKey)
	for _, v := range readVectors[keyVector](t, "keys.json") {
		seed, err := hex.DecodeString(v.Seed)
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewPrivateKey(seed)
		if err != nil {
			t.Fatalf("key %s: %v", v.Name, err)
		}
		if k.Public().JWK() != v.JWK || k.Public().Thumbprint().String() != v.Thumbprint {
			t.Errorf("key %s: %+v, %s", v.Name, k.Public().JWK(), k.Public().Thumbprint())
		}
		keys[v.Name] = k
	}
	kinds := make(map[Kind]bool)
	for _, v := range readVectors[recordVector](t, "records.json") {
		kinds[v.Kind] = true
		entry, err := SignPayload([]byte(v.Payload), keys[v.Key])
		if err != nil || string(entry) != v.Entry {
			t.Errorf("%s: signed %s, %v", v.Name, entry, err)
		}
		u, err := Parse([]byte(v.Entry))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if r, err := u.Verify(keys[v.Key].Public()); err != nil || r.Kind != v.Kind || u.ID().String() != v.ID || placeOf(r) != v.Place {
			t.Errorf("%s: %v, kind %s, ID %s, place %s", v.Name, err, r.Kind, u.ID(), placeOf(r))
		}
	}
	for _, kind := range Kinds() {
		if !kinds[kind] {
			t.Errorf("no vector of kind %s", kind)
		}
	}
	for _, v := range readVectors[entryVector](t, "entries-refused.json") {
		if _, err := Parse([]byte(v.Entry)); err == nil {
			t.Errorf("%s: parses", v.Name)
		}
	}
	for _, v := range readVectors[payloadVector](t, "payloads-refused.json") {
		var version *VersionError
		if _, err := ParsePayload(v.bytes(t)); err == nil || errors.As(err, &version) {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	for _, v := range readVectors[versionVector](t, "versions.json") {
		_, err := ParsePayload(v.bytes(t))
		var version *VersionError
		if newer := errors.As(err, &version); err == nil || newer != (v.Newer > 0) || newer && version.V != v.Newer {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	for _, v := range readVectors[commitmentVector](t, "commitments.json") {
		p := &Payload{Media: v.Commit.Media, Data: v.bytes(t)}
		if n, err := hex.Decode(p.Salt[:], []byte(v.Salt)); n != SaltSize || err != nil {
			t.Fatal(err)
		}
		if p.Opens(v.Commit) != v.Opens {
			t.Errorf("%s: opens: %v", v.Name, !v.Opens)
		}
	}
	for _, v := range readVectors[signatureVector](t, "signatures.json") {
		k, err := NewPublicKey(unhex(v.Key))
		if (err == nil) != v.KeyOK {
			t.Errorf("%s: %v", v.Name, err)
		}
		if err == nil && verifies(k, unhex(v.Message), unhex(v.Signature)) != v.Valid {
			t.Errorf("%s: verified: %v", v.Name, !v.Valid)
		}
	}
}

func readVectors[T any](t *testing.T, file string) (all []T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir, file))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(all) == 0 {
		t.Fatalf("%s: no vectors", file)
	}
	return all
}
