// Package checkpoint is the saved state of a workflow at a step, and the plan to
// resume from it.
//
// A [State] folds the records of one run, in log order, and answers the
// questions of a program that is run again from the top: what a step has come to
// ([State.Plan]), what a decision was, what the last checkpoint saved, what is in
// doubt. It is a pure function of the records: no clock, no disk, no network, so
// that the same prefix of a run gives the same answers on any machine, at any
// time. What it takes to settle a doubt is the runtime's business.
//
// # Words
//
// A checkpoint is here, and everywhere in this module, the state of a workflow
// at a step. The signed state of the log is a tree head, which C2SP calls a
// checkpoint too (package ledgerd/ledger/tlog).
//
// # What a step comes to
//
// A step is one named, governed action of a run. It has one authorization, or
// several, one after the other: where a human approved (the second names the
// approval), or where the payload was repaired or the model planned again after
// a failure. [State.Plan] reads off the last of them what comes next:
//
//	Begin     nothing recorded: ask for permission
//	Return    it succeeded: hand out the recorded result, and call nothing
//	Refused   denied, or a human refused, or the approval that it used does not hold
//	Ask       a human was asked, and has not answered
//	Use       a human approved: repeat the authorization with the approval
//	Attempt   allowed, and the last attempt failed or did not run: a next one may follow
//	Settle    in doubt: nobody knows whether it happened. Probe, or ask; never guess
//	Await     the tool accepted it and will finish later
package checkpoint
