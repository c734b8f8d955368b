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
