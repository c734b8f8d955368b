package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem api.Problem
}

// request sends a request and reads its answer. Headers are name, value pairs.
func request(t *testing.T, method, url string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: b}
	if resp.StatusCode >= 400 {
		if got := resp.Header.Get("Content-Type"); got != api.MediaProblem {
			t.Fatalf("%s %s: %d with Content-Type %q: want a problem", method, url, resp.StatusCode, got)
		}
		if err := json.Unmarshal(b, &a.problem); err != nil || a.problem.Status != resp.StatusCode || a.problem.Type != "urn:ledgerd:problem:"+a.problem.Reason {
			t.Fatalf("%s %s: not a problem of status %d: %s (%v)", method, url, resp.StatusCode, b, err)
		}
	}
	return a
}

// post submits one record.
func post(t *testing.T, d *daemontest.Daemon, token string, entry []byte) answer {
	t.Helper()
	return request(t, "POST", d.URL+api.PathRecords, bytes.NewReader(entry), "Content-Type", api.MediaJOSE, "Authorization", "Bearer "+token)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// forge signs a header and a payload of our own making with a key.
func forge(k *evidence.PrivateKey, header string, payload []byte) []byte {
	text := b64([]byte(header)) + "." + b64(payload)
	return []byte(text + "." + b64(ed25519.Sign(ed25519.NewKeyFromSeed(k.Seed()), []byte(text))))
}

func payloadOf(t *testing.T, entry []byte) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(string(entry), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSubmitJWS is rows 1 to 20 of the attacks that come as a JWS.
func TestSubmitJWS(t *testing.T) {
	d := daemontest.New(t, nil)
	entry := d.Records(d.Line(), 1)[0]
	payload := payloadOf(t, entry)
	kid := d.Key.Public().Thumbprint().String()
	good := `{"alg":"EdDSA","kid":"` + kid + `","typ":"evidence+jws"}`
	parts := strings.Split(string(entry), ".")
	hs256 := func() []byte {
		text := b64([]byte(`{"alg":"HS256","kid":"`+kid+`","typ":"evidence+jws"}`)) + "." + parts[1]
		m := hmac.New(sha256.New, d.Key.Public().Bytes())
		m.Write([]byte(text))
		return []byte(text + "." + b64(m.Sum(nil)))
	}
	header := func(h string) []byte { return forge(d.Key, h, payload) }
	withKid := func(k string) []byte {
		return header(`{"alg":"EdDSA","kid":"` + k + `","typ":"evidence+jws"}`)
	}
	flattened := func(unprotected string) []byte {
		return []byte(`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","header":{` + unprotected + `},"signature":"` + parts[2] + `"}`)
	}
	jwk, err := json.Marshal(d.Key.Public().JWK())
	if err != nil {
		t.Fatal(err)
	}
	stranger := daemontest.Init(t)
	elsewhere := *d.Signer()
	elsewhere.Origin = "ledger.example/other"

	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	withSig := func(change func(sig []byte)) []byte {
		s := bytes.Clone(sig)
		change(s)
		return []byte(parts[0] + "." + parts[1] + "." + b64(s))
	}
	order := []byte{ // ℓ, little-endian
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
	}
	addOrder := func(sig []byte) {
		carry := 0
		for i := range order {
			carry += int(sig[32+i]) + int(order[i])
			sig[32+i] = byte(carry)
			carry >>= 8
		}
	}
	trailing := func() []byte { // the last character of 43 carries two bits that must be zero
		s := []byte(parts[0] + "." + parts[1] + "." + parts[2])
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		i := strings.IndexByte(alphabet, s[len(s)-1])
		s[len(s)-1] = alphabet[i|1]
		return s
	}
	for _, c := range []struct {
		row    int
		name   string
		status int
		entry  []byte
	}{
		{1, "alg none", 422, header(`{"alg":"none","kid":"` + kid + `","typ":"evidence+jws"}`)},
		{1, "alg none without signature", 422, []byte(b64([]byte(`{"alg":"none","kid":"`+kid+`","typ":"evidence+jws"}`)) + "." + parts[1] + ".")},
		{1, "alg absent", 422, header(`{"kid":"` + kid + `","typ":"evidence+jws"}`)},
		{1, "alg in another case", 422, header(`{"alg":"eddsa","kid":"` + kid + `","typ":"evidence+jws"}`)},
		{2, "HS256 keyed with the public key", 422, hs256()},
		{3, "kid outside the protected header", 400, flattened(`"kid":"` + kid + `"`)},
		{4, "any unprotected header", 400, flattened(`"x":1`)},
		{5, "kid a path", 400, withKid("../../../../etc/passwd")},
		{5, "kid SQL", 400, withKid("' OR 1=1 --")},
		{5, "kid a URL", 400, withKid("https://evil.example/key")},
		{5, "kid of 8 KiB", 400, withKid(strings.Repeat("k", 8<<10))},
		{6, "jwk", 422, header(`{"alg":"EdDSA","jwk":` + string(jwk) + `,"kid":"` + kid + `","typ":"evidence+jws"}`)},
		{6, "x5c", 422, header(`{"alg":"EdDSA","kid":"` + kid + `","typ":"evidence+jws","x5c":["MIIB"]}`)},
		{7, "jku", 422, header(`{"alg":"EdDSA","jku":"http://127.0.0.1:1/","kid":"` + kid + `","typ":"evidence+jws"}`)},
		{7, "x5u", 422, header(`{"alg":"EdDSA","kid":"` + kid + `","typ":"evidence+jws","x5u":"http://127.0.0.1:1/"}`)},
		{8, "crit unknown", 422, header(`{"alg":"EdDSA","crit":["x"],"kid":"` + kid + `","typ":"evidence+jws","x":1}`)},
		{8, "crit empty", 422, header(`{"alg":"EdDSA","crit":[],"kid":"` + kid + `","typ":"evidence+jws"}`)},
		{9, "b64 false", 422, header(`{"alg":"EdDSA","b64":false,"crit":["b64"],"kid":"` + kid + `","typ":"evidence+jws"}`)},
		{10, "JSON serialisation, one of two signatures valid", 400, []byte(`{"payload":"` + parts[1] + `","signatures":[{"protected":"` +
			parts[0] + `","signature":"` + parts[2] + `"},{"protected":"` + parts[0] + `","signature":"AAAA"}]}`)},
		{11, "alg twice", 422, header(`{"alg":"EdDSA","alg":"EdDSA","kid":"` + kid + `","typ":"evidence+jws"}`)},
		{11, "ALG", 422, header(`{"ALG":"EdDSA","kid":"` + kid + `","typ":"evidence+jws"}`)},
		{12, "white space in front", 400, append([]byte(" "), entry...)},
		{12, "line end behind", 400, append(bytes.Clone(entry), '\n')},
		{12, "CRLF inside", 400, []byte(parts[0] + ".\r\n" + parts[1] + "." + parts[2])},
		{12, "padding", 400, []byte(parts[0] + "." + parts[1] + "." + parts[2] + "==")},
		{12, "trailing bits", 400, trailing()},
		{13, "JWE", 400, []byte("eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA")},
		{16, "S ≥ L", 422, withSig(addOrder)},
		{16, "R of small order", 422, withSig(func(s []byte) { copy(s, append([]byte{1}, make([]byte, 31)...)) })},
		{18, "the runtime's key, the root's record", 403, forge(d.Key, good, bytes.Replace(payload, []byte(`"actor":"support"`), []byte(`"actor":"root"`), 1))},
		{19, "typ of another token", 422, header(`{"alg":"EdDSA","kid":"` + kid + `","typ":"JWT"}`)},
		{20, "bound to another origin", 422, forge(d.Key, good, bytes.Replace(payload, []byte(daemontest.Origin), []byte("ledger.example/other"), 1))},
		{17, "a key that nobody has", 403, stranger.Records(stranger.Line(), 1)[0]},
	} {
		t.Run(fmt.Sprintf("row %d %s", c.row, c.name), func(t *testing.T) {
			before := d.Ledger.Head().Size
			a := post(t, d, d.Token, c.entry)
			if a.status != c.status {
				t.Errorf("want %d, found %d: %s", c.status, a.status, a.body)
			}
			if size := d.Ledger.Head().Size; size != before {
				t.Errorf("a refused record is in the log: size %d, then %d", before, size)
			}
		})
	}
	t.Run("row 14 ten million dots", func(t *testing.T) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		a := request(t, "POST", d.URL+api.PathRecords, io.LimitReader(dots{}, 10_000_000), "Content-Type", api.MediaJOSE, "Authorization", "Bearer "+d.Token)
		runtime.ReadMemStats(&after)
		if a.status != 400 {
			t.Errorf("want 400, found %d", a.status)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("want flat memory, %d bytes were allocated", grown)
		}
	})
	t.Run("the record itself", func(t *testing.T) {
		a := post(t, d, d.Token, entry)
		if a.status != 201 || a.header.Get("Location") != api.PathRecords+"/"+evidence.IDOf(entry).String() {
			t.Errorf("want 201 and a Location, found %d %v %s", a.status, a.header, a.body)
		}
	})
}

type dots struct{}

func (dots) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '.'
	}
	return len(p), nil
}

