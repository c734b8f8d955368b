// Package browsertest drives a real headless Chromium for tests, over the DevTools
// protocol (https://chromedevtools.github.io/devtools-protocol/) and a pair of
// pipes: no port, and no module but the standard library.
package browsertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen. Whoever has to wait that
// long has failed.
const patience = time.Minute

// A Browser is one process, with a profile of its own.
type Browser struct {
	t    testing.TB
	in   *os.File // commands
	cmd  *exec.Cmd
	done chan struct{} // closed at the end of what it sends

	mu     sync.Mutex
	last   int
	calls  map[int]chan message
	events []Event
}

// An Event is what the browser told of itself.
type Event struct {
	Session string
	Method  string
	Params  json.RawMessage
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts the browser, which ends with the test. Where there is none the test is
// skipped; with CI set it fails.
func Start(t testing.TB) *Browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("CI is set, and chromium is not on the PATH")
		}
		t.Skip("chromium is not on the PATH: the page cannot be tried in a browser")
	}
	profile := t.TempDir()
	commands, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// --no-sandbox: the sandbox cannot be had by root, as whom CI runs. What is
	// opened is the test's own.
	cmd := exec.Command(path, "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		"--disable-extensions", "--user-data-dir="+filepath.Join(profile, "profile"), "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile)
	cmd.ExtraFiles = []*os.File{commands, answers} // 3 and 4
	var diagnostics bytes.Buffer
	cmd.Stderr = &diagnostics
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	commands.Close()
	answers.Close()
	b := &Browser{t: t, in: in, cmd: cmd, done: make(chan struct{}), calls: make(map[int]chan message)}
	go b.read(out)
	t.Cleanup(func() {
		_ = b.send("", "Browser.close", nil, nil)
		in.Close()
		select {
		case <-b.done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		out.Close()
		if t.Failed() {
			for line := range strings.Lines(diagnostics.String()) {
				if !strings.Contains(line, "dbus") { // which is not there, and not needed
					t.Logf("the browser said: %s", line)
				}
			}
		}
	})
	return b
}

// read takes messages, each of which ends with a zero byte.
func (b *Browser) read(out io.Reader) {
	defer close(b.done)
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if m.ID == 0 {
			b.events = append(b.events, Event{m.SessionID, m.Method, m.Params})
		} else if c := b.calls[m.ID]; c != nil {
			c <- m
			delete(b.calls, m.ID)
		}
		b.mu.Unlock()
	}
}

