package audit

import (
	"ledgerd/evidence"
)

// Run folds the records of one run, in log order, into findings, and into the
// state that [Judge] and a runtime read. The zero Run awaits a run.opened.
//
// It holds what judging needs of each authorized action and nothing of the rest;
// in the audit of a whole log, less ([VerifyLog]).
type Run struct {
	Line
	// Actor, Task and the others are what run.opened says.
	Origin string
	Actor  string
	Signer Signer
	Body   *evidence.RunOpened
	End    evidence.End // once closed

	opened   place
	openedAt evidence.Time
	registry *Registry // for keys in doubt; nil: none are
	acts     []*act
	byID     map[evidence.ID]*act      // authorizations
	attempts map[evidence.ID]attemptOf // executions
	uses     map[evidence.Digest]uint64
	beside   map[evidence.ID]*besideRecord
	claims   []*claimRecord
	verdicts []*verdictRecord
	account  *account
	since    []evidence.ID // executions and settlements since the last checkpoint
	points   int64         // sequence of the last checkpoint
	lastPt   *evidence.Checkpoint
	takes    []take                      // handoffs that the line takes up, and may take up
	takenBy  map[evidence.ID]evidence.ID // what the takes name: the record that takes it up
	handed   map[evidence.ID]*handed     // by acceptance: what for the run was accepted
	found    []Finding                   // kept back by an Auditor that does not know yet whether they matter
	brief    *brief                      // nil: nothing is forgotten
}

type attemptOf struct {
	act *act
	i   int
}

// besideRecord is a record beside the line, from the record on that names it.
type besideRecord struct {
	place
	rec   *evidence.Record
	by    Signer
	cited uint64 // index of the first line record that names it; 0: none yet
}

type claimRecord struct {
	place
	body  *evidence.Claim
	at    uint64 // records before this index are judged
	cited uint64 // on the line: its own index; beside it: the citing record's, 0: none
}

type verdictRecord struct {
	place
	body *evidence.Verdict
}

// NewRun returns a Run that awaits its run.opened. registry tells which keys are
// in doubt; nil: none are.
func NewRun(registry *Registry) *Run { return &Run{registry: registry} }

// Apply takes the next record of the run in log order, with its index in the log
// and who signed it, as [Registry.Check] has it. It returns what the record
// breaks; nil where nothing.
//
// A record that does not extend the line, such as one after a gap, is reported
// and then folded all the same, as far as it can be, so that one fault does not
// hide the others. Only what comes before run.opened, after run.closed, or from
// another writer does not count.
func (r *Run) Apply(index uint64, id evidence.ID, rec *evidence.Record, by Signer) []Finding {
	p := place{index, id, rec.Run}
	var found []Finding
	if err := r.Next(rec, by.Name); err != nil {
		f := p.refused(err)
		found = append(found, f)
		if f.Reason != ReasonPrev && f.Reason != ReasonTimeBefore {
			return found
		}
	}
	if rec.OnLine() {
		r.Extend(index, id, rec)
	}
	found = append(found, r.usedUp(p, rec)...)
	if !rec.OnLine() {
		return append(found, r.besideLine(p, rec, by)...)
	}
	found = append(found, r.cite(p, rec)...)
	if r.brief == nil {
		r.takesUp(p, rec.Body)
	}
	switch b := rec.Body.(type) {
	case *evidence.RunOpened:
		r.open(p, rec, b, by)
	case *evidence.RunResumed:
		found = append(found, r.resumed(p, b)...)
	case *evidence.Decision:
		found = append(found, r.account.charge(p, b.Cost, nil)...)
	case *evidence.Authorization:
		found = append(found, r.authorize(p, rec, b, by)...)
	case *evidence.Execution:
		found = append(found, r.execute(p, rec, b, by)...)
	case *evidence.Settlement:
		found = append(found, r.settle(p, b, by)...)
	case *evidence.Checkpoint:
		found = append(found, r.checkpoint(p, b)...)
	case *evidence.Claim:
		r.toJudge(&claimRecord{p, b, index + 1, index})
	case *evidence.Verdict:
		if r.brief == nil {
			r.verdicts = append(r.verdicts, &verdictRecord{p, b})
		}
	case *evidence.HandoffOffered:
		found = append(found, r.account.passesOn(p, b)...)
	case *evidence.RunClosed:
		r.End = b.End
		found = append(found, r.close(p)...)
	}
	return found
}

