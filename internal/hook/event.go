package hook

import (
	"github.com/go-json-experiment/json/jsontext"
)

// A Kind is what has happened in an agent's session.
type Kind string

// The kinds of events. What is none of them is let pass.
const (
	Start        Kind = "session-start"
	Before       Kind = "before"
	After        Kind = "after"
	Stop         Kind = "stop"
	SubagentStop Kind = "subagent-stop"
	End          Kind = "session-end"
	Other        Kind = "other"
)

// Statuses of a call, in the words of package evidence.
const (
	success  = "success"
	failure  = "failure"
	accepted = "accepted"
	unknown  = "unknown"
	notRun   = "not_run"
)

// An Event is what an agent tells of.
type Event struct {
	Kind       Kind
	Session    string
	Cwd        string
	Transcript string // path of the session's transcript, "" where there is none

	// Of a call:
	Tool     string         // as the agent calls it
	Resource string         // what it is done to, where the tool says so
	Input    jsontext.Value // exactly as the agent gave it
	Call     string         // the agent's ID of the call, "" where it gives none
	Server   string         // the MCP server that has the tool, "" where it is the agent's own
	// What came of it, after it:
	Status string // "": the transcript says so
	Output jsontext.Value
	Error  string
	Took   *int64 // milliseconds

	// When the agent stops:
	Again   bool   // because it was sent back the last time
	Aborted bool   // and not because it is done
	Text    string // the last that it said
	Grows   bool   // Text is all that it said since the user spoke
}

// An Answer is what the agent is told.
type Answer struct {
	Block bool
	Why   string // for the agent, where it is blocked
	Note  string // for who looks at its logs
}

// Out is an answer as a process gives it.
type Out struct {
	Stdout, Stderr string
	Exit           int
}

// ExitBlock is the code by which every agent is told not to go on.
const ExitBlock = 2

// byExit is an answer to agents that take the reason from standard error.
func byExit(a Answer) Out {
	if a.Block {
		return Out{Stderr: a.Why + "\n", Exit: ExitBlock}
	}
	return noted(a, "")
}

// noted lets go on. A note makes it a failure that blocks nothing.
func noted(a Answer, stdout string) Out {
	if a.Note == "" {
		return Out{Stdout: stdout}
	}
	return Out{Stdout: stdout, Stderr: "ledgerd: " + a.Note + "\n", Exit: 1}
}
