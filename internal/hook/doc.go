// Package hook is what a coding agent calls before and after each use of a tool, with
// JSON on standard input: it asks for permission, reports what came of the call, and
// holds the agent to its contract when it says that it is done.
//
// # Agents
//
// An [Agent] is an adapter: it reads the agent's input into an [Event], and writes an
// [Answer] as that agent wants to hear it. Between the two nothing knows which agent it
// is. What an agent's public documentation does not say is not guessed: an outcome that
// it does not tell is unknown.
//
// # Evidence
//
// A session is one run, under a key made of the agent's name and the session's ID; a
// call is one step, named by the agent's own ID for it, so that the process that asks
// and the one that reports find the same step. Everything is reported: the agent
// says so, nobody here saw it. What was asked and never reported is looked up in the
// session's transcript.
//
// # Failing
//
// It fails closed: a call that cannot be asked for is blocked. Code 2 is how agents want
// to be told so, and what a Go program that panics exits with.
//
// # Speed
//
// A call waits for this process to start. So the package imports the standard library
// and a JSON parser, and speaks HTTP itself: see [ledgerd/internal/hook/early].
package hook
