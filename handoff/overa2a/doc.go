// Package overa2a carries handoffs over A2A, the Agent2Agent protocol: an extension
// of it, of which docs/a2a.md is the specification. A message that begins a task
// carries the bundle about an offer. The receiver verifies it, accepts it in its own
// ledger, and only then works; what does not verify is refused as a rejected task.
// The acceptance goes back in the task, and the giver's ledger records it.
//
// # Wire form
//
// All that the extension adds are data parts of the media type [Media]. Each is an
// object of two members: handoff, which is "v1", and one that says what it is.
//
//	{"mediaType":"application/vnd.ledgerd.handoff+json","data":{"handoff":"v1","offer":"{\"bundle\":\"v1\",…}\n…"}}
//	{"mediaType":"application/vnd.ledgerd.handoff+json","data":{"handoff":"v1","acceptance":"{\"bundle\":\"v1\",…}\n…"}}
//	{"mediaType":"application/vnd.ledgerd.handoff+json","data":{"handoff":"v1","refused":{"reason":"no_evidence","expected":"…","found":"…"}}}
//
// A bundle is a string and no array of objects: it is what it is to the byte, and
// nothing between two agents keeps the order and the spelling of JSON's members. It
// is UTF-8, so a JSON string holds all of it.
//
// # A receiver
//
//	executor := overa2a.NewExecutor(overa2a.Receiver{Party: party, Ledger: ledger, RunID: rt.RunID, Worker: analyst})
//	card.Capabilities.Extensions = []a2a.AgentExtension{overa2a.Extension(party)}
//	handler := a2asrv.NewHandler(executor, a2asrv.WithCapabilityChecks(&card.Capabilities))
//
// # A giver
//
//	to, err := overa2a.ReceiverOf(card, party.Trust)
//	offer, err := run.Offer(ctx, runtime.Offering{To: to, …})
//	sent, err := overa2a.Giver{Client: client, Party: party, Ledger: ledger}.Send(ctx, offer)
//
// What it does not do: say who sends. A bundle says whose work it is, and for whom;
// who may send messages to an agent is for A2A's security schemes.
package overa2a