// send calls a method, and takes its result apart.
func (b *Browser) send(session, method string, params, result any) error {
	p, err := json.Marshal(params)
	if err != nil {
		return err
	}
	if params == nil {
		p = nil
	}
	c := make(chan message, 1)
	b.mu.Lock()
	b.last++
	m := message{ID: b.last, SessionID: session, Method: method, Params: p}
	b.calls[m.ID] = c
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case m = <-c:
	case <-b.done:
		return errors.New(method + ": the browser has ended")
	case <-time.After(patience):
		return errors.New(method + ": no answer")
	}
	switch {
	case m.Error != nil:
		return errors.New(method + ": " + m.Error.Message)
	case result == nil:
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

// Open opens a page of its own.
func (b *Browser) Open(url string) *Page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.must(b.send("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	var attached struct{ SessionID string }
	b.must(b.send("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	p := &Page{b, b.t, attached.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		p.Call(domain+".enable", nil, nil)
	}
	p.Call("Page.bringToFront", nil, nil) // what is dropped on a tab behind does not arrive
	p.Call("Page.navigate", map[string]any{"url": url}, nil)
	p.Wait(`document.readyState === 'complete' && location.href !== 'about:blank'`)
	return p
}

func (b *Browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// Events returns what was told under a method, in all sessions, or in one.
func (b *Browser) Events(session, method string) []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Event
	for _, e := range b.events {
		if e.Method == method && (session == "" || e.Session == session) {
			out = append(out, e)
		}
	}
	return out
}

// A Page is one tab, or one worker.
type Page struct {
	b       *Browser
	t       testing.TB
	session string
}

// With returns the page for another test, which it fails.
func (p *Page) With(t testing.TB) *Page { return &Page{p.b, t, p.session} }

// Session returns another session of the same browser as a page.
func (p *Page) Session(id string) *Page { return &Page{p.b, p.t, id} }

// Call calls a method of the protocol.
func (p *Page) Call(method string, params, result any) {
	p.t.Helper()
	if err := p.b.send(p.session, method, params, result); err != nil {
		p.t.Fatal(err)
	}
}

// Events returns what was told of the page under a method.
func (p *Page) Events(method string) []Event { return p.b.Events(p.session, method) }

// Try evaluates JavaScript in the page, waits for what it promises, and returns it as
// JSON, or what was thrown.
func (p *Page) Try(script string) (json.RawMessage, error) {
	p.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.Call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &r)
	if e := r.ExceptionDetails; e != nil {
		return nil, fmt.Errorf("%s %s", e.Text, e.Exception.Description)
	}
	return r.Result.Value, nil
}

// Text evaluates JavaScript that gives a string.
func (p *Page) Text(script string) string {
	p.t.Helper()
	value, err := p.Try(script)
	var s string
	if err == nil && len(value) > 0 {
		err = json.Unmarshal(value, &s)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return s
}

// True says whether a condition holds.
func (p *Page) True(script string) bool {
	p.t.Helper()
	value, err := p.Try("!!(" + script + ")")
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return string(value) == "true"
}

// Wait waits until a condition holds.
func (p *Page) Wait(script string) {
	p.t.Helper()
	for end := time.Now().Add(patience); !p.True(script); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("waited in vain for %s, at:\n%s", script, p.Text("document.body.innerText"))
		}
	}
}

// Choose has a file input choose files, as a user does.
func (p *Page) Choose(id string, files ...string) {
	p.t.Helper()
	var r struct{ Result struct{ ObjectID string } }
	p.Call("Runtime.evaluate", map[string]any{"expression": "document.getElementById(" + quote(id) + ")"}, &r)
	p.expect("change")
	p.Call("DOM.setFileInputFiles", map[string]any{"files": absolute(p.t, files), "objectId": r.Result.ObjectID}, nil)
	p.Wait("globalThis.arrived")
}

// expect has the page say when an event has come: the protocol's answer may come
// before it.
func (p *Page) expect(event string) {
	p.t.Helper()
	p.Text(`globalThis.arrived = false, addEventListener(` + quote(event) + `, () => setTimeout(() => { arrived = true }), { capture: true, once: true }), ''`)
}

// Drop drops files from outside the browser on the middle of an element.
func (p *Page) Drop(selector string, files ...string) {
	p.t.Helper()
	var at struct{ X, Y float64 }
	value, err := p.Try(`(() => { const e = document.querySelector(` + quote(selector) + `); e.scrollIntoView({ block: 'center' });
		const r = e.getBoundingClientRect(); return { X: r.x + r.width / 2, Y: r.y + r.height / 2 } })()`)
	if err == nil {
		err = json.Unmarshal(value, &at)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.expect("drop")
	for _, step := range []string{"dragEnter", "dragOver", "drop"} {
		p.Call("Input.dispatchDragEvent", map[string]any{
			"type": step, "x": at.X, "y": at.Y,
			"data": map[string]any{"items": []any{}, "files": absolute(p.t, files), "dragOperationsMask": 1},
		}, nil)
	}
	p.Wait("globalThis.arrived")
}

func absolute(t testing.TB, files []string) []string {
	t.Helper()
	out := make([]string, len(files))
	for i, name := range files {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = path
	}
	return out
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// Console returns what the page, and the browser about it, wrote to the console.
func (p *Page) Console() string {
	var b strings.Builder
	for _, method := range []string{"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"} {
		for _, e := range p.Events(method) {
			b.Write(e.Params)
			b.WriteByte('\n')
		}
	}
	return b.String()
}
