// Package claudecode knows what Claude Code writes into a session's transcript, for those
// who read one: the importer, and the hook.
package claudecode

import "strings"

// refused are beginnings of what the program writes as the result of a call that was not
// made, and who refused it.
var refused = []struct{ begins, by string }{
	{"The user doesn't want to proceed with this tool use", "user"},
	{"The user doesn't want to take this action right now", "user"},
	{"Permission to use ", "permissions"},
	{"Permission for this tool use was denied", "permissions"}, // to a subagent, or where nobody can be asked
	{"Permission for this action has been denied", "permissions"},
	{"Claude requested permissions to ", "permissions"}, // and nobody gave them (anthropics/claude-code#67268)
}

// RefusedBy says who refused a call with that result: "user", "permissions", or "" where
// it was made.
func RefusedBy(result string) string {
	for _, x := range refused {
		if strings.HasPrefix(result, x.begins) {
			return x.by
		}
	}
	return ""
}
