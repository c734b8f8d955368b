package evidence

import "fmt"

func (b *RunOpened) check(c *checker) {
	c.identifier("principal", b.Principal)
	c.optional("subject", b.Subject)
	c.identifier("task", b.Task)
	c.commitment("intent", b.Intent)
	c.commitment("input", b.Input)
	if b.Contract != nil {
		c.commitment("contract/document", &b.Contract.Document)
		c.identifier("contract/declared_by", b.Contract.DeclaredBy)
	}
	c.amounts("budget", b.Budget)
	c.identifier("runtime", b.Runtime)
	if b.Source != "" {
		oneOf(c, "source", b.Source, SourceImported, SourceObserved, SourceReported)
	}
	c.optional("imported", b.Imported)
	c.only("imported", b.Imported != "", b.Source == SourceImported, "where source is imported")
}

func (b *RunResumed) check(c *checker) {
	c.identifier("reason", b.Reason)
	c.ids("in_doubt", b.InDoubt)
}

func (b *Context) check(c *checker) {
	c.require("sources", len(b.Sources) > 0)
	for i := range b.Sources {
		s := &b.Sources[i]
		c.identifier(fmt.Sprintf("sources/%d/name", i), s.Name)
		c.commitment(fmt.Sprintf("sources/%d/content", i), &s.Content)
	}
}

func (b *Decision) check(c *checker) {
	c.optional("step", b.Step)
	c.identifier("model", b.Model)
	c.commitment("question", b.Question)
	c.commitment("choice", &b.Choice)
	c.commitment("rationale", b.Rationale)
	c.ids("context", b.Context)
	c.amounts("cost", b.Cost)
}

func (b *Authorization) check(c *checker) {
	c.identifier("step", b.Step)
	c.identifier("action", b.Action)
	c.optional("resource", b.Resource)
	c.identifier("tool", b.Tool)
	c.commitment("tool_schema", b.ToolSchema)
	c.commitment("input", &b.Input)
	c.object("params", b.Params)
	c.identifier("idempotency_key", b.IdempotencyKey)
	oneOf(c, "effect", b.Effect, Allow, Deny, Escalate)
	oneOf(c, "mode", b.Mode, Enforce, Observe)
	c.identifiers("policies", b.Policies)
	c.commitment("policy_set", b.PolicySet)
	c.commitment("errors", b.Errors)
	c.optional("team", b.Team)
	if (b.Effect == Escalate) != (b.Team != "") {
		c.fail("team", "want the team that is asked with effect escalate, and with no other")
	}
	if b.Escalated.IsZero() != b.Approval.IsZero() {
		c.fail("approval", "want escalated and approval together or neither")
	}
	if !b.Approval.IsZero() && b.Effect == Escalate {
		c.fail("approval", "want effect allow or deny once an approval is used")
	}
	if b.Errors != nil && b.Effect != Deny {
		c.fail("errors", "want effect deny where the evaluation had errors, found %q", b.Effect)
	}
	c.amounts("estimate", b.Estimate)
	oneOf(c, "source", b.Source, SourceRuntime, SourceReported, SourceObserved, SourceImported)
}

func (b *Approval) check(c *checker) {
	oneOf(c, "answer", b.Answer, Approve, Refuse)
	if (b.Answer == Approve) != !b.Until.absent() {
		c.fail("until", "want it with answer approve, and with no other")
	}
	c.time("until", b.Until)
	c.commitment("reason", b.Reason)
}

func (b *Execution) check(c *checker) {
	c.id("authorization", b.Authorization)
	c.identifier("action", b.Action)
	c.optional("resource", b.Resource)
	c.identifier("tool", b.Tool)
	c.commitment("input", &b.Input)
	c.count("attempt", b.Attempt, 1)
	oneOf(c, "status", b.Status, StatusSuccess, StatusFailure, StatusAccepted, StatusUnknown, StatusNotRun)
	if b.Class != "" {
		oneOf(c, "class", b.Class, ToolTimeout, ToolUnavailable, RateLimited, ToolFailed, InvalidToolPayload,
			BadReasoning, PermissionDenied, BudgetExceeded, OutcomeUnknown, ClaimUnsupported)
	}
	failed := b.Status == StatusFailure || b.Status == StatusUnknown
	if b.Status == StatusFailure && b.Class == "" {
		c.fail("class", "want the class of the failure")
	}
	c.only("class", b.Class != "", failed, "with status failure or unknown")
	oneOf(c, "source", b.Source, SourceRuntime, SourceReported, SourceObserved, SourceImported)
	c.commitment("output", b.Output)
	c.object("refs", b.Refs)
	c.only("refs", b.Refs != nil, b.Output != nil, "with an output")
	c.commitment("error", b.Error)
	if b.TookMS != nil {
		c.count("took_ms", *b.TookMS, 0)
	}
	c.amounts("cost", b.Cost)
}

func (b *Confirmation) check(c *checker) {
	oneOf(c, "status", b.Status, StatusSuccess, StatusFailure, StatusNotRun)
	c.commitment("output", b.Output)
	c.object("refs", b.Refs)
	c.only("refs", b.Refs != nil, b.Output != nil, "with an output")
}