// TestSubmitConflict is rows 17, 27, 28 and 29.
func TestSubmitConflict(t *testing.T) {
	ctx := context.Background()
	d := daemontest.New(t, nil)
	line := d.Line()
	entries := d.Records(line, 3)
	var first api.Placed
	for i, e := range entries {
		a := post(t, d, d.Token, e)
		if a.status != 201 {
			t.Fatalf("record %d: %d %s", i, a.status, a.body)
		}
		if err := json.Unmarshal(a.body, &first); err != nil || first.Status != 201 || first.ID != evidence.IDOf(e) {
			t.Fatalf("record %d: %s (%v)", i, a.body, err)
		}
	}
	tail := evidence.IDOf(entries[2])
	t.Run("row 28 identical bytes", func(t *testing.T) {
		a := post(t, d, d.Token, entries[2])
		var again api.Placed
		if err := json.Unmarshal(a.body, &again); err != nil || a.status != 200 || again.Index != first.Index {
			t.Errorf("want 200 and index %d, found %d %s", first.Index, a.status, a.body)
		}
	})
	sign := func(r *evidence.Record) []byte {
		t.Helper()
		e, err := evidence.Sign(r, d.Key)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	next := func() *evidence.Record {
		return &evidence.Record{
			Origin: daemontest.Origin, Kind: evidence.KindEscalation, Run: line.Run(), Prev: tail, Actor: d.Dir.Runtime,
			Time: evidence.TimeOf(time.Now()), Body: &evidence.Escalation{Reason: "test", To: "finance"},
		}
	}
	t.Run("row 27 fork of a run", func(t *testing.T) {
		r := next()
		r.Prev = evidence.IDOf(entries[0])
		a := post(t, d, d.Token, sign(r))
		if a.status != 409 || a.problem.Stands == nil || *a.problem.Stands != tail || *a.problem.Index != first.Index {
			t.Errorf("want 409 naming %s at %d, found %d %s", tail, first.Index, a.status, a.body)
		}
	})
	t.Run("row 29 time off", func(t *testing.T) {
		r := next()
		r.Time = evidence.TimeOf(time.Now().Add(6 * time.Minute))
		if a := post(t, d, d.Token, sign(r)); a.status != 422 || a.problem.Reason != "time" {
			t.Errorf("want 422 time, found %d %s", a.status, a.body)
		}
		r.Time = evidence.TimeOf(time.Now().Add(-time.Minute))
		if a := post(t, d, d.Token, sign(r)); a.status != 422 {
			t.Errorf("before prev's: want 422, found %d %s", a.status, a.body)
		}
	})
	t.Run("row 17 an old registry number", func(t *testing.T) {
		stale := d.Line()
		entry := d.Records(stale, 1)[0]
		d.Actor("newcomer", evidence.RoleTool)
		if a := post(t, d, d.Token, entry); a.status != 409 {
			t.Errorf("want 409, found %d %s", a.status, a.body)
		}
	})
	t.Run("row 28 same idempotency key, other bytes", func(t *testing.T) {
		u, err := evidence.Parse(entries[1])
		if err != nil {
			t.Fatal(err)
		}
		r := *u.UnverifiedRecord()
		r.Prev, r.Time = tail, evidence.TimeOf(time.Now())
		if a := post(t, d, d.Token, sign(&r)); a.status != 409 || a.problem.Stands == nil || *a.problem.Stands != u.ID() {
			t.Errorf("want 409 naming %s, found %d %s", u.ID(), a.status, a.body)
		}
	})
	t.Run("row 17 a revoked key", func(t *testing.T) {
		key := d.Actor("runtime-2", evidence.RoleRuntime)
		token := d.Grant("runtime-2", api.RightRecord)
		signer := *d.Signer()
		signer.Runtime, signer.Agent, signer.Key = "runtime-2", "runtime-2", key
		if _, err := d.Ledger.Revoke(ctx, d.Root, &evidence.ActorRevoked{Name: "runtime-2", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		e := sign2(t, &evidence.Record{
			Origin: daemontest.Origin, Kind: evidence.KindEscalation, Run: line.Run(), Prev: tail, Actor: "runtime-2",
			Time: evidence.TimeOf(time.Now()), Body: &evidence.Escalation{Reason: "test", To: "finance"},
		}, key)
		if a := post(t, d, token, e); a.status != 403 {
			t.Errorf("want 403, found %d %s", a.status, a.body)
		}
	})
	t.Run("row 27 after run.closed", func(t *testing.T) {
		number := d.Ledger.Registry().Number()
		r := next()
		r.Kind, r.Body, r.Registry = evidence.KindRunClosed, &evidence.RunClosed{End: evidence.Completed}, &number
		closed := sign(r)
		if a := post(t, d, d.Token, closed); a.status != 201 {
			t.Fatalf("close: %d %s", a.status, a.body)
		}
		r = next()
		r.Prev = evidence.IDOf(closed)
		if a := post(t, d, d.Token, sign(r)); a.status != 409 || a.problem.Stands == nil || *a.problem.Stands != evidence.IDOf(closed) {
			t.Errorf("want 409 naming run.closed, found %d %s", a.status, a.body)
		}
	})
	t.Run("row 15 registering keys that are none", func(t *testing.T) {
		for name, point := range map[string][]byte{
			"small order":   append([]byte{1}, make([]byte, 31)...),
			"not canonical": append([]byte{0xee}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...),
		} {
			r, err := d.Ledger.NextRegistry(&evidence.ActorRegistered{Name: "evil", Role: evidence.RoleTool, Key: keyOf(t)})
			if err != nil {
				t.Fatal(err)
			}
			payload, err := evidence.MarshalPayload(r)
			if err != nil {
				t.Fatal(err)
			}
			payload = bytes.Replace(payload, []byte(r.Body.(*evidence.ActorRegistered).Key.X), []byte(b64(point)), 1)
			e, err := evidence.SignPayload(payload, d.Root)
			if err != nil {
				t.Fatal(err)
			}
			if a := post(t, d, d.Token, e); a.status != 422 {
				t.Errorf("%s: want 422, found %d %s", name, a.status, a.body)
			}
		}
	})
}

func keyOf(t *testing.T) *evidence.JWK {
	t.Helper()
	k, err := evidence.NewPrivateKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	jwk := k.Public().JWK()
	return &jwk
}

func sign2(t *testing.T, r *evidence.Record, k *evidence.PrivateKey) []byte {
	t.Helper()
	e, err := evidence.Sign(r, k)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSubmitPayload is rows 21 to 26, as far as the wire shows them; package
// evidence has them all.
func TestSubmitPayload(t *testing.T) {
	d := daemontest.New(t, nil)
	payload := payloadOf(t, d.Records(d.Line(), 1)[0])
	change := func(old, new string) []byte {
		if !bytes.Contains(payload, []byte(old)) {
			t.Fatalf("no %s in %s", old, payload)
		}
		return bytes.Replace(payload, []byte(old), []byte(new), 1)
	}
	for _, c := range []struct {
		row     int
		name    string
		payload []byte
	}{
		{21, "duplicate member", change(`"v":1`, `"v":1,"v":1`)},
		{21, "member in another case", change(`"v":1`, `"V":1`)},
		{22, "invalid UTF-8", change(`"principal":"bench"`, "\"principal\":\"b\xff\"")},
		{22, "lone surrogate", change(`"principal":"bench"`, `"principal":"\ud800"`)},
		{23, "integer beyond 2^53", change(`"v":1`, `"v":9007199254740993`)},
		{23, "1e400", change(`"v":1`, `"v":1e400`)},
		{23, "-0", change(`"v":1`, `"v":-0`)},
		{24, "depth 10,000", change(`"principal":"bench"`, `"principal":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000))},
		{25, "BOM", append([]byte("\xef\xbb\xbf"), payload...)},
		{25, "trailing value", append(bytes.Clone(payload), []byte(`{}`)...)},
		{26, "identifier with a space", change(`"principal":"bench"`, `"principal":"a b"`)},
		{26, "identifier beyond ASCII", change(`"principal":"bench"`, `"principal":"bénch"`)},
	} {
		t.Run(fmt.Sprintf("row %d %s", c.row, c.name), func(t *testing.T) {
			e, err := evidence.SignPayload(c.payload, d.Key)
			if err != nil {
				t.Fatal(err)
			}
			if a := post(t, d, d.Token, e); a.status != 400 {
				t.Errorf("want 400, found %d %s", a.status, a.body)
			}
		})
	}
}

// TestTokens: a token of actor A cannot write as B, and each right opens what it
// names and nothing else.
func TestTokens(t *testing.T) {
	d := daemontest.New(t, nil)
	d.Actor("other", evidence.RoleRuntime)
	entry := d.Records(d.Line(), 1)[0]
	other := d.Grant("other", api.RightRecord, api.RightRead)
	if a := post(t, d, other, entry); a.status != 403 || a.problem.Reason != api.ReasonOtherActor {
		t.Errorf("another actor's token: want 403 other_actor, found %d %s", a.status, a.body)
	}
	if a := post(t, d, d.Grant("runtime", api.RightRead), entry); a.status != 403 || a.problem.Reason != api.ReasonRight {
		t.Errorf("without record: want 403 right, found %d %s", a.status, a.body)
	}
	for _, bad := range []string{"", "ledgerd_", "ledgerd_" + strings.Repeat("A", 43), d.Token + "x"} {
		if a := post(t, d, bad, entry); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("token %q: want 401, found %d %s", bad, a.status, a.body)
		}
	}
	if a := post(t, d, d.Grant("runtime", api.RightRecord), entry); a.status != 201 {
		t.Errorf("with record: want 201, found %d %s", a.status, a.body)
	}
	// What the root signs needs administer, whoever brings it.
	r, err := d.Ledger.NextRegistry(&evidence.ActorRegistered{Name: "x", Role: evidence.RoleTool, Key: keyOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	registration := sign2(t, r, d.Root)
	if a := post(t, d, d.Grant("runtime", api.RightRecord, api.RightRead), registration); a.status != 403 {
		t.Errorf("registry record without administer: want 403, found %d %s", a.status, a.body)
	}
	if a := post(t, d, d.Grant("other", api.RightAdminister), registration); a.status != 201 {
		t.Errorf("registry record with administer: want 201, found %d %s", a.status, a.body)
	}

	get := func(path, token string) int {
		return request(t, "GET", d.URL+path, nil, "Authorization", "Bearer "+token).status
	}
	recorder := d.Grant("runtime", api.RightRecord)
	for path, want := range map[string]int{
		api.PathRecords: 403, api.PathTokens: 403, api.PathRegistry: 403, api.PathHead: 403, api.PathEvents: 403, api.PathHealth: 200, api.PathReady: 200,
	} {
		if got := get(path, recorder); got != want {
			t.Errorf("GET %s with record alone: want %d, found %d", path, want, got)
		}
	}
	// A revoked token ends with the next request.
	c := d.Client(d.Token)
	issued, err := c.AddToken(context.Background(), api.NewToken{Actor: "runtime", Rights: []api.Right{api.RightRead}})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(api.PathRecords, issued.Secret); got != 200 {
		t.Errorf("new token: want 200, found %d", got)
	}
	if err := c.RevokeToken(context.Background(), issued.ID); err != nil {
		t.Fatal(err)
	}
	if got := get(api.PathRecords, issued.Secret); got != 401 {
		t.Errorf("revoked token: want 401, found %d", got)
	}
}

// TestMany: lines are answered one by one, and the others stand.
func TestMany(t *testing.T) {
	d := daemontest.New(t, nil)
	entries := d.Records(d.Line(), 4)
	body := bytes.Join([][]byte{entries[0], entries[1], []byte("not.a.record"), entries[2], entries[0]}, []byte("\n"))
	send := func(body []byte) answer {
		return request(t, "POST", d.URL+api.PathRecords, bytes.NewReader(body), "Content-Type", api.MediaLines, "Authorization", "Bearer "+d.Token)
	}
	if a := send(body); a.status != 400 {
		t.Errorf("without the last line's end: want 400, found %d", a.status)
	}
	a := send(append(body, '\n'))
	var got []int
	for line := range bytes.Lines(a.body) {
		var l api.Line
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Status)
		if l.Problem != nil && l.Problem.Line != 3 {
			t.Errorf("want the problem of line 3, found %+v", l.Problem)
		}
	}
	if want := []int{201, 201, 400, 201, 200}; a.status != 207 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("want 207 %v, found %d %v", want, a.status, got)
	}
	if a := send(append(bytes.Clone(entries[3]), '\n')); a.status != 201 {
		t.Errorf("one line: want 201, found %d", a.status)
	}
	if a := send(bytes.Repeat([]byte("x\n"), api.MaxLines+1)); a.status != 400 {
		t.Errorf("too many lines: want 400, found %d", a.status)
	}
	if a := send(nil); a.status != 400 {
		t.Errorf("no line: want 400, found %d", a.status)
	}
}