func (r *Run) open(p place, rec *evidence.Record, b *evidence.RunOpened, by Signer) {
	r.Origin, r.Actor, r.Signer, r.Body = rec.Origin, rec.Actor, by, b
	r.opened, r.openedAt = p, rec.Time
	r.account = &account{run: rec.Run, budget: b.Budget, brief: r.brief}
}

// usedUp reports a use of what can be used once. Attempts are held to their
// numbers in execute.
func (r *Run) usedUp(p place, rec *evidence.Record) []Finding {
	var found []Finding
	if rec.Kind != evidence.KindAuthorization {
		return nil
	}
	for _, u := range Uses(rec) {
		key := useDigest(u)
		if r.brief != nil {
			r.brief.first(key)
			continue
		}
		if r.uses == nil {
			r.uses = make(map[evidence.Digest]uint64)
		}
		if first, again := r.uses[key]; again {
			found = append(found, p.broken(RuleAuthorized, ReasonUsed,
				"an idempotency key, an approval and an escalation to be used once", "%s used before, at index %d", useName(u), first))
			continue
		}
		r.uses[key] = p.index
	}
	return found
}

// besideLine keeps a record that counts once the line names it.
func (r *Run) besideLine(p place, rec *evidence.Record, by Signer) []Finding {
	if r.beside == nil {
		r.beside = make(map[evidence.ID]*besideRecord)
	}
	if r.beside[p.id] != nil {
		return []Finding{p.broken(RuleChain, ReasonUsed, "a record once in the log", "the same bytes again")}
	}
	r.beside[p.id] = &besideRecord{place: p, rec: rec, by: by}
	if r.brief != nil {
		r.brief.first(evidence.Digest(p.id))
	}
	if b, ok := rec.Body.(*evidence.Claim); ok {
		r.toJudge(&claimRecord{p, b, p.index, 0})
	}
	return nil
}

// toJudge keeps a claim for judging, which needs all that a brief run forgets.
func (r *Run) toJudge(c *claimRecord) {
	if r.brief == nil {
		r.claims = append(r.claims, c)
	}
}

// cite lets the records beside the line that rec names count from here on.
func (r *Run) cite(p place, rec *evidence.Record) []Finding {
	var found []Finding
	for _, id := range rec.Cites {
		if r.beside[id] == nil {
			r.brief.lose()
			found = append(found, p.broken(RuleChain, ReasonReference, "cites to name records beside the line that stand before it", "%s", id))
		}
	}
	for _, id := range names(rec) {
		b := r.beside[id]
		if b == nil {
			continue
		}
		r.brief.cites(rec, b)
		if b.cited != 0 {
			continue
		}
		b.cited = p.index
		switch body := b.rec.Body.(type) {
		case *evidence.Confirmation:
			if rec.Kind != evidence.KindExecution && rec.Kind != evidence.KindSettlement { // these say what it is about
				r.confirm(p, b, body)
			}
		case *evidence.Claim:
			for _, c := range r.claims {
				if c.id == id {
					c.cited = p.index
				}
			}
		case *evidence.Decision:
			found = append(found, r.account.charge(p, body.Cost, nil)...)
		case *evidence.HandoffOffered:
			found = append(found, r.account.passesOn(b.place, body)...)
		}
	}
	return found
}

// names returns the records that a line record names and that may stand beside
// the line.
func names(rec *evidence.Record) []evidence.ID {
	ids := append([]evidence.ID(nil), rec.Cites...)
	switch b := rec.Body.(type) {
	case *evidence.Authorization:
		ids = append(ids, b.Decision, b.Approval)
	case *evidence.Execution:
		ids = append(ids, b.Confirmation)
	case *evidence.Settlement:
		ids = append(ids, b.Answer)
	case *evidence.Claim:
		for i := range b.Statements {
			ids = append(ids, b.Statements[i].Cites...)
		}
	case *evidence.Verdict:
		ids = append(ids, b.Claim)
	case *evidence.Escalation:
		ids = append(ids, b.Concerns...)
	case *evidence.HandoffOffered:
		ids = append(ids, b.Evidence...)
	}
	return ids
}

