package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestArrange: flags go before arguments, wherever they stood; a commitment that
// begins with "-" is none.
func TestArrange(t *testing.T) {
	const commit = "-yMka0wCswe4LxWTsxLi-CpBewXOFZgEXQC-lapOppk"
	for _, c := range []struct{ given, want []string }{
		{[]string{"ledgerd", "erase", commit, "--data-dir", "d"}, []string{"ledgerd", "erase", "--data-dir", "d", "--", commit}},
		{[]string{"ledgerd", "erase", "--reason", commit, commit, "--data-dir=d"}, []string{"ledgerd", "erase", "--reason", commit, "--data-dir=d", "--", commit}},
		{[]string{"ledgerd", "erase", "--data-dir", "d", "--", "--reason"}, []string{"ledgerd", "erase", "--data-dir", "d", "--", "--reason"}},
		{[]string{"ledgerd", "erase", "-x", commit[:42]}, []string{"ledgerd", "erase", "-x", commit[:42]}},
	} {
		got, err := arrange(newApp(), c.given, func(string) (string, bool) { return "", false })
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q:\nwant %q,\nfound %q, %v", c.given, c.want, got, err)
		}
	}
}

// TestArrangeLists: a value on the command line or in a file of settings may have a comma;
// in a variable it stands between two values.
func TestArrangeLists(t *testing.T) {
	config := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(config, []byte(`{"trust": ["a,b.json", "c.json"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"LEDGERD_EVIDENCE": "ev_1,ev_2", "LEDGERD_NOTE": "one, two"}
	for _, c := range []struct{ given, want []string }{
		{
			[]string{"ledgerd", "handoff", "offer", "--scope", "read:a,b", "--scope=read:c"},
			[]string{"--scope", "read:a,b", "--scope=read:c", "--evidence=ev_1", "--evidence=ev_2", "--note=one, two"},
		},
		{[]string{"ledgerd", "handoff", "accept", "--config", config}, []string{"--trust=a,b.json", "--trust=c.json"}},
	} {
		got, err := arrange(newApp(), c.given, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		for _, want := range c.want {
			if err != nil || !slices.Contains(got, want) {
				t.Errorf("%q: want %q in\n%q, %v", c.given, want, got, err)
			}
		}
	}
	var scopes []string
	app := newApp()
	app.Command("handoff").Command("offer").Action = func(c *cli.Context) error {
		scopes = c.StringSlice("scope")
		return nil
	}
	offer := []string{"ledgerd", "handoff", "offer", "-o", "x", "--run-key", "x", "--to", "x", "--task", "x", "--as", "x"}
	if err := app.Run(append(offer, "--scope", "read:a,b", "--scope=read:c")); err != nil || !slices.Equal(scopes, []string{"read:a,b", "read:c"}) {
		t.Errorf("--scope: %q, %v", scopes, err)
	}
}

// TestArrangeSession: the run of an agent's session is that of gateways and hooks, and of
// no other command that has a run in mind.
func TestArrangeSession(t *testing.T) {
	env := func(name string) (string, bool) {
		return map[string]string{"LEDGERD_RUN": "session-1", "LEDGERD_RUN_FILE": "/nowhere"}[name], true
	}
	for _, c := range []struct {
		given []string
		takes bool
	}{
		{[]string{"mcp"}, true},
		{[]string{"hook"}, true},
		{[]string{"hook", "install"}, false},
		{[]string{"export"}, false},
		{[]string{"contract", "check"}, false},
		{[]string{"policy", "explain"}, false},
	} {
		got, err := arrange(newApp(), append([]string{"ledgerd"}, c.given...), env)
		if err != nil || slices.Contains(got, "--run=session-1") != c.takes {
			t.Errorf("%q: %q, %v", c.given, got, err)
		}
	}
}
