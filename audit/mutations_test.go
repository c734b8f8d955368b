package audit_test

import (
	"bytes"
	"slices"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/raced"
	"ledgerd/ledger/tlog"
)

// on mutates the n-th record of a kind (from 0) in the scene.
func on(kind evidence.Kind, n int, change func(rec *evidence.Record)) func(*evidence.Record) {
	seen := 0
	return func(rec *evidence.Record) {
		if rec.Kind != kind {
			return
		}
		if seen == n {
			change(rec)
		}
		seen++
	}
}

func body[B evidence.Body](kind evidence.Kind, n int, change func(b B)) func(*evidence.Record) {
	return on(kind, n, func(rec *evidence.Record) {
		b := rec.Body.(B)
		change(b)
	})
}

func number(n int64) *int64 { return &n }

// TestMutations: where one thing is wrong, the report says which rule it breaks,
// and why, and calls nothing else broken but what rests on it.
func TestMutations(t *testing.T) {
	raced.Skip(t)
	type (
		authorization = evidence.Authorization
		execution     = evidence.Execution
	)
	other := evidence.IDOf([]byte("other"))
	tests := []struct {
		name   string
		mutate func(*evidence.Record)
		bundle func(*scene, *audittest.Bundling)
		want   []audit.Rule
		reason audit.Reason
	}{
		{
			"stale registry number in run.closed", on(evidence.KindRunClosed, 1, func(r *evidence.Record) { r.Registry = number(4) }), nil,
			[]audit.Rule{audit.RuleRegistry},
			audit.ReasonStale,
		},
		{
			"registry number that does not exist yet", on(evidence.KindVerdict, 0, func(r *evidence.Record) { r.Registry = number(9) }), nil,
			[]audit.Rule{audit.RuleRegistry},
			audit.ReasonAhead,
		},
		{
			"registry record left out", nil, func(s *scene, b *audittest.Bundling) { b.Indexes = without(b.Indexes, 3) },
			[]audit.Rule{audit.RuleRegistry},
			audit.ReasonNumber,
		},
		{
			"line record left out", nil, func(s *scene, b *audittest.Bundling) {
				b.Indexes = without(b.Indexes, s.at(evidence.KindRunResumed, 0))
			},
			[]audit.Rule{audit.RuleChain},
			audit.ReasonPrev,
		},
		{
			"failed execution left out", nil, func(s *scene, b *audittest.Bundling) { b.Indexes = without(b.Indexes, s.at(evidence.KindExecution, 1)) },
			[]audit.Rule{audit.RuleChain, audit.RuleAuthorized, audit.RuleResume},
			audit.ReasonPrev,
		},
		{
			"approval beside the line left out", nil, func(s *scene, b *audittest.Bundling) { b.Indexes = without(b.Indexes, s.at(evidence.KindApproval, 0)) },
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonNotApproved,
		},
		{
			"time before prev", on(evidence.KindClaim, 0, func(r *evidence.Record) { r.Time -= 60_000 }), nil,
			[]audit.Rule{audit.RuleChain},
			audit.ReasonTimeBefore,
		},
		{
			"cites what is not there", on(evidence.KindClaim, 0, func(r *evidence.Record) { r.Cites = []evidence.ID{other} }), nil,
			[]audit.Rule{audit.RuleChain},
			audit.ReasonReference,
		},
		{
			"runtime speaks for a tool", on(evidence.KindRunResumed, 0, func(r *evidence.Record) { r.Actor = audittest.Tool }), nil,
			[]audit.Rule{audit.RuleSignature},
			audit.ReasonActor,
		},
		{
			"an actor that nobody registered", on(evidence.KindRunResumed, 0, func(r *evidence.Record) { r.Actor = "stranger" }), nil,
			[]audit.Rule{audit.RuleSignature},
			audit.ReasonUnknownActor,
		},
		{
			"another origin", on(evidence.KindRunResumed, 0, func(r *evidence.Record) { r.Origin = "ledger.example/other" }), nil,
			[]audit.Rule{audit.RuleSignature},
			audit.ReasonOrigin,
		},

		{
			"input changed after authorization", body(evidence.KindExecution, 0, func(b *execution) { b.Input.Commit[0] ^= 1 }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonDiffers,
		},
		{
			"another action", body(evidence.KindExecution, 0, func(b *execution) { b.Action = "look" }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonDiffers,
		},
		{
			"another tool", body(evidence.KindExecution, 0, func(b *execution) { b.Tool = "shadow" }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonDiffers,
		},
		{
			"no authorization", body(evidence.KindExecution, 0, func(b *execution) { b.Authorization = other }), nil,
			[]audit.Rule{audit.RuleAuthorized, audit.RuleOutcome, audit.RuleResume},
			audit.ReasonNoAuthorization,
		},
		{
			"denied and executed", body(evidence.KindAuthorization, 0, func(b *authorization) { b.Effect = evidence.Deny }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonDenied,
		},
		{
			"executed before the approval was used", body(evidence.KindExecution, 1, func(b *execution) { b.Authorization = evidence.ID{1} }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonNoAuthorization,
		},
		{
			"approval refused", body(evidence.KindApproval, 0, func(b *evidence.Approval) { b.Answer, b.Until = evidence.Refuse, 0 }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonNotApproved,
		},
		{
			"approval expired", body(evidence.KindApproval, 0, func(b *evidence.Approval) { b.Until = 1_780_000_000_000 }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonExpired,
		},
		{
			"approved by another team", body(evidence.KindAuthorization, 1, func(b *authorization) { b.Team = "board" }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonNotApproved,
		},
		{
			"approval of another authorization", on(evidence.KindApproval, 0, func(r *evidence.Record) { r.About = other }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonNotApproved,
		},
		{
			"input changed after approval", body(evidence.KindAuthorization, 2, func(b *authorization) { b.IdempotencyKey = "another" }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonDiffers,
		},
		{
			"attempt 3 after attempt 1", body(evidence.KindExecution, 2, func(b *execution) { b.Attempt = 3 }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonAttempt,
		},
		{
			"attempt after a success", body(evidence.KindExecution, 1, func(b *execution) { b.Status, b.Class = evidence.StatusSuccess, "" }), nil,
			[]audit.Rule{audit.RuleAuthorized, audit.RuleClaim, audit.RuleContract},
			audit.ReasonAttempt,
		},
		{
			"attempt after a doubt", body(evidence.KindExecution, 1, func(b *execution) { b.Status = evidence.StatusUnknown }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonAttempt,
		},
		{
			"idempotency key used twice", body(evidence.KindAuthorization, 3, func(b *authorization) { b.IdempotencyKey = "key-1" }), nil,
			[]audit.Rule{audit.RuleAuthorized},
			audit.ReasonUsed,
		},

		{
			"settles what is not in doubt", body(evidence.KindExecution, 3, func(b *execution) { b.Status, b.Class = evidence.StatusFailure, evidence.ToolFailed }), nil,
			[]audit.Rule{audit.RuleOutcome, audit.RuleResume, audit.RuleClaim, audit.RuleContract},
			audit.ReasonNotInDoubt,
		},
		{
			"over budget", body(evidence.KindExecution, 2, func(b *execution) { b.Cost = evidence.Amounts{"usd_micro": 1901} }), nil,
			[]audit.Rule{audit.RuleBudget},
			audit.ReasonOverBudget,
		},
		{
			"too many tool calls", body(evidence.KindRunOpened, 1, func(b *evidence.RunOpened) { b.Budget["tool_calls"] = 2 }), nil,
			[]audit.Rule{audit.RuleBudget},
			audit.ReasonOverBudget,
		},
		{
			"out of time", body(evidence.KindRunOpened, 1, func(b *evidence.RunOpened) { b.Budget["wall_ms"] = 1000 }), nil,
			[]audit.Rule{audit.RuleBudget},
			audit.ReasonOverBudget,
		},
		{
			"checkpoint covers what did not happen", body(evidence.KindCheckpoint, 0, func(b *evidence.Checkpoint) { b.Covers = append(slices.Clone(b.Covers), other) }), nil,
			[]audit.Rule{audit.RuleResume},
			audit.ReasonCovers,
		},
		{
			"checkpoint leaves out what happened", body(evidence.KindCheckpoint, 0, func(b *evidence.Checkpoint) { b.Covers = b.Covers[:2] }), nil,
			[]audit.Rule{audit.RuleResume},
			audit.ReasonCovers,
		},
		{
			"checkpoint out of sequence", body(evidence.KindCheckpoint, 0, func(b *evidence.Checkpoint) { b.Sequence = 2 }), nil,
			[]audit.Rule{audit.RuleResume},
			audit.ReasonSequence,
		},
		{
			"resumed without naming a doubt", body(evidence.KindRunResumed, 0, func(b *evidence.RunResumed) { b.InDoubt = nil }), nil,
			[]audit.Rule{audit.RuleResume},
			audit.ReasonCovers,
		},

		{
			"acceptance of another run", body(evidence.KindHandoffAccepted, 0, func(b *evidence.HandoffAccepted) { b.Opens = "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c12" }), nil,
			[]audit.Rule{audit.RuleHandoff},
			audit.ReasonNotAccepted,
		},
		{
			"accepted after expiry", body(evidence.KindHandoffOffered, 0, func(b *evidence.HandoffOffered) { b.Expires = 1_780_000_000_000 }), nil,
			[]audit.Rule{audit.RuleHandoff},
			audit.ReasonExpired,
		},
		{
			"offered to somebody else", body(evidence.KindHandoffOffered, 0, func(b *evidence.HandoffOffered) { b.To.Actor = audittest.Loner }), nil,
			[]audit.Rule{audit.RuleHandoff},
			audit.ReasonNotAccepted,
		},
		{
			"offered to another key", body(evidence.KindHandoffOffered, 0, func(b *evidence.HandoffOffered) { b.To.Key[0] ^= 1 }), nil,
			[]audit.Rule{audit.RuleHandoff},
			audit.ReasonNotAccepted,
		},
		{
			"settled by what the tool did not say", body(evidence.KindSettlement, 0, func(b *evidence.Settlement) { b.Finding = evidence.StatusFailure }), nil,
			[]audit.Rule{audit.RuleOutcome},
			audit.ReasonDiffers,
		},
		{
			"action outside the scope", body(evidence.KindHandoffOffered, 0, func(b *evidence.HandoffOffered) { b.Scope[1].Resource = "order/8" }), nil,
			[]audit.Rule{audit.RuleHandoff},
			audit.ReasonOutOfScope,
		},

		{
			"the refund failed", body(evidence.KindExecution, 2, func(b *execution) { b.Status, b.Class = evidence.StatusFailure, evidence.ToolFailed }), nil,
			[]audit.Rule{audit.RuleClaim, audit.RuleContract},
			audit.ReasonResult,
		},
		{
			"only reported", body(evidence.KindExecution, 2, func(b *execution) { b.Source = evidence.SourceReported }), nil,
			[]audit.Rule{audit.RuleClaim, audit.RuleContract},
			audit.ReasonResult,
		},
		{
			"recorded verdict says otherwise", body(evidence.KindVerdict, 0, func(b *evidence.Verdict) { b.Result = evidence.Unsupported }), nil,
			[]audit.Rule{audit.RuleVerdict},
			audit.ReasonBytes,
		},
		{
			"refs that the payload does not have", body(evidence.KindConfirmation, 0, func(b *evidence.Confirmation) { b.Refs = evidence.Object(`{"messageId":"m2"}`) }), nil,
			[]audit.Rule{audit.RuleDisclosure},
			audit.ReasonPublic,
		},
		{
			"refs of another name than the payload's", body(evidence.KindConfirmation, 0, func(b *evidence.Confirmation) { b.Refs = evidence.Object(`{"id":"m1"}`) }), nil,
			[]audit.Rule{audit.RuleDisclosure},
			audit.ReasonPublic,
		},
		{
			"params that the payload does not have", body(evidence.KindAuthorization, 3, func(b *authorization) { b.Params = evidence.Object(`{"to":"eve"}`) }), nil,
			[]audit.Rule{audit.RuleDisclosure},
			audit.ReasonPublic,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := play(t, tt.mutate)
			b := s.bundling()
			if tt.bundle != nil {
				tt.bundle(s, &b)
			}
			r := verify(t, s.Bundle(b), s.Trust(), audit.Options{})
			rules, reasons := broken(r)
			if !slices.Equal(rules, tt.want) || !slices.Contains(reasons, tt.reason) || r.ExitCode() != audit.ExitBroken {
				t.Errorf("broken: %v for %v, exit %d; expected %v for %s", rules, reasons, r.ExitCode(), tt.want, tt.reason)
				dump(t, r)
			}
		})
	}
}

func without(list []int, i int) []int {
	return slices.DeleteFunc(slices.Clone(list), func(x int) bool { return x == i })
}

// at returns the index of the n-th record of a kind.
func (s *scene) at(kind evidence.Kind, n int) int {
	for i, p := range s.Placed {
		if p.Record != nil && p.Record.Kind == kind {
			if n == 0 {
				return i
			}
			n--
		}
	}
	s.T.Fatalf("no %s", kind)
	return 0
}

// TestTamper: a byte changed in any record of a bundle is proven, and every line
// of it that is cut off or doubled is refused.
func TestTamper(t *testing.T) {
	raced.Skip(t)
	s := play(t, nil)
	good := s.Bundle(s.bundling())
	lines := bytes.SplitAfter(good, []byte("\n"))
	records := 0
	for i, line := range lines {
		at := bytes.Index(line, []byte(`"jws":"`))
		if at < 0 {
			continue
		}
		records++
		sig := bytes.LastIndexByte(line, '.') + 5
		bad := slices.Clone(lines)
		bad[i] = slices.Clone(line)
		if bad[i][sig] == 'A' {
			bad[i][sig] = 'B'
		} else {
			bad[i][sig] = 'A'
		}
		r := verify(t, bytes.Join(bad, nil), s.Trust(), audit.Options{})
		if rules, _ := broken(r); !slices.Contains(rules, audit.RuleSignature) || !slices.Contains(rules, audit.RuleInclusion) {
			t.Errorf("line %d: broken %v", i, rules)
		}
	}
	if records < 20 {
		t.Fatalf("%d records", records)
	}
	for i := range lines {
		if len(lines[i]) == 0 {
			continue
		}
		cut := bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
		if r, err := audit.VerifyBundle(bytes.NewReader(cut), s.Trust(), audit.Options{}); err == nil && r.ExitCode() == audit.ExitVerified {
			t.Errorf("line %d was cut out and nobody noticed: %s", i, lines[i])
		}
	}
}

// TestKeys: who may sign what, and from when to when.
func TestKeys(t *testing.T) {
	t.Run("revoked key", func(t *testing.T) {
		w := audittest.New(t)
		r := w.Open(nil)
		w.Revoke(audittest.Runtime, -1)
		r.Do("lookup", `{}`)
		rules, reasons := broken(verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{}))
		if !slices.Equal(rules, []audit.Rule{audit.RuleSignature}) || reasons[0] != audit.ReasonRevoked {
			t.Errorf("%v %v", rules, reasons)
		}
	})
	t.Run("suspect key", func(t *testing.T) {
		w := audittest.New(t)
		r := w.OpenWith(`{"contract":"v1","task":"x","expects":[{"action":"lookup"}]}`)
		r.Do("lookup", `{}`)
		r.ClaimContract()
		r.Close(evidence.Completed)
		if got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{}); got.ExitCode() != 0 {
			dump(t, got)
			t.Errorf("before: exit %d", got.ExitCode())
		}
		w.Revoke(audittest.Runtime, int64(r.Opened.Index))
		got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
		if got.Rule(audit.RuleSignature).Status != audit.Undecidable || got.Rule(audit.RuleClaim).Status != audit.Undecidable || got.ExitCode() != 2 {
			dump(t, got)
		}
	})
	t.Run("pinned over the registry", func(t *testing.T) {
		w := audittest.New(t)
		r := w.Open(nil)
		r.Do("lookup", `{}`)
		trust := w.Trust()
		trust.Ledgers[0].Actors = []bundle.PinnedActor{{Name: audittest.Runtime, Role: evidence.RoleRuntime, Key: w.Key("the right one").Public()}}
		rules, reasons := broken(verify(t, w.RunBundle(r.ID), trust, audit.Options{}))
		if !slices.Contains(rules, audit.RuleSignature) || reasons[0] != audit.ReasonNotPinned {
			t.Errorf("%v %v", rules, reasons)
		}
	})
	t.Run("log key as an actor's", func(t *testing.T) {
		w := audittest.New(t)
		k, err := evidence.NewPrivateKey(w.LogKey.Seed())
		if err != nil {
			t.Fatal(err)
		}
		jwk := k.Public().JWK()
		w.Registry(&evidence.ActorRegistered{Name: "sneaky", Role: evidence.RoleTool, Key: &jwk})
		r := w.Open(nil)
		rules, reasons := broken(verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{}))
		if !slices.Contains(rules, audit.RuleRegistry) || reasons[0] != audit.ReasonKeyTaken {
			t.Errorf("%v %v", rules, reasons)
		}
	})
}

// TestAttack52: two roots for one size: proven, and both heads are kept.
func TestAttack52(t *testing.T) {
	s := play(t, nil)
	b := s.bundling()
	n := len(s.Placed)
	b.Heads = [][]byte{s.Head(n), s.SignHead(s.Origin, n, tlog.LeafHash([]byte("another history")))}
	r := verify(t, s.Bundle(b), s.Trust(), audit.Options{})
	rules, reasons := broken(r)
	if !slices.Equal(rules, []audit.Rule{audit.RuleConsistency}) || reasons[0] != audit.ReasonTwoRoots || r.ExitCode() != 1 {
		t.Errorf("%v %v", rules, reasons)
	}
	if len(r.Equivocation) != 1 || !bytes.Equal(r.Equivocation[0][0], b.Heads[0]) || !bytes.Equal(r.Equivocation[0][1], b.Heads[1]) {
		t.Errorf("the two heads were not kept: %q", r.Equivocation)
	}
	// An earlier head that the later does not extend.
	b.Heads = [][]byte{s.SignHead(s.Origin, n-2, tlog.LeafHash([]byte("x"))), s.Head(n)}
	r = verify(t, s.Bundle(b), s.Trust(), audit.Options{})
	if rules, reasons = broken(r); !slices.Equal(rules, []audit.Rule{audit.RuleConsistency}) || reasons[0] != audit.ReasonNotExtended {
		t.Errorf("%v %v", rules, reasons)
	}
}

// TestAttack54: nothing in a bundle says whom to trust; nor is a valid bundle
// about something else an answer; nor does an empty claim or contract hold.
func TestAttack54(t *testing.T) {
	s := play(t, nil)
	good := s.Bundle(s.bundling())
	t.Run("the bundle's own trust", func(t *testing.T) {
		r := verify(t, good, audittest.Named(t, "ledger.example/another").Trust(), audit.Options{})
		for _, x := range r.Rules {
			if x.Status != audit.Undecidable {
				t.Errorf("%s: %s", x.Rule, x.Status)
			}
		}
		if r.ExitCode() != 2 {
			t.Errorf("exit %d", r.ExitCode())
		}
		// The same origin, another log key: the head is nobody's whom we know.
		mallory := audittest.New(t)
		mallory.LogKey[3]++
		k := audittest.Named(t, "seed").LogKey
		mallory.LogKey = k
		r = verify(t, good, mallory.Trust(), audit.Options{})
		if r.ExitCode() != 2 || r.Rule(audit.RuleInclusion).Status != audit.Undecidable {
			dump(t, r)
		}
	})
	t.Run("another entry 0", func(t *testing.T) {
		trust := s.Trust()
		trust.Ledgers[0].Entry0 = s.Placed[1].ID
		if rules, reasons := broken(verify(t, good, trust, audit.Options{})); rules[0] != audit.RuleSignature && !slices.Contains(reasons, audit.ReasonEntryZero) {
			t.Errorf("%v %v", rules, reasons)
		}
	})
	for name, o := range map[string]audit.Options{
		"another run": {Run: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c99"}, "yesterday's bundle": {Subject: "ticket-2"},
		"another contract":        {Contract: []byte(`{"contract":"v1","task":"complaint"}`)},
		"another contract digest": {ContractDigest: evidence.Digest{1}},
	} {
		if r := verify(t, good, s.Trust(), o); r.ExitCode() != 1 || r.Status() != audit.Broken {
			t.Errorf("%s: exit %d", name, r.ExitCode())
		}
	}
	t.Run("an empty claim", func(t *testing.T) {
		w := audittest.New(t)
		r := w.OpenWith(`{"contract":"v1","task":"x","only":["refund"]}`)
		r.Claim()
		r.Close(evidence.Completed)
		got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
		if got.Rule(audit.RuleClaim).Status != audit.Undecidable || got.ExitCode() != 2 {
			dump(t, got)
			t.Error("held")
		}
	})
	t.Run("an empty contract", func(t *testing.T) {
		w := audittest.New(t)
		r := w.OpenWith(`{"contract":"v1","task":"x"}`)
		r.ClaimContract()
		r.Close(evidence.Completed)
		got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
		if got.Rule(audit.RuleClaim).Status != audit.Undecidable || got.Rule(audit.RuleContract).Status != audit.Undecidable || got.ExitCode() != 2 {
			dump(t, got)
			t.Error("held")
		}
	})
}

// TestHeadsAndRecords: what the records give says something of the log only where it
// is the root that the log signed, and a head that nobody known signed covers nothing.
func TestHeadsAndRecords(t *testing.T) {
	s := play(t, nil)
	b := s.bundling()
	n := len(s.Placed)
	last := b.Indexes[len(b.Indexes)-1]
	// The log's own head, but signed by somebody else.
	foreign := bytes.ReplaceAll(s.Head(n), []byte("— "+s.Origin), []byte("— stranger.example/log"))
	t.Run("a record changed under two heads", func(t *testing.T) {
		b.Heads = [][]byte{s.Head(n - 1), s.Head(n)}
		good := s.Bundle(b)
		at := bytes.LastIndex(good[:bytes.Index(good, []byte(`"index":1,`))], []byte(`"}}`)) - 5
		bad := bytes.Clone(good)
		bad[at] ^= 1
		r := verify(t, bad, s.Trust(), audit.Options{})
		if rules, _ := broken(r); !slices.Contains(rules, audit.RuleInclusion) || slices.Contains(rules, audit.RuleConsistency) || len(r.Equivocation) > 0 {
			t.Errorf("the log did not contradict itself, but the bundle does: %v, %q", rules, r.Equivocation)
		}
	})
	for name, c := range map[string]struct {
		size int
		want audit.Status
	}{"that holds a record by itself": {last, audit.Undecidable}, "beside one that holds all": {last + 1, audit.Held}} {
		t.Run(name, func(t *testing.T) {
			b.Heads = [][]byte{s.Head(c.size), foreign}
			r := verify(t, s.Bundle(b), s.Trust(), audit.Options{})
			if got := r.Rule(audit.RuleInclusion); got.Status != c.want || (r.ExitCode() == 0) != (c.want == audit.Held) {
				t.Errorf("expected inclusion %s, found %s, exit %d", c.want, got.Status, r.ExitCode())
				dump(t, r)
			}
		})
	}
}
