package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const hidden = "hunter2-and-more"

// TestLoadTools: every kind of tool, with its secrets from where they are, and in
// no description.
func TestLoadTools(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LEDGERD_TEST_SECRET", hidden)
	file := write(t, dir, "secret", hidden+"\n")
	path := write(t, dir, "tools.json", fmt.Sprintf(`{"tools":[
		{"name":"ticket","action":"create_ticket","resource":"/queue","timeout":"3s","estimate":{"usd_micro":7},"idempotent":true,"refs":["id"],
		 "http":{"url":"https://tickets.example/{queue}","hosts":[{"name":"tickets.example","addresses":["10.0.0.0/8"]}],
		  "secrets":{"Authorization":{"env":"LEDGERD_TEST_SECRET","prefix":"Bearer "}},"probe":"https://tickets.example/done/{key}"}},
		{"name":"note","command":{"path":"true","args":["--","{text}"],"env":{"LANG":"C"},"secrets":{"TOKEN":{"file":%q}}}},
		{"name":"email","schema":{"type":"object"},"smtp":{"address":"127.0.0.1:25","from":"care@example.org","user":"care","password":{"file":%q}}}]}`, file, file))
	tools, err := LoadTools(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(tools) != 3 {
		t.Fatalf("%d tools", len(tools))
	}
	spec := tools[0].Spec()
	if spec.Name != "ticket" || spec.Action != "create_ticket" || spec.Resource != "/queue" || spec.Timeout.Seconds() != 3 || spec.Estimate["usd_micro"] != 7 || !spec.Idempotent || spec.Refs[0] != "id" {
		t.Errorf("%+v", spec)
	}
	if got := tools[1].Spec(); got.Action != "note" || !strings.Contains(string(got.Schema), `"text"`) {
		t.Errorf("%+v", got)
	}
	if got := string(tools[2].Spec().Schema); got != `{"type":"object"}` {
		t.Errorf("the schema: %s", got)
	}
	for _, tool := range tools {
		if strings.Contains(fmt.Sprintf("%+v", tool.Spec()), hidden) {
			t.Errorf("a secret in the description of %s", tool.Spec().Name)
		}
	}
}

// TestLoadToolsSaysWhatIsWrong, and never what a secret is.
func TestLoadToolsSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	empty := write(t, dir, "empty", "\n")
	for text, want := range map[string]string{
		`{`: "tools.json",
		`{"tools":[{"name":"a","http":{},"smtp":{}}]}`:                                                                        "one of http, command and smtp, found 2",
		`{"tools":[{"name":"a"}]}`:                                                                                            "one of http, command and smtp, found 0",
		`{"tools":[{"name":"a","kind":"http"}]}`:                                                                              "/tools/0/kind",
		`{"tools":[{"name":"a","timeout":"soon","command":{"path":"true"}}]}`:                                                 `found "soon"`,
		`{"tools":[{"name":"a","timeout":"-1s","command":{"path":"true"}}]}`:                                                  `found "-1s"`,
		`{"tools":[{"name":"a","command":{"path":"/nowhere/at/all"}}]}`:                                                       `"a"`,
		`{"tools":[{"name":"a","command":{"path":"true","secrets":{"T":"hunter2-and-more"}}}]}`:                               "/tools/0/command/secrets/T",
		`{"tools":[{"name":"a","command":{"path":"true","secrets":{"T":{"value":"hunter2-and-more"}}}}]}`:                     "/tools/0/command/secrets/T/value",
		`{"tools":[{"name":"a","command":{"path":"true","secrets":{"T":{}}}}]}`:                                               "secret T: want env",
		`{"tools":[{"name":"a","command":{"path":"true","secrets":{"T":{"env":"A","file":"b"}}}}]}`:                           "secret T: want env",
		`{"tools":[{"name":"a","command":{"path":"true","secrets":{"T":{"env":"LEDGERD_TEST_NOT_SET"}}}}]}`:                   "LEDGERD_TEST_NOT_SET, found none",
		`{"tools":[{"name":"a","command":{"path":"true","secrets":{"T":{"file":"` + empty + `"}}}}]}`:                         "found none",
		`{"tools":[{"name":"a","smtp":{"address":"h:25","from":"a@b.c","user":"u"}}]}`:                                        "user and password together",
		`{"tools":[{"name":"a","smtp":{"address":"h:25","from":"a@b.c","user":"u","password":"hunter2-and-more"}}]}`:          "/tools/0/smtp/password",
		`{"tools":[{"name":"a","http":{"url":"https://a.example/","hosts":[{"name":"a.example","addresses":["not one"]}]}}]}`: "/tools/0/http/hosts/0/addresses/0",
	} {
		_, err := LoadTools(write(t, dir, "tools.json", text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, found %v", text, want, err)
		}
		if err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("a secret in an error: %v", err)
		}
	}
}

