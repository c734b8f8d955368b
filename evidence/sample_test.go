package evidence

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

// testKey makes the fixed key of an actor: its seed is the SHA-256 of its name.
// The vectors are signed by these keys.
func testKey(tb testing.TB, name string) *PrivateKey {
	tb.Helper()
	seed := testSeed(name)
	k, err := NewPrivateKey(seed[:])
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func testSeed(name string) [32]byte { return sha256.Sum256([]byte("ledgerd test key: " + name)) }

// testPayload is a payload with a salt that follows from its text.
func testPayload(media, text string) *Payload {
	return &Payload{Salt: sha256.Sum256([]byte("ledgerd test salt: " + text)), Media: media, Data: []byte(text)}
}

func commitJSON(text string) Commitment { return testPayload("application/json", text).Commitment() }

func commitText(text string) *Commitment {
	c := testPayload("text/plain", text).Commitment()
	return &c
}

// testID names a record that is not there.
func testID(name string) ID { return IDOf([]byte("test record: " + name)) }

func ptr[T any](v T) *T { return &v }

const (
	testOrigin = "ledger.example/support"
	testRun    = RunID("run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11")
)

var testTime = TimeOf(time.Date(2026, 5, 29, 14, 32, 10, 120_000_000, time.UTC))

// sample is a record with the name of the key that signs it.
type sample struct {
	name   string
	key    string
	record *Record
}

// samples holds every kind twice: "…/least" with what is required, "…/full"
// with every member that may stand there; and the choices that exclude others.
func samples(tb testing.TB) []sample {
	mail := commitJSON(`{"subject":"Your refund","to":"ada@example.org"}`)
	sent := commitJSON(`{"messageId":"msg_123","queued":false}`)
	refund := commitJSON(`{"amount_micro":12000000,"order":"A-17"}`)
	key := func(name string) *JWK { return ptr(testKey(tb, name).Public().JWK()) }
	kid := func(name string) Digest { return testKey(tb, name).Public().Thumbprint() }
	head := HeadRef{Size: 4096, Root: Digest(testID("root"))}

	var all []sample
	// add fills the envelope as the kind's place asks. beside puts a record that
	// may stand on the line beside it.
	add := func(name, signer, actor string, beside bool, body Body) *Record {
		kind := body.Kind()
		r := &Record{Origin: testOrigin, Kind: kind, Actor: actor, Time: testTime, Body: body}
		switch place := kind.Place(); {
		case place == Outside:
		case place == Registry:
			if kind != KindLedgerCreated {
				r.Prev = testID("registry record before")
			}
		case place == Beside || beside:
			r.Run, r.About = testRun, testID("what it is about")
		default:
			r.Run = testRun
			if kind != KindRunOpened {
				r.Prev = testID("record before")
			}
		}
		if kind.NamesRegistry() {
			r.Registry = ptr(int64(7))
			if kind == KindLedgerCreated {
				r.Registry = ptr(int64(0))
			}
		}
		all = append(all, sample{string(kind) + "/" + name, signer, r})
		return r
	}

	add("least", "runtime", "support-agent-01", false, &RunOpened{Principal: "customer-17", Task: "complaint", Runtime: "support-runtime"})
	add("full", "runtime", "support-agent-01", false, &RunOpened{
		Principal: "customer-17", Subject: "ticket-4711", Task: "complaint", Intent: commitText("My parcel never came. I want my money back."),
		Input:    ptr(commitJSON(`{"order":"A-17"}`)),
		Contract: &ContractRef{Document: commitJSON(`{"contract":"v1","expects":[{"action":"refund"}]}`), DeclaredBy: "operator"},
		Budget:   Amounts{"usd_micro": 5_000_000, "tokens": 200_000, "tool_calls": 20, "attempts": 40, "wall_ms": 600_000},
		Runtime:  "support-runtime", Parent: testID("parent"), Acceptance: testID("acceptance"),
	})
	add("imported", "runtime", "support-agent-01", false, &RunOpened{
		Principal: "customer-17", Task: "complaint", Runtime: "support-runtime", Source: SourceImported, Imported: "transcript-17",
	}).At = testTime - 86_400_000

	add("least", "runtime", "support-runtime", false, &RunResumed{Reason: "lease_expired"})
	add("full", "runtime", "support-runtime", false, &RunResumed{Reason: "lease_expired", InDoubt: []ID{testID("doubt 1"), testID("doubt 2")}})

	add("least", "runtime", "support-runtime", false, &Context{Sources: []ContextSource{{Name: "system", Content: *commitText("Be kind.")}}})
	add("full", "runtime", "support-runtime", false, &Context{Sources: []ContextSource{
		{Name: "system", Content: *commitText("Be kind.")},
		{Name: "order", Content: commitJSON(`{"order":"A-17","state":"lost"}`), Evidence: testID("order looked up")},
	}}).Cites = []ID{testID("beside 1"), testID("beside 2")}

	add("least", "runtime", "support-agent-01", false, &Decision{Model: "model-3", Choice: commitJSON(`"refund"`)})
	add("full", "runtime", "support-agent-01", false, &Decision{
		Step: "decide", Model: "model-3", Question: commitText("Refund or replace?"), Choice: commitJSON(`"refund"`),
		Rationale: commitText("The parcel is lost."), Context: []ID{testID("context")}, Cost: Amounts{"tokens": 812, "usd_micro": 2436},
	})
	add("beside", "agent", "support-agent-01", true, &Decision{Model: "model-3", Choice: commitJSON(`"refund"`)})

	authorization := Authorization{
		Step: "notify", Action: "send_email", Tool: "email_sender", Input: mail, IdempotencyKey: "notify-1",
		Effect: Allow, Mode: Enforce, Source: SourceRuntime,
	}
	add("least", "runtime", "support-agent-01", false, ptr(authorization))
	full := authorization
	full.Resource, full.ToolSchema, full.Params = "ada@example.org", ptr(commitJSON(`{"name":"email_sender"}`)), Object(`{"to":"ada@example.org","urgent":false,"weight":0.5,"tags":["a",null]}`)
	full.Decision, full.Effect, full.Policies = testID("decision"), Deny, []string{"mail-to-customers", "quiet-hours"}
	full.PolicySet, full.Errors = commitText("permit(principal, action, resource);"), commitText("mail-to-customers: no such attribute")
	full.Estimate = Amounts{"usd_micro": 400, "tool_calls": 1}
	add("full", "runtime", "support-agent-01", false, &full)
	escalate := authorization
	escalate.Action, escalate.Tool, escalate.Input, escalate.Effect, escalate.Team = "refund", "payments", refund, Escalate, "finance"
	add("escalate", "runtime", "support-agent-01", false, &escalate)
	approved := escalate
	approved.Effect, approved.Team, approved.Escalated, approved.Approval = Allow, "", testID("escalated authorization"), testID("approval")
	add("approved", "runtime", "support-agent-01", false, &approved)

	add("refuse", "human", "grace", false, &Approval{Answer: Refuse})
	add("full", "human", "grace", false, &Approval{Answer: Approve, Until: testTime + 3_600_000, Reason: commitText("The parcel is lost indeed.")})

	execution := Execution{
		Authorization: testID("authorization"), Action: "send_email", Tool: "email_sender", Input: mail, Attempt: 1,
		Status: StatusSuccess, Source: SourceRuntime,
	}
	add("least", "runtime", "support-agent-01", false, ptr(execution))
	done := execution
	done.Resource, done.Output, done.Refs = "ada@example.org", &sent, Object(`{"messageId":"msg_123"}`)
	done.Confirmation, done.TookMS, done.Cost = testID("confirmation"), ptr(int64(184)), Amounts{"usd_micro": 400, "tokens": 0}
	add("full", "runtime", "support-agent-01", false, &done)
	failed := execution
	failed.Attempt, failed.Status, failed.Class, failed.Error = 2, StatusFailure, ToolTimeout, commitText("no answer within 30 s")
	add("failure", "runtime", "support-agent-01", false, &failed)
	unknown := execution
	unknown.Status = StatusUnknown
	add("unknown", "runtime", "support-agent-01", false, &unknown)

	add("least", "tool", "email_sender", false, &Confirmation{Status: StatusSuccess})
	add("full", "tool", "email_sender", false, &Confirmation{Status: StatusSuccess, Output: &sent, Refs: Object(`{"messageId":"msg_123"}`)})

	add("least", "runtime", "support-runtime", false, &Settlement{Settles: testID("doubt"), By: ByProbe, Finding: StatusNotRun})
	add("full", "runtime", "support-runtime", false, &Settlement{
		Settles: testID("doubt"), By: ByConfirmation, Answer: testID("confirmation"), Finding: StatusSuccess, Output: &sent, Refs: Object(`{"messageId":"msg_123"}`),
	})

	add("least", "runtime", "support-runtime", false, &Checkpoint{Name: "refunded", Sequence: 1, State: commitJSON(`{"refunded":true}`)})
	add("full", "runtime", "support-runtime", false, &Checkpoint{
		Name: "refunded", Sequence: 2, State: commitJSON(`{"refunded":true}`), Covers: []ID{testID("execution 1"), testID("execution 2")},
	})

	add("least", "runtime", "support-agent-01", false, &Claim{Statements: []Statement{{Text: *commitText("All done.")}}})
	add("full", "agent", "support-agent-01", true, &Claim{Statements: []Statement{
		{
			Text: *commitText("Refund issued and customer notified."),
			Assertions: []Assertion{
				{Kind: AssertContract},
				{Kind: AssertAction, Action: "send_email", Resource: "ada@example.org", Expect: ptr(commitJSON(`{"action":"send_email"}`))},
			},
			Cites: []ID{testID("execution 1")}, Steps: []string{"refund", "notify"},
		},
		{Text: *commitText("The customer was friendly.")},
	}})

	add("least", "runtime", "support-runtime", false, &Verdict{Result: NoContract, Document: commitJSON(`{"result":"no_contract"}`)})
	add("full", "runtime", "support-runtime", false, &Verdict{Claim: testID("claim"), Result: Supported, Document: commitJSON(`{"result":"supported"}`)})

	add("least", "runtime", "support-agent-01", false, &Escalation{Reason: "permission_denied", To: "finance"})
	add("full", "runtime", "support-agent-01", false, &Escalation{
		Reason: "permission_denied", To: "finance", Text: commitText("May I refund 12 dollars?"), Concerns: []ID{testID("authorization")},
	})

	offer := HandoffOffered{
		To:   Recipient{Origin: "ledger.example/warehouse", Actor: "warehouse-agent", Key: kid("warehouse")},
		Task: "find-parcel", Scope: []ScopeEntry{{Action: "search", Resource: "shelf/*"}}, Expires: testTime + 86_400_000, HeadMaxAge: 600,
	}
	add("least", "runtime", "support-agent-01", false, ptr(offer))
	offer.Scope = append(offer.Scope, ScopeEntry{Action: "move", Resource: "parcel-17"})
	offer.Artifact, offer.Evidence, offer.Note = ptr(commitJSON(`{"parcel":17}`)), []ID{testID("execution 1")}, commitText("It may have slipped behind shelf 9.")
	offer.Parent = testID("acceptance")
	add("full", "agent", "support-agent-01", true, &offer)

	add("least", "warehouse", "warehouse-agent", false, &HandoffAccepted{
		Offer: testID("offer"), Origin: testOrigin, Opens: testRun, Head: head, Bundle: *commitText("the bundle about the offer"),
	})
	add("full", "warehouse", "warehouse-agent", false, &HandoffAccepted{
		Offer: testID("offer"), Origin: testOrigin, Opens: testRun, Head: head, Bundle: *commitText("the bundle about the acceptance"), Acceptance: testID("acceptance"),
	})
	add("least", "warehouse", "warehouse-agent", false, &HandoffRejected{Offer: testID("offer"), Origin: testOrigin, Reason: "expired"})
	add("full", "warehouse", "warehouse-agent", false, &HandoffRejected{
		Offer: testID("offer"), Origin: testOrigin, Reason: "equivocation", Proof: commitText("two tree heads"),
	})

	add("least", "runtime", "support-runtime", false, &RunClosed{End: Completed})
	add("full", "runtime", "support-runtime", false, &RunClosed{End: Stopped, Reason: "cost_budget_exceeded", Text: commitText("The budget is spent.")})

	add("least", "root", "root", false, &LedgerCreated{RootKeys: []JWK{*key("root")}})
	add("full", "root", "root", false, &LedgerCreated{
		RootKeys: []JWK{*key("root"), *key("root 2")}, Successor: &Successor{Origin: "ledger.example/support-2025", Head: head},
	})
	add("key", "root", "root", false, &ActorRegistered{Name: "support-runtime", Role: RoleRuntime, Key: key("runtime")})
	add("hosted", "root", "root", false, &ActorRegistered{Name: "support-agent-01", Role: RoleAgent, Host: "support-runtime"})
	add("human", "root", "root", false, &ActorRegistered{Name: "grace", Role: RoleHuman, Key: key("human"), Teams: []string{"finance", "legal"}})
	add("least", "root", "root", false, &ActorRevoked{Name: "support-agent-01", Reason: "retired"})
	add("full", "root", "root", false, &ActorRevoked{Name: "support-runtime", Key: kid("runtime"), SuspectFrom: ptr(int64(0)), Reason: "key_leaked"})
	add("least", "runtime", "support-runtime", false, &PayloadErased{Commit: mail.Commit, Reason: "gdpr-17"}).
		Ext = Object(`{"org.example.case":{"number":17,"closed":true,"note":"ünïcödé 😀","empty":{}}}`)
	return all
}

func (s sample) String() string { return fmt.Sprintf("%s signed by %s", s.name, s.key) }
