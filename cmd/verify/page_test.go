package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/audit/audittest"
	"ledgerd/evidence"
	"ledgerd/internal/browsertest"
	"ledgerd/internal/page"
)

// A desk is the page in a browser, with an auditor before it.
type desk struct {
	*browsertest.Page
}

// done waits for an answer, and returns its outcome and the report as JSON. What has
// failed is no outcome.
func (d desk) done() (outcome, report string) {
	d.Wait(`!['', 'working'].includes(document.body.dataset.outcome)`)
	return d.Text(`document.body.dataset.outcome`), d.Text(`document.getElementById('json').textContent`)
}

// again starts over.
func (d desk) again() { d.Text(`document.getElementById('again').click(), ''`) }

// shown is all that the answer says, as it is seen.
func (d desk) shown() string { return d.Text(`document.getElementById('answer').innerText`) }

// types puts text into a field.
func (d desk) types(id, text string) {
	b, _ := json.Marshal(text)
	d.Text(fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.value = %s; e.dispatchEvent(new Event('input', { bubbles: true })); return '' })()`, id, b))
}

// newPage writes the page as a user does, and returns its name.
func newPage(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "page")
	out, code := capture(t, []string{"verify", "page", "-o", dir})
	if code != exitVerified {
		t.Fatalf("exit code %d", code)
	}
	name := filepath.Join(dir, "index.html")
	html, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{name, fmt.Sprintf("%d bytes", len(html)), fmt.Sprintf("%x", sha256.Sum256(html))} {
		if !strings.Contains(out, want) {
			t.Errorf("expected %q in\n%s", want, out)
		}
	}
	return name
}

// TestPage tries the page in a browser: it is opened from the disk, as an auditor
// would open it.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector sees nothing of what runs in a browser")
	}
	name := newPage(t)
	t.Run("again", func(t *testing.T) { pageAgain(t, name) })
	browser := browsertest.Start(t)
	vectors, err := filepath.Abs(vectorDir)
	if err != nil {
		t.Fatal(err)
	}
	fixtures := t.TempDir()
	if err := newFixtures(t).write(fixtures); err != nil {
		t.Fatal(err)
	}
	tab := browser.Open("file://" + name)
	on := func(t *testing.T) desk {
		d := desk{tab.With(t)}
		d.again()
		return d
	}
	t.Run("vectors", func(t *testing.T) { pageVectors(t, on(t), vectors) })
	t.Run("forms", func(t *testing.T) { pageForms(t, on(t), fixtures) })
	t.Run("asked", func(t *testing.T) { pageAsked(t, on(t), fixtures) })
	t.Run("stale", func(t *testing.T) { pageStale(t, on(t), fixtures) })
	t.Run("crash", func(t *testing.T) { pageCrash(t, on(t), fixtures) })
	t.Run("drop", func(t *testing.T) { pageDrop(t, on(t), fixtures) })
	t.Run("hostile", func(t *testing.T) { pageHostile(t, on(t)) })
	t.Run("network", func(t *testing.T) { pageNetwork(t, browser, name, fixtures) })
}

// The page reports of every vector what verify reports, to the byte.
func pageVectors(t *testing.T, d desk, dir string) {
	t.Chdir(dir)
	text, err := os.ReadFile("cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []vector
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, v := range cases {
		args := []string{"verify", "--output", "json", "--trust", v.Trust, v.File}
		d.again()
		if v.Subject != "" {
			args = append(args, "--subject", v.Subject)
			d.types("subject", v.Subject)
		}
		want, code := capture(t, args)
		d.Choose("trust", v.Trust)
		d.Choose("evidence", v.File)
		outcome, got := d.done()
		if exit := map[string]int{"verified": exitVerified, "wrong": exitWrong, "undecidable": exitUndecidable, "malformed": exitMalformed}; exit[outcome] != code || exit[outcome] != v.Exit {
			t.Errorf("%s (%s): outcome %s, and verify exits with %d", v.File, v.Why, outcome, code)
		}
		if got != want {
			t.Errorf("%s (%s):\nexpected %s\nfound    %s", v.File, v.Why, want, got)
		}
	}
	if len(cases) < 30 {
		t.Errorf("only %d cases were tried", len(cases))
	}
}

// Whatever verify takes the page takes: tree heads, proofs, several files, several
// trust files, names that a terminal would obey.
func pageForms(t *testing.T, d desk, dir string) {
	t.Chdir(dir)
	for _, files := range [][]string{
		{"new.head"},
		{"new.head", "fork.head"},
		{"done.bundle", "done.tlog-proof", "lied.bundle"},
		{"rejected.proof"},
		{"bare.proof"},
		{"member.proof"},
		{"huge.proof"},
		{"trust.json"},
		{evil[1:5] + "\x1b[31m.bundle"},
	} {
		trust := []string{"trust.json", "other.json"}
		want, code := capture(t, append([]string{"verify", "--output", "json", "--trust", trust[0], "--trust", trust[1]}, files...))
		d.again()
		d.Choose("trust", trust...)
		d.Choose("evidence", files...)
		outcome, got := d.done()
		if exit := map[string]int{"verified": exitVerified, "wrong": exitWrong, "undecidable": exitUndecidable, "malformed": exitMalformed}; exit[outcome] != code || got != want {
			t.Errorf("%q: outcome %s, and verify exits with %d\nexpected %s\nfound    %s", files, outcome, code, want, got)
		}
	}
	// Two files that contradict each other: the answer is not that of one alone.
	d.again()
	d.Choose("trust", "trust.json")
	d.Choose("evidence", "new.head", "fork.head")
	if outcome, _ := d.done(); outcome != "wrong" || !strings.Contains(d.shown(), "two_roots") {
		t.Errorf("%s\n%s", outcome, d.shown())
	}
	d.again()
	d.Choose("trust", "pinned.json")
	d.Choose("evidence", "done.tlog-proof", "row52-tworoots.tlog-proof")
	if outcome, _ := d.done(); outcome != "wrong" || !strings.Contains(d.shown(), "By itself this file is VERIFIED") {
		t.Errorf("%s\n%s", outcome, d.shown())
	}
}

// What is asked for is answered, and what cannot be decided, or is in no form, is
// never verified.
func pageAsked(t *testing.T, d desk, dir string) {
	t.Chdir(dir)
	says := func(want string, words ...string) {
		t.Helper()
		outcome, report := d.done()
		if outcome != want {
			t.Errorf("expected %s, found %s\n%s", want, outcome, d.shown())
		}
		for _, w := range words {
			if !strings.Contains(d.shown(), w) {
				t.Errorf("expected %q in\n%s", w, d.shown())
			}
		}
		if report == "" && want == "verified" {
			t.Error("verified, without a report")
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("empty.bundle", "")
	write("garbage.bundle", strings.Repeat("\x00\xff garbage", 1000))
	write("garbage.json", `{"trust":`)
	write("huge.bundle", `{"bundle":"v1","origin":"`)
	if err := os.Truncate("huge.bundle", 5<<30); err != nil { // sparse
		t.Fatal(err)
	}
	write("huge.json", `{"trust":"v1","ledgers":[]}`)
	if err := os.Truncate("huge.json", 5<<30); err != nil {
		t.Fatal(err)
	}

	// Trust that is missing is said, and then given.
	d.Choose("evidence", "done.bundle")
	says("undecidable", "NOT DECIDABLE", "You have not said whom you trust")
	d.Choose("trust", "other.json")
	says("undecidable", "Nobody whom you trust vouches for this")
	d.Choose("trust", "trust.json")
	says("verified", "VERIFIED", "What this does not prove", "Rule by rule", "ledger.example/test", "Whom you trust")
	d.Choose("trust", "garbage.json")
	says("malformed", "garbage.json")
	d.Choose("trust", "huge.json")
	says("malformed", "huge.json: expected at most")
	d.Choose("trust", "done.bundle") // into the other box
	says("malformed", "it goes into the first box")
	d.Choose("trust", "trust.json")
	says("verified")

	d.types("run", "run_1")
	says("none", "Not started", "the run that was asked for")
	run, err := os.ReadFile("done.run")
	if err != nil {
		t.Fatal(err)
	}
	d.types("run", " "+string(run)+" ")
	says("verified")
	d.types("subject", "ticket-2")
	says("wrong", "not_about_this_subject")
	d.types("subject", "ticket-1")
	says("verified")
	d.Choose("contract", "othercontract.json")
	says("wrong", "not_about_this_contract")
	d.Choose("contract", "contract.json")
	says("verified")
	d.Choose("contract", "done.bundle")
	says("malformed", "done.bundle")
	d.again()

	d.Choose("trust", "trust.json")
	for _, name := range []string{"empty.bundle", "garbage.bundle", "huge.bundle", "cutoff.bundle"} {
		d.Choose("evidence", name)
		says("malformed", "MALFORMED", name)
	}
	d.Choose("evidence", "trust.json") // into the other box
	says("malformed", "goes into the second box")
	d.Choose("evidence", "lied.bundle")
	says("wrong", "PROVEN WRONG", "the evidence does not support")
	d.Choose("evidence", "withheld.bundle")
	says("undecidable", "Withheld: contract")
}

// An answer is gone at once when anything changes that it depends on, and never
// comes after another.
func pageStale(t *testing.T, d desk, dir string) {
	t.Chdir(dir)
	verified := func() {
		t.Helper()
		if outcome, _ := d.done(); outcome != "verified" {
			t.Fatalf("%s\n%s", outcome, d.shown())
		}
	}
	// gone changes something, and looks at the page before anything else can happen.
	gone := func(change string) {
		t.Helper()
		if left := d.Text(`(() => { ` + change + `; return document.getElementById('answer').textContent + document.getElementById('json').textContent + (document.getElementById('after').hidden ? '' : 'after') + (document.title.includes('VERIFIED') ? document.title : '') + document.getElementById('save').href })()`); left != "" {
			t.Errorf("%s: the answer stands: %s", change, left)
		}
	}
	const changed = `.dispatchEvent(new Event('change', { bubbles: true }))`
	d.Choose("trust", "trust.json")
	d.Choose("evidence", "done.bundle")
	verified()
	for _, change := range []string{
		`document.getElementById('evidence')` + changed,
		`document.getElementById('trust')` + changed,
		`document.getElementById('contract')` + changed,
		`document.getElementById('subject').dispatchEvent(new Event('input', { bubbles: true }))`,
		`document.getElementById('run').dispatchEvent(new Event('input', { bubbles: true }))`,
		`document.querySelector('.box').dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer(), bubbles: true }))`,
		`document.getElementById('again').click()`,
	} {
		gone(change)
		d.again()
		d.Choose("trust", "trust.json")
		d.Choose("evidence", "done.bundle")
		verified()
	}

	// The slow answer of before does not come after, or in place of, the one of now.
	for range 5 {
		d.Choose("evidence", "done.bundle")
		d.Choose("evidence", "lied.bundle")
		if outcome, report := d.done(); outcome != "wrong" || strings.Contains(report, "done.bundle") {
			t.Errorf("%s\n%s", outcome, report)
		}
	}
	time.Sleep(300 * time.Millisecond) // for what must not come there is nothing to wait for
	if outcome, report := d.done(); outcome != "wrong" || !strings.Contains(report, "lied.bundle") {
		t.Errorf("%s\n%s", outcome, report)
	}

	// A file that is gone when it is read.
	d.again()
	if err := os.WriteFile("short-lived.bundle", []byte(`{"bundle":"v1"`), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Choose("evidence", "short-lived.bundle")
	d.done()
	if err := os.Remove("short-lived.bundle"); err != nil {
		t.Fatal(err)
	}
	d.Choose("trust", "trust.json")
	if outcome, _ := d.done(); outcome != "none" || !strings.Contains(d.shown(), "could not be read") {
		t.Errorf("%s\n%s", outcome, d.shown())
	}
}

// What breaks inside is an internal error, and leaves no answer.
func pageCrash(t *testing.T, d desk, dir string) {
	t.Chdir(dir)
	d.Choose("trust", "trust.json")
	d.Choose("evidence", "done.bundle")
	if outcome, _ := d.done(); outcome != "verified" {
		t.Fatal(outcome)
	}
	for what, breaks := range map[string]string{
		"a program that panics":             `Object.defineProperty(globalThis, 'readPart', { set() {}, get() { return () => 'no bytes' } })`,
		"a program that exits":              `Object.defineProperty(globalThis, 'Go', { set(go) { this.own = class extends go { async run() { this.exit(2) } } }, get() { return this.own } })`,
		"a program that ends with no word":  `Object.defineProperty(globalThis, 'Go', { set(go) { this.own = class extends go { async run() {} } }, get() { return this.own } })`,
		"a program that answers and fails":  `Object.defineProperty(globalThis, 'Go', { set(go) { this.own = class extends go { async run(i) { await super.run(i); this.exit(2) } } }, get() { return this.own } })`,
		"a program that cannot be started":  `WebAssembly.instantiate = async () => { throw new Error('out of memory') }`,
		"a worker that throws":              `Object.defineProperty(globalThis, 'Go', { set() { throw new Error('broken') } })`,
		"an answer that is none":            `const post = postMessage; globalThis.postMessage = () => post({ answer: '{' })`,
		"an answer with an element of evil": `const post = postMessage; globalThis.postMessage = () => post({ answer: JSON.stringify({ shown: ['script', {}, 'alert(1)'] }) })`,
		"an answer with a link out":         `const post = postMessage; globalThis.postMessage = () => post({ answer: JSON.stringify({ shown: ['p', { href: 'https://evil.example' }] }) })`,
	} {
		// Each worker waits until it was broken.
		before := len(d.Events("Target.attachedToTarget"))
		d.Call("Target.setAutoAttach", map[string]any{"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true}, nil)
		d.Choose("evidence", "done.bundle")
		var e struct{ SessionID string }
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if all := d.Events("Target.attachedToTarget"); len(all) > before {
				if err := json.Unmarshal(all[len(all)-1].Params, &e); err != nil {
					t.Fatal(err)
				}
				break
			} else if time.Now().After(end) {
				t.Fatal("no worker came")
			}
		}
		worker := d.Session(e.SessionID)
		if _, err := worker.Try(breaks + `; 0`); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		worker.Call("Runtime.runIfWaitingForDebugger", nil, nil)
		outcome, report := d.done()
		d.Call("Target.setAutoAttach", map[string]any{"autoAttach": false, "waitForDebuggerOnStart": false, "flatten": true}, nil)
		if (outcome != "failed" && outcome != "none") || report != "" || !strings.Contains(d.shown(), "Internal error") || strings.Contains(d.shown(), "VERIFIED") {
			t.Errorf("%s: outcome %s\n%s", what, outcome, d.shown())
		}
		d.Choose("evidence", "done.bundle") // and the next is verified again
		if outcome, _ := d.done(); outcome != "verified" {
			t.Errorf("after %s: %s\n%s", what, outcome, d.shown())
		}
	}
}

// Files that are dropped on a box go into it, and beside the boxes nowhere.
func pageDrop(t *testing.T, d desk, dir string) {
	t.Chdir(dir)
	d.Drop("#trust-help", "trust.json")
	d.Drop("#evidence-help", "done.bundle", "lied.bundle")
	if outcome, report := d.done(); outcome != "wrong" || strings.Count(report, "\n") != 2 {
		t.Errorf("%s\n%s", outcome, report)
	}
	d.Drop("#evidence-help", "done.bundle")
	if outcome, report := d.done(); outcome != "verified" || strings.Count(report, "\n") != 1 {
		t.Errorf("%s\n%s", outcome, report)
	}
	d.Drop("h1", "lied.bundle")
	d.Wait(`document.getElementById('status').innerText.includes('Drop it on a box')`)
	if outcome, _ := d.done(); outcome != "verified" {
		t.Errorf("dropped beside the boxes: %s", outcome)
	}
	// A trust file that comes along with the evidence is not trusted.
	d.again()
	d.Drop("#evidence-help", "trust.json", "done.bundle")
	if outcome, _ := d.done(); outcome != "undecidable" {
		t.Errorf("trust dropped with the evidence: %s", outcome)
	}
}

// Text from agents is text: no element, no script, no link, nothing hidden.
func pageHostile(t *testing.T, d desk) {
	t.Chdir(t.TempDir())
	w := audittest.New(t)
	run := w.Open(nil)
	const markup = `<script>document.title='taken'</script><svg onload=\"alert(1)\"><img src=x onerror=\"alert(2)\"><a href=\"javascript:alert(3)\">here</a><iframe srcdoc=\"<script>alert(4)</script>\"></iframe><style>body{display:none}</style>{{.}}&lt;b&gt;]]>\u202e\u001b[31m`
	run.Do("refund", `{"note":"`+markup+`"}`)
	run.ClaimContract()
	run.Close(evidence.Completed)
	trust := marshal(t, w.Trust())
	const name = `<img src=x onerror=alert(5)>` + "\u202e.bundle"
	for file, b := range map[string][]byte{name: w.RunBundle(run.ID), "trust.json": trust, "<svg onload=alert(6)>.json": []byte(`{"trust":"<script>"}`)} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inert := func(want ...string) {
		t.Helper()
		d.done()
		if left := d.Text(`[...document.querySelectorAll('#answer *, .names *')].filter((e) => !/^(a|blockquote|br|dd|div|dl|dt|figcaption|figure|h[2-4]|li|nav|p|section|span|strong|table|tbody|td|th|thead|tr|ul)$/.test(e.localName)).map((e) => e.localName).join()`); left != "" {
			t.Errorf("elements of evil: %s", left)
		}
		if links := d.Text(`[...document.querySelectorAll('#answer a, #answer [href], #answer [src]')].map((e) => e.getAttribute('href') || '').filter((h) => !/^#[\w-]+$/.test(h)).join()`); links != "" {
			t.Errorf("links of evil: %s", links)
		}
		shown := d.Text(`document.body.innerText`)
		if i := strings.IndexFunc(shown, func(r rune) bool { return r == 0x202e || r == 0x1b || r > 0xe0000 }); i >= 0 {
			t.Errorf("not made visible: %q", shown[i:min(i+20, len(shown))])
		}
		for _, text := range want {
			if !strings.Contains(shown, text) {
				t.Errorf("expected %q in\n%s", text, shown)
			}
		}
		if title := d.Text(`document.title`); strings.Contains(title, "taken") {
			t.Errorf("a script was run: the title is %q", title)
		}
		for _, event := range []string{"Page.javascriptDialogOpening", "Runtime.exceptionThrown", "Page.frameAttached"} {
			if got := d.Events(event); len(got) > 0 {
				t.Errorf("%s: %s", event, got[0].Params)
			}
		}
	}
	d.Choose("trust", "trust.json")
	d.Choose("evidence", name)
	inert(`<script>document.title='taken'</script>`, `<svg onload=`, `javascript:alert(3)`, `\u{202e}`, `<img src=x onerror=alert(5)>\u{202e}.bundle`)
	d.Choose("trust", "<svg onload=alert(6)>.json")
	inert(`<svg onload=alert(6)>.json`)
	evilBundle, err := filepath.Abs(filepath.Join(docs, "../testdata/bundle"))
	if err != nil {
		t.Fatal(err)
	}
	d.again()
	d.Choose("trust", filepath.Join(evilBundle, "trust.json"))
	d.Choose("evidence", filepath.Join(evilBundle, "evil.bundle"))
	inert(`\u{1b}]8;;https://evil.example\u{1b}`)
}

// Nothing is asked of any network, and what tries to is stopped by the policy. Over
// HTTP the page is one request.
func pageNetwork(t *testing.T, browser *browsertest.Browser, name, dir string) {
	t.Chdir(dir)
	html, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu       sync.Mutex
		requests []string
	)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.Method+" "+r.URL.String())
		mu.Unlock()
		for line := range strings.Lines(documented(t, "verify.md", "example: headers")[0]) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			w.Header().Set(name, value)
		}
		_, _ = w.Write(html)
	}))
	defer srv.Close()
	for _, url := range []string{"file://" + name, srv.URL + "/page/"} {
		d := desk{browser.Open(url).With(t)}
		d.Choose("trust", "trust.json")
		d.Choose("evidence", "done.bundle", "lied.bundle", "new.head")
		if outcome, _ := d.done(); outcome != "wrong" {
			t.Errorf("%s: %s", url, outcome)
		}
		// The report is saved without a request, as it is shown.
		saved := t.TempDir()
		d.Call("Browser.setDownloadBehavior", map[string]any{"behavior": "allow", "downloadPath": saved}, nil)
		_, report := d.done()
		d.Text(`document.getElementById('save').click(), ''`)
		var b []byte
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if b, err = os.ReadFile(filepath.Join(saved, "verify.json")); err == nil && len(b) == len(report) {
				break
			}
		}
		if err != nil || string(b) != report {
			t.Errorf("%s: expected the report to be saved, found %v, %q", url, err, b)
		}
		asked := func() (urls []string) {
			for _, e := range d.Events("Network.requestWillBeSent") {
				var r struct{ Request struct{ URL string } }
				if err := json.Unmarshal(e.Params, &r); err != nil {
					t.Fatal(err)
				}
				if r.Request.URL != url && !strings.HasPrefix(r.Request.URL, "blob:") && r.Request.URL != "about:blank" {
					urls = append(urls, r.Request.URL)
				}
			}
			return urls
		}
		if urls := asked(); len(urls) > 0 {
			t.Errorf("%s: requests of %q", url, urls)
		}
		if log := d.Console(); log != "" {
			t.Errorf("%s: the console has\n%s", url, log)
		}

		// What an intruder's script would do, if there were one.
		for what, script := range map[string]string{
			"a request":                `fetch('` + srv.URL + `/taken')`,
			"a request by an image":    `new Promise((yes, no) => { const i = new Image(); i.onload = yes; i.onerror = no; i.src = '` + srv.URL + `/taken.png' })`,
			"an XMLHttpRequest":        `new Promise((yes, no) => { const x = new XMLHttpRequest(); x.onload = yes; x.onerror = no; x.open('GET', '` + srv.URL + `/taken'); x.send() })`,
			"a socket":                 `new Promise((yes, no) => { const s = new WebSocket('ws' + '` + srv.URL + `/taken'.slice(4)); s.onopen = yes; s.onerror = no })`,
			"an event stream":          `new Promise((yes, no) => { const s = new EventSource('` + srv.URL + `/taken'); s.onopen = yes; s.onerror = no })`,
			"a form":                   `new Promise((yes, no) => { addEventListener('securitypolicyviolation', no); const f = document.createElement('form'); f.action = '` + srv.URL + `/taken'; document.body.append(f); f.submit() })`,
			"a style sheet":            `new Promise((yes, no) => { const l = document.createElement('link'); l.rel = 'stylesheet'; l.onload = yes; l.onerror = no; l.href = '` + srv.URL + `/taken.css'; document.head.append(l) })`,
			"a frame":                  `new Promise((yes, no) => { addEventListener('securitypolicyviolation', no); const f = document.createElement('iframe'); f.onload = yes; f.src = '` + srv.URL + `/taken'; document.body.append(f) })`,
			"another base":             `new Promise((yes, no) => { addEventListener('securitypolicyviolation', no); const b = document.createElement('base'); b.href = '` + srv.URL + `/'; document.head.append(b); setTimeout(yes, 1000) })`,
			"a script":                 `new Promise((yes, no) => { const s = document.createElement('script'); s.onload = yes; s.onerror = no; s.src = '` + srv.URL + `/taken.js'; document.body.append(s) })`,
			"eval":                     `setTimeout('1'), eval('1')`,
			"HTML from text":           `document.body.insertAdjacentHTML('beforeend', '<b>x</b>')`,
			"a policy of its own":      `trustedTypes.createPolicy('own', {})`,
			"the page's policy, again": `trustedTypes.createPolicy('verifier', {})`,
			"a worker":                 `new Worker(URL.createObjectURL(new Blob(['1'])))`,
			"a worker from elsewhere":  `new SharedWorker('` + srv.URL + `/taken.js')`,
		} {
			if value, err := d.Try(`(async () => { ` + "await (" + script + "); return 'done' })()"); err == nil {
				t.Errorf("%s: the policy allows %s: %s", url, what, value)
			}
		}
		if d.True(`navigator.sendBeacon('` + srv.URL + `/taken')`) {
			time.Sleep(100 * time.Millisecond) // it says that it was queued; the server would have seen it
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(requests) != 1 || requests[0] != "GET /page/" {
		t.Errorf("expected one request, found %q", requests)
	}
}

// The page is the same whoever makes it: one file, with a policy before all else, and
// without a trace of where or when it was made.
func pageAgain(t *testing.T, name string) {
	one, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", "-tags=other -ldflags=-X=main.x=y")
	two, err := page.Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two.HTML) {
		t.Errorf("expected the same page, found one of SHA-256 %x and one of %x", sha256.Sum256(one), sha256.Sum256(two.HTML))
	}
	if !regexp.MustCompile(`^<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy"`).Match(one) {
		t.Error("expected the policy before all that it governs")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(one, []byte(root)) {
		t.Error("the page names the directory that it was made in")
	}
}