func (b *Settlement) check(c *checker) {
	c.id("settles", b.Settles)
	oneOf(c, "by", b.By, ByProbe, ByHuman, ByConfirmation)
	oneOf(c, "finding", b.Finding, StatusSuccess, StatusFailure, StatusNotRun)
	if b.By == ByConfirmation && b.Answer.IsZero() {
		c.fail("answer", "want the confirmation that the settlement rests on")
	}
	c.commitment("output", b.Output)
	c.object("refs", b.Refs)
	c.only("refs", b.Refs != nil, b.Output != nil, "with an output")
}

func (b *Checkpoint) check(c *checker) {
	c.identifier("name", b.Name)
	c.count("sequence", b.Sequence, 1)
	c.commitment("state", &b.State)
	c.ids("covers", b.Covers)
}

func (b *Claim) check(c *checker) {
	c.require("statements", len(b.Statements) > 0)
	for i := range b.Statements {
		c.in(fmt.Sprintf("statements/%d", i), b.Statements[i].check)
	}
}

func (s *Statement) check(c *checker) {
	c.commitment("text", &s.Text)
	for i := range s.Assertions {
		c.in(fmt.Sprintf("assertions/%d", i), s.Assertions[i].check)
	}
	c.ids("cites", s.Cites)
	c.identifiers("steps", s.Steps)
}

func (a *Assertion) check(c *checker) {
	oneOf(c, "kind", a.Kind, AssertContract, AssertAction)
	action := a.Kind == AssertAction
	if action {
		c.identifier("action", a.Action)
	}
	c.only("action", a.Action != "", action, "with kind action")
	c.optional("resource", a.Resource)
	c.only("resource", a.Resource != "", action, "with kind action")
	c.commitment("expect", a.Expect)
	c.only("expect", a.Expect != nil, action, "with kind action")
}

func (b *Verdict) check(c *checker) {
	oneOf(c, "result", b.Result, Supported, Contradicted, Unsupported, InDoubt, Undisclosed, NoContract)
	c.commitment("document", &b.Document)
}

func (b *Escalation) check(c *checker) {
	c.identifier("reason", b.Reason)
	c.identifier("to", b.To)
	c.commitment("text", b.Text)
	c.ids("concerns", b.Concerns)
}

func (b *HandoffOffered) check(c *checker) {
	c.origin("to/origin", b.To.Origin)
	c.identifier("to/actor", b.To.Actor)
	c.require("to/key", !b.To.Key.IsZero())
	c.identifier("task", b.Task)
	c.require("scope", len(b.Scope) > 0)
	for i, s := range b.Scope {
		c.identifier(fmt.Sprintf("scope/%d/action", i), s.Action)
		c.identifier(fmt.Sprintf("scope/%d/resource", i), s.Resource)
	}
	c.commitment("artifact", b.Artifact)
	c.ids("evidence", b.Evidence)
	c.commitment("note", b.Note)
	c.require("expires", !b.Expires.absent())
	c.time("expires", b.Expires)
	c.count("head_max_age_s", b.HeadMaxAge, 1)
}

func (b *HandoffAccepted) check(c *checker) {
	c.id("offer", b.Offer)
	c.origin("origin", b.Origin)
	if _, err := ParseRunID(string(b.Opens)); err != nil {
		c.fail("opens", "%v", err)
	}
	b.Head.check(c)
}

func (h *HeadRef) check(c *checker) {
	c.count("head/size", h.Size, 1)
	c.require("head/root", !h.Root.IsZero())
}

func (b *HandoffRejected) check(c *checker) {
	c.id("offer", b.Offer)
	c.origin("origin", b.Origin)
	c.identifier("reason", b.Reason)
	c.commitment("proof", b.Proof)
}

func (b *RunClosed) check(c *checker) {
	oneOf(c, "end", b.End, Completed, Failed, Stopped)
	c.optional("reason", b.Reason)
	c.commitment("text", b.Text)
}

func (b *LedgerCreated) check(c *checker) {
	c.require("root_keys", len(b.RootKeys) > 0)
	for i := range b.RootKeys {
		c.key(fmt.Sprintf("root_keys/%d", i), &b.RootKeys[i])
	}
	if b.Successor != nil {
		c.origin("successor/origin", b.Successor.Origin)
		c.in("successor", b.Successor.Head.check)
	}
}

func (c *checker) key(member string, k *JWK) {
	if _, err := k.PublicKey(); err != nil {
		c.fail(member, "%v", err)
	}
}

func (b *ActorRegistered) check(c *checker) {
	c.identifier("name", b.Name)
	oneOf(c, "role", b.Role, RoleRuntime, RoleAgent, RoleTool, RoleHuman)
	if (b.Key != nil) == (b.Host != "") {
		c.fail("key", "want a key or a host, and not both")
	}
	if b.Key != nil {
		c.key("key", b.Key)
	}
	c.optional("host", b.Host)
	c.only("host", b.Host != "", b.Role == RoleAgent, "with role agent")
	c.identifiers("teams", b.Teams)
	c.only("teams", len(b.Teams) > 0, b.Role == RoleHuman, "with role human")
}

func (b *ActorRevoked) check(c *checker) {
	c.identifier("name", b.Name)
	if b.SuspectFrom != nil {
		c.count("suspect_from", *b.SuspectFrom, 0)
	}
	c.identifier("reason", b.Reason)
}

func (b *PayloadErased) check(c *checker) {
	c.require("commit", !b.Commit.IsZero())
	c.identifier("reason", b.Reason)
}
