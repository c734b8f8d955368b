package audit_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/raced"
)

var update = flag.Bool("update", false, "write the vectors in testdata/verdicts again")

const verdictDir = "../testdata/verdicts"

// A cell of the truth table is one way in which a run and a claim about it can
// stand to each other, and what has to be said of it.
type cell struct {
	name     string
	why      string          // for whoever reads the vectors
	contract string          // "": the run has none
	weakest  evidence.Source // that the auditor's trust file asks for; "": none
	play     func(p *part) *evidence.Placed
	result   evidence.Result
	source   evidence.Source // of what decides
	exit     int             // of verify
}

// A part is the run of one cell.
type part struct {
	*audittest.Run
	// decide are the records that the verdict has to name.
	decide []evidence.ID
	hidden map[evidence.Digest]bool // withheld from the auditor
	atEnd  bool                     // the run as such is asked about, not a claim
	others *[]*audittest.World      // of those who handed something over
}

// giver opens a run of another ledger.
func (p *part) giver(name string) *part {
	w := audittest.Named(p.T, p.Origin+"-"+name)
	*p.others = append(*p.others, w)
	return &part{Run: w.Open(nil), hidden: make(map[evidence.Digest]bool), others: p.others}
}

// A hand is what a part hands over: the bundle about its offer.
type hand struct {
	from   *audittest.World
	offer  evidence.Placed
	size   int
	bundle []byte
}

// give offers all that the part did to another, on some of its records.
func (p *part) give(to *part, on ...evidence.Placed) *hand {
	p.T.Helper()
	b := &evidence.HandoffOffered{
		To:   evidence.Recipient{Origin: to.Origin, Actor: audittest.Agent, Key: to.Key(audittest.Runtime).Public().Thumbprint()},
		Task: "complaint", Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "*"}, {Action: "search", Resource: "*"}, {Action: "test", Resource: "*"}},
		Expires: p.Clock + 3_600_000, HeadMaxAge: 60, Parent: p.Body.Acceptance,
	}
	for _, r := range on {
		b.Evidence = append(b.Evidence, r.ID)
	}
	h := &hand{from: p.World, offer: p.Line(b)}
	h.size = len(p.Placed)
	h.bundle = p.Bundle(audittest.Bundling{Header: bundle.OfferHeader(p.Origin, h.offer.ID), Indexes: p.RunIndexes(p.ID), Withhold: p.hidden})
	return h
}

// accept records an acceptance for a run.
func (p *part) accept(h *hand, opens evidence.RunID) evidence.Placed {
	p.T.Helper()
	return p.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
		Offer: h.offer.ID, Origin: h.from.Origin, Opens: opens, Bundle: p.CommitAs(bundle.Media, string(h.bundle)),
		Head: evidence.HeadRef{Size: int64(h.size), Root: evidence.Digest(h.from.Root(h.size))},
	}}, audittest.Runtime)
}

// take has the run take up what was handed over. It returns the acceptance.
func (p *part) take(h *hand) evidence.Placed { return p.cite(p.accept(h, p.ID)) }

// cite lays a record before the agent.
func (p *part) cite(source evidence.Placed) evidence.Placed {
	p.Line(&evidence.Context{Sources: []evidence.ContextSource{{Name: "handoff", Content: p.CommitAs("text/plain", ""), Evidence: source.ID}}})
	return source
}

// continues opens another run in place of the part's: the one that continues h.
func (p *part) continues(h *hand) evidence.Placed {
	var accepted evidence.Placed
	contract := p.Body.Contract
	p.Run = p.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
		accepted = p.accept(h, rec.Run)
		b.Acceptance, b.Contract = accepted.ID, contract
	})
	return accepted
}

// hides withholds what an acceptance commits to.
func (p *part) hides(accepted evidence.Placed) {
	p.withhold(accepted.Record.Body.(*evidence.HandoffAccepted).Bundle)
}

// a writes an authorization, x an attempt at it.
func (p *part) a(action, input string, mod func(*evidence.Authorization)) evidence.Placed {
	return p.Authorize(action, input, mod)
}

func (p *part) x(auth evidence.Placed, status evidence.Status, mod func(*evidence.Execution)) evidence.Placed {
	return p.Execute(auth, status, func(b *evidence.Execution) {
		if status == evidence.StatusUnknown {
			b.Class = evidence.ToolTimeout
		}
		if mod != nil {
			mod(b)
		}
	})
}

// ok does an action.
func (p *part) ok(action, input string) evidence.Placed {
	return p.x(p.a(action, input, nil), evidence.StatusSuccess, nil)
}

// from does an action as a weaker source has it.
func (p *part) from(s evidence.Source, action, input string) evidence.Placed {
	return p.x(p.a(action, input, nil), evidence.StatusSuccess, func(b *evidence.Execution) { b.Source = s })
}

// gave does an action that has an output.
func (p *part) gave(action, input, output string, mod func(*evidence.Execution)) evidence.Placed {
	return p.x(p.a(action, input, nil), evidence.StatusSuccess, func(b *evidence.Execution) {
		c := p.Commit(output)
		b.Output = &c
		if mod != nil {
			mod(b)
		}
	})
}

// by names the records that decide.
func (p *part) by(records ...evidence.Placed) {
	for _, r := range records {
		p.decide = append(p.decide, r.ID)
	}
}

func (p *part) withhold(c evidence.Commitment) { p.hidden[c.Commit] = true }

// hideInput withholds the input of an authorization.
func (p *part) hideInput(auth evidence.Placed) evidence.Placed {
	p.withhold(auth.Record.Body.(*evidence.Authorization).Input)
	return auth
}

// confirm has a tool speak for itself; name: and the line take note of it.
func (p *part) confirm(tool string, auth evidence.Placed, status evidence.Status, name bool) evidence.Placed {
	c := p.Beside(tool, auth.ID, &evidence.Confirmation{Status: status})
	if name {
		p.Line(&evidence.Escalation{Reason: "confirmed", To: audittest.Team}, c.ID)
	}
	return c
}

// contracted claims that the contract is met, and closes the run.
func (p *part) contracted() *evidence.Placed { return p.closed(p.ClaimContract()) }

// open claims it of a run that goes on, for something is in doubt.
func (p *part) open() *evidence.Placed { c := p.ClaimContract(); return &c }

func (p *part) closed(claim evidence.Placed) *evidence.Placed {
	p.Close(evidence.Completed)
	return &claim
}

// asserts claims actions, and closes the run.
func (p *part) asserts(list ...evidence.Assertion) *evidence.Placed {
	return p.closed(p.Claim(list...))
}

func action(name string) evidence.Assertion {
	return evidence.Assertion{Kind: evidence.AssertAction, Action: name}
}

func (p *part) expecting(name, item string) evidence.Assertion {
	c := p.Commit(item)
	return evidence.Assertion{Kind: evidence.AssertAction, Action: name, Expect: &c}
}

