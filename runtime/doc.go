// Package runtime is the governed pipeline: the model reasons, the runtime
// governs. Permission, execution, evidence, state and recovery belong to it and
// not to a prompt.
//
//	run, err := rt.Open(ctx, "complaint-4711", runtime.As("support"), runtime.Task("complaint", in))
//	defer run.Close(ctx)
//	d, err := runtime.Decide(ctx, run, "triage", triage, in)
//	res, err := runtime.Do(ctx, run, "notify", sendEmail, Mail{To: d.Team})
//	claim, err := run.Claim(ctx, "Team notified", res)
//	return claim.Verdict.Err()
//
// The example of [Runtime.Open] is the whole of it.
//
// # Four parts
//
// Reasoning ([Reasoner]), permission ([Permitter]), execution ([Tool]) and audit
// ([Ledger], package audit) have an interface each, and none can do another's
// work: a model holds no tool, a tool is only called under a durable permission,
// a permission check calls nothing, and the ledger admits what is signed and in
// order, whatever the others want.
//
// # A step
//
// A step is one named, governed action: [Run.Do].
//
//	permission check → durable authorization → the registered tool, with exactly
//	the bytes that were checked → durable execution record → result
//
// The authorization is durable before the tool is called, the execution before
// the caller hears of it. What a crash leaves between the two is in doubt, and is
// settled by the tool's own probe, by its idempotency key, or by a human: never
// by guessing.
//
// # Programs run again from the top
//
// There is no other way to resume: open the run under the same key, and call the
// same steps. What is recorded is returned and not done again; what is not goes
// on. So a workflow engine of your own (Temporal, LangGraph) may call single
// steps, under run and step keys of its own: the runtime keeps nothing in memory
// that the ledger does not have. Where the engine runs the tools too, [Run.Ask]
// is a step up to the call, and [Run.Report] what comes after it.
//
// # Failures
//
// Each class of failures has its own answer ([Rules]): some are retried under the
// same key, some are given back to the model, some to a human, and some stop. An
// attempt, whatever came of it, is a record. See docs/runtime.md.
//
// The package shadows the standard library's of that name; who needs both calls
// the other one goruntime.
package runtime
