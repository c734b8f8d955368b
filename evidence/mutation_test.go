package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// refused is a mutation of an entry or a payload that must not parse, named for
// what is wrong with it.
type refused struct {
	name    string
	row     int    // of the list of attacks in the threat model, 0 for none
	entry   string // the whole JWS, or
	payload string // a payload that is signed as it should be
	jose    bool   // go-jose accepts the entry and verifies it
}

func b64(b string) string { return base64.RawURLEncoding.EncodeToString([]byte(b)) }

// joined is a compact JWS with the given header, truly signed.
func joined(header, payload string, k *PrivateKey) string {
	message := b64(header) + "." + b64(payload)
	return message + "." + b64(string(ed25519.Sign(k.ed, []byte(message))))
}

func headerFor(k *PrivateKey) string { return headerBefore + k.pub.kid.String() + headerAfter }

// entryMutations are those of the JWS around a payload that is right.
func entryMutations(tb testing.TB) []refused {
	k := testKey(tb, "runtime")
	sample := samples(tb)[0]
	raw, err := MarshalPayload(sample.record)
	if err != nil {
		tb.Fatal(err)
	}
	payload, kid := string(raw), k.pub.kid.String()
	good := joined(headerFor(k), payload, k)
	parts := strings.Split(good, ".")
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + k.pub.JWK().X + `"}`

	var all []refused
	add := func(row int, jose bool, name, entry string) {
		all = append(all, refused{name: name, row: row, entry: entry, jose: jose})
	}
	header := func(row int, jose bool, name, header string) { add(row, jose, name, joined(header, payload, k)) }

	header(1, false, "alg none", `{"alg":"none","kid":"`+kid+`","typ":"evidence+jws"}`)
	add(1, false, "alg none and no signature", b64(`{"alg":"none","kid":"`+kid+`","typ":"evidence+jws"}`)+"."+parts[1]+".")
	header(1, false, "alg absent", `{"kid":"`+kid+`","typ":"evidence+jws"}`)
	header(1, false, "alg in another case", `{"alg":"eddsa","kid":"`+kid+`","typ":"evidence+jws"}`)
	header(1, false, "alg by its newer name", `{"alg":"Ed25519","kid":"`+kid+`","typ":"evidence+jws"}`)
	header(2, false, "alg HS256, keyed with the public key", `{"alg":"HS256","kid":"`+kid+`","typ":"evidence+jws"}`)
	header(1, false, "alg ES256", `{"alg":"ES256","kid":"`+kid+`","typ":"evidence+jws"}`)

	flat := `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
	bare := b64(`{"typ":"evidence+jws"}`)
	bareSig := b64(string(ed25519.Sign(k.ed, []byte(bare+"."+parts[1]))))
	add(3, true, "alg and kid outside the protected header", `{"payload":"`+parts[1]+`","protected":"`+bare+`","header":{"alg":"EdDSA","kid":"`+kid+`"},"signature":"`+bareSig+`"}`)
	add(4, true, "an unprotected header", `{"payload":"`+parts[1]+`","protected":"`+parts[0]+`","header":{"note":"x"},"signature":"`+parts[2]+`"}`)
	for _, c := range [][2]string{
		{"a path", "../../etc/passwd"},
		{"SQL", "' OR 1=1 --"},
		{"a URL", "https://keys.example/1"},
		{"of 8 KiB", strings.Repeat("A", 8192)},
		{"one character short", kid[1:]},
		{"one character long", kid + "A"},
		{"padded", kid + "="},
		{"with non-zero trailing bits", loose(kid)},
		{"with an escaped character", `\u0041` + kid[6:]},
	} {
		header(5, true, "kid is "+c[0], `{"alg":"EdDSA","kid":"`+c[1]+`","typ":"evidence+jws"}`)
	}
	header(5, true, "kid absent", `{"alg":"EdDSA","typ":"evidence+jws"}`)
	header(5, false, "kid is a number", `{"alg":"EdDSA","kid":17,"typ":"evidence+jws"}`)
	header(5, true, "kid of 32 zero bytes", `{"alg":"EdDSA","kid":"`+strings.Repeat("A", 43)+`","typ":"evidence+jws"}`)
	header(6, true, "jwk embedded", `{"alg":"EdDSA","jwk":`+jwk+`,"kid":"`+kid+`","typ":"evidence+jws"}`)
	header(6, false, "x5c embedded", `{"alg":"EdDSA","kid":"`+kid+`","typ":"evidence+jws","x5c":["AA=="]}`)
	header(7, true, "jku", `{"alg":"EdDSA","jku":"http://169.254.169.254/","kid":"`+kid+`","typ":"evidence+jws"}`)
	header(7, true, "x5u", `{"alg":"EdDSA","kid":"`+kid+`","typ":"evidence+jws","x5u":"http://127.0.0.1/"}`)
	header(8, false, "crit unknown", `{"alg":"EdDSA","crit":["x"],"kid":"`+kid+`","typ":"evidence+jws","x":1}`)
	header(8, true, "crit empty", `{"alg":"EdDSA","crit":[],"kid":"`+kid+`","typ":"evidence+jws"}`)
	header(9, false, "b64 false, without crit", `{"alg":"EdDSA","b64":false,"kid":"`+kid+`","typ":"evidence+jws"}`)
	rawHeader := `{"alg":"EdDSA","b64":false,"crit":["b64"],"kid":"` + kid + `","typ":"evidence+jws"}`
	rawMessage := b64(rawHeader) + "." + payload
	add(9, false, "b64 false, the payload as it is", rawMessage+"."+b64(string(ed25519.Sign(k.ed, []byte(rawMessage)))))
	add(10, true, "JSON serialisation, flattened", flat)
	add(10, false, "JSON serialisation, two signatures of which one is good", `{"payload":"`+parts[1]+`","signatures":[{"protected":"`+parts[0]+
		`","signature":"`+parts[2]+`"},{"protected":"`+parts[0]+`","signature":"`+b64(strings.Repeat("x", 64))+`"}]}`)
	header(11, false, "a header member twice", `{"alg":"EdDSA","alg":"EdDSA","kid":"`+kid+`","typ":"evidence+jws"}`)
	header(11, false, "alg in capitals", `{"ALG":"EdDSA","kid":"`+kid+`","typ":"evidence+jws"}`)
	header(11, true, "header members in another order", `{"kid":"`+kid+`","alg":"EdDSA","typ":"evidence+jws"}`)
	header(12, true, "white space in the header", `{"alg": "EdDSA","kid":"`+kid+`","typ":"evidence+jws"}`)
	header(12, true, "a line end behind the header", headerFor(k)+"\n")
	header(12, true, "an unknown header member", `{"alg":"EdDSA","kid":"`+kid+`","typ":"evidence+jws","z":1}`)
	header(12, false, "a header that is not JSON", `alg=EdDSA`)
	header(12, false, "an empty header", `{}`)
	header(19, true, "typ of another token", `{"alg":"EdDSA","kid":"`+kid+`","typ":"JWT"}`)
	header(19, true, "typ in another case", `{"alg":"EdDSA","kid":"`+kid+`","typ":"Evidence+jws"}`)
	header(19, true, "typ with its tree", `{"alg":"EdDSA","kid":"`+kid+`","typ":"application/evidence+jws"}`)
	header(19, true, "typ absent", `{"alg":"EdDSA","kid":"`+kid+`"}`)

	for i, part := range []string{"header", "payload", "signature"} {
		with := func(s string) string {
			p := append([]string(nil), parts...)
			p[i] = s
			return strings.Join(p, ".")
		}
		p := parts[i]
		// go-jose drops line ends, and verifies what it decoded, encoded anew:
		// one signature then has many spellings, and one record many evidence IDs.
		add(12, true, "a line feed inside the "+part, with(p[:20]+"\n"+p[20:]))
		add(12, true, "CR and LF inside the "+part, with(p[:20]+"\r\n"+p[20:]))
		add(12, true, "a line feed behind the "+part, with(p+"\n"))
		add(12, false, "a space inside the "+part, with(p[:20]+" "+p[20:]))
		add(12, false, "padding behind the "+part, with(p+"="))
		add(12, false, "the alphabet of plain base64 in the "+part, with("+/"+p[2:]))
		add(12, false, "a NUL behind the "+part, with(p+"\x00"))
		add(12, false, "a byte above ASCII in the "+part, with("é"+p[2:]))
		add(12, false, "no "+part, with(""))
		add(12, false, "a character alone at the end of the "+part, with(p+strings.Repeat("A", (5-len(p)%4)%4)))
	}
	sig := parts[2]
	add(12, true, "non-zero trailing bits in the signature", parts[0]+"."+parts[1]+"."+sig[:85]+string(flipLast(sig[85])))
	for _, n := range []int{0, 63, 65} {
		add(16, false, fmt.Sprintf("a signature of %d bytes", n), parts[0]+"."+parts[1]+"."+b64(strings.Repeat("x", n)))
	}
	add(13, false, "a JWE of five parts", good+".AAAA.AAAA")
	add(13, false, "four parts", good+".AAAA")
	add(13, false, "two parts", parts[0]+"."+parts[1])
	add(13, false, "a dot behind", good+".")
	add(13, false, "nothing", "")
	add(12, false, "white space before the entry", " "+good)
	add(12, true, "a line end behind the entry", good+"\n")
	add(14, false, "nothing but dots", strings.Repeat(".", 1000))

	// A valid record, padded beyond the limit in a member that may hold much.
	long := *sample.record
	long.Ext = Object(`{"com.example.long":"` + strings.Repeat("x", MaxEntry) + `"}`)
	big, err := MarshalPayload(&long)
	if err != nil {
		tb.Fatal(err)
	}
	add(0, true, "an entry of more than 65535 bytes", joined(headerFor(k), string(big), k))
	return all
}

// flipLast changes the unused low bits of a last base64url character.
func flipLast(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// place is where a typed member stands in a payload without white space.
type place struct {
	pointer          string // execution/input/size
	owner            string // the Go struct and the member: Commitment.size
	optional         bool
	of               reflect.Type
	name, value, end int // offsets of its name, of its value, behind its value
}

// places finds every typed member of a payload.
func places(tb testing.TB, payload string) (all []place) {
	s := &scanner{in: []byte(payload)}
	var object func(t reflect.Type, pointer string)
	var value func(t reflect.Type, pointer string)
	value = func(t reflect.Type, pointer string) {
		switch {
		case t.Kind() == reflect.Pointer:
			value(t.Elem(), pointer)
		case t.Kind() == reflect.Struct:
			object(t, pointer+"/")
		case t.Kind() == reflect.Slice && t != reflect.TypeFor[Object]():
			if _, err := s.array(func(i int) error { value(t.Elem(), fmt.Sprintf("%s/%d", pointer, i)); return nil }); err != nil {
				tb.Fatal(err)
			}
		default:
			if err := s.any(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	object = func(t reflect.Type, pointer string) {
		_, err := s.object(func(b []byte) error {
			name := string(b)
			for i := range t.NumField() {
				tag, option, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
				if tag == name {
					p := place{pointer: pointer + name, owner: t.Name() + "." + name, optional: option != "", of: t.Field(i).Type}
					p.name, p.value = s.at-len(name)-3, s.at
					value(t.Field(i).Type, p.pointer)
					p.end = s.at
					all = append(all, p)
					return nil
				}
			}
			p := place{pointer: name, owner: "body." + name, name: s.at - len(name) - 3, value: s.at}
			p.of = reflect.TypeOf(kinds[Kind(name)].body()).Elem()
			object(p.of, name+"/")
			p.end = s.at
			all = append(all, p)
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	object(reflect.TypeFor[envelope](), "")
	return all
}

// memberMutations break every member of every struct once: left out, written
// twice, of another type, null, empty.
func memberMutations(tb testing.TB) (all []refused) {
	done := make(map[string]bool)
	once := func(key, name, payload string) {
		if !done[key] {
			done[key] = true
			all = append(all, refused{name: name, payload: payload})
		}
	}
	for _, s := range samples(tb) {
		b, err := MarshalPayload(s.record)
		if err != nil {
			tb.Fatal(err)
		}
		payload := string(b)
		for _, p := range places(tb, payload) {
			kind := string(s.record.Kind)
			if p.pointer != kind && !strings.HasPrefix(p.pointer, kind+"/") {
				kind = "record"
			}
			at := kind + ": " + strings.TrimPrefix(p.pointer, kind+"/")
			put := func(v string) string { return payload[:p.value] + v + payload[p.end:] }
			if !p.optional {
				from, to := p.name, p.end
				if payload[from-1] == ',' {
					from--
				} else if payload[to] == ',' {
					to++
				}
				once(p.owner+" missing", at+" missing", payload[:from]+payload[to:])
			}
			wrong, empty := "17", `""`
			switch t := p.of; {
			case t == reflect.TypeFor[Object](), t == reflect.TypeFor[Amounts](), t.Kind() == reflect.Struct, t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
				wrong, empty = "["+payload[p.value:p.end]+"]", "{}"
			case t.Kind() == reflect.Slice:
				wrong, empty = `{"0":`+payload[p.value:p.end]+"}", "[]"
			case t.Kind() == reflect.Int64, t.Kind() == reflect.Pointer:
				wrong, empty = `"`+payload[p.value:p.end]+`"`, ""
			}
			once(p.owner+" type", at+" of another type", put(wrong))
			once(p.owner+" null", at+" null", put("null"))
			if empty != "" {
				once(p.owner+" empty", at+" empty", put(empty))
			}
			once(p.owner+" twice", at+" twice", payload[:p.end]+","+payload[p.name:p.end]+payload[p.end:])
			if empty == "{}" && p.of != reflect.TypeFor[Object]() {
				once(p.of.String()+" unknown", at+" with an unknown member", payload[:p.end-1]+`,"tea":1}`+payload[p.end:])
			}
		}
	}
	return all
}

// ruleMutations break the rules that a type does not say, one each: text is
// replaced in a sample's payload.
func ruleMutations(tb testing.TB) (all []refused) {
	payloads := make(map[string]string)
	for _, s := range samples(tb) {
		b, err := MarshalPayload(s.record)
		if err != nil {
			tb.Fatal(err)
		}
		payloads[s.name] = string(b)
	}
	for _, m := range rules {
		payload, ok := payloads[m.sample]
		if m.old != "" && (!ok || !strings.Contains(payload, m.old)) {
			tb.Fatalf("%s: no %q in sample %q", m.name, m.old, m.sample)
		}
		if m.old == "" {
			payload = m.with
		} else {
			payload = strings.Replace(payload, m.old, m.with, 1)
		}
		all = append(all, refused{name: m.name, row: m.row, payload: payload})
	}
	return all
}

// TestMutationsAreRefused: each of them, by us; and go-jose says of the entries
// what the table says, so that nothing which it refuses gets through, and what
// it lets through is on record.
func TestMutationsAreRefused(t *testing.T) {
	k := testKey(t, "runtime")
	all := append(append(entryMutations(t), memberMutations(t)...), ruleMutations(t)...)
	names := make(map[string]bool)
	for _, m := range all {
		name := m.name
		if m.row > 0 {
			name = fmt.Sprintf("row %d: %s", m.row, m.name)
		}
		if names[name] {
			t.Errorf("two mutations are called %q", name)
		}
		names[name] = true
		t.Run(name, func(t *testing.T) {
			entry := []byte(m.entry)
			if m.payload != "" {
				var err error
				if entry, err = SignPayload([]byte(m.payload), k); err != nil {
					t.Fatal(err)
				}
			}
			before := bytes.Clone(entry)
			_, err := Parse(entry)
			form, ok := err.(*FormError) //nolint:errorlint // Parse promises the type itself
			if !ok {
				t.Fatalf("want a form error, found %v", err)
			}
			if form.Payload != (m.payload != "") {
				t.Errorf("says that the payload is at fault: %v (%v)", form.Payload, err)
			}
			if !bytes.Equal(entry, before) {
				t.Error("changed the entry")
			}
			if m.payload == "" {
				if got := joseVerifies(t, m.entry, k.pub); got != m.jose {
					t.Errorf("go-jose accepts it: %v, the table says %v", got, m.jose)
				}
			} else {
				agree(t, []byte(m.payload))
			}
		})
	}
	t.Logf("%d mutations", len(all))
}
