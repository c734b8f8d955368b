package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
)

// impatient is a server whose limits a test can wait for.
func impatient(c *server.Config) {
	c.Limits = server.Limits{HeaderTimeout: 300 * time.Millisecond, BodyGrace: 300 * time.Millisecond, Uploads: 32}
}

func dial(t *testing.T, d *daemontest.Daemon) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSlowBodyThatNobodyReads: a request that is refused for its token is not
// waited for either.
func TestSlowBodyThatNobodyReads(t *testing.T) {
	d := daemontest.New(t, nil)
	for name, r := range map[string]string{
		"no token":          "POST /v1/records HTTP/1.1\r\nHost: localhost\r\n" + joseType + "\r\nContent-Length: 1000\r\n\r\nx",
		"no route":          "POST /v9 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
		"a get with a body": "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
	} {
		c := dial(t, d)
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		say(t, c, r)
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: want an answer and the connection closed, found %v", name, err)
		}
	}
}

// say writes a request as it stands, and returns the status of the answer.
func say(t *testing.T, c net.Conn, text string) int {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func head(d *daemontest.Daemon, method, path string, more ...string) string {
	lines := append([]string{
		method + " " + path + " HTTP/1.1", "Host: " + strings.TrimPrefix(d.URL, "http://"), "Authorization: Bearer " + d.Token,
	}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const joseType = "Content-Type: " + api.MediaJOSE

func TestRow31SlowHeaders(t *testing.T) {
	d := daemontest.New(t, impatient)
	c := dial(t, d)
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localh"); err != nil {
		t.Fatal(err)
	}
	// The connection ends, whatever is or is not said before.
	if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("want the connection closed, found %v", err)
	}
	if got := server.DefaultLimits().HeaderTimeout; got != 5*time.Second {
		t.Errorf("want 5 s for headers, found %v", got)
	}
}

func TestRow32SlowBody(t *testing.T) {
	d := daemontest.New(t, impatient)
	for _, r := range []string{
		head(d, "POST", api.PathRecords, joseType, "Content-Length: 1000"),
		head(d, "POST", api.PathRecords, joseType, "Transfer-Encoding: chunked") + "1\r\nx\r\n",
		head(d, "PUT", api.PathPayloads+"/"+strings.Repeat("A", 42)+"E", "Content-Type: text/plain", "Content-Length: 1000",
			api.HeaderSalt+": "+strings.Repeat("A", 42)+"E"),
	} {
		if got := say(t, dial(t, d), r); got != http.StatusRequestTimeout {
			t.Errorf("%.30s: want 408, found %d", r, got)
		}
	}
}

func TestRow34Oversized(t *testing.T) {
	d := daemontest.New(t, nil)
	letters := io.LimitReader(strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20)
	if a := request(t, "POST", d.URL+api.PathRecords, letters, "Content-Type", api.MediaJOSE, "Authorization", "Bearer "+d.Token); a.status != 413 {
		t.Errorf("chunked record: want 413, found %d", a.status)
	}
	lines := io.LimitReader(dots{}, api.MaxBatchSize+1)
	if a := request(t, "POST", d.URL+api.PathRecords, lines, "Content-Type", api.MediaLines, "Authorization", "Bearer "+d.Token); a.status != 413 {
		t.Errorf("chunked records: want 413, found %d", a.status)
	}
	r := head(d, "PUT", api.PathPayloads+"/"+strings.Repeat("A", 42)+"E", "Content-Type: text/plain", "Content-Length: 99999999",
		api.HeaderSalt+": "+strings.Repeat("A", 42)+"E")
	if got := say(t, dial(t, d), r); got != 413 {
		t.Errorf("payload: want 413, found %d", got)
	}
}

func TestRow35Compressed(t *testing.T) {
	d := daemontest.New(t, nil)
	for _, kind := range []string{"gzip", "br", "deflate", "zstd"} {
		a := request(t, "POST", d.URL+api.PathRecords, strings.NewReader("x"), "Content-Type", api.MediaJOSE,
			"Content-Encoding", kind, "Authorization", "Bearer "+d.Token)
		if a.status != 415 {
			t.Errorf("%s: want 415, found %d", kind, a.status)
		}
	}
}

func TestRow36Framing(t *testing.T) {
	d := daemontest.New(t, nil)
	entry := string(d.Records(d.Line(), 1)[0])
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(entry), entry)
	for name, c := range map[string]struct {
		headers []string
		body    string
		want    int
	}{
		"length, then encoding":   {[]string{"Content-Length: 4", "Transfer-Encoding: chunked"}, chunk, 400},
		"encoding, then length":   {[]string{"Transfer-Encoding: chunked", "content-length: 4"}, chunk, 400},
		"two lengths":             {[]string{"Content-Length: 4", "Content-Length: 5"}, "xxxxx", 400},
		"an encoding we have not": {[]string{"Transfer-Encoding: gzip, chunked"}, chunk, 501},
		"chunked alone":           {[]string{"Transfer-Encoding: chunked"}, chunk, 201},
	} {
		if got := say(t, dial(t, d), head(d, "POST", api.PathRecords, append(c.headers, joseType)...)+c.body); got != c.want {
			t.Errorf("%s: want %d, found %d", name, c.want, got)
		}
	}
	// Behind another request on the same connection, and behind headers longer
	// than one read.
	c := dial(t, d)
	r := bufio.NewReader(c)
	long := "X-Long: " + strings.Repeat("y", 6000)
	for i, text := range []string{
		head(d, "GET", api.PathHealth),
		head(d, "POST", api.PathRecords, joseType, "Transfer-Encoding: chunked", long) + chunk,
		head(d, "POST", api.PathRecords, joseType, "Transfer-Encoding: chunked", long, "Content-Length: 4") + chunk,
	} {
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if want := []int{200, 200, 400}[i]; resp.StatusCode != want {
			t.Errorf("request %d of a connection: want %d, found %d", i+1, want, resp.StatusCode)
		}
	}
}

