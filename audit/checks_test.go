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
)

// wants is one finding, which an audit has to make.
type wants struct {
	rule   audit.Rule
	status audit.Status
	reason audit.Reason
}

func (w wants) of(t *testing.T, r *audit.Report) {
	t.Helper()
	x := r.Rule(w.rule)
	if !slices.ContainsFunc(x.Findings, func(f audit.Finding) bool { return f.Status == w.status && f.Reason == w.reason }) {
		dump(t, r)
		t.Errorf("want %s %s for %s", w.rule, w.status, w.reason)
	}
}

// TestChecks has a world for each check that nothing else here takes apart from its
// neighbours.
func TestChecks(t *testing.T) {
	to := func(w *audittest.World, mod func(*evidence.HandoffOffered)) *evidence.HandoffOffered {
		b := &evidence.HandoffOffered{
			To: evidence.Recipient{Origin: w.Origin, Actor: audittest.Agent, Key: w.Key(audittest.Runtime).Public().Thumbprint()}, Task: "complaint",
			Scope: []evidence.ScopeEntry{{Action: "lookup", Resource: "*"}}, Expires: w.Clock + 3_600_000, HeadMaxAge: 60,
		}
		if mod != nil {
			mod(b)
		}
		return b
	}
	// handed opens a run that continues an offer of the same ledger.
	handed := func(w *audittest.World, offer evidence.ID, mod func(accepted *evidence.Record, opened *evidence.Record)) *audittest.Run {
		return w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
			a := &evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
				Offer: offer, Origin: w.Origin, Opens: rec.Run, Head: evidence.HeadRef{Size: 9, Root: evidence.Digest{1}}, Bundle: withheldBundle,
			}}
			if mod != nil {
				mod(a, rec)
			}
			b.Acceptance = w.Append(a, audittest.Runtime).ID
		})
	}
	for name, c := range map[string]struct {
		write func(w *audittest.World) *audittest.Run
		want  wants
		log   bool // of the whole log; else of the run's bundle
		only  func(w *audittest.World, r *audittest.Run) audittest.Bundling
	}{
		"a record of a newer version": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			entry, err := evidence.SignPayload([]byte(`{"v":2,"run":"`+string(r.ID)+`"}`), w.Key(audittest.Runtime))
			if err != nil {
				t.Fatal(err)
			}
			w.AppendEntry(entry)
			return r
		}, want: wants{audit.RuleSignature, audit.Undecidable, audit.ReasonNewer}, only: func(w *audittest.World, r *audittest.Run) audittest.Bundling {
			at := append(w.RunIndexes(r.ID), len(w.Placed)-1)
			return audittest.Bundling{Header: bundle.RangeHeader(w.Origin, uint64(len(w.Placed)-1), uint64(len(w.Placed))), Indexes: at}
		}},
		"a key in doubt": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			r.Do("lookup", `{}`)
			w.Revoke(audittest.Runtime, 0)
			return r
		}, want: wants{audit.RuleSignature, audit.Undecidable, audit.ReasonSuspect}},
		"an attempt after the budget was spent, however dear it may be": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Budget = evidence.Amounts{"usd_micro": 10} })
			for range 2 {
				a := r.Authorize("call", `{}`, func(b *evidence.Authorization) { b.Estimate = evidence.Amounts{"usd_micro": 1000} })
				r.Execute(a, evidence.StatusSuccess, func(b *evidence.Execution) { b.Cost = evidence.Amounts{"usd_micro": 20} })
			}
			return r
		}, want: wants{audit.RuleBudget, audit.Broken, audit.ReasonOverBudget}},
		"the same words beside the line twice": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			c := r.Beside(audittest.Loner, r.Opened.ID, &evidence.Claim{Statements: []evidence.Statement{{Text: w.CommitAs("text/plain", "done"), Assertions: []evidence.Assertion{action("lookup")}}}})
			w.AppendEntry(c.Entry)
			return r
		}, want: wants{audit.RuleChain, audit.Broken, audit.ReasonUsed}},
		"an attempt at what a probe had found done": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			a := r.Authorize("lookup", `{}`, nil)
			r.Line(&evidence.Settlement{Settles: a.ID, By: evidence.ByProbe, Finding: evidence.StatusSuccess})
			r.Execute(a, evidence.StatusSuccess, nil)
			return r
		}, want: wants{audit.RuleAuthorized, audit.Broken, audit.ReasonAttempt}},
		"an execution on the word of nobody": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			r.Execute(r.Authorize("lookup", `{}`, nil), evidence.StatusSuccess, func(b *evidence.Execution) {
				b.Confirmation = evidence.ID{1}
			})
			return r
		}, want: wants{audit.RuleChain, audit.Broken, audit.ReasonReference}},
		"a payload of another size": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			r.Authorize("lookup", `{}`, func(b *evidence.Authorization) { b.Input.Size++ })
			return r
		}, want: wants{audit.RuleDisclosure, audit.Broken, audit.ReasonCommitment}},
		"a bundle without the acceptance": {write: func(w *audittest.World) *audittest.Run {
			return w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Acceptance = evidence.ID{1} })
		}, want: wants{audit.RuleHandoff, audit.Undecidable, audit.ReasonNotAccepted}},
		"a log without the acceptance": {write: func(w *audittest.World) *audittest.Run {
			return w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Acceptance = evidence.ID{1} })
		}, want: wants{audit.RuleHandoff, audit.Broken, audit.ReasonNotAccepted}, log: true},
		"accepted by another agent": {write: func(w *audittest.World) *audittest.Run {
			w.RegisterHosted("somebody", audittest.Runtime)
			offer := w.Open(nil).Line(to(w, func(b *evidence.HandoffOffered) { b.To.Actor = "somebody" }))
			return handed(w, offer.ID, func(a, _ *evidence.Record) { a.Actor = "somebody" })
		}, want: wants{audit.RuleHandoff, audit.Broken, audit.ReasonNotAccepted}, log: true},
		"offered to another ledger": {write: func(w *audittest.World) *audittest.Run {
			offer := w.Open(nil).Line(to(w, func(b *evidence.HandoffOffered) { b.To.Origin = "ledger.example/other" }))
			return handed(w, offer.ID, nil)
		}, want: wants{audit.RuleHandoff, audit.Broken, audit.ReasonNotAccepted}, log: true},
		"a log without the offer": {write: func(w *audittest.World) *audittest.Run {
			return handed(w, evidence.ID{1}, nil)
		}, want: wants{audit.RuleHandoff, audit.Broken, audit.ReasonNotAccepted}, log: true},
		"a bundle without the registry": {
			write: func(w *audittest.World) *audittest.Run { return w.Open(nil) },
			want:  wants{audit.RuleRegistry, audit.Undecidable, audit.ReasonEntryZero}, only: func(w *audittest.World, r *audittest.Run) audittest.Bundling {
				return audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: []int{int(r.Opened.Index)}}
			},
		},
		"a verdict on another claim than its document says": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			first, second := r.Claim(action("lookup")), r.Claim(action("lookup"))
			v, err := audit.Judge(foldRun(r, nil), second.ID, "", w)
			if err != nil {
				t.Fatal(err)
			}
			document, err := v.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			r.Verdict(first.ID, v.Result, document)
			return r
		}, want: wants{audit.RuleVerdict, audit.Broken, audit.ReasonBytes}},
		"a verdict before the claim": {write: func(w *audittest.World) *audittest.Run {
			r := w.Open(nil)
			r.Do("lookup", `{}`)
			rec := &evidence.Record{Origin: w.Origin, Kind: evidence.KindClaim, Run: r.ID, About: r.Opened.ID, Actor: audittest.Loner, Time: w.Clock, Body: &evidence.Claim{
				Statements: []evidence.Statement{{Text: w.CommitAs("text/plain", "done"), Assertions: []evidence.Assertion{action("lookup")}}},
			}}
			entry, err := evidence.Sign(rec, w.Key(audittest.Loner))
			if err != nil {
				t.Fatal(err)
			}
			id := evidence.IDOf(entry)
			// What the verdict would be, if the claim stood already.
			before := len(w.Placed)
			w.AppendEntry(entry)
			v, err := audit.Judge(foldRun(r, nil), id, "", w)
			if err != nil {
				t.Fatal(err)
			}
			w.Placed = w.Placed[:before]
			document, err := v.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			r.Verdict(id, v.Result, document)
			w.AppendEntry(entry)
			return r
		}, want: wants{audit.RuleVerdict, audit.Broken, audit.ReasonReference}},
	} {
		t.Run(name, func(t *testing.T) {
			w := audittest.New(t)
			r := c.write(w)
			if c.log {
				report, _ := verifyLog(t, served(w.Tiles()), w, audit.Options{})
				c.want.of(t, report)
				return
			}
			b := audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: w.RunIndexes(r.ID)}
			if c.only != nil {
				b = c.only(w, r)
			}
			c.want.of(t, verify(t, w.Bundle(b), w.Trust(), audit.Options{}))
		})
	}
}

