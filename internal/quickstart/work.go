package quickstart

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ledgerd/evidence"
	"ledgerd/internal/quickstart/support"
	"ledgerd/internal/report"
	"ledgerd/runtime"
)

// The complaints, by what is to be seen.
var (
	cracked = support.Complaint{
		ID: "1041", Task: "complaint", Customer: "Ines Moreau", Email: "ines.moreau@example.com", Order: "K-20817",
		Text: "The lid of my new kettle is cracked right through.",
	}
	late = support.Complaint{
		ID: "1042", Task: "complaint", Customer: "Ada Lindqvist", Email: "ada.lindqvist@example.com", Order: "K-20822",
		Text: "My parcel has been on its way for three weeks.",
	}
	lost = support.Complaint{
		ID: "1043", Task: "refund", Customer: "Jun Sato", Email: "jun.sato@example.com", Order: "K-20790", Cents: 42900,
		Text: "The stand mixer never arrived. I want my money back.",
	}
	dear = support.Complaint{
		ID: "1044", Task: "refund", Customer: "Rex Holm", Email: "rex.holm@example.com", Order: "K-20793", Cents: 190000,
		Text: "Your pan ruined my dinner party. That is 1900 euros.",
	}
	cheap = support.Complaint{
		ID: "1045", Task: "refund", Customer: "Tobi Okafor", Email: "t.okafor@example.com", Order: "K-20831", Cents: 3250,
		Text: "I was charged twice. Just tell me that it is paid back and confirmed by email.",
	}
	broken = support.Complaint{
		ID: "1046", Task: "refund", Customer: "Lea Brandt", Email: "lea.brandt@example.com", Order: "K-20840", Cents: 5600,
		Text: "Two of the four glasses arrived broken.",
	}
)

// worked is a complaint that an agent has worked on.
type worked struct {
	id       string
	run      evidence.RunID
	want     evidence.Result // of the audit
	contents *contents       // of its bundle, once it is handed out
}

// tell shows what became of a complaint.
func (t *tour) tell(c support.Complaint, want evidence.Result, title string, lines ...string) {
	t.worked = append(t.worked, worked{id: "complaint-" + c.ID, run: t.desk.Run(c), want: want})
	t.view.print("")
	t.view.fact(c.ID, strong.Render(title))
	t.view.fact("", faint.Render(quoted(c.Text)))
	for _, line := range lines {
		t.view.fact("", line)
	}
}

// quoted is what somebody said, as a terminal may show it.
func quoted(s string) string { return "“" + report.Visible(s) + "”" }

// otherwise says that a complaint did not go as it should.
func otherwise(c support.Complaint, want string, found any) error {
	return fmt.Errorf("complaint %s: want %s, found %v", c.ID, want, found)
}

