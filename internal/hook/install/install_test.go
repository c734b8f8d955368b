package install

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func none(string) string { return "" }

func open(t *testing.T, agent, home string) *File {
	t.Helper()
	f, err := Open(agent, home, "", none)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func install(t *testing.T, agent, home string, command ...string) *Change {
	t.Helper()
	c, err := open(t, agent, home).Install(append([]string{"/opt/my tools/ledgerd", "hook", "--agent", agent}, command...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestInstall: what stands in a file stays byte for byte, twice is once, and taking the
// hook out leaves what was there.
func TestInstall(t *testing.T) {
	for agent, l := range layouts {
		for name, before := range map[string]string{
			"none":     "",
			"empty":    "{}\n",
			"others":   "{\n    \"model\": \"x\",\n    \"permissions\":   {\"allow\": [\"Bash(ls:*)\"]},\n    \"n\": 1.50\n}\n",
			"compact":  `{"a":1,"hooks":{"` + l.events[1] + `":[{"matcher":"Bash","hooks":[{"type":"command","command":"guard.sh"}]}],"Notification":[]},"z":[1,2]}`,
			"one list": "{\n\t\"hooks\": {\n\t\t\"" + l.events[1] + "\": [\n\t\t\t{\"command\": \"ledgerd hook --agent another\"}\n\t\t]\n\t}\n}",
			"look":     `{"hooks": {"` + l.events[1] + `": [{"command": "echo ledgerd hook --agent ` + agent + `er"}]}}`,
		} {
			t.Run(agent+" "+name, func(t *testing.T) {
				home := t.TempDir()
				path := filepath.Join(home, l.dir, l.file)
				if before != "" {
					must(t, os.MkdirAll(filepath.Dir(path), 0o755))
					must(t, os.WriteFile(path, []byte(before), 0o640))
				}
				c := install(t, agent, home)
				if !strings.Contains(c.Diff(), "+ ") || strings.Contains(name, "other") && strings.Contains(c.Diff(), "- {") {
					t.Errorf("the diff:\n%s", c.Diff())
				}
				must(t, c.Write())
				after, err := os.ReadFile(path)
				must(t, err)
				if n := strings.Count(string(after), `'/opt/my tools/ledgerd' hook --agent `+agent); n != len(l.events) {
					t.Errorf("want %d hooks, found %d:\n%s", len(l.events), n, after)
				}
				if c := install(t, agent, home); c != nil {
					t.Errorf("once more:\n%s", c.Diff())
				}
				// Nor is it moved where somebody has added another one after it.
				more := bytes.ReplaceAll(after, []byte("\n    ],"), []byte(",\n      {\"command\": \"x\"}\n    ],"))
				must(t, os.WriteFile(path, more, 0o640))
				if c := install(t, agent, home); c != nil {
					t.Errorf("once more, with others:\n%s", c.Diff())
				}
				must(t, os.WriteFile(path, after, 0o640))
				must(t, install(t, agent, home, "--mode", "observe").Write()) // another one takes its place
				after, err = os.ReadFile(path)
				must(t, err)
				if n := strings.Count(string(after), "--mode observe"); n != len(l.events) || strings.Count(string(after), "hook --agent "+agent+" ") != n {
					t.Errorf("%s", after)
				}
				c, err = open(t, agent, home).Uninstall()
				must(t, err)
				must(t, c.Write())
				after, err = os.ReadFile(path)
				must(t, err)
				want := before
				switch {
				case before == "" && l.first != "":
					want = "{\n  " + l.first + "\n}\n"
				case before == "":
					want = "{}\n"
				}
				if string(after) != want {
					t.Errorf("want\n%s\nfound\n%s", want, after)
				}
				if info, err := os.Stat(path); err != nil || before != "" && info.Mode().Perm() != 0o640 {
					t.Errorf("%v %v", info.Mode(), err)
				}
				if c, err := open(t, agent, home).Uninstall(); c != nil || err != nil {
					t.Errorf("there is nothing to take out: %v", err)
				}
			})
		}
	}
}

// TestShared: a hook of ledgerd's beside which somebody has put another one is taken out all
// the same, and that one stays.
func TestShared(t *testing.T) {
	for _, agent := range []string{"claude-code", "codex", "gemini-cli"} {
		home := t.TempDir()
		c := install(t, agent, home)
		must(t, c.Write())
		path := c.path
		data, err := os.ReadFile(path)
		must(t, err)
		other := []byte(`{"type": "command", "command": "guard.sh"}`)
		must(t, os.WriteFile(path, bytes.ReplaceAll(data, []byte(`}]}`), append([]byte(`}, `), append(other, `]}`...)...)), 0o600))
		must(t, install(t, agent, home, "--mode", "observe").Write())
		data, err = os.ReadFile(path)
		must(t, err)
		n := len(layouts[agent].events)
		if all, now := bytes.Count(data, []byte("hook --agent")), bytes.Count(data, []byte("--mode observe")); all != n || now != n || bytes.Count(data, other) != n {
			t.Errorf("%s: the one before is still there:\n%s", agent, data)
		}
		if c := install(t, agent, home, "--mode", "observe"); c != nil {
			t.Errorf("once more:\n%s", c.Diff())
		}
		c, err = open(t, agent, home).Uninstall()
		must(t, err)
		must(t, c.Write())
		data, err = os.ReadFile(path)
		must(t, err)
		if bytes.Contains(data, []byte("ledgerd")) || bytes.Count(data, other) != n {
			t.Errorf("%s:\n%s", agent, data)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLeftAlone: files that are not understood are not touched.
func TestLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"comments":   "{\n  // mine\n  \"hooks\": {}\n}",
		"a comma":    `{"hooks": {},}`,
		"twice":      `{"hooks": {}, "hooks": {}}`,
		"half":       `{"hooks": {`,
		"more":       `{} {}`,
		"list":       `[]`,
		"hooks":      `{"hooks": []}`,
		"event":      `{"hooks": {"PreToolUse": {}}}`,
		"not UTF-8":  "{\"a\": \"\xff\"}",
		"whitespace": " \n",
	} {
		home := t.TempDir()
		path := filepath.Join(home, ".claude", "settings.json")
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := Open("claude-code", home, "", none); err == nil || !strings.Contains(err.Error(), "is left alone") {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != text {
			t.Errorf("%s: %s %v", name, after, err)
		}
	}
}

// TestMeanwhile: a file that somebody has changed since it was shown is not written.
func TestMeanwhile(t *testing.T) {
	home := t.TempDir()
	c := install(t, "cursor", home)
	path := filepath.Join(home, ".cursor", "hooks.json")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, nil, 0o600))
	if err := c.Write(); err == nil {
		t.Error("it was written")
	}
	must(t, os.WriteFile(path, []byte("{}"), 0o600))
	c = install(t, "cursor", home)
	must(t, os.WriteFile(path, []byte(`{"version": 1}`), 0o600))
	if err := c.Write(); err == nil {
		t.Error("it was written")
	}
}

// TestWhere: settings are where the agent looks for them, and a link stays one.
func TestWhere(t *testing.T) {
	home, dir, other := t.TempDir(), t.TempDir(), t.TempDir()
	env := func(name string) string {
		if name == "CLAUDE_CONFIG_DIR" {
			return other
		}
		return ""
	}
	for want, open := range map[string]func() (*File, error){
		filepath.Join(other, "settings.json"):           func() (*File, error) { return Open("claude-code", home, "", env) },
		filepath.Join(dir, ".claude", "settings.json"):  func() (*File, error) { return Open("claude-code", home, dir, env) },
		filepath.Join(home, ".gemini", "settings.json"): func() (*File, error) { return Open("gemini-cli", home, "", env) },
	} {
		if f, err := open(); err != nil || f.path != want {
			t.Errorf("want %s, found %v %v", want, f, err)
		}
	}
	kept := filepath.Join(dir, "kept.json")
	must(t, os.WriteFile(kept, []byte("{}"), 0o600))
	must(t, os.MkdirAll(filepath.Join(home, ".claude"), 0o755))
	link := filepath.Join(home, ".claude", "settings.json")
	must(t, os.Symlink(kept, link))
	must(t, install(t, "claude-code", home).Write())
	if to, err := os.Readlink(link); err != nil || to != kept {
		t.Errorf("%s %v", to, err)
	}
	if b, err := os.ReadFile(kept); err != nil || !bytes.Contains(b, []byte(`"onFailure": "block"`)) {
		t.Errorf("%s %v", b, err)
	}
	must(t, os.Remove(kept)) // as long as it is not there, there is nothing to write to
	if f, err := Open("claude-code", home, "", none); err == nil || !strings.Contains(err.Error(), "is left alone") {
		t.Errorf("%+v %v", f, err)
	}
	if to, err := os.Readlink(link); err != nil || to != kept {
		t.Errorf("%s %v", to, err)
	}
	if _, err := Open("other", home, "", none); err == nil {
		t.Error("there is no such agent")
	}
}

// TestFailures: an agent that can blocks where the hook fails before a call, and only
// there.
func TestFailures(t *testing.T) {
	for agent, want := range map[string]string{"claude-code": `"timeout": 60, "onFailure": "block"`, "cursor": `"timeout": 60, "failClosed": true`, "codex": "", "gemini-cli": ""} {
		n := 0
		for _, line := range strings.Split(install(t, agent, t.TempDir()).Diff(), "\n") {
			if want != "" && strings.Contains(line, want) {
				n++
			}
		}
		if (n == 1) != (want != "") || n > 1 {
			t.Errorf("%s: found %d", agent, n)
		}
		c, err := open(t, agent, t.TempDir()).Install([]string{"ledgerd", "hook", "--agent", agent, "--wait", "5m"}, Options{Wait: 5 * time.Minute})
		must(t, err)
		if n := strings.Count(c.Diff(), `"timeout": 360`); n != 1 { // it has time to wait before a call
			t.Errorf("%s: found %d", agent, n)
		}
		// One that only observes blocks nothing, and so does its failure.
		c, err = open(t, agent, t.TempDir()).Install([]string{"ledgerd", "hook", "--agent", agent, "--mode", "observe"}, Options{Observe: true})
		must(t, err)
		if strings.Contains(c.Diff(), "onFailure") || strings.Contains(c.Diff(), "failClosed") {
			t.Errorf("%s: it observes, and its failure blocks:\n%s", agent, c.Diff())
		}
	}
}