// TestHeadsOfStrangers: a head by a signer whom nobody trusts is beside the point, one
// with a bad signature of the log's is wrong.
func TestHeadsOfStrangers(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	stranger := audittest.Named(t, w.Origin)
	stranger.LogKey = audittest.Named(t, "ledger.example/stranger").LogKey
	bad := bytes.Clone(w.Head(len(w.Placed)))
	bad[len(bad)-6] ^= 1
	for name, c := range map[string]struct {
		head   []byte
		status audit.Status
	}{
		"a stranger's":    {stranger.SignHead(w.Origin, len(w.Placed), w.Root(len(w.Placed))), audit.Undecidable},
		"a bad signature": {bad, audit.Broken},
	} {
		b := w.Bundle(audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: w.RunIndexes(r.ID), Heads: [][]byte{c.head}})
		if got := verify(t, b, w.Trust(), audit.Options{}); got.Rule(audit.RuleInclusion).Status != c.status {
			dump(t, got)
			t.Errorf("%s: inclusion %s, want %s", name, got.Rule(audit.RuleInclusion).Status, c.status)
		}
	}
}

// TestLine: each reason for which a record is not the next of its run.
func TestLine(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	opened := r.Opened.Record
	other := w.Open(nil).Opened.Record
	var begun audit.Line
	begun.Extend(r.Opened.Index, r.Opened.ID, opened)
	next := r.Line(&evidence.Escalation{Reason: "x", To: audittest.Team}).Record
	closed := begun
	closed.Closed = true
	with := func(mod func(*evidence.Record)) *evidence.Record {
		rec := *next
		mod(&rec)
		return &rec
	}
	for name, c := range map[string]struct {
		line   audit.Line
		rec    *evidence.Record
		signer string
		want   audit.Reason // "": it is
	}{
		"the first":          {audit.Line{}, opened, audittest.Runtime, ""},
		"the second":         {begun, next, audittest.Runtime, ""},
		"before the first":   {audit.Line{}, next, audittest.Runtime, audit.ReasonNotOpened},
		"of another run":     {begun, with(func(rec *evidence.Record) { rec.Run = other.Run }), audittest.Runtime, audit.ReasonOtherRun},
		"after the end":      {closed, next, audittest.Runtime, audit.ReasonClosed},
		"by another":         {begun, next, "runtime-02", audit.ReasonWriter},
		"after another":      {begun, with(func(rec *evidence.Record) { rec.Prev[0] ^= 1 }), audittest.Runtime, audit.ReasonPrev},
		"before its time":    {begun, with(func(rec *evidence.Record) { rec.Time = opened.Time - 1 }), audittest.Runtime, audit.ReasonTimeBefore},
		"opened twice":       {begun, opened, audittest.Runtime, audit.ReasonOpened},
		"opened for another": {audit.Line{}, opened, "runtime-02", audit.ReasonWriter},
	} {
		err := c.line.Next(c.rec, c.signer)
		refusal, _ := err.(*audit.Refusal)
		if c.want == "" != (err == nil) || err != nil && (refusal == nil || refusal.Reason != c.want || refusal.Rule != audit.RuleChain) {
			t.Errorf("%s: want %q, found %v", name, c.want, err)
		}
	}
}