// confirm lends a tool's own word to the last attempt at what it is about.
func (r *Run) confirm(p place, b *besideRecord, body *evidence.Confirmation) {
	about := b.rec.About
	a, i := r.byID[about], -1
	if a != nil {
		i = len(a.attempts) - 1
	} else if t, ok := r.attempts[about]; ok {
		a, i = t.act, t.i
	}
	if a == nil && body.Status != evidence.StatusSuccess {
		r.brief.lose() // a word that may take back what was done; what succeeded stays so by another
	}
	if a == nil || b.by.Name != a.tool {
		return // another tool's word on this one is nobody's
	}
	r.brief.touch(a)
	a.answers = append(a.answers, answer{b.id, p.index, b.by.Key, i, body.Status, evidence.SourceConfirmed, body.Output, body.Refs})
}

// authorize takes a permission check.
func (r *Run) authorize(p place, rec *evidence.Record, b *evidence.Authorization, by Signer) []Finding {
	a := &act{
		id: p.id, index: p.index, key: by.Key, auth: b, time: rec.Time,
		action: b.Action, resource: b.Resource, tool: b.Tool, input: b.Input,
	}
	if r.byID == nil {
		r.byID = make(map[evidence.ID]*act)
	}
	r.byID[p.id] = a
	r.acts = append(r.acts, a)
	a.fault = r.permission(p, a)
	r.brief.touch(a)
	if b.Effect != evidence.Allow {
		return nil
	}
	return r.account.inScope(p, b)
}

// permission returns why nothing may be executed under a, nil where it may.
func (r *Run) permission(p place, a *act) *Finding {
	b := a.auth
	fault := func(reason Reason, expected, found string, args ...any) *Finding {
		f := p.broken(RuleAuthorized, reason, expected, found, args...)
		return &f
	}
	if b.Mode == evidence.Observe || b.Source == evidence.SourceImported {
		return nil // not enforced, and not applicable
	}
	if b.Effect != evidence.Allow {
		return fault(ReasonDenied, "effect allow", "%s", b.Effect)
	}
	if b.Approval.IsZero() {
		return nil
	}
	asked := r.byID[b.Escalated]
	if asked == nil {
		r.brief.lose()
	}
	if asked == nil || asked.auth.Effect != evidence.Escalate {
		return fault(ReasonNotApproved, "escalated to name an earlier authorization of the run with effect escalate", "%s", b.Escalated)
	}
	q := asked.auth
	if q.Step != b.Step || q.Action != b.Action || q.Resource != b.Resource || q.Tool != b.Tool || q.Input != b.Input || q.IdempotencyKey != b.IdempotencyKey {
		return fault(ReasonDiffers, "step, action, resource, tool, input and idempotency key of the authorization that was escalated", "another")
	}
	answer := r.beside[b.Approval]
	if answer == nil {
		r.brief.lose()
		return fault(ReasonNotApproved, "an approval beside the line, before it is used", "%s", b.Approval)
	}
	approval, ok := answer.rec.Body.(*evidence.Approval)
	switch {
	case !ok || answer.rec.About != asked.id:
		return fault(ReasonNotApproved, "an approval about "+asked.id.String(), "a %s about %s", answer.rec.Kind, answer.rec.About)
	case approval.Answer != evidence.Approve:
		return fault(ReasonNotApproved, "the answer approve", "%s", approval.Answer)
	case answer.by.Role != evidence.RoleHuman || !contains(answer.by.Teams, q.Team):
		return fault(ReasonNotApproved, "an approval by a human of team "+q.Team, "%s of %q", answer.by.Name, answer.by.Teams)
	case a.time > approval.Until:
		return fault(ReasonExpired, "the approval to be used until "+approval.Until.String(), "%s", a.time)
	}
	asked.answered = true
	r.brief.touch(asked)
	return nil
}

func contains(list []string, s string) bool {
	for _, t := range list {
		if t == s {
			return true
		}
	}
	return false
}

