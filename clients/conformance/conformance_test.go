package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// driveVar has the test binary be the Go client's driver.
const driveVar = "LEDGERD_TEST_DRIVE"

func TestMain(m *testing.M) {
	if file := os.Getenv(driveVar); file != "" {
		if err := drive(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// script is script.json.
type script struct {
	Processes []struct {
		Name  string           `json:"name"`
		Exits int              `json:"exits"`
		Do    []map[string]any `json:"do"`
	} `json:"processes"`
	Records map[string][]string `json:"records"`
}

func readScript(t *testing.T) *script {
	t.Helper()
	b, err := os.ReadFile("script.json")
	must(t, err)
	s := new(script)
	must(t, json.Unmarshal(b, s))
	return s
}

// language is a client with a driver.
type language struct {
	name    string
	command []string // "": FILE comes by driveVar
	here    string   // a file without which it cannot run
}

func languages(t *testing.T) []language {
	self, err := os.Executable()
	must(t, err)
	return []language{
		{"go", []string{self}, ""},
		{"typescript", []string{"node", "../typescript/tests/drive.mjs"}, "../typescript/dist/index.js"},
		{"python", []string{"python3", "../python/tests/drive.py"}, "../python/tests/drive.py"},
	}
}

// TestClients has every client go through the script. What goes over the wire, what the
// program gets, and what is on record afterwards is the script's, in every language.
func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("the clients are processes of their own, which the race detector does not see")
	}
	var mu sync.Mutex
	records := make(map[string]string) // of each run, as Go's client left them
	first := make(chan struct{})
	for _, l := range languages(t) {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			if l.name == "go" {
				defer close(first)
			}
			if _, err := os.Stat(l.here); l.here != "" && err != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("CI is set, and %s is not there: bash .ci/install", l.here)
				}
				t.Skipf("%s is not there (bash .ci/install)", l.here)
			}
			found := play(t, readScript(t), &l)
			if l.name != "go" {
				<-first
			}
			mu.Lock()
			defer mu.Unlock()
			for key, text := range found {
				if l.name == "go" {
					records[key] = text
				} else if records[key] != text {
					t.Errorf("%s: other records than with Go's client: %s", key, differ(records[key], text))
				}
			}
		})
	}
}

// play has a driver go through the script, and returns what the records of each run say.
func play(t *testing.T, s *script, l *language) map[string]string {
	h := newHouse(t)
	p := &proxy{t: t, daemon: h.URL, token: h.agent, human: h.answer}
	url := p.serve().URL
	type played struct {
		came []arrived
		out  []byte
	}
	var all []played
	for i := range s.Processes {
		process := &s.Processes[i]
		p.next(wire(t, process.Do))
		out, code := runDriver(t, l, url, h.agent, process.Do)
		all = append(all, played{p.next(nil), out})
		if code != process.Exits {
			t.Fatalf("%s: want exit code %d, found %d", process.Name, process.Exits, code)
		}
	}
	var keys []string
	for key := range s.Records {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	n := h.names(keys)
	var askers []string
	for i := range s.Processes {
		process := &s.Processes[i]
		asker := sameWire(t, process.Name, wire(t, process.Do), all[i].came, n)
		if slices.Contains(askers, asker) {
			t.Errorf("%s: another process had the asker %q before", process.Name, asker)
		}
		askers = append(askers, asker)
		sameAnswers(t, process.Name, process.Do, all[i].out, n)
	}
	texts := make(map[string]string)
	for _, key := range keys {
		if !slices.Equal(n.list[key], s.Records[key]) {
			t.Errorf("%s: want the records %q, found %q", key, s.Records[key], n.list[key])
		}
		h.sound(h.host.RunID(key))
		texts[key] = h.text(key, n, askers)
	}
	return texts
}

// wire has the exchanges of operations.
func wire(t *testing.T, do []map[string]any) (all []exchange) {
	t.Helper()
	for _, op := range do {
		b, err := json.Marshal(op["wire"])
		must(t, err)
		var some []exchange
		must(t, json.Unmarshal(b, &some))
		all = append(all, some...)
	}
	return all
}

// runDriver runs a driver on the operations of one process.
func runDriver(t *testing.T, l *language, server, token string, do []map[string]any) (out []byte, code int) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"do": do})
	must(t, err)
	file := filepath.Join(t.TempDir(), "process.json")
	must(t, os.WriteFile(file, b, 0o600))
	cmd := exec.Command(l.command[0], append(l.command[1:], file)...)
	cmd.Env = append(os.Environ(), "LEDGERD_SERVER="+server, "LEDGERD_TOKEN="+token)
	if l.name == "go" {
		cmd.Env = append(cmd.Env, driveVar+"="+file)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Errorf("the driver said: %s", stderr.Bytes())
	}
	return out, cmd.ProcessState.ExitCode()
}