// TestStateOfAnotherLog: what is known of one log says nothing of another.
func TestStateOfAnotherLog(t *testing.T) {
	w := busyLog(t, 1)
	_, state := verifyLog(t, served(w.Tiles()), w, audit.Options{})
	state.Origin = "ledger.example/other"
	r, _ := verifyLog(t, served(w.Tiles()), w, audit.Options{State: state})
	wants{audit.RuleConsistency, audit.Undecidable, audit.ReasonOrigin}.of(t, r)
}

// TestApplyByHand: a registry refuses what no parsed record can hold, and what a caller
// should not have brought.
func TestApplyByHand(t *testing.T) {
	w := audittest.New(t)
	zero := w.Placed[0].Record
	root := zero.Body.(*evidence.LedgerCreated).RootKeys[0]
	r := w.Open(nil).Opened
	number := func(n int64) *int64 { return &n }
	bad := evidence.JWK{Kty: root.Kty, Crv: root.Crv, X: "AAAA"}
	for name, c := range map[string]struct {
		begun bool // entry 0 stands
		index uint64
		rec   evidence.Record
		want  audit.Reason
	}{
		"entry 0":                {false, 0, *zero, ""},
		"a record of a run":      {true, 7, *r.Record, audit.ReasonRole},
		"of another ledger":      {true, 7, evidence.Record{Origin: "ledger.example/other", Kind: evidence.KindActorRevoked, Registry: number(1), Prev: w.Placed[0].ID, Actor: audittest.Root, Body: &evidence.ActorRevoked{Name: "x", Reason: "x"}}, audit.ReasonOrigin},
		"entry 0 as entry 1":     {false, 1, *zero, audit.ReasonEntryZero},
		"another kind first":     {false, 0, evidence.Record{Origin: w.Origin, Kind: evidence.KindActorRevoked, Registry: number(0), Actor: audittest.Root, Body: &evidence.ActorRevoked{Name: "x", Reason: "x"}}, audit.ReasonEntryZero},
		"a root key twice":       {false, 0, evidence.Record{Origin: w.Origin, Kind: evidence.KindLedgerCreated, Registry: number(0), Actor: audittest.Root, Body: &evidence.LedgerCreated{RootKeys: []evidence.JWK{root, root}}}, audit.ReasonKeyTaken},
		"a root key that is bad": {false, 0, evidence.Record{Origin: w.Origin, Kind: evidence.KindLedgerCreated, Registry: number(0), Actor: audittest.Root, Body: &evidence.LedgerCreated{RootKeys: []evidence.JWK{bad}}}, audit.ReasonEntryZero},
		"a key that is bad":      {true, 7, evidence.Record{Origin: w.Origin, Kind: evidence.KindActorRegistered, Registry: number(1), Prev: w.Placed[0].ID, Actor: audittest.Root, Body: &evidence.ActorRegistered{Name: "x", Role: evidence.RoleTool, Key: &bad}}, audit.ReasonUnknownKey},
	} {
		g := audit.NewRegistry(w.Origin, evidence.ID{})
		if c.begun {
			if err := g.Apply(0, w.Placed[0].ID, zero); err != nil {
				t.Fatal(err)
			}
		}
		err := g.Apply(c.index, evidence.ID{byte(c.index), 1}, &c.rec)
		if reasonOf(err) != c.want || c.want == "" && err != nil {
			t.Errorf("%s: want %q, found %v", name, c.want, err)
		}
	}
}