// execute takes an attempt.
func (r *Run) execute(p place, rec *evidence.Record, b *evidence.Execution, by Signer) []Finding {
	var found []Finding
	a := r.byID[b.Authorization]
	r.happened(p.id)
	if a == nil {
		r.brief.lose()
	}
	fits := a != nil && a.action == b.Action && a.resource == b.Resource && a.tool == b.Tool && a.input == b.Input
	switch {
	case a == nil:
		found = append(found, p.broken(RuleAuthorized, ReasonNoAuthorization, "an earlier authorization of the run", "%s", b.Authorization))
	case !fits:
		found = append(found, p.broken(RuleAuthorized, ReasonDiffers,
			"action, resource, tool and input of the authorization", "another").and(a.id, a.index))
	case a.imported() && b.Source != evidence.SourceImported:
		found = append(found, p.broken(RuleAuthorized, ReasonDiffers,
			"an execution under an imported authorization to be imported too", "source %s", b.Source).and(a.id, a.index))
	case a.fault != nil:
		f := p.broken(RuleAuthorized, a.fault.Reason, a.fault.Expected, "%s", a.fault.Found)
		found = append(found, f.and(a.id, a.index))
	}
	if fits {
		found = append(found, r.nextAttempt(p, a, b)...)
	} else {
		// It counts as what it says it is, under no authorization.
		if a != nil {
			a.misfit = true
		}
		a = &act{index: p.index, key: by.Key, action: b.Action, resource: b.Resource, tool: b.Tool, input: b.Input, time: rec.Time}
		r.acts = append(r.acts, a)
	}
	if r.attempts == nil {
		r.attempts = make(map[evidence.ID]attemptOf)
	}
	r.attempts[p.id] = attemptOf{a, len(a.attempts)}
	r.brief.touch(a)
	a.attempts = append(a.attempts, attempt{p.id, p.index, by.Key, b.Status, b.Source, b.Output, b.Refs})
	if !b.Confirmation.IsZero() {
		found = append(found, r.confirmed(p, a, b)...)
	}
	return append(found, r.spend(p, rec, a, b)...)
}

// nextAttempt: attempts run 1, 2, 3 …, none after a success, none after a doubt
// that nobody settled.
func (r *Run) nextAttempt(p place, a *act, b *evidence.Execution) []Finding {
	if a.imported() {
		return nil
	}
	if want := int64(a.before+len(a.attempts)) + 1; b.Attempt != want {
		return []Finding{p.broken(RuleAuthorized, ReasonAttempt, "attempts to run 1, 2, 3 …", "attempt %d as number %d", b.Attempt, want).and(a.id, a.index)}
	}
	if o, any := a.last(p.index); any && len(a.attempts) > 0 && o.state != notDone {
		return []Finding{p.broken(RuleAuthorized, ReasonAttempt, "no attempt after a success, nor after a doubt that nobody settled", "one after %s", o.status).and(a.id, a.index)}
	} else if any && o.state == done {
		return []Finding{p.broken(RuleAuthorized, ReasonAttempt, "no attempt at what was found done", "one").and(a.id, a.index)}
	}
	return nil
}

// confirmed takes the tool's own word that an execution names.
func (r *Run) confirmed(p place, a *act, b *evidence.Execution) []Finding {
	c := r.beside[b.Confirmation]
	var body *evidence.Confirmation
	if c != nil {
		body, _ = c.rec.Body.(*evidence.Confirmation)
	} else {
		r.brief.lose()
	}
	if body == nil || c.rec.About != b.Authorization || c.by.Name != a.tool {
		return []Finding{p.broken(RuleChain, ReasonReference, "a confirmation by "+a.tool+" about the authorization, before the execution that names it", "%s", b.Confirmation)}
	}
	a.answers = append(a.answers, answer{c.id, p.index, c.by.Key, len(a.attempts) - 1, body.Status, evidence.SourceConfirmed, body.Output, body.Refs})
	return nil
}

func (r *Run) spend(p place, rec *evidence.Record, a *act, b *evidence.Execution) []Finding {
	if a.imported() || !r.account.counts() {
		return nil
	}
	var estimate evidence.Amounts
	if a.auth != nil {
		estimate = a.auth.Estimate
	}
	found := r.account.charge(p, AttemptCost(b, a.before+len(a.attempts) == 1), estimate)
	limit, limited := r.account.budget["wall_ms"]
	if spent := int64(rec.Time - r.openedAt); limited && spent-limit > estimate["wall_ms"] {
		found = append(found, p.broken(RuleBudget, ReasonOverBudget, "the run to act within its wall time, or one attempt's estimate more", "%d ms of %d", spent, limit))
	}
	return found
}
