package audit_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/raced"
)

// A chain of handoffs from ledger to ledger, each of which accepted what the one
// before had offered on the bundle about that offer.
type chain struct {
	trust  *bundle.Trust
	offers []evidence.Placed
	worlds []*audittest.World
	last   []byte // the bundle about the last run
}

// link says what a ledger of the chain does otherwise than it should. A nil member
// is nothing.
type link struct {
	giving   func(r *audittest.Run)                                // before it offers
	offer    func(b *evidence.HandoffOffered)                      //
	given    func(bundle []byte) []byte                            // what it hands over
	accepted func(w *audittest.World, b *evidence.HandoffAccepted) //
	does     [2]string                                             // action and resource, as the receiver
	withhold bool                                                  // what it accepted
}

var names = []string{"ledger.example/first", "ledger.example/second", "ledger.example/third"}

func handOver(t *testing.T, links ...link) *chain {
	t.Helper()
	c := &chain{trust: new(bundle.Trust)}
	var given []byte
	for i, l := range links {
		w := audittest.Named(t, names[i])
		c.worlds = append(c.worlds, w)
		c.trust.Ledgers = append(c.trust.Ledgers, w.Trust().Ledgers...)
		var accepted evidence.Placed
		r := w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
			if i == 0 {
				return
			}
			from, offer := c.worlds[i-1], c.offers[i-1]
			size := len(from.Placed)
			body := &evidence.HandoffAccepted{
				Offer: offer.ID, Origin: from.Origin, Opens: rec.Run, Bundle: w.CommitAs(bundle.Media, string(given)),
				Head: evidence.HeadRef{Size: int64(size), Root: evidence.Digest(from.Root(size))},
			}
			if l.accepted != nil {
				l.accepted(w, body)
			}
			accepted = w.Append(&evidence.Record{Actor: audittest.Agent, Body: body}, audittest.Runtime)
			b.Acceptance = accepted.ID
		})
		if l.giving != nil {
			l.giving(r)
		}
		action, resource := "refund", "order/7"
		if l.does[0] != "" {
			action, resource = l.does[0], l.does[1]
		}
		r.Execute(r.Authorize(action, `{}`, func(b *evidence.Authorization) { b.Resource = resource }), evidence.StatusSuccess, nil)
		withheld := make(map[evidence.Digest]bool)
		if l.withhold {
			withheld[accepted.Record.Body.(*evidence.HandoffAccepted).Bundle.Commit] = true
		}
		if i == len(links)-1 {
			r.Close(evidence.Completed)
			c.last = w.Bundle(audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: w.RunIndexes(r.ID), Withhold: withheld})
			break
		}
		next := audittest.Named(t, names[i+1])
		body := &evidence.HandoffOffered{
			To:   evidence.Recipient{Origin: names[i+1], Actor: audittest.Agent, Key: next.Key(audittest.Runtime).Public().Thumbprint()},
			Task: "refund", Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "order/*"}}, Expires: w.Clock + 3_600_000, HeadMaxAge: 60,
		}
		if i > 0 {
			body.Parent = accepted.ID
		}
		if l.offer != nil {
			l.offer(body)
		}
		offer := r.Line(body)
		c.offers = append(c.offers, offer)
		given = w.Bundle(audittest.Bundling{Header: bundle.OfferHeader(w.Origin, offer.ID), Indexes: w.RunIndexes(r.ID), Withhold: withheld})
		if l.given != nil {
			given = l.given(given)
		}
	}
	return c
}