// sameWire holds what came to the script, and returns the name of the process.
func sameWire(t *testing.T, process string, want []exchange, came []arrived, n *names) (asker string) {
	t.Helper()
	for i := range max(len(want), len(came)) {
		if i >= len(came) || i >= len(want) || want[i].Send != came[i].send {
			t.Errorf("%s: request %d: want %s, found %s", process, i, at(want, i), at(came, i))
			return asker
		}
		w, a := want[i], came[i]
		if w.Answer != a.answer && (w.Fault == "" || w.Answer != 0) {
			t.Errorf("%s: request %d: %s: want %d, found %d", process, i, w.Send, w.Answer, a.answer)
		}
		if len(a.body) == 0 && w.Body == nil {
			continue
		}
		got, err := value(a.body)
		if err != nil {
			t.Errorf("%s: request %d: %s: %v", process, i, w.Send, err)
			continue
		}
		if object, ok := got.(map[string]any); ok {
			if by, ok := object["asker"].(string); ok {
				if asker == "" {
					asker = by
				}
				if by == asker && asker != "" {
					object["asker"] = "$asker"
				}
			}
			if ms, ok := object["took_ms"].(json.Number); ok {
				if _, err := strconv.ParseUint(ms.String(), 10, 53); err == nil {
					object["took_ms"] = "$ms"
				}
			}
			if why, ok := object["error"].(string); ok && strings.HasPrefix(why, noJSON) {
				object["error"] = "$no_json"
			}
		}
		if wanted, found := canonical(t, w.Body), canonical(t, n.in(got)); wanted != found {
			t.Errorf("%s: request %d: %s:\nwant  %s\nfound %s", process, i, w.Send, wanted, found)
		}
	}
	return asker
}

// sameAnswers holds what a driver printed to the script.
func sameAnswers(t *testing.T, process string, do []map[string]any, out []byte, n *names) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	for at, op := range do {
		expect, ok := op["expect"].(map[string]any)
		if !ok {
			if at < len(lines) && lines[at] != "" {
				t.Errorf("%s: operation %d ends the process, found %s", process, at, lines[at])
			}
			return
		}
		if at >= len(lines) {
			t.Errorf("%s: want %d lines, found %d", process, len(do), len(lines))
			return
		}
		got, err := value([]byte(lines[at]))
		line, ok := got.(map[string]any)
		if err != nil || !ok {
			t.Errorf("%s: operation %d: want a JSON object, found %q", process, at, lines[at])
			return
		}
		n.in(line)
		expect["at"] = at
		if _, ok := expect["error"]; !ok {
			expect["error"] = nil
		}
		for name, want := range expect {
			if wanted, found := canonical(t, want), canonical(t, line[name]); wanted != found {
				t.Errorf("%s: operation %d (%s %v): %s: want %s, found %s in %s", process, at, op["op"], op["step"], name, wanted, found, lines[at])
			}
		}
	}
}

// value reads JSON with its numbers as they are written.
func value(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// canonical writes a value in one way.
func canonical(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

func at[T any](list []T, i int) string {
	if i >= len(list) {
		return "none"
	}
	switch v := any(list[i]).(type) {
	case exchange:
		return v.Send
	case arrived:
		return v.send
	}
	return ""
}

// differ shows the first line in which two texts differ.
func differ(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("record %d:\n%s\n%s", i, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d records and %d", len(x), len(y))
}

// fixtureTools is the file of tools, with a directory of the test's in it.
func fixtureTools(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("fixture/tools.json")
	must(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "tools.json")
	must(t, os.WriteFile(file, bytes.ReplaceAll(b, []byte("$DIR"), []byte(dir)), 0o600))
	return file
}
