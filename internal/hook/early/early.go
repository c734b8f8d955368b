// Package early serves the calls of coding agents' hooks before the rest of the program
// is there.
//
// An agent waits for `ledgerd hook` before and after each use of a tool. What the
// program is made of otherwise, the store, the policies, the protocols, takes longer
// to initialise than the whole call may last. Go initialises a package as soon as those
// that it imports are, so an init function in one that imports little runs among the
// first, and can end the process. That is all that this package does, for the one form
// of the command that agents are installed with; whatever else it is called with, and
// where it cannot serve the call, the command does, in the same words. If the order
// were another one day, calls would be slower, and the same.
package early

import (
	"os"

	"ledgerd/internal/hook"
)

func init() {
	if exit, done := hook.Early(os.Args, os.LookupEnv, os.Stdin, os.Stdout, os.Stderr); done {
		os.Exit(exit)
	}
}