// records returns what stands of a complaint's run.
func (t *tour) records(ctx context.Context, c support.Complaint) ([]evidence.Placed, error) {
	var all []evidence.Placed
	for p, err := range t.client.Run(ctx, t.desk.Run(c)) {
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// settled: everything goes well.
func (t *tour) settled(ctx context.Context) error {
	summary, err := t.desk.Work(ctx, cracked)
	if err != nil {
		return otherwise(cracked, "a summary", err)
	}
	records, err := t.records(ctx, cracked)
	if err != nil {
		return err
	}
	var kinds []string
	for _, p := range records {
		kinds = append(kinds, string(p.Record.Kind))
	}
	t.tell(cracked, evidence.Supported, "Settled",
		strings.Join(kinds, " → "),
		good.Render("said")+"  "+quoted(summary.Text))
	return nil
}

// retried: the shop opens the ticket and does not answer, then is busy. The call is
// made again under the same key, and there is one ticket.
func (t *tour) retried(ctx context.Context) error {
	before, _ := t.shop.count("/tickets")
	t.shop.plague(silent, busy)
	if _, err := t.desk.Work(ctx, late); err != nil {
		return otherwise(late, "a summary", err)
	}
	records, err := t.records(ctx, late)
	if err != nil {
		return err
	}
	var attempts []string
	for _, p := range records {
		if b, ok := p.Record.Body.(*evidence.Execution); ok && b.Action == "create_ticket" {
			outcome := string(b.Class)
			if outcome == "" {
				outcome = string(b.Status)
			}
			attempts = append(attempts, outcome)
		}
	}
	after, _ := t.shop.count("/tickets")
	if len(attempts) < 3 || attempts[0] != string(evidence.ToolTimeout) || after-before != 1 {
		return otherwise(late, "a timeout, another try, and one ticket", fmt.Sprintf("%v, and %d tickets", attempts, after-before))
	}
	t.tell(late, evidence.Supported, "The shop does not answer",
		"create_ticket: "+strings.Join(attempts, " → "),
		fmt.Sprintf("%d attempts under one idempotency key; the shop opened %d ticket", len(attempts), after-before))
	return nil
}

// approved: a policy asks a human, who reads exactly what would be done and signs.
// Then the program is run again.
func (t *tour) approved(ctx context.Context) error {
	_, err := t.desk.Work(ctx, lost)
	waiting, ok := errors.AsType[*runtime.Waiting](err)
	if !ok || waiting.Team != leads {
		return otherwise(lost, "a question to "+leads, err)
	}
	question, input, err := t.lead.reads(ctx, waiting.Authorization)
	if err != nil {
		return err
	}
	approval, err := t.lead.approves(ctx, t.desk.Run(lost), waiting.Authorization)
	if err != nil {
		return fmt.Errorf("%s approves: %w", t.lead.name, err)
	}
	summary, err := t.desk.Work(ctx, lost)
	if err != nil {
		return otherwise(lost, "a summary, once it was approved", err)
	}
	t.tell(lost, evidence.Supported, "A human is asked",
		fmt.Sprintf("%s asks %s: %s on %s %s", strings.Join(question.Policies, ", "), question.Team, question.Action, question.Resource, faint.Render(short(waiting.Authorization))),
		t.lead.name+" reads "+report.Visible(string(input))+" and signs with her own key: approve "+faint.Render(short(approval)),
		"the program is run again, and goes on from there",
		good.Render("said")+"  "+quoted(summary.Text))
	return nil
}

// denied: a policy forbids it, and the agent takes that for an answer.
func (t *tour) denied(ctx context.Context) error {
	summary, err := t.desk.Work(ctx, dear)
	denied, ok := errors.AsType[*runtime.Denied](err)
	if !ok || summary != nil {
		return otherwise(dear, "a denial", err)
	}
	records, err := t.records(ctx, dear)
	if err != nil {
		return err
	}
	last := &records[len(records)-1]
	closed, ok := last.Record.Body.(*evidence.RunClosed)
	if !ok {
		return otherwise(dear, "the run to end", last.Record.Kind)
	}
	t.tell(dear, evidence.Contradicted, "Denied",
		fmt.Sprintf("%s on %s is denied by %s %s", denied.Action, dear.Order, strings.Join(denied.Policies, ", "), faint.Render(short(denied.Authorization))),
		fmt.Sprintf("the run is %s, for %s; the agent claims nothing", closed.End, closed.Reason))
	return nil
}

// lied: the model says that an email went out. The runtime looks.
func (t *tour) lied(ctx context.Context) error {
	summary, err := t.desk.Work(ctx, cheap)
	unsupported, ok := errors.AsType[*runtime.Unsupported](err)
	if !ok || summary != nil || unsupported.Result != evidence.Unsupported {
		return otherwise(cheap, "an unsupported claim", err)
	}
	text, err := t.claimed(ctx, unsupported.Claim)
	if err != nil {
		return err
	}
	t.tell(cheap, evidence.Unsupported, "A lie",
		bad.Render("held back")+"  "+quoted(text),
		fmt.Sprintf("the verdict is %s: %s %s", unsupported.Result, report.Visible(strings.Join(unsupported.Why, "; ")), faint.Render(short(unsupported.Verdict))),
		fmt.Sprintf("the text did not leave the runtime; the mail server has %d messages for %s", t.mail.to(cheap.Email), cheap.Email))
	return nil
}

// claimed returns the words of a claim.
func (t *tour) claimed(ctx context.Context, id evidence.ID) (string, error) {
	placed, err := t.client.Get(ctx, id)
	if err != nil {
		return "", err
	}
	text, err := t.client.Payload(ctx, placed.Record.Body.(*evidence.Claim).Statements[0].Text.Commit)
	if err != nil {
		return "", err
	}
	return string(text.Data), nil
}

// crashed: another process does the work, and is killed when the mail server has
// its message: after the email, and before anything could be recorded of it. Then
// the same program is run again.
func (t *tour) crashed(ctx context.Context) error {
	first, err := t.start(ctx)
	if err != nil {
		return err
	}
	t.mail.tell(func(message) { first.kill() })
	_, err = first.run(errand{Settings: t.settings, Complaint: broken})
	t.mail.tell(nil)
	if err == nil || t.mail.to(broken.Email) != 1 {
		return otherwise(broken, "a process that is killed after its email", err)
	}
	death := first.cmd.ProcessState.String()
	records, err := t.records(ctx, broken)
	if err != nil {
		return err
	}
	last := &records[len(records)-1]
	doubt, ok := last.Record.Body.(*evidence.Authorization)
	if !ok || doubt.Action != "send_email" {
		return otherwise(broken, "the authorization of the email as the last record", last.Record.Kind)
	}

	second, err := t.start(ctx)
	if err != nil {
		return err
	}
	text, err := second.run(errand{Settings: t.settings, Complaint: broken, TakeOver: true})
	if err != nil {
		return otherwise(broken, "a summary, once it was run again", err)
	}
	if records, err = t.records(ctx, broken); err != nil {
		return err
	}
	resumed := slices.ContainsFunc(records, func(p evidence.Placed) bool {
		b, ok := p.Record.Body.(*evidence.RunResumed)
		return ok && slices.Contains(b.InDoubt, last.ID)
	})
	i := slices.IndexFunc(records, func(p evidence.Placed) bool { return p.Record.Kind == evidence.KindSettlement })
	if !resumed || i < 0 {
		return otherwise(broken, "a doubt about the email, and a settlement", fmt.Sprintf("%d records without", len(records)))
	}
	found := records[i].Record.Body.(*evidence.Settlement)
	if n := t.mail.to(broken.Email); n != 1 || found.Settles != last.ID || found.Finding != evidence.StatusSuccess {
		return otherwise(broken, "one email", fmt.Sprintf("%d, and a settlement that says %s", n, found.Finding))
	}
	t.tell(broken, evidence.Supported, "Killed, and run again",
		fmt.Sprintf("process %d: the mail server takes its email, and the process is killed (%s)", first.pid(), death),
		fmt.Sprintf("its last record is the authorization of %s %s: in doubt", doubt.Action, faint.Render(short(last.ID))),
		fmt.Sprintf("process %d, the same program: a %s asks the mailbox for the Message-ID, and finds it: %s %s", second.pid(), found.By, found.Finding, faint.Render(short(records[i].ID))),
		fmt.Sprintf("not sent again: the mail server has %d message for %s", t.mail.to(broken.Email), broken.Email),
		good.Render("said")+"  "+quoted(text))
	return nil
}