// The contracts of the table.
const (
	refundOnce = `{"contract":"v1","task":"complaint","expects":[{"action":"refund"}]}`
	refundOnly = `{"contract":"v1","task":"complaint","expects":[{"action":"refund"}],"only":["refund","send_email"]}`
	reportedOK = `{"contract":"v1","task":"complaint","weakest_source":"reported","expects":[{"action":"refund"}]}`
	confirmed  = `{"contract":"v1","task":"complaint","weakest_source":"confirmed","expects":[{"action":"refund"}]}`
	order7     = `{"contract":"v1","task":"complaint","expects":[{"action":"refund","input_has":{"order":7}}]}`
	paidID     = `{"contract":"v1","task":"complaint","expects":[{"action":"refund","output_has":{"paid":true}}]}`
	emailed    = `{"contract":"v1","task":"complaint","expects":[{"action":"send_email"}]}`
	givenEmail = `{"contract":"v1","task":"complaint","expects":[{"action":"send_email","runs":"given","input_has":{"to":"mia"}}]}`
	bothEmails = `{"contract":"v1","task":"complaint","expects":[{"action":"send_email","runs":"all","times":2}],"only":["send_email"]}`
	twoParts   = `{"contract":"v1","task":"complaint","expects":[{"action":"search","runs":"given","input":{"part":1}},{"action":"search","runs":"given","input":{"part":2}}]}`

	testedThere      = `{"contract":"v1","task":"complaint","expects":[{"action":"test","runs":"given","after_last":["edit"]}]}`
	refundAfterGiven = `{"contract":"v1","task":"complaint","expects":[{"action":"lookup","runs":"given"},{"action":"refund","after":["lookup"]}]}`

	neverWipe  = `{"contract":"v1","task":"complaint","forbids":[{"action":"wipe"}]}`
	neverAll   = `{"contract":"v1","task":"complaint","forbids":[{"action":"wipe","input_has":{"all":true}}]}`
	inOrder    = `{"contract":"v1","task":"complaint","expects":[{"action":"refund"},{"action":"send_email","after":["refund"]}]}`
	nothing    = `{"contract":"v1","task":"complaint"}`
	unreadable = `{"contract":"v1","task":"complaint","expect":[{"action":"refund"}]}`
)

const (
	supported    = evidence.Supported
	contradicted = evidence.Contradicted
	unsupported  = evidence.Unsupported
	inDoubt      = evidence.InDoubt
	undisclosed  = evidence.Undisclosed
	noContract   = evidence.NoContract

	success = evidence.StatusSuccess
	failure = evidence.StatusFailure
	unknown = evidence.StatusUnknown

	verified    = audit.ExitVerified
	wrong       = audit.ExitBroken
	undecidable = audit.ExitUndecidable
)

