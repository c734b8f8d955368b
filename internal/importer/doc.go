// Package importer turns the transcripts of agents into runs of the ledger:
// OpenAI's chat format with the run's name, agent and intent beside it, items of
// its Responses API, messages of Anthropic's, sessions of Claude Code, and traces by
// the conventions of OpenTelemetry for generative AI. docs/import.md describes them;
// [Open] reads them, [Importer] writes the records.
//
// Each format has a reader that makes [Transcript] values, and one planner lays
// these out as records. What a format has and a transcript has not is kept as
// payloads, and counted.
//
// A line of the chat format such as
//
//	{"id":"ticket-7","actor":"support-agent","intent":"Refund order 7",
//	 "contract":{"expects":[{"action":"refund","input":{"order":7}}],"only":["refund"]},
//	 "messages":[
//	   {"role":"user","content":"Please refund order 7."},
//	   {"role":"assistant","tool_calls":[{"id":"c1","type":"function",
//	     "function":{"name":"refund","arguments":"{\"order\":7}"}}]},
//	   {"role":"tool","tool_call_id":"c1","name":"refund","content":"{\"ok\":true}"},
//	   {"role":"assistant","content":"Your refund is on its way."}]}
//
// becomes the line of records
//
//	run.opened  context  decision  authorization  execution  decision  claim  verdict  run.closed
//
// What an import is worth: the records prove what the transcript said and that
// it has not changed since. They do not prove that it was true: every one of
// them has the source "imported", the weakest there is, and counts only
// because the contract that is written beside it says so.
//
// The package reads no network and asks no model. The same line gives the same
// run again, and a second import of it appends nothing.
package importer