// TestGiven: a run that continues a handoff from another ledger is held to the
// bundle that was accepted, and that one to the one before.
func TestGiven(t *testing.T) {
	raced.Skip(t)
	lie := func(r *audittest.Run) {
		r.Claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "ship"})
	}
	doubt := func(r *audittest.Run) { r.Authorize("ship", `{}`, nil) }
	var last evidence.Placed
	shipped := func(status evidence.Status) func(r *audittest.Run) {
		return func(r *audittest.Run) { last = r.Execute(r.Authorize("ship", `{}`, nil), status, nil) }
	}
	failing, accepting := shipped(evidence.StatusFailure), shipped(evidence.StatusAccepted)
	onLast := func(b *evidence.HandoffOffered) { b.Evidence = []evidence.ID{last.ID} }
	wider := func(b *evidence.HandoffOffered) {
		b.Scope = append(b.Scope, evidence.ScopeEntry{Action: "refund", Resource: "*"})
	}
	flip := func(b []byte) []byte { return bytes.Replace(b, []byte(`"size":2,`), []byte(`"size":3,`), 1) }
	other := func(w *audittest.World, b *evidence.HandoffAccepted) { b.Offer[5] ^= 1 }
	for name, c := range map[string]struct {
		links  []link
		trust  int // how many ledgers are trusted: the last ones; 0: all
		want   audit.Status
		reason audit.Reason
		says   string

		weakest evidence.Source // that counts in the first of the trusted ledgers; "": any
	}{
		"two":                            {links: []link{{}, {}}, want: audit.Held},
		"three":                          {links: []link{{}, {}, {}}, want: audit.Held},
		"out of scope":                   {links: []link{{}, {does: [2]string{"refund", "customer/7"}}}, want: audit.Broken, reason: audit.ReasonOutOfScope},
		"out of scope, in the middle":    {links: []link{{}, {does: [2]string{"ship", "order/7"}}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "out_of_scope"},
		"widened on the way":             {links: []link{{}, {offer: wider}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "scope_widened"},
		"no parent":                      {links: []link{{}, {offer: func(b *evidence.HandoffOffered) { b.Parent = evidence.ID{} }}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "scope_widened"},
		"the giver claimed what was not": {links: []link{{giving: lie}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "claim"},
		"the first of three lied":        {links: []link{{giving: lie}, {}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "claim"},
		"the giver was in doubt":         {links: []link{{giving: doubt}, {}}, want: audit.Undecidable, reason: audit.ReasonGiven, says: "outcome"},
		"offered on what failed":         {links: []link{{giving: failing, offer: onLast}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "ship came to failure"},
		"offered on what may yet happen": {links: []link{{giving: accepting, offer: onLast}, {}}, want: audit.Undecidable, reason: audit.ReasonGiven, says: "ship is in doubt"},
		"offered on what was reported": {
			links: []link{{giving: func(r *audittest.Run) {
				last = r.Execute(r.Authorize("ship", `{}`, nil), evidence.StatusSuccess, func(b *evidence.Execution) { b.Source = evidence.SourceReported })
			}, offer: onLast}, {}},
			weakest: evidence.SourceRuntime, want: audit.Broken, reason: audit.ReasonGiven, says: "that ship succeeded is only reported",
		},
		"offered on what is not there":   {links: []link{{offer: func(b *evidence.HandoffOffered) { b.Evidence = []evidence.ID{{9}} }}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "no record of the giver's run"},
		"expired":                        {links: []link{{offer: func(b *evidence.HandoffOffered) { b.Expires = 1_700_000_000_000 }}, {}}, want: audit.Broken, reason: audit.ReasonExpired},
		"for another":                    {links: []link{{offer: func(b *evidence.HandoffOffered) { b.To.Actor = "somebody" }}, {}}, want: audit.Broken, reason: audit.ReasonNotAccepted},
		"tampered with":                  {links: []link{{given: flip}, {}}, want: audit.Broken, reason: audit.ReasonGiven},
		"no bundle":                      {links: []link{{given: func([]byte) []byte { return []byte("done, trust me") }}, {}}, want: audit.Broken, reason: audit.ReasonGiven, says: "cut off"},
		"about another offer":            {links: []link{{}, {accepted: other}}, want: audit.Broken, reason: audit.ReasonGiven},
		"of another ledger":              {links: []link{{}, {accepted: func(_ *audittest.World, b *evidence.HandoffAccepted) { b.Origin = "ledger.example/elsewhere" }}}, want: audit.Broken, reason: audit.ReasonGiven, says: "one of ledger.example/first"},
		"under another head":             {links: []link{{}, {accepted: func(_ *audittest.World, b *evidence.HandoffAccepted) { b.Head.Size-- }}}, want: audit.Broken, reason: audit.ReasonGiven, says: "tree head"},
		"withheld":                       {links: []link{{}, {withhold: true}}, want: audit.Undecidable, reason: audit.ReasonOutOfScope},
		"withheld, in the middle":        {links: []link{{}, {withhold: true}, {}}, want: audit.Undecidable, reason: audit.ReasonGiven},
		"the giver's ledger not trusted": {links: []link{{}, {}}, trust: 1, want: audit.Undecidable, reason: audit.ReasonGiven, says: "untrusted"},
		"the first ledger not trusted":   {links: []link{{}, {}, {}}, trust: 2, want: audit.Undecidable, reason: audit.ReasonGiven, says: "untrusted"},
		"the acceptance of another ledger": {
			links: []link{{}, {accepted: func(_ *audittest.World, b *evidence.HandoffAccepted) { b.Acceptance = evidence.ID{1} }}},
			want:  audit.Broken, reason: audit.ReasonNotAccepted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			chain := handOver(t, c.links...)
			if c.trust > 0 {
				chain.trust.Ledgers = chain.trust.Ledgers[len(chain.trust.Ledgers)-c.trust:]
			}
			chain.trust.Ledgers[0].WeakestSource = c.weakest
			r, err := audit.VerifyBundle(bytes.NewReader(chain.last), chain.trust, audit.Options{})
			if err != nil {
				t.Fatal(err)
			}
			x := r.Rule(audit.RuleHandoff)
			if x.Status != c.want {
				dump(t, r)
				t.Fatalf("handoff %s, want %s", x.Status, c.want)
			}
			if c.want == audit.Held {
				if r.ExitCode() != 0 || len(r.Given) != 1 || r.Given[0].Report.Scope.Origin != names[len(c.links)-2] {
					dump(t, r)
					t.Errorf("exit %d", r.ExitCode())
				}
				return
			}
			if !slices.ContainsFunc(x.Findings, func(f audit.Finding) bool {
				return f.Status == c.want && f.Reason == c.reason && strings.Contains(f.String(), c.says)
			}) {
				dump(t, r)
				t.Errorf("want a finding %s that says %q", c.reason, c.says)
			}
		})
	}
}
