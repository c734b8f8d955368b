// Package policy decides permissions with Cedar policies: it is a
// [runtime.Permitter] over a directory of *.cedar files and an entities.json.
//
//	permit, err := policy.Open("policies", policy.Options{})
//	go permit.Watch(ctx, time.Second)
//	rt, err := runtime.New(runtime.Config{Permit: permit, ...})
//
// It calls nothing and reads nothing while it decides: a [Set] is complete in
// memory, and is replaced as a whole.
//
// # What a policy sees
//
//	principal  Agent::"support"          the agent
//	action     Action::"send_email"      what the tool does
//	resource   Resource::"order/4711"    None::"none" where there is none
//	context    input     exactly what the tool gets, as a Cedar value
//	           numbers   each number of the input that is not in an array, by
//	                     its JSON pointer (RFC 6901), as a decimal
//	           resource  the resource's name as a string, "" where there is none
//	           tool, step, approved
//	           run       id, key, task, subject, principal, budget
//	           spent     by the run and its children so far; 0 for what the
//	                     budget or the estimate names and nothing was spent of
//	           estimate  what one attempt may cost
//
// Objects of the input are records, arrays are sets, true and false are
// booleans, null is the entity JSON::"null". A number is what it is worth and not
// how it is written, so that 500.0 does not get past a rule about 500: a whole one
// is a long, another one a decimal. What Cedar cannot hold exactly, more than four
// decimal places or more than 64 bits, is an error, and so the action is denied.
// Nothing in an input becomes an entity or an extension value: Cedar's JSON
// escapes (__entity, __extn) mean nothing there.
//
// # What it decides
//
// Allowed is what some permit allows and no forbid denies. An error in the
// evaluation of any policy denies, where Cedar would skip the policy: a forbid
// that cannot be evaluated has not been found satisfied.
//
// A forbid with @escalate("team") asks a human of that team: the effect is
// escalate if some permit applies and every forbid that applies is such a one. Of
// several teams, that of the first policy by @id is asked. Once a human approved
// this very authorization, these forbids are satisfied; others never are.
//
// Every policy has an @id, unique in its set and an evidence identifier: Cedar
// itself names policies by their position, which an edit moves.
//
// # What is kept
//
// A Set has a canonical text ([Set.Document]): all policies by @id, then all
// entities. The policies in force are parsed from that text and not from the
// files, so that what an auditor reads is what decided. [ParseDocument] reads it
// back.
package policy
