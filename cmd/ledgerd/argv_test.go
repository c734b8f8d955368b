package main

import (
	"slices"
	"testing"
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