// TestContracts: by type of task, read when they are asked for; what is wrong is an
// error and not no contract.
func TestContracts(t *testing.T) {
	dir := t.TempDir()
	const sound = `{"contract":"v1","task":"refund","expects":[{"action":"pay"}]}`
	path := write(t, dir, "refund.json", sound)
	write(t, dir, "README", "no contract")
	outside := write(t, t.TempDir(), "outside.json", sound)
	c, err := OpenContracts(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.For("refund", nil); err != nil || string(got.Document) != sound || got.DeclaredBy != "operator" {
		t.Errorf("%+v, %v", got, err)
	}
	rel, err := filepath.Rel(dir, outside)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range []string{"other", strings.TrimSuffix(rel, ".json"), "../x", ".hidden", `a\b`, "", strings.Repeat("x", 256)} {
		if got, err := c.For(task, nil); got != nil || err != nil {
			t.Errorf("%q: %+v, %v", task, got, err)
		}
	}
	write(t, dir, "refund.json", strings.Replace(sound, "pay", "repay", 1))
	if got, err := c.For("refund", nil); err != nil || !strings.Contains(string(got.Document), "repay") {
		t.Errorf("changed: %+v, %v", got, err)
	}
	for _, text := range []string{`{"contract":"v1","task":"refund"`, `{"contract":"v9","task":"refund"}`, strings.Replace(sound, `"refund"`, `"other"`, 1)} {
		write(t, dir, "refund.json", text)
		if got, err := c.For("refund", nil); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
		if _, err := OpenContracts(dir); err == nil {
			t.Errorf("%s: the directory is taken", text)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenContracts(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a directory that is not there")
	}
}

func TestNames(t *testing.T) {
	for _, key := range []string{"a", "complaint-4711", "a.b_c~d", "tenant:7@x", "!$&'()*+,;=", "run-1", "Run_1", strings.Repeat("k", 200)} {
		if err := CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"", "run_", "run_x", "a/b", "a b", "a%2Fb", "a\x00", "a\nb", "é", "a\u202e", `a"`, `a\`, "a?", "a#b", "a|b", "<a>", strings.Repeat("k", 201)} {
		if err := CheckKey(key); err == nil {
			t.Errorf("%q is taken", key)
		}
	}
}

// TestNormal: the same value is the same bytes, and no number becomes another.
func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : 1 , "a" : [ 2 , 3 ] } `:                 `{"a":[2,3],"b":1}`,
		`"\u0061\/\ud83d\ude00\n"`:                        `"a/😀\n"`,
		`{"n":9007199254740993,"m":1.0,"k":1e400,"j":-0}`: `{"j":-0,"k":1e400,"m":1.0,"n":9007199254740993}`,
		`0.1000000000000000000000001`:                     `0.1000000000000000000000001`,
		`{"a":{"d":null,"c":true}}`:                       `{"a":{"c":true,"d":null}}`,
	} {
		got, err := normal([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
		again, err := normal(got)
		if err != nil || string(again) != want {
			t.Errorf("%s, again: %s, %v", got, again, err)
		}
	}
	for _, in := range []string{``, `{`, `{"a":1,"a":2}`, "\"\xff\"", `1 2`, `"\ud800"`} {
		if got, err := normal([]byte(in)); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
}