func TestRow38ForeignHost(t *testing.T) {
	d := daemontest.New(t, func(c *server.Config) { c.Hosts = []string{"ledger.internal"} })
	for host, want := range map[string]int{
		"evil.example": 421, "127.0.0.1.evil.example:80": 421, "": 400, "localhost": 200, "127.0.0.1:1": 200, "[::1]:8420": 200,
		"LEDGER.internal:443": 200, "169.254.169.254": 421,
	} {
		if host == "" {
			if got := say(t, dial(t, d), "GET /healthz HTTP/1.1\r\n\r\n"); got != want {
				t.Errorf("no Host: want %d, found %d", want, got)
			}
			continue
		}
		if a := request(t, "GET", d.URL+api.PathHealth, nil, "Host", host); a.status != want {
			t.Errorf("%s: want %d, found %d", host, want, a.status)
		}
	}
}

func TestRow39CrossOrigin(t *testing.T) {
	d := daemontest.New(t, nil)
	for _, headers := range [][]string{
		{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "null"},
	} {
		a := request(t, "POST", d.URL+api.PathRecords, strings.NewReader("x"),
			append(headers, "Content-Type", api.MediaJOSE, "Authorization", "Bearer "+d.Token)...)
		if a.status != 403 || a.problem.Reason != api.ReasonCrossOrigin {
			t.Errorf("%v: want 403 cross_origin, found %d %s", headers, a.status, a.body)
		}
		if len(a.header.Values("Access-Control-Allow-Origin")) > 0 {
			t.Errorf("%v: nobody else's page may read an answer", headers)
		}
	}
}