// TestRootIsTheLogs: the key that signs tree heads signs nothing else.
func TestRootIsTheLogs(t *testing.T) {
	w := audittest.New(t)
	g := audit.NewRegistry(w.Origin, evidence.ID{})
	jwk := w.Placed[0].Record.Body.(*evidence.LedgerCreated).RootKeys[0]
	key, err := jwk.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	g.Reserve(key, "log")
	if err := g.Apply(0, w.Placed[0].ID, w.Placed[0].Record); reasonOf(err) != audit.ReasonKeyTaken {
		t.Errorf("the log's key as root: %v", err)
	}
}

// TestReceiptChecks: what a receipt is held to, where the trust file pins the signer.
func TestReceiptChecks(t *testing.T) {
	for name, c := range map[string]struct {
		write func(w *audittest.World) // the last record is the one
		pins  []string                 // the name, and whose key it is, of a pinned actor
		role  evidence.Role
		want  wants
	}{
		"a tool in another's name": {func(w *audittest.World) {
			r := w.Open(nil)
			a := r.Authorize("lookup", `{}`, nil)
			w.Append(&evidence.Record{Run: r.ID, About: a.ID, Actor: audittest.Loner, Body: &evidence.Confirmation{Status: evidence.StatusSuccess}}, audittest.Tool)
		}, []string{audittest.Tool, audittest.Tool}, evidence.RoleTool, wants{audit.RuleSignature, audit.Broken, audit.ReasonActor}},
		"a human who claims": {func(w *audittest.World) {
			r := w.Open(nil)
			w.Append(&evidence.Record{Run: r.ID, About: r.Opened.ID, Actor: audittest.Human, Body: &evidence.Claim{
				Statements: []evidence.Statement{{Text: w.CommitAs("text/plain", "done")}},
			}}, audittest.Human)
		}, []string{audittest.Human, audittest.Human}, evidence.RoleHuman, wants{audit.RuleSignature, audit.Broken, audit.ReasonActor}},
		"a record of another ledger": {func(w *audittest.World) {
			w.Append(&evidence.Record{Origin: "ledger.example/other", Actor: audittest.Runtime, Body: &evidence.PayloadErased{Commit: evidence.Digest{1}, Reason: "x"}}, audittest.Runtime)
		}, []string{audittest.Runtime, audittest.Runtime}, evidence.RoleRuntime, wants{audit.RuleSignature, audit.Broken, audit.ReasonOrigin}},
		"a signature that was changed": {func(w *audittest.World) {
			p := w.Append(&evidence.Record{Actor: audittest.Runtime, Body: &evidence.PayloadErased{Commit: evidence.Digest{1}, Reason: "x"}}, audittest.Runtime)
			entry := bytes.Clone(p.Entry)
			entry[len(entry)-40] = map[bool]byte{true: 'B', false: 'A'}[entry[len(entry)-40] == 'A']
			w.Placed = w.Placed[:len(w.Placed)-1]
			w.AppendEntry(entry)
		}, []string{audittest.Runtime, audittest.Runtime}, evidence.RoleRuntime, wants{audit.RuleSignature, audit.Broken, audit.ReasonSignature}},
	} {
		t.Run(name, func(t *testing.T) {
			w := audittest.New(t)
			c.write(w)
			trust := w.Trust()
			trust.Ledgers[0].Actors = []bundle.PinnedActor{{Name: c.pins[0], Role: c.role, Key: w.Key(c.pins[1]).Public()}}
			r, err := audit.VerifyReceipt(w.Receipt(len(w.Placed)-1).Marshal(), trust, audit.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c.want.of(t, r)
		})
	}
	t.Run("a tree head that too few cosigned", func(t *testing.T) {
		w := audittest.New(t)
		w.Open(nil)
		vkey, _ := witness(t, "w1.example")
		policy, err := bundle.ParsePolicy("log " + w.VKey() + "\nwitness one " + vkey + "\nquorum one\n")
		if err != nil {
			t.Fatal(err)
		}
		trust := w.Trust()
		trust.Ledgers[0].Policy = policy
		r, err := audit.VerifyReceipt(w.Receipt(len(w.Placed)-1).Marshal(), trust, audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wants{audit.RuleInclusion, audit.Undecidable, audit.ReasonHead}.of(t, r)
	})
}

// TestGivenRecord: the bundle of an acceptance is about the kind of record, and says the
// same of it, that the acceptance does.
func TestGivenRecord(t *testing.T) {
	giver, receiver := audittest.Named(t, "ledger.example/giver"), audittest.Named(t, "ledger.example/receiver")
	trust := &bundle.Trust{Ledgers: append(giver.Trust().Ledgers, receiver.Trust().Ledgers...)}
	r := giver.Open(nil)
	done := r.Do("lookup", `{}`)
	about := func(w *audittest.World, p evidence.Placed, run evidence.RunID) string {
		return string(w.Bundle(audittest.Bundling{Header: bundle.RecordHeader(w.Origin, p.ID), Indexes: w.RunIndexes(run)}))
	}
	head := func(w *audittest.World) evidence.HeadRef {
		return evidence.HeadRef{Size: int64(len(w.Placed)), Root: evidence.Digest(w.Root(len(w.Placed)))}
	}
	const opens = "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"
	accept := func(w *audittest.World, b *evidence.HandoffAccepted, given string) evidence.Placed {
		b.Bundle = w.CommitAs(bundle.Media, given)
		return w.Append(&evidence.Record{Actor: audittest.Agent, Body: b}, audittest.Runtime)
	}
	check := func(what string, w *audittest.World, p evidence.Placed, says string) {
		t.Helper()
		got, err := audit.VerifyBundle(strings.NewReader(about(w, p, "")), trust, audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(got.Rule(audit.RuleHandoff).Findings, func(f audit.Finding) bool { return f.Reason == audit.ReasonGiven && strings.Contains(f.Found, says) }) {
			dump(t, got)
			t.Errorf("%s: want a finding that says %q", what, says)
		}
	}
	given := about(giver, done, r.ID)
	check("an execution for an offer", receiver, accept(receiver, &evidence.HandoffAccepted{Offer: done.ID, Origin: giver.Origin, Opens: opens, Head: head(giver)}, given), "one about a execution")

	receiver = audittest.Named(t, receiver.Origin)
	first := accept(receiver, &evidence.HandoffAccepted{Offer: evidence.ID{1}, Origin: giver.Origin, Opens: opens, Head: head(giver)}, "withheld")
	back := string(receiver.Bundle(audittest.Bundling{
		Header: bundle.RecordHeader(receiver.Origin, first.ID), Indexes: receiver.RunIndexes(""),
		Withhold: map[evidence.Digest]bool{first.Record.Body.(*evidence.HandoffAccepted).Bundle.Commit: true},
	}))
	check("a copy of another acceptance", giver, accept(giver, &evidence.HandoffAccepted{Offer: evidence.ID{2}, Origin: receiver.Origin, Opens: opens, Acceptance: first.ID, Head: head(receiver)}, back), "an acceptance of "+evidence.ID{1}.String())
}

// TestPayloadOfNobody: a payload that the record before does not commit to is no
// disclosure, though it were empty.
func TestPayloadOfNobody(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	r.Line(&evidence.Claim{Statements: []evidence.Statement{{Text: w.CommitAs("text/plain", "")}}})
	r.Line(&evidence.Escalation{Reason: "x", To: audittest.Team})
	var lines, moved [][]byte
	for line := range bytes.Lines(w.RunBundle(r.ID)) {
		if bytes.HasPrefix(line, []byte(`{"payload"`)) {
			moved = append(moved, line)
			continue
		}
		lines = append(lines, line)
	}
	last := slices.IndexFunc(lines, func(l []byte) bool { return bytes.HasPrefix(l, []byte(`{"end"`)) })
	for last > 0 && !bytes.HasPrefix(lines[last-1], []byte(`{"record"`)) {
		last--
	}
	b := bytes.Join(slices.Insert(lines, last, moved...), nil)
	wants{audit.RuleDisclosure, audit.Broken, audit.ReasonCommitment}.of(t, verify(t, b, w.Trust(), audit.Options{}))
}
