// Package raced tells tests whether the race detector watches: what one goroutine does
// costs some ten times as much then, and shows nothing.
package raced

import "testing"

// Skip skips a test that works in one goroutine where the race detector watches.
func Skip(t testing.TB) {
	t.Helper()
	if on {
		t.Skip("in one goroutine the race detector has nothing to see: runs without -race")
	}
}