func TestRow41And42Tiles(t *testing.T) {
	d := daemontest.New(t, nil)
	c := d.Client(d.Token)
	if _, err := c.Append(context.Background(), d.Records(d.Line(), 300)...); err != nil {
		t.Fatal(err)
	}
	size := d.Ledger.Head().Size // 303
	for _, path := range []string{
		"/tile/../tile/0/000", "/tile/%2e%2e/tile/0/000", "/tile/0/000%00", "/tile/0/..\\..\\000", "/tile/0/0", "/tile/0/0000", "/tile//0/000",
		"/tile/0/x000/000", "/tile/64/000", "/tile/-1/000", "/tile/0/000.p", "/tile/0/000.p/", "/tile/entries/../0/000", "/tile/0/001",
		"/tile/0/001.p/0", "/tile/0/001.p/256", "/tile/0/001.p/07", "/tile/0/001.p/48", "/tile/entries/001.p/0", "/tile/entries/001.p/48",
		"/tile/entries/002.p/1", "/tile/1/000", "/tile/1/000.p/2", "/tile/0/x999/x999/x999/x999/x999/x999/999",
	} {
		if got := say(t, dial(t, d), head(d, "GET", path)); got != 404 {
			t.Errorf("%s: want 404, found %d", path, got)
		}
	}
	for path, length := range map[string]int{
		"/tile/0/000": 8192, "/tile/0/001.p/47": 47 * 32, "/tile/0/001.p/1": 32, "/tile/1/000.p/1": 32, "/tile/0/000.p/7": 7 * 32,
		"/tile/entries/000": -1, "/tile/entries/001.p/47": -1,
	} {
		a := request(t, "GET", d.URL+path, nil, "Authorization", "Bearer "+d.Token)
		if a.status != 200 || length > 0 && len(a.body) != length || a.header.Get("Content-Type") != "application/octet-stream" ||
			a.header.Get("Cache-Control") != "private, max-age=31536000, immutable" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: found %d, %d bytes, %v", path, a.status, len(a.body), a.header)
		}
	}
	if size != 303 {
		t.Fatalf("want a tree of 303, found %d", size)
	}
	a := request(t, "GET", d.URL+api.PathHead, nil, "Authorization", "Bearer "+d.Token)
	if a.status != 200 || a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.header.Get("Cache-Control") != "no-store" ||
		!bytes.HasPrefix(a.body, []byte(daemontest.Origin+"\n303\n")) {
		t.Errorf("/checkpoint: found %d %v %s", a.status, a.header, a.body)
	}
}

func TestPublicLog(t *testing.T) {
	d := daemontest.New(t, func(c *server.Config) { c.PublicLog = true })
	for path, want := range map[string]int{
		api.PathHead: 200, "/tile/0/000.p/3": 200, "/tile/entries/000.p/3": 200, api.PathTrust: 200, api.PathRecords: 401, api.PathRegistry: 401,
		api.PathRuns: 401, api.PathBundles: 401, api.PathEvents: 401, api.PathTokens: 401, api.PathMetrics: 401,
		api.PathPayloads + "/" + strings.Repeat("A", 42) + "E": 401,
	} {
		a := request(t, "GET", d.URL+path, nil)
		if a.status != want {
			t.Errorf("%s without a token: want %d, found %d", path, want, a.status)
		}
		if strings.HasPrefix(path, "/tile") && a.header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
	}
}