var cells = []cell{
	// supported
	{"supported", "all that the contract expects succeeded", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"supported-by-the-tool", "the tool itself said so, and the line names its word", confirmed, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, success, nil)
		p.by(x, p.confirm(audittest.Tool, a, success, true))
		return p.contracted()
	}, supported, evidence.SourceConfirmed, verified},
	{"said-twice-by-the-tool", "the tool said so twice: its last word decides", confirmed, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, success, nil)
		p.confirm(audittest.Tool, a, success, true)
		out := p.Commit(`{"paid":true}`)
		c := p.Beside(audittest.Tool, a.ID, &evidence.Confirmation{Status: success, Output: &out})
		p.Line(&evidence.Escalation{Reason: "confirmed", To: audittest.Team}, c.ID)
		p.by(x, c)
		return p.contracted()
	}, supported, evidence.SourceConfirmed, verified},
	{"said-by-the-tool-without-an-output", "the tool said that it succeeded, and not what it gave: that is what the runtime saw", paidID, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, success, func(b *evidence.Execution) {
			c := p.Commit(`{"paid":true}`)
			b.Output = &c
		})
		p.by(x, p.confirm(audittest.Tool, a, success, true))
		return p.contracted()
	}, supported, evidence.SourceConfirmed, verified},
	{"supported-as-reported", "it was only reported, and the contract is content with that", reportedOK, "", func(p *part) *evidence.Placed {
		p.by(p.from(evidence.SourceReported, "refund", `{}`))
		return p.contracted()
	}, supported, evidence.SourceReported, verified},
	{"supported-as-imported", "it was imported, and the contract is content with that", `{"contract":"v1","task":"complaint","weakest_source":"imported","expects":[{"action":"refund"}]}`, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, func(b *evidence.Authorization) { b.Source, b.Mode = evidence.SourceImported, evidence.Observe })
		p.by(p.x(a, success, nil))
		return p.contracted()
	}, supported, evidence.SourceImported, verified},
	{"supported-by-the-stronger-of-two", "one was reported, one was the runtime's: the verdict could have rested on the stronger alone", reportedOK, "", func(p *part) *evidence.Placed {
		p.by(p.from(evidence.SourceReported, "refund", `{}`), p.ok("refund", `{}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"supported-after-a-failed-attempt", "the first attempt failed, the second succeeded", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		p.x(a, failure, func(b *evidence.Execution) { b.Class = evidence.ToolUnavailable })
		p.by(p.x(a, success, func(b *evidence.Execution) { b.Attempt = 2 }))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"supported-with-something-left-over", "another action succeeded too, which the contract leaves free", refundOnly, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		p.ok("lookup", `{}`)
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"supported-in-order", "the email was authorized after the refund had succeeded", inOrder, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`), p.ok("send_email", `{}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"supported-however-written", "the same values, spelled in another way", `{"contract":"v1","task":"complaint","expects":[{"action":"refund","input":{"amount":12.5,"order":7}}]}`, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{ "order": 7.0, "amount": 1250e-2 }`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"supported-for-nothing-forbidden-happened", "nothing is expected, and what is forbidden did not happen: a result without a source", neverWipe, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		return p.contracted()
	}, supported, "", verified},
	{"doubt-that-does-not-matter", "an email is in doubt, of which the contract says nothing", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		p.x(p.a("send_email", `{}`, nil), unknown, nil)
		return p.open()
	}, supported, evidence.SourceRuntime, undecidable},
	{"doubt-about-more-than-enough", "a second refund is in doubt: one is there, and more than one is allowed", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		p.x(p.a("refund", `{}`, nil), unknown, nil)
		return p.open()
	}, supported, evidence.SourceRuntime, undecidable},
	{"withheld-payload-that-does-not-decide", "the input is withheld, and the contract asks nothing of it", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.hideInput(p.a("refund", `{"order":7}`, nil)), success, nil))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"withheld-payload-whose-public-members-decide", "the input is withheld, and what the record shows of it is all that is asked for", order7, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{"order":7,"iban":"x"}`, func(b *evidence.Authorization) { b.Params = evidence.Object(`{"order":7}`) })
		p.by(p.x(p.hideInput(a), success, nil))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"withheld-output-whose-public-members-decide", "what it gave is withheld, but for the members that the record shows, which are all that is asked for", paidID, "", func(p *part) *evidence.Placed {
		x := p.gave("refund", `{}`, `{"paid":true,"iban":"x"}`, func(b *evidence.Execution) { b.Refs = evidence.Object(`{"paid":true}`) })
		p.withhold(*x.Record.Body.(*evidence.Execution).Output)
		p.by(x)
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"contract-withheld-and-the-tool-said-so", "which source the contract asks for is withheld: the strongest is enough for the assertion, and the contract stays open", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, success, nil)
		p.by(x, p.confirm(audittest.Tool, a, success, true))
		p.withhold(p.Body.Contract.Document)
		return p.asserts(action("refund"))
	}, supported, evidence.SourceConfirmed, undecidable},
	{"settled-by-a-probe", "nobody knew whether it happened, until a probe found that it had", refundOnce, "", func(p *part) *evidence.Placed {
		x := p.x(p.a("refund", `{}`, nil), unknown, nil)
		p.by(x, p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByProbe, Finding: success}))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"settled-through-its-authorization", "the probe was asked about the authorization: what it found is said of the last attempt", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, unknown, nil)
		p.by(x, p.Line(&evidence.Settlement{Settles: a.ID, By: evidence.ByProbe, Finding: success}))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"settled-by-the-tools-word", "nobody knew whether it happened, until the tool said so", confirmed, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, unknown, nil)
		c := p.confirm(audittest.Tool, a, success, false)
		p.by(x, p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByConfirmation, Answer: c.ID, Finding: success}))
		return p.contracted()
	}, supported, evidence.SourceConfirmed, verified},
	{"settled-by-a-human-and-reported-will-do", "a human found out, which is worth a report, and the contract is content with that", reportedOK, "", func(p *part) *evidence.Placed {
		x := p.x(p.a("refund", `{}`, nil), unknown, nil)
		p.by(x, p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByHuman, Finding: success}))
		return p.contracted()
	}, supported, evidence.SourceReported, verified},
	{"denied-and-not-enforced", "the denial was only observed, and the action done: it counts as what it is", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Mode = evidence.Deny, evidence.Observe })
		p.by(p.x(a, success, nil))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"denied-once-and-allowed-later", "the first request was denied, another one allowed and done", refundOnce, "", func(p *part) *evidence.Placed {
		p.a("refund", `{"amount":900}`, func(b *evidence.Authorization) { b.Effect = evidence.Deny })
		p.by(p.ok("refund", `{"amount":9}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},

	{"settles-what-is-not-in-doubt", "somebody settles what is known to have succeeded: that is wrong by itself, and changes nothing", refundOnce, "", func(p *part) *evidence.Placed {
		x := p.ok("refund", `{}`)
		p.by(x)
		p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByProbe, Finding: failure})
		return p.contracted()
	}, supported, evidence.SourceRuntime, wrong},

	// contradicted
	{"failed-attempt", "it was tried, and failed", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.a("refund", `{}`, nil), failure, nil))
		return p.contracted()
	}, contradicted, "", wrong},
	{"denied-attempt", "it was asked for, and denied", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.a("refund", `{}`, func(b *evidence.Authorization) { b.Effect = evidence.Deny }))
		return p.contracted()
	}, contradicted, "", wrong},
	{"too-many", "it happened twice, and the contract accounts for one", refundOnly, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`), p.ok("refund", `{}`))
		return p.contracted()
	}, contradicted, "", wrong},
	{"too-many-as-reported", "the second one was only reported: a success too many is one, whoever said so", refundOnly, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`), p.from(evidence.SourceReported, "refund", `{}`))
		return p.contracted()
	}, contradicted, "", wrong},
	{"unasked", "something changed that nothing asked for", refundOnly, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		p.by(p.ok("send_email", `{}`))
		return p.contracted()
	}, contradicted, "", wrong},
	{"forbidden", "something forbidden succeeded", neverWipe, "", func(p *part) *evidence.Placed {
		p.by(p.ok("wipe", `{}`))
		return p.contracted()
	}, contradicted, "", wrong},
	{"forbidden-by-input", "it is forbidden with this input", neverAll, "", func(p *part) *evidence.Placed {
		p.ok("wipe", `{"all":false}`)
		p.by(p.ok("wipe", `{"all":true,"n":1}`))
		return p.contracted()
	}, contradicted, "", wrong},
	{"forbidden-by-output", "it is forbidden with what came of it", `{"contract":"v1","task":"complaint","forbids":[{"action":"wipe","output_has":{"rows":0}}]}`, "", func(p *part) *evidence.Placed {
		p.by(p.gave("wipe", `{}`, `{"rows":0}`, nil))
		return p.contracted()
	}, contradicted, "", wrong},
	{"confirmation-that-contradicts", "the runtime saw a success, and the tool itself says that it failed", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, success, nil)
		p.by(x, p.confirm(audittest.Tool, a, failure, true))
		return p.contracted()
	}, contradicted, "", wrong},
	{"settled-as-never-run", "nobody knew whether it happened, and a probe found that it had not", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		p.by(a, p.Line(&evidence.Settlement{Settles: a.ID, By: evidence.ByProbe, Finding: evidence.StatusNotRun}))
		return p.contracted()
	}, contradicted, "", wrong},
	{"contradicted-whatever-else-is-in-doubt", "an email is in doubt, and no refund could make up for the one that is forbidden", `{"contract":"v1","task":"complaint","expects":[{"action":"send_email"}],"forbids":[{"action":"wipe"}]}`, "", func(p *part) *evidence.Placed {
		p.by(p.ok("wipe", `{}`))
		p.x(p.a("send_email", `{}`, nil), unknown, nil)
		return p.open()
	}, contradicted, "", wrong},
	{"a-human-settles-and-the-tool-knows-better", "a human found that it had happened, and the tool says that it had not: the tool's word is the stronger", reportedOK, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, unknown, nil)
		p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByHuman, Finding: success})
		p.by(x, p.confirm(audittest.Tool, a, failure, true))
		return p.contracted()
	}, contradicted, "", wrong},
	{"a-settlement-against-the-word-that-it-names", "a settlement says the contrary of the tool's word that it rests on: it counts for nothing, and the word counts once the line names it by itself", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, unknown, nil)
		c := p.confirm(audittest.Tool, a, failure, false)
		p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByConfirmation, Answer: c.ID, Finding: success})
		p.Line(&evidence.Escalation{Reason: "confirmed", To: audittest.Team}, c.ID)
		p.by(x, c)
		return p.contracted()
	}, contradicted, "", wrong},
	{"forbidden-after-the-claim", "the claim was right when it was made; at the close of the run the contract is broken", `{"contract":"v1","task":"complaint","expects":[{"action":"refund"}],"forbids":[{"action":"wipe"}]}`, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		p.ClaimContract()
		p.by(p.ok("wipe", `{}`))
		p.Close(evidence.Completed)
		p.atEnd = true
		return nil
	}, contradicted, "", wrong},

	// unsupported
	{"nobody-tried", "there is no evidence of what is claimed", refundOnce, "", func(p *part) *evidence.Placed {
		p.ok("lookup", `{}`)
		return p.contracted()
	}, unsupported, "", wrong},
	{"only-reported", "it was only reported, and the contract asks for what the runtime saw", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.from(evidence.SourceReported, "refund", `{}`))
		return p.contracted()
	}, unsupported, "", wrong},
	{"only-observed", "it was seen in a trace alone", reportedOK, "", func(p *part) *evidence.Placed {
		p.by(p.from(evidence.SourceObserved, "refund", `{}`))
		return p.contracted()
	}, unsupported, "", wrong},
	{"not-confirmed", "the contract asks for the tool's own word, and there is none", confirmed, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, unsupported, "", wrong},
	{"confirmed-and-nobody-took-note", "the tool's word stands beside the line, which does not name it", confirmed, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		p.by(p.x(a, success, nil))
		p.confirm(audittest.Tool, a, success, false)
		return p.contracted()
	}, unsupported, "", wrong},
	{"confirmed-by-another-tool", "another tool's word on it is nobody's", confirmed, "", func(p *part) *evidence.Placed {
		p.Register("shadow", evidence.RoleTool)
		a := p.a("refund", `{}`, nil)
		p.by(p.x(a, success, nil))
		p.confirm("shadow", a, success, true)
		return p.contracted()
	}, unsupported, "", wrong},
	{"the-auditor-asks-for-more", "the contract is content with the runtime's word, the auditor's trust file is not", refundOnce, evidence.SourceConfirmed, func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, unsupported, "", wrong},
	{"the-auditor-asks-for-less", "a trust file cannot make a contract content with less", refundOnce, evidence.SourceReported, func(p *part) *evidence.Placed {
		p.by(p.from(evidence.SourceReported, "refund", `{}`))
		return p.contracted()
	}, unsupported, "", wrong},
	{"settled-by-a-human", "a human's word is worth a report, and the contract asks for more", refundOnce, "", func(p *part) *evidence.Placed {
		x := p.x(p.a("refund", `{}`, nil), unknown, nil)
		p.by(x, p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByHuman, Finding: success}))
		return p.contracted()
	}, unsupported, "", wrong},
	{"another-input", "a refund succeeded, of another order", order7, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{"order":8}`)
		return p.contracted()
	}, unsupported, "", wrong},
	{"another-input-as-its-public-members-show", "the input is withheld, and what the record shows of it is of another order", order7, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{"order":8,"iban":"x"}`, func(b *evidence.Authorization) { b.Params = evidence.Object(`{"order":8}`) })
		p.x(p.hideInput(a), success, nil)
		return p.contracted()
	}, unsupported, "", wrong},
	{"another-output", "it succeeded, and gave something else", paidID, "", func(p *part) *evidence.Placed {
		p.gave("refund", `{}`, `{"paid":false}`, nil)
		return p.contracted()
	}, unsupported, "", wrong},
	{"another-resource", "it was done to something else", `{"contract":"v1","task":"complaint","expects":[{"action":"refund","resource":"order/7"}]}`, "", func(p *part) *evidence.Placed {
		p.x(p.a("refund", `{}`, func(b *evidence.Authorization) { b.Resource = "order/8" }), success, nil)
		return p.contracted()
	}, unsupported, "", wrong},
	{"too-few", "it happened once, and twice is asked for", `{"contract":"v1","task":"complaint","expects":[{"action":"refund","times":2}]}`, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		return p.contracted()
	}, unsupported, "", wrong},
	{"out-of-order", "the email was authorized before the refund had succeeded", inOrder, "", func(p *part) *evidence.Placed {
		p.ok("send_email", `{}`)
		p.ok("refund", `{}`)
		return p.contracted()
	}, unsupported, "", wrong},
	{"done-after-the-claim", "it succeeded, and only after it was claimed", refundOnce, "", func(p *part) *evidence.Placed {
		c := p.ClaimContract()
		p.ok("refund", `{}`)
		return p.closed(c)
	}, unsupported, "", wrong},
	{"asked-a-human-and-never-answered", "a human was asked: an escalated authorization is no attempt, and nothing is in doubt", refundOnce, "", func(p *part) *evidence.Placed {
		p.a("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Team = evidence.Escalate, audittest.Team })
		return p.contracted()
	}, unsupported, "", wrong},
	{"contract-that-does-not-parse", "the contract has a member that nobody knows", unreadable, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		return p.contracted()
	}, unsupported, "", wrong},
	{"no-contract-and-not-done", "the run has no contract, which excuses no false assertion", "", "", func(p *part) *evidence.Placed {
		return p.asserts(action("refund"))
	}, unsupported, "", wrong},
	{"asserts-of-one-thing-and-expects-of-another", "the assertion speaks of order 7, and expects order 8", refundOnce, "", func(p *part) *evidence.Placed {
		p.x(p.a("refund", `{}`, func(b *evidence.Authorization) { b.Resource = "order/8" }), success, nil)
		a := p.expecting("refund", `{"action":"refund","resource":"order/8"}`)
		a.Resource = "order/7"
		return p.asserts(a)
	}, unsupported, "", wrong},
	{"asserts-one-and-expects-another", "the assertion speaks of a refund, and expects an email: both are there", refundOnce, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		p.ok("send_email", `{}`)
		return p.asserts(p.expecting("refund", `{"action":"send_email"}`))
	}, unsupported, "", wrong},

	// in_doubt
	{"allowed-and-no-outcome", "it was allowed, and nobody recorded what became of it", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.a("refund", `{}`, nil))
		return p.open()
	}, inDoubt, "", undecidable},
	{"outcome-unknown", "it was called, and there was no answer", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.a("refund", `{}`, nil), unknown, nil))
		return p.open()
	}, inDoubt, "", undecidable},
	{"accepted-is-not-done", "the tool will finish it later", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.a("refund", `{}`, nil), evidence.StatusAccepted, nil))
		return p.open()
	}, inDoubt, "", undecidable},
	{"the-tool-says-both", "the tool said that it failed, and that it succeeded", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, success, nil)
		p.by(x, p.confirm(audittest.Tool, a, failure, true), p.confirm(audittest.Tool, a, success, true))
		return p.open()
	}, inDoubt, "", undecidable},
	{"the-tool-changes-its-mind-twice", "the tool said twice that it succeeded, then that it failed, then again that it succeeded", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, success, nil)
		p.confirm(audittest.Tool, a, success, true)
		p.by(x)
		for _, s := range []evidence.Status{success, failure, success} {
			p.by(p.confirm(audittest.Tool, a, s, true))
		}
		return p.open()
	}, inDoubt, "", undecidable},
	{"the-tools-word-against-its-settlement", "the doubt was settled by the tool's word, which the tool takes back", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		x := p.x(a, unknown, nil)
		c := p.confirm(audittest.Tool, a, success, false)
		s := p.Line(&evidence.Settlement{Settles: x.ID, By: evidence.ByConfirmation, Answer: c.ID, Finding: success})
		p.by(x, s, p.confirm(audittest.Tool, a, failure, true))
		return p.open()
	}, inDoubt, "", undecidable},
	{"doubt-about-what-is-forbidden", "nobody knows whether what is forbidden happened", neverWipe, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.a("wipe", `{}`, nil), unknown, nil))
		return p.open()
	}, inDoubt, "", undecidable},
	{"doubt-about-one-too-many", "one is there, and a second may have happened, which nothing accounts for", refundOnly, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		x := p.x(p.a("send_email", `{}`, nil), unknown, nil)
		p.by(x)
		return p.open()
	}, inDoubt, "", undecidable},
	{"doubt-about-the-output", "it was accepted: what it will give, nobody knows", paidID, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		p.by(p.x(a, evidence.StatusAccepted, func(b *evidence.Execution) {
			c := p.Commit(`{"paid":false}`)
			b.Output = &c
		}))
		return p.open()
	}, inDoubt, "", undecidable},
	{"doubt-and-a-withheld-payload", "it is in doubt, and its input is withheld: were it disclosed, the doubt would still decide", order7, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.hideInput(p.a("refund", `{"order":7}`, nil)), unknown, nil))
		return p.open()
	}, inDoubt, "", undecidable},
	{"doubt-unless-a-withheld-payload-decides", "of one refund the input is withheld, another one is in doubt: were the first another order, the doubt would decide", order7, "", func(p *part) *evidence.Placed {
		p.x(p.hideInput(p.a("refund", `{"order":8}`, nil)), success, nil)
		p.by(p.x(p.a("refund", `{"order":7}`, nil), unknown, nil))
		return p.open()
	}, inDoubt, "", undecidable},
	{"doubt-of-a-weaker-source", "somebody reported that it was accepted: a stronger word may yet come", refundOnce, "", func(p *part) *evidence.Placed {
		a := p.a("refund", `{}`, nil)
		p.by(p.x(a, evidence.StatusAccepted, func(b *evidence.Execution) { b.Source = evidence.SourceReported }))
		return p.open()
	}, inDoubt, "", undecidable},
	{"suspect-key", "the registry says since which index the runtime's key was in the wrong hands: all that it signed from there on is in doubt", refundOnce, "", func(p *part) *evidence.Placed {
		x := p.ok("refund", `{}`)
		p.by(x)
		c := p.contracted()
		p.Revoke(audittest.Runtime, int64(x.Index))
		return c
	}, inDoubt, "", undecidable},

	// undisclosed
	{"contract-withheld", "nobody who reads the bundle knows what was asked for", refundOnce, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		p.withhold(p.Body.Contract.Document)
		return p.contracted()
	}, undisclosed, "", undecidable},
	{"contract-withheld-and-the-runtime-said-so", "which source the contract asks for is withheld: the runtime's word may do, or not", refundOnce, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		p.withhold(p.Body.Contract.Document)
		return p.asserts(action("refund"))
	}, undisclosed, "", undecidable},
	{"withheld-input-that-decides", "a refund succeeded; of which order, is withheld", order7, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.hideInput(p.a("refund", `{"order":7}`, nil)), success, nil))
		return p.contracted()
	}, undisclosed, "", undecidable},
	{"withheld-output-that-decides", "it succeeded; what it gave, is withheld", paidID, "", func(p *part) *evidence.Placed {
		x := p.gave("refund", `{}`, `{"paid":true}`, nil)
		p.withhold(*x.Record.Body.(*evidence.Execution).Output)
		p.by(x)
		return p.contracted()
	}, undisclosed, "", undecidable},
	{"withheld-input-of-what-may-be-forbidden", "something was wiped; whether all, is withheld", neverAll, "", func(p *part) *evidence.Placed {
		p.by(p.x(p.hideInput(p.a("wipe", `{"all":false}`, nil)), success, nil))
		return p.contracted()
	}, undisclosed, "", undecidable},
	{"withheld-expectation", "what the assertion expects of the refund, is withheld", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		a := p.expecting("refund", `{"action":"refund","times":2}`)
		p.withhold(*a.Expect)
		return p.asserts(a)
	}, undisclosed, "", undecidable},

	// no_contract
	{"no-contract", "the run has no contract: what is asserted is true, and nobody said what had to happen", "", "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		return p.asserts(action("refund"))
	}, noContract, evidence.SourceRuntime, verified},
	{"no-contract-and-claimed-to-be-met", "the claim says that the contract is met, and there is none", "", "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		return p.contracted()
	}, noContract, "", undecidable},
	{"contract-that-asks-for-nothing", "nothing could ever break this contract", nothing, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		return p.contracted()
	}, noContract, "", undecidable},
	{"claim-that-asserts-nothing", "the contract is met, and the claim is words alone", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		return p.asserts()
	}, noContract, evidence.SourceRuntime, undecidable},
	{"no-contract-and-asserts-nothing", "words alone, about a run without a contract", "", "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		return p.asserts()
	}, noContract, "", undecidable},
	{"no-contract-and-one-of-two-is-true", "the refund is there; that the contract is met says nothing where there is none", "", "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		return p.asserts(action("refund"), evidence.Assertion{Kind: evidence.AssertContract})
	}, noContract, evidence.SourceRuntime, undecidable},

	// Claims of several parts.
	{"the-worst-of-several", "the refund is there, the email is in doubt", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		p.x(p.a("send_email", `{}`, nil), unknown, nil)
		c := p.Claim(action("refund"), action("send_email"))
		return &c
	}, inDoubt, evidence.SourceRuntime, undecidable},
	{"asserted-twice-as-often-as-done", "the assertion expects two, and one is there", refundOnce, "", func(p *part) *evidence.Placed {
		p.ok("refund", `{}`)
		return p.asserts(p.expecting("refund", `{"action":"refund","times":2}`))
	}, unsupported, "", wrong},
	{"a-statement-beside-another", "one statement asserts, the other is words alone: it decides nothing, and is shown as what it is", refundOnce, "", func(p *part) *evidence.Placed {
		x := p.ok("refund", `{}`)
		p.by(x)
		return p.closed(p.Line(&evidence.Claim{Statements: []evidence.Statement{
			{Text: p.CommitAs("text/plain", "refunded"), Assertions: []evidence.Assertion{action("refund")}, Cites: []evidence.ID{x.ID}},
			{Text: p.CommitAs("text/plain", "and everybody is happy")},
		}}))
	}, supported, evidence.SourceRuntime, verified},
	{"said-beside-the-line", "an agent with a key of its own says so, and the line takes note", refundOnce, "", func(p *part) *evidence.Placed {
		p.by(p.ok("refund", `{}`))
		c := p.Beside(audittest.Loner, p.Opened.ID, &evidence.Claim{Statements: []evidence.Statement{
			{Text: p.CommitAs("text/plain", "done"), Assertions: []evidence.Assertion{{Kind: evidence.AssertContract}}},
		}})
		p.Line(&evidence.Escalation{Reason: "claimed", To: audittest.Team}, c.ID)
		return p.closed(c)
	}, supported, evidence.SourceRuntime, verified},

	// What was handed over.
	{"given-and-not-asked-for", "the giver sent the email; the contract asks what the run itself did", emailed, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		p.take(g.give(p, g.ok("send_email", `{}`)))
		return p.contracted()
	}, unsupported, "", wrong},
	{"supported-by-the-giver", "what was asked for was done before the work was handed over", givenEmail, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		x := g.gave("send_email", `{"to":"mia"}`, `{"messageId":"m1"}`, nil)
		p.by(x)
		p.continues(g.give(p, x))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"supported-by-both", "one by the giver, one by the run itself", bothEmails, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		x := g.ok("send_email", `{}`)
		p.take(g.give(p, x))
		p.by(x, p.ok("send_email", `{}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"asserted-of-the-giver", "an assertion that looks across the handoff", "", "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		x := g.ok("search", `{"q":"sales"}`)
		p.by(x)
		p.take(g.give(p, x))
		return p.asserts(p.expecting("search", `{"action":"search","runs":"given","input":{"q":"sales"}}`))
	}, noContract, evidence.SourceRuntime, verified},
	{"given-by-the-first-of-three", "the support stands two handoffs before", givenEmail, "", func(p *part) *evidence.Placed {
		first, second := p.giver("first"), p.giver("second")
		x := first.gave("send_email", `{"to":"mia"}`, `{}`, nil)
		p.by(x)
		second.continues(first.give(second, x))
		p.continues(second.give(p))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"fan-in", "two givers, each did its part", twoParts, "", func(p *part) *evidence.Placed {
		a, b := p.giver("one"), p.giver("two")
		x, y := a.ok("search", `{"part":1}`), b.ok("search", `{"part":2}`)
		p.by(x, y)
		p.take(a.give(p, x))
		p.take(b.give(p, y))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"fan-out-and-in", "the run handed out the work, and takes up what came of it", `{"contract":"v1","task":"complaint","expects":[{"action":"plan"},{"action":"search","runs":"given","after":["plan"]}]}`, "", func(p *part) *evidence.Placed {
		b := p.giver("helper")
		plan := p.ok("plan", `{}`)
		b.continues(p.give(b, plan))
		x := b.ok("search", `{}`)
		p.by(plan, x)
		p.take(b.give(p, x))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"one-act-by-two-ways", "the same search, handed over by two who had it from one: it happened once", `{"contract":"v1","task":"complaint","expects":[{"action":"search","runs":"given","times":2}]}`, "", func(p *part) *evidence.Placed {
		a, b, c := p.giver("a"), p.giver("b"), p.giver("c")
		x := a.ok("search", `{}`)
		b.continues(a.give(b, x))
		c.continues(a.give(c, x))
		p.take(b.give(p))
		p.take(c.give(p))
		return p.contracted()
	}, unsupported, "", wrong},
	{"in-order-at-the-giver", "the giver tested after its last edit", testedThere, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		g.ok("edit", `{}`)
		x := g.ok("test", `{}`)
		p.by(x)
		p.take(g.give(p, x))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"order-that-nothing-shows", "one edited and another tested: that the edit came first, no log shows", testedThere, "", func(p *part) *evidence.Placed {
		a, b := p.giver("one"), p.giver("two")
		p.take(a.give(p, a.ok("edit", `{}`)))
		p.take(b.give(p, b.ok("test", `{}`)))
		return p.contracted()
	}, unsupported, "", wrong},
	{"order-that-a-handoff-shows", "one edited and handed over to who tested", testedThere, "", func(p *part) *evidence.Placed {
		a, b := p.giver("one"), p.giver("two")
		b.continues(a.give(b, a.ok("edit", `{}`)))
		x := b.ok("test", `{}`)
		p.by(x)
		p.take(b.give(p, x))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"own-work-after-what-was-given", "the refund comes after the lookup that was handed over", refundAfterGiven, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		x := g.ok("lookup", `{}`)
		p.take(g.give(p, x))
		p.by(x, p.ok("refund", `{}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"own-work-before-what-was-given", "the refund was made before the lookup was taken up", refundAfterGiven, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		x := g.ok("lookup", `{}`)
		h := g.give(p, x)
		p.ok("refund", `{}`)
		p.take(h)
		return p.contracted()
	}, unsupported, "", wrong},
	{"taken-up-after-the-claim", "what the run takes up later supports nothing that it said before", givenEmail, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		h := g.give(p, g.gave("send_email", `{"to":"mia"}`, `{}`, nil))
		c := p.ClaimContract()
		p.take(h)
		return p.closed(c)
	}, unsupported, "", wrong},
	{"accepted-for-another-run", "a run may look at what another was given; it is not its own", givenEmail, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		p.cite(p.accept(g.give(p, g.gave("send_email", `{"to":"mia"}`, `{}`, nil)), "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c99"))
		return p.contracted()
	}, unsupported, "", wrong},
	{"forbidden-of-the-giver", "what is forbidden for all was done before the work was handed over", `{"contract":"v1","task":"complaint","forbids":[{"action":"wipe","runs":"all"}]}`, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		x := g.ok("wipe", `{}`)
		p.by(x)
		p.take(g.give(p, x))
		return p.contracted()
	}, contradicted, "", wrong},
	{"only-binds-the-run-itself", "the giver refunded, too; only is about this run", refundOnly, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		p.take(g.give(p, g.ok("refund", `{}`)))
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"withheld-bundle", "what was handed over is not disclosed", givenEmail, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		p.hides(p.take(g.give(p, g.gave("send_email", `{"to":"mia"}`, `{}`, nil))))
		return p.contracted()
	}, undisclosed, "", undecidable},
	{"withheld-bundle-that-nothing-asks-about", "the run did all itself, on grounds that nobody may look at", refundOnce, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		p.hides(p.take(g.give(p, g.ok("search", `{}`))))
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, undisclosed, evidence.SourceRuntime, undecidable},
	{"withheld-input-of-the-giver", "the giver did not disclose what decides", givenEmail, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		a := g.hideInput(g.a("send_email", `{"to":"mia"}`, nil))
		x := g.x(a, success, nil)
		p.by(x)
		p.take(g.give(p, x))
		return p.contracted()
	}, undisclosed, "", undecidable},
	{"doubt-at-the-giver", "nobody knows whether the giver's email went out", givenEmail, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		x := g.x(g.a("send_email", `{"to":"mia"}`, nil), unknown, nil)
		p.by(x)
		p.take(g.give(p))
		return p.contracted()
	}, inDoubt, "", undecidable},
	{"the-giver-lied", "the run did all that is asked of it, on the word of one who claimed what was not", refundOnce, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		g.Claim(action("ship"))
		p.take(g.give(p, g.ok("search", `{}`)))
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, unsupported, evidence.SourceRuntime, wrong},
	{"the-first-of-three-lied", "and all who built on it", refundOnce, "", func(p *part) *evidence.Placed {
		first, second := p.giver("first"), p.giver("second")
		first.x(first.a("send_email", `{}`, nil), failure, nil)
		first.Claim(action("send_email"))
		second.continues(first.give(second))
		second.ok("refund", `{}`)
		second.Claim(action("refund"))
		p.continues(second.give(p))
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, contradicted, evidence.SourceRuntime, wrong},
	{"offered-on-what-failed", "the giver claimed nothing; what it offered the work on failed", refundOnce, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		p.take(g.give(p, g.x(g.a("search", `{}`, nil), failure, nil)))
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, contradicted, evidence.SourceRuntime, wrong},
	{"offered-on-what-was-only-reported", "the auditor asks for more than the giver's word", refundOnce, evidence.SourceRuntime, func(p *part) *evidence.Placed {
		g := p.giver("giver")
		p.take(g.give(p, g.from(evidence.SourceReported, "search", `{}`)))
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, unsupported, evidence.SourceRuntime, wrong},
	{"offered-on-nothing", "an order, and no claim: whoever took it up rests on nobody's word", refundOnce, "", func(p *part) *evidence.Placed {
		p.take(p.giver("giver").give(p))
		p.by(p.ok("refund", `{}`))
		return p.contracted()
	}, supported, evidence.SourceRuntime, verified},
	{"two-histories-of-a-giver", "two bundles of one ledger, each of which holds up; its log signed both", twoParts, "", func(p *part) *evidence.Placed {
		a, b := p.giver("giver"), p.giver("giver")
		x, y := a.ok("search", `{"part":1}`), b.ok("search", `{"part":2}`)
		p.take(a.give(p, x))
		p.take(b.give(p, y))
		return p.contracted()
	}, unsupported, "", wrong},
	{"nothing-is-left-of-the-bundle", "what was accepted is no bundle", givenEmail, "", func(p *part) *evidence.Placed {
		g := p.giver("giver")
		h := g.give(p, g.gave("send_email", `{"to":"mia"}`, `{}`, nil))
		h.bundle = []byte("Done. The email was sent.")
		p.take(h)
		return p.contracted()
	}, undisclosed, "", wrong},
}

// verdictVector is a cell as testdata/verdicts/README.md describes it to other
// implementations.
type verdictVector struct {
	Name    string          `json:"name"`
	Why     string          `json:"why"`
	File    string          `json:"file"`
	Claim   *evidence.ID    `json:"claim,omitempty"` // absent: the run as such
	Result  evidence.Result `json:"result"`
	Source  evidence.Source `json:"source,omitempty"`
	Records []evidence.ID   `json:"records,omitempty"`
	Bare    []string        `json:"bare,omitempty"`
	Exit    int             `json:"exit"`
	Verdict string          `json:"verdict"` // the document
}

// played is a cell's bundle with the trust file to verify it against.
type played struct {
	*part
	claim  evidence.ID // zero: the run as such
	bundle []byte
	trust  *bundle.Trust
}

func (c *cell) played(t testing.TB) *played {
	t.Helper()
	// A ledger of its own: two bundles of one ledger would prove that it signed
	// two histories.
	w := audittest.Named(t, "ledger.example/"+c.name)
	var others []*audittest.World
	p := &part{hidden: make(map[evidence.Digest]bool), others: &others}
	if c.contract == "" {
		p.Run = w.Open(nil)
	} else {
		p.Run = w.OpenWith(c.contract)
	}
	out := &played{part: p, trust: w.Trust()}
	if claim := c.play(p); claim != nil {
		out.claim = claim.ID
	}
	slices.SortFunc(p.decide, func(a, b evidence.ID) int { return bytes.Compare(a[:], b[:]) })
	out.trust.Ledgers[0].WeakestSource = c.weakest
	for _, o := range others {
		if out.trust.Ledger(o.Origin) != nil {
			continue // it shows two histories
		}
		out.trust.Ledgers = append(out.trust.Ledgers, o.Trust().Ledgers...)
	}
	out.bundle = w.Bundle(audittest.Bundling{Header: bundle.RunHeader(w.Origin, p.ID), Indexes: w.RunIndexes(p.ID), Withhold: p.hidden})
	return out
}

// judged verifies the bundle as anybody would, and returns what was decided, of
// what the cell is about, with its one deciding part: the first assertion, or else
// the contract.
func (p *played) judged(t testing.TB) (*audit.Verdict, audit.Decision, *audit.Report) {
	t.Helper()
	report := verify(t, p.bundle, p.trust, audit.Options{Run: p.ID})
	for _, j := range report.Verdicts {
		v := j.Verdict
		if v.Claim != p.claim {
			continue
		}
		switch {
		case len(v.Assertions) > 0:
			return v, v.Assertions[0].Decision, report
		case v.Contract != nil:
			return v, v.Contract.Decision, report
		}
		return v, audit.Decision{}, report
	}
	t.Fatalf("no verdict on %s", p.claim)
	return nil, audit.Decision{}, nil
}

// TestTruthTable: each way in which a claim and the evidence can stand to each
// other has the one result that docs/rules.md gives it, and the records that
// decide it. Over the same bundles, every vector in testdata/verdicts is what this
// code makes, and the code says of each file what the vector says.
func TestTruthTable(t *testing.T) {
	raced.Skip(t)
	files := make(map[string][]byte)
	var vectors []verdictVector
	trust := new(bundle.Trust) // for all of them
	for i := range cells {
		c := &cells[i]
		t.Run(c.name, func(t *testing.T) {
			p := c.played(t)
			v, decides, report := p.judged(t)
			if v.Result != c.result || decides.Source != c.source || !slices.Equal(decides.Records, p.decide) {
				t.Errorf("%s from %q by %v, expected %s from %q by %v: %s", v.Result, decides.Source, decides.Records, c.result, c.source, p.decide, decides.Why)
			}
			if report.ExitCode() != c.exit {
				dump(t, report)
				t.Errorf("exit %d, expected %d", report.ExitCode(), c.exit)
			}
			if got, want := report.Rule(audit.RuleClaim).Status, claimStatus(v); !v.Claim.IsZero() && got != want {
				dump(t, report)
				t.Errorf("the rule claim is %s, expected %s", got, want)
			}
			document, err := v.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			x := verdictVector{
				Name: c.name, Why: c.why, File: c.name + ".bundle",
				Result: v.Result, Source: decides.Source, Records: decides.Records, Exit: report.ExitCode(), Verdict: string(document),
			}
			if !p.claim.IsZero() {
				x.Claim = &p.claim
			}
			for _, b := range v.Bare {
				x.Bare = append(x.Bare, b.String())
			}
			files[x.File] = p.bundle
			vectors, trust.Ledgers = append(vectors, x), append(trust.Ledgers, p.trust.Ledgers...)
		})
	}
	if len(vectors) != len(cells) {
		return // some were not asked for, or have failed
	}
	var index bytes.Buffer
	e := json.NewEncoder(&index)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(vectors); err != nil {
		t.Fatal(err)
	}
	files["cases.json"] = index.Bytes()
	var err error
	if files["trust.json"], err = trust.Marshal(); err != nil {
		t.Fatal(err)
	}
	held(t, files)
}

// held holds the files of the vectors to what the code makes; with -update it
// writes them.
func held(t *testing.T, files map[string][]byte) {
	t.Helper()
	if *update {
		old, err := filepath.Glob(filepath.Join(verdictDir, "*.bundle"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range old {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(verdictDir, name)
		if *update {
			if err := os.WriteFile(path, files[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		found, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(found, files[name]) {
			t.Errorf("%s is not what is made here: look at what differs, and write it again with -update", path)
		}
	}
	there, err := filepath.Glob(filepath.Join(verdictDir, "*.bundle"))
	if err != nil || len(there) != len(cells) {
		t.Errorf("expected %d bundles, found %d: %v", len(cells), len(there), err)
	}
}

// TestVerdictVectors: whoever reads the files alone comes to the same bytes.
func TestVerdictVectors(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, which the race detector knows from other tests")
	}
	index, err := os.ReadFile(filepath.Join(verdictDir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []verdictVector
	if err := json.Unmarshal(index, &vectors); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(verdictDir, "trust.json"))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := bundle.ParseTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	results := make(map[evidence.Result]int)
	for _, x := range vectors {
		p := &played{part: &part{Run: &audittest.Run{}}, trust: trust}
		if p.bundle, err = os.ReadFile(filepath.Join(verdictDir, x.File)); err != nil {
			t.Fatal(err)
		}
		if x.Claim != nil {
			p.claim = *x.Claim
		}
		v, decides, report := p.judged(t)
		document, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if string(document) != x.Verdict || v.Result != x.Result || decides.Source != x.Source || !slices.Equal(decides.Records, x.Records) || report.ExitCode() != x.Exit {
			t.Errorf("%s: exit %d, %s\nexpected %d, %s", x.Name, report.ExitCode(), document, x.Exit, x.Verdict)
		}
		results[x.Result]++
	}
	for _, r := range []evidence.Result{supported, contradicted, unsupported, inDoubt, undisclosed, noContract} {
		if results[r] < 5 {
			t.Errorf("%d vectors are %s: too few to learn anything from", results[r], r)
		}
	}
}

// TestRestsOn looks closer at what was handed over than the table does.
func TestRestsOn(t *testing.T) {
	raced.Skip(t)
	play := func(name string) *played {
		i := slices.IndexFunc(cells, func(c cell) bool { return c.name == name })
		return cells[i].played(t)
	}
	t.Run("the claim says that it rests on a lie", func(t *testing.T) {
		_, _, r := play("the-giver-lied").judged(t)
		if x := r.Rule(audit.RuleClaim); x.Status != audit.Broken || len(x.Findings) != 1 || !strings.Contains(x.Findings[0].Found, "its giver's claim is unsupported") {
			t.Errorf("claim %s: %v", x.Status, x.Findings)
		}
	})
	t.Run("two histories of a giver", func(t *testing.T) {
		_, _, r := play("two-histories-of-a-giver").judged(t)
		x := r.Rule(audit.RuleConsistency)
		if x.Status != audit.Broken || len(x.Findings) != 1 || x.Findings[0].Reason != audit.ReasonTwoRoots || len(r.Equivocation) != 1 || r.Rule(audit.RuleHandoff).Status != audit.Held {
			t.Errorf("consistency %s: %v, %d proofs", x.Status, x.Findings, len(r.Equivocation))
		}
	})
	t.Run("an acceptance for another run is a source like any other", func(t *testing.T) {
		v, _, r := play("accepted-for-another-run").judged(t)
		if x := r.Rule(audit.RuleHandoff); x.Status != audit.Held || len(v.Given) != 0 {
			t.Errorf("handoff %s: %v, rests on %v", x.Status, x.Findings, v.Given)
		}
	})
	t.Run("a verdict reached without the bundle", func(t *testing.T) {
		// It says that it is undisclosed; the bundle is here now, and changes nothing.
		c := &cell{name: "reached-without-the-bundle", contract: givenEmail, play: func(p *part) *evidence.Placed {
			g := p.giver("giver")
			p.take(g.give(p, g.gave("send_email", `{"to":"mia"}`, `{}`, nil)))
			claim := p.ClaimContract()
			v, err := audit.Judge(foldRun(p.Run, nil), claim.ID, "", p)
			if err != nil {
				t.Fatal(err)
			}
			if v.Result != undisclosed {
				t.Errorf("without the bundle: %s", v.Result)
			}
			document, err := v.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			p.Verdict(claim.ID, v.Result, document)
			return p.closed(claim)
		}}
		v, _, r := c.played(t).judged(t)
		if x := r.Rule(audit.RuleVerdict); x.Status != audit.Held || v.Result != supported {
			t.Errorf("verdict %s: %v; with it %s", x.Status, x.Findings, v.Result)
		}
	})
	t.Run("a context off the line takes up nothing", func(t *testing.T) {
		c := &cell{name: "off-the-line", contract: givenEmail, play: func(p *part) *evidence.Placed {
			g := p.giver("giver")
			accepted := p.accept(g.give(p, g.gave("send_email", `{"to":"mia"}`, `{}`, nil)), p.ID)
			p.Register("runtime-02", evidence.RoleRuntime)
			p.RegisterHosted("other", "runtime-02")
			p.LineBy(&evidence.Record{Actor: "other", Body: &evidence.Context{
				Sources: []evidence.ContextSource{{Name: "handoff", Content: p.CommitAs("text/plain", ""), Evidence: accepted.ID}},
			}}, "runtime-02")
			p.Last = p.Opened
			return p.contracted()
		}}
		v, _, r := c.played(t).judged(t)
		if len(v.Given) != 0 || len(r.Given) != 1 || v.Result != unsupported {
			t.Errorf("rests on %v, %s", v.Given, v.Result)
		}
	})
}

// claimStatus is what the rule claim comes to, where the run makes one claim: by the
// worst of its assertions and of what it rests on.
func claimStatus(v *audit.Verdict) audit.Status {
	results := make(map[evidence.Result]bool)
	for _, a := range v.Assertions {
		results[a.Result] = true
	}
	for _, g := range v.Given {
		results[g.Result] = results[g.Result] || g.Result != noContract
	}
	switch {
	case results[contradicted] || results[unsupported]:
		return audit.Broken
	case results[inDoubt] || results[undisclosed] || results[noContract] || len(v.Assertions) == 0:
		return audit.Undecidable
	}
	return audit.Held
}