func TestRow43Payloads(t *testing.T) {
	d := daemontest.New(t, nil)
	ctx := context.Background()
	c := d.Client(d.Token)
	secret := evidence.Payload{Salt: [32]byte{1, 2, 3}, Media: "text/html", Data: []byte("<script>alert(1)</script>")}
	commit := secret.Commitment()
	url := d.URL + api.PathPayloads + "/" + commit.Commit.String()
	put := func(body string, headers ...string) answer {
		return request(t, "PUT", url, strings.NewReader(body), append(headers, "Authorization", "Bearer "+d.Token)...)
	}
	salt := evidence.Digest(secret.Salt).String()
	if a := put("other", "Content-Type", "text/html", api.HeaderSalt, salt); a.status != 422 || a.problem.Reason != api.ReasonCommitment {
		t.Errorf("another payload: want 422 commitment, found %d %s", a.status, a.body)
	}
	if a := put(string(secret.Data), "Content-Type", "text/html"); a.status != 400 {
		t.Errorf("no salt: want 400, found %d %s", a.status, a.body)
	}
	if a := put(string(secret.Data), "Content-Type", "text/html", api.HeaderSalt, salt); a.status != 200 {
		t.Fatalf("want 200, found %d %s", a.status, a.body)
	}
	absent := strings.Replace(url, commit.Commit.String(), strings.Repeat("A", 42)+"E", 1)
	reader := d.Grant("runtime", api.RightRead, api.RightRecord, api.RightAdminister)
	with, without := request(t, "GET", url, nil, "Authorization", "Bearer "+reader), request(t, "GET", absent, nil, "Authorization", "Bearer "+reader)
	if with.status != 404 || without.status != 404 || !bytes.Equal(with.body, without.body) || fmt.Sprint(stripped(with)) != fmt.Sprint(stripped(without)) {
		t.Errorf("want the same 404 for what is there and what is not:\n%s%s", with.body, without.body)
	}
	if a := request(t, "GET", absent, nil, "Authorization", "Bearer "+d.Token); a.status != 404 || !bytes.Equal(a.body, with.body) {
		t.Errorf("with the right, absent: want that 404 too, found %d %s", a.status, a.body)
	}
	// Row 71: an attachment, and never a page.
	a := request(t, "GET", url, nil, "Authorization", "Bearer "+d.Token)
	if a.status != 200 || !bytes.Equal(a.body, secret.Data) || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") ||
		a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Content-Type") != "application/octet-stream" ||
		a.header.Get(api.HeaderMedia) != "text/html" || a.header.Get(api.HeaderSalt) != salt {
		t.Errorf("found %d %v %s", a.status, a.header, a.body)
	}
	if _, err := c.Erase(ctx, commit.Commit, "request-1"); err != nil {
		t.Fatal(err)
	}
	if a := request(t, "GET", url, nil, "Authorization", "Bearer "+d.Token); a.status != 410 || a.problem.Reason != api.ReasonErased {
		t.Errorf("erased: want 410 erased, found %d %s", a.status, a.body)
	}
	if a := request(t, "GET", url, nil, "Authorization", "Bearer "+reader); a.status != 404 || !bytes.Equal(a.body, with.body) {
		t.Errorf("erased, without the right: want that 404 too, found %d %s", a.status, a.body)
	}
	if a := put(string(secret.Data), "Content-Type", "text/html", api.HeaderSalt, salt); a.status != 410 {
		t.Errorf("put again after erasure: want 410, found %d", a.status)
	}
}

func stripped(a answer) http.Header {
	h := a.header.Clone()
	h.Del("Date")
	return h
}

func TestRow44Ranges(t *testing.T) {
	d := daemontest.New(t, nil)
	for _, path := range []string{
		"/v1/records?limit=1001", "/v1/records?limit=0", "/v1/records?limit=99999999999999999999", "/v1/records?after=-1", "/v1/records?kind=nonsense",
		"/v1/records?from=yesterday", "/v1/records?limit=1&limit=2", "/v1/records?nonsense=1", "/v1/bundles?from=0&to=9000000000000000000&payloads=hidden",
		"/v1/bundles?from=2&to=1&payloads=hidden", "/v1/bundles", "/v1/bundles?run=x&from=1&payloads=hidden", "/v1/bundles?run=x&payloads=hidden",
		"/v1/consistency?from=0&to=9000000000000000000", "/v1/consistency?from=2&to=1", "/v1/consistency?to=1", "/v1/events?after=9000000000000000000",
		"/v1/events?after=-2", "/v1/records?after=%zz",
	} {
		if a := request(t, "GET", d.URL+path, nil, "Authorization", "Bearer "+d.Token); a.status != 400 {
			t.Errorf("%s: want 400, found %d %s", path, a.status, a.body)
		}
	}
}

func TestMethodsAndPaths(t *testing.T) {
	d := daemontest.New(t, nil)
	a := request(t, "DELETE", d.URL+api.PathRecords, nil, "Authorization", "Bearer "+d.Token)
	if a.status != 405 || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("want 405 with Allow, found %d %v", a.status, a.header)
	}
	for _, path := range []string{"/", "/v1", "/v1/records/", "/v2/records", "/v1/records/ev_x", "/v1/runs/run_x/records", "/v1/receipts/x"} {
		if a := request(t, "GET", d.URL+path, nil, "Authorization", "Bearer "+d.Token); a.status != 404 {
			t.Errorf("%s: want 404, found %d", path, a.status)
		}
	}
}

// TestOpenAPI walks every route that is served, and looks it up in the document.
func TestOpenAPI(t *testing.T) {
	d := daemontest.New(t, nil)
	a := request(t, "GET", d.URL+api.PathOpenAPI, nil)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Responses  map[string]any `json:"responses"`
			Parameters []struct{ Name, In string }
		} `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(a.body, &doc); err != nil {
		t.Fatal(err)
	}
	routes := d.Server.Routes()
	if len(routes) < 25 {
		t.Errorf("only %d routes", len(routes))
	}
	described := 0
	for _, ops := range doc.Paths {
		described += len(ops)
	}
	if described != len(routes)+1 { // and that of the inbox, which has a listener of its own
		t.Errorf("%d operations are described, %d routes are served", described, len(routes))
	}
	for _, r := range routes {
		method, path, _ := strings.Cut(r, " ")
		op, ok := doc.Paths[strings.ReplaceAll(path, "...", "")][strings.ToLower(method)]
		if !ok {
			t.Errorf("%s is served and not described", r)
			continue
		}
		if len(op.Responses) < 2 {
			t.Errorf("%s: want success and problems, found %v", r, op.Responses)
		}
		// The route is one: the multiplexer knows it.
		url := strings.NewReplacer("{id}", "x", "{run}", "x", "{commit}", "x", "{token}", "x", "{path...}", "x").Replace(path)
		if got := request(t, method, d.URL+url, nil); got.status == 405 {
			t.Errorf("%s: 405", r)
		}
	}
	for _, name := range []string{"Problem", "Page", "Placed", "Registry", "Run"} {
		if doc.Components.Schemas[name] == nil {
			t.Errorf("no schema of %s", name)
		}
	}
	// An ID is a string and not an array of numbers.
	if b, _ := json.Marshal(doc.Components.Schemas["Placed"]); !bytes.Contains(b, []byte(`"id":{"description":"Evidence ID: ev_ and the base64url of the leaf hash","type":"string"}`)) {
		t.Errorf("Placed: %s", b)
	}
}

func TestEvents(t *testing.T) {
	d := daemontest.New(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := d.Client(d.Token)
	line := d.Line()
	if _, err := c.Append(ctx, d.Records(line, 3)...); err != nil {
		t.Fatal(err)
	}
	// From the beginning, across what is there and what comes.
	want := uint64(0)
	start := uint64(0)
	for p, err := range c.Events(ctx, &start) {
		if err != nil {
			t.Fatal(err)
		}
		if p.Index != want {
			t.Fatalf("want index %d, found %d", want, p.Index)
		}
		want++
		if want == 6 { // all that stood there: append more while the stream is open
			if _, err := c.Append(ctx, d.Records(line, 2)...); err != nil {
				t.Fatal(err)
			}
		}
		if want == 8 {
			break
		}
	}
	// Resumed after an index, as a browser does it.
	req, err := http.NewRequestWithContext(ctx, "GET", d.URL+api.PathEvents, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.Token)
	req.Header.Set("Last-Event-ID", "6")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			if id != "7" {
				t.Errorf("after 6: want 7, found %s", id)
			}
			break
		}
	}
}

// Who leaves after one record is not watched while it is committed; who leaves a
// stream on the same connection is.
func TestWatchAfterARecord(t *testing.T) {
	d := daemontest.New(t, nil)
	entries := d.Records(d.Line(), 3)
	c := dial(t, d)
	write := func(text string) {
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	post := func(entry []byte) {
		write(head(d, "POST", api.PathRecords, joseType, "Content-Length: "+strconv.Itoa(len(entry))) + string(entry))
	}
	answers := bufio.NewReader(c)
	for i, entry := range entries[:2] {
		post(entry)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("record %d: %v, %v", i, resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	streams := func() string {
		_, list, _ := strings.Cut(string(request(t, "GET", d.URL+api.PathMetrics, nil, "Authorization", "Bearer "+d.Token).body), "\nledgerd_streams ")
		n, _, _ := strings.Cut(list, "\n")
		return n
	}
	until := func(want string) {
		t.Helper()
		for begun := time.Now(); streams() != want; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > 10*time.Second {
				t.Fatalf("want %s streams, found %s", want, streams())
			}
		}
	}
	write(head(d, "GET", api.PathEvents))
	until("1")
	_ = c.Close()
	until("0")

	// Gone before the answer, and the record stands all the same.
	c = dial(t, d)
	post(entries[2])
	_ = c.Close()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := d.Ledger.Get(t.Context(), evidence.IDOf(entries[2])); err == nil {
			break
		} else if time.Since(begun) > 10*time.Second {
			t.Fatalf("a record whose sender left: %v", err)
		}
	}
}

func TestStreamsEndWhenTheServerStops(t *testing.T) {
	d := daemontest.New(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		start := uint64(0)
		for _, err := range d.Client(d.Token).Events(ctx, &start) {
			if first {
				close(began)
				first = false
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	<-began
	d.Stop()
	if err := <-ended; err == nil {
		t.Error("want an error where a stream ends")
	}
}

func TestMetrics(t *testing.T) {
	d := daemontest.New(t, nil)
	line := d.Line()
	entries := d.Records(line, 2)
	for _, e := range entries {
		post(t, d, d.Token, e)
	}
	post(t, d, d.Token, entries[0])
	post(t, d, d.Token, []byte("a.b.c"))
	a := request(t, "GET", d.URL+api.PathMetrics, nil, "Authorization", "Bearer "+d.Token)
	for _, want := range []string{
		"ledgerd_tree_size 5", "ledgerd_duplicates_total 1", "ledgerd_appends_total ", "ledgerd_queue_entries 0", "ledgerd_commit_sync_seconds_bucket",
		"ledgerd_commit_entries_bucket", `ledgerd_refusals_total{reason="jws"} 1`, `ledgerd_http_requests_total{route="POST /v1/records",status="2xx"} 3`,
	} {
		if !bytes.Contains(a.body, []byte(want)) {
			t.Errorf("/metrics: no %s", want)
		}
	}
}

func TestStoppedLog(t *testing.T) {
	d := daemontest.New(t, nil)
	entry := d.Records(d.Line(), 1)[0]
	if err := d.Ledger.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if a := post(t, d, d.Token, entry); a.status != 503 || a.problem.Reason != api.ReasonStopping || a.header.Get("Retry-After") == "" {
		t.Errorf("a closed log: want 503 with Retry-After, found %d %s", a.status, a.body)
	}
	if a := request(t, "GET", d.URL+api.PathReady, nil); a.status != 503 {
		t.Errorf("/readyz: want 503, found %d", a.status)
	}
	if a := request(t, "GET", d.URL+api.PathHealth, nil); a.status != 200 {
		t.Errorf("/healthz: want 200, found %d", a.status)
	}
}
