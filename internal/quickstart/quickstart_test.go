package quickstart

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/quickstart/support"
	"ledgerd/internal/raced"
)

// agentEnv has the test's own program be an agent's process.
const agentEnv = "QUICKSTART_TEST_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(agentEnv) != "" {
		if err := Agent(context.Background(), os.Stdin, os.Stdout, slog.New(slog.DiscardHandler)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func options(out io.Writer, dir string) Options {
	return Options{
		DataDir: dir, Out: out, Program: "%s", Logger: slog.New(slog.DiscardHandler),
		Agent: func(ctx context.Context) (*exec.Cmd, error) {
			path, err := os.Executable()
			if err != nil {
				return nil, err
			}
			cmd := exec.CommandContext(ctx, path)
			cmd.Env = append(os.Environ(), agentEnv+"=1")
			return cmd, nil
		},
	}
}

// guided takes the tour, and stays there to look around.
func guided(t *testing.T, out io.Writer, width int) *tour {
	t.Helper()
	o := options(out, filepath.Join(t.TempDir(), "ledger"))
	o.Width = width
	tr, err := open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.close(); err != nil {
			t.Error(err)
		}
	})
	if err := tr.show(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return tr
}

// flat is a page whose lines are not broken. What stands in columns is not for it.
func flat(page string) string { return strings.Join(strings.Fields(page), " ") }

// bodies returns the records of a complaint's run whose body is a T, and those
// bodies, from the ledger and not from what is shown.
func bodies[T evidence.Body](t *testing.T, tr *tour, c support.Complaint) (all []T, placed []evidence.Placed) {
	t.Helper()
	records, err := tr.records(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range records {
		if b, ok := p.Record.Body.(T); ok {
			all, placed = append(all, b), append(placed, p)
		}
	}
	return all, placed
}

// executions of an action in a complaint's run.
func executions(t *testing.T, tr *tour, c support.Complaint, action string) (of []*evidence.Execution) {
	t.Helper()
	all, _ := bodies[*evidence.Execution](t, tr, c)
	for _, b := range all {
		if b.Action == action {
			of = append(of, b)
		}
	}
	return of
}

// TestEvidence: what is told happened, by the records and by the servers.
func TestEvidence(t *testing.T) {
	var out bytes.Buffer
	tr := guided(t, &out, 0)

	t.Run("servers", func(t *testing.T) {
		for c, want := range map[*support.Complaint]int{&cracked: 1, &late: 1, &lost: 1, &dear: 0, &cheap: 0, &broken: 1} {
			if n := tr.mail.to(c.Email); n != want {
				t.Errorf("complaint %s: want %d messages, found %d", c.ID, want, n)
			}
		}
		if n := len(tr.mail.messages()); n != 4 {
			t.Errorf("want 4 messages, found %d", n)
		}
		if made, requests := tr.shop.count("/tickets"); made != 2 || requests < 4 {
			t.Errorf("want 2 tickets of at least 4 requests, found %d of %d", made, requests)
		}
		if made, requests := tr.shop.count("/refunds"); made != 3 || requests != 3 {
			t.Errorf("want 3 refunds of 3 requests, found %d of %d", made, requests)
		}
	})

	t.Run("ends", func(t *testing.T) {
		for c, want := range map[*support.Complaint]struct {
			end     evidence.End
			reason  string
			claims  int
			verdict evidence.Result
		}{
			&cracked: {evidence.Completed, "", 1, evidence.Supported},
			&late:    {evidence.Completed, "", 1, evidence.Supported},
			&lost:    {evidence.Completed, "", 1, evidence.Supported},
			&dear:    {evidence.Stopped, "permission_denied", 0, ""},
			&cheap:   {evidence.Failed, "claim_unsupported", 1, evidence.Unsupported},
			&broken:  {evidence.Completed, "", 1, evidence.Supported},
		} {
			closed, _ := bodies[*evidence.RunClosed](t, tr, *c)
			claims, _ := bodies[*evidence.Claim](t, tr, *c)
			verdicts, _ := bodies[*evidence.Verdict](t, tr, *c)
			if len(closed) != 1 || closed[0].End != want.end || closed[0].Reason != want.reason {
				t.Errorf("complaint %s: want it %s %s, found %+v", c.ID, want.end, want.reason, closed)
			}
			if len(claims) != want.claims || len(verdicts) != want.claims || want.claims > 0 && verdicts[0].Result != want.verdict {
				t.Errorf("complaint %s: want %d claims, %s, found %d and the verdicts %+v", c.ID, want.claims, want.verdict, len(claims), verdicts)
			}
			auths, _ := bodies[*evidence.Authorization](t, tr, *c)
			for _, a := range auths {
				if a.Mode != evidence.Enforce || a.PolicySet == nil || a.Source != evidence.SourceRuntime {
					t.Errorf("complaint %s: %s is not enforced by a policy set that is kept: %+v", c.ID, a.Step, a)
				}
			}
			opened, _ := bodies[*evidence.RunOpened](t, tr, *c)
			if opened[0].Contract == nil || opened[0].Contract.DeclaredBy != "support-lead" || opened[0].Task != c.Task {
				t.Errorf("complaint %s: want a contract that the operator declared, found %+v", c.ID, opened[0])
			}
		}
	})

	t.Run("settled", func(t *testing.T) {
		decisions, _ := bodies[*evidence.Decision](t, tr, cracked)
		checkpoints, _ := bodies[*evidence.Checkpoint](t, tr, cracked)
		tickets, emails := executions(t, tr, cracked, "create_ticket"), executions(t, tr, cracked, "send_email")
		if len(decisions) != 1 || len(checkpoints) != 1 || len(tickets) != 1 || len(emails) != 1 || emails[0].Status != evidence.StatusSuccess {
			t.Errorf("want a decision, a ticket, a checkpoint and an email, found %d, %d, %d, %d", len(decisions), len(tickets), len(checkpoints), len(emails))
		}
	})

	t.Run("retried", func(t *testing.T) {
		tries := executions(t, tr, late, "create_ticket")
		var classes []evidence.Class
		for i, x := range tries {
			classes = append(classes, x.Class)
			if x.Authorization != tries[0].Authorization || x.Attempt != int64(i+1) {
				t.Errorf("want attempt %d under one authorization, and so one key, found %+v", i+1, x)
			}
		}
		if !slices.Equal(classes, []evidence.Class{evidence.ToolTimeout, evidence.ToolUnavailable, ""}) || tries[2].Status != evidence.StatusSuccess {
			t.Errorf("want a timeout, a 503 and a success, found %v", classes)
		}
	})

	t.Run("approved", func(t *testing.T) {
		auths, placed := bodies[*evidence.Authorization](t, tr, lost)
		answers, answered := bodies[*evidence.Approval](t, tr, lost)
		if len(answers) != 1 || answered[0].Record.Actor != "mia" || answered[0].Record.OnLine() || answered[0].Record.About != placed[0].ID {
			t.Fatalf("want mia's approval beside the line, about the first authorization, found %+v", answered)
		}
		if u, err := evidence.Parse(answered[0].Entry); err != nil || u.KeyID() != tr.lead.key.Public().Thumbprint() {
			t.Errorf("want it signed with mia's own key: %v", err)
		}
		if auths[0].Effect != evidence.Escalate || auths[0].Team != leads || auths[1].Approval != answered[0].ID || auths[1].Effect != evidence.Allow {
			t.Errorf("want an escalation and the use of its approval, found %+v and %+v", auths[0], auths[1])
		}
		if paid := executions(t, tr, lost, "issue_refund"); len(paid) != 1 || paid[0].Authorization != placed[1].ID {
			t.Errorf("want one refund under the approval, found %+v", paid)
		}
	})

	t.Run("denied", func(t *testing.T) {
		auths, _ := bodies[*evidence.Authorization](t, tr, dear)
		all, _ := bodies[*evidence.Execution](t, tr, dear)
		if len(auths) != 1 || auths[0].Effect != evidence.Deny || !slices.Equal(auths[0].Policies, []string{"refund-limit"}) || len(all) != 0 {
			t.Errorf("want one denial by refund-limit, and nothing executed, found %+v and %d executions", auths, len(all))
		}
	})

	t.Run("lied", func(t *testing.T) {
		if paid := executions(t, tr, cheap, "issue_refund"); len(paid) != 1 {
			t.Errorf("want the refund, found %+v", paid)
		}
		auths, _ := bodies[*evidence.Authorization](t, tr, cheap)
		if len(auths) != 1 {
			t.Errorf("want nobody to ask for an email, found %d authorizations", len(auths))
		}
	})

	t.Run("killed", func(t *testing.T) {
		auths, placed := bodies[*evidence.Authorization](t, tr, broken)
		resumed, _ := bodies[*evidence.RunResumed](t, tr, broken)
		found, _ := bodies[*evidence.Settlement](t, tr, broken)
		email := placed[len(placed)-1].ID
		if len(auths) != 2 || len(executions(t, tr, broken, "send_email")) != 0 || len(executions(t, tr, broken, "issue_refund")) != 1 {
			t.Errorf("want one refund, and an email without an execution, found %d authorizations", len(auths))
		}
		if len(resumed) != 1 || !slices.Equal(resumed[0].InDoubt, []evidence.ID{email}) {
			t.Errorf("want the email in doubt, found %+v", resumed)
		}
		if len(found) != 1 || found[0].Settles != email || found[0].By != evidence.ByProbe || found[0].Finding != evidence.StatusSuccess {
			t.Fatalf("want the probe to have found it, found %+v", found)
		}
		i := slices.IndexFunc(tr.mail.messages(), func(m message) bool { return m.To == broken.Email })
		if id := tr.mail.messages()[i].ID; !strings.Contains(string(found[0].Refs), id[1:len(id)-1]) {
			t.Errorf("the settlement has %s, the mailbox %s", found[0].Refs, id)
		}
		if page := flat(out.String()); !strings.Contains(page, "(signal: killed)") {
			t.Errorf("want the process to be killed:\n%s", page)
		}
	})

	// Last, because it spoils the books: what happens behind the runtime's back shows.
	t.Run("behind its back", func(t *testing.T) {
		if err := tr.compare(); err != nil {
			t.Fatal(err)
		}
		if err := smtp.SendMail(tr.mail.address(), nil, "a@example.com", []string{"b@example.com"}, []byte("Message-ID: <1@x>\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := tr.compare(); err == nil || !strings.Contains(err.Error(), "emails") {
			t.Errorf("want a message too many to show, found %v", err)
		}
	})
}

// TestRun: a reader sees six complaints, what became of each claim, and a lie
// caught; and what the page says of a bundle is what its file says.
func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	var out bytes.Buffer
	if err := Run(t.Context(), options(&out, dir)); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	if strings.ContainsRune(page, 0x1b) {
		t.Error("escape sequences in what is not a terminal")
	}
	for _, want := range []string{
		"✓ supported", "✗ unsupported", "✗ not met", "no send_email", "refund-limit", "(signal: killed)", "tool_timeout → tool_unavailable → success",
		"probe found", "held back", "proven wrong exit 1", "verified exit 0", "serve --data-dir", "D=" + dir,
	} {
		if !strings.Contains(flat(page), want) {
			t.Errorf("want %q on the page:\n%s", want, page)
		}
	}
	b, err := os.ReadFile(dir + ".audit/trust.json")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := bundle.ParseTrust(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, exit := range map[string]int{
		"complaint-1041": 0, "complaint-1042": 0, "complaint-1043": 0, "complaint-1044": 1, "complaint-1045": 1, "complaint-1046": 0,
		"complaint-1044.changed": 1,
	} {
		f, err := os.Open(filepath.Join(dir+".audit", name+".bundle"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rep, err := audit.VerifyBundle(f, trust, audit.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rep.ExitCode() != exit {
			t.Errorf("%s: want exit %d, found %d", name, exit, rep.ExitCode())
		}
		changed := strings.HasSuffix(name, ".changed")
		for _, r := range rep.Rules {
			// Of what was not touched, at most what was claimed is broken.
			if r.Status == audit.Broken && !changed && r.Rule != audit.RuleClaim && r.Rule != audit.RuleContract {
				t.Errorf("%s: %s is broken: %v", name, r.Rule, r.Findings)
			}
		}
		if (rep.Rule(audit.RuleSignature).Status == audit.Broken) != changed {
			t.Errorf("%s: signature is %s", name, rep.Rule(audit.RuleSignature).Status)
		}
	}
	// The directory is an ordinary one: a second quickstart leaves it alone.
	if err := Run(t.Context(), options(io.Discard, dir)); err == nil || !strings.Contains(err.Error(), "holds a ledger already") {
		t.Errorf("a quickstart took over a directory that holds a ledger: %v", err)
	}
}

// TestHostile: what a customer writes, and the model repeats, reaches a terminal
// as text only.
func TestHostile(t *testing.T) {
	before := []support.Complaint{cracked, broken}
	t.Cleanup(func() { cracked, broken = before[0], before[1] })
	const evil = "\x1b[2J\x1b]0;owned\a\u202e\u009b31m\r\n1045 Settled"
	cracked.Text, cracked.Customer = "The lid "+evil, "Ines "+evil
	broken.Text, broken.Customer = "Glass "+evil, "Lea "+evil
	var out bytes.Buffer
	guided(t, &out, 80)
	for _, r := range out.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%U on the page:\n%q", r, out.String())
		}
	}
	if !strings.Contains(out.String(), `\u{1b}`) {
		t.Error("want what is hostile to be made visible, found nothing of it")
	}
}

// TestServers: the mail server keeps what it is given, twice if it is given twice;
// the shop does nothing twice under one key.
func TestServers(t *testing.T) {
	m, err := startMail()
	if err != nil {
		t.Fatal(err)
	}
	letter := []byte("Message-ID: <7@x>\r\nSubject: Hello\r\n\r\n.dot\r\n")
	for range 2 {
		if err := smtp.SendMail(m.address(), nil, "a@example.com", []string{"b@example.com"}, letter); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.messages(); m.to("b@example.com") != 2 || got[0] != (message{"<7@x>", "b@example.com", "Hello"}) {
		t.Errorf("want the message twice, found %+v", got)
	}
	status := func(resp *http.Response, err error) int {
		if err != nil {
			t.Fatal(err)
		}
		return errorless(resp.StatusCode, resp.Body.Close())
	}
	for id, want := range map[string]int{"%3C7@x%3E": 200, "7@x": 404, "%3C8@x%3E": 404} {
		if got := status(http.Get(m.mailbox.url + "/messages/" + id)); got != want {
			t.Errorf("the mailbox says %d about %s, want %d", got, id, want)
		}
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}

	s, err := startShop()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, body  string
		want, made int
	}{{"", "{}", 400, 0}, {"a", "{}", 201, 1}, {"a", "{}", 200, 1}, {"a", "[]", 422, 1}, {"b", "{}", 201, 2}} {
		req, err := http.NewRequest(http.MethodPost, s.url+"/refunds", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", c.key)
		got := status(http.DefaultClient.Do(req))
		if made, _ := s.count("/refunds"); got != c.want || made != c.made {
			t.Errorf("%q %s: want %d and %d made, found %d and %d", c.key, c.body, c.want, c.made, got, made)
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func errorless(status int, err error) int {
	if err != nil {
		return -1
	}
	return status
}

func TestLinesFitTheTerminal(t *testing.T) {
	raced.Skip(t)
	for _, width := range []int{80, 120} {
		var out bytes.Buffer
		tr := guided(t, &out, width)
		for line := range strings.Lines(out.String()) {
			// What is to be typed or copied is not broken.
			if w := lipgloss.Width(strings.TrimRight(line, "\n")); w > width && !strings.Contains(line, tr.dir.Path) && !strings.Contains(line, "$D") {
				t.Errorf("%d columns in a terminal of %d: %s", w, width, line)
			}
		}
	}
}

func TestServeRunsUntilItIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	o := options(w, filepath.Join(t.TempDir(), "ledger"))
	o.Serve = true
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	page := make([]byte, 0, 1<<16)
	for buf := make([]byte, 4096); !bytes.Contains(page, []byte("Ctrl-C")); {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, buf[:n]...)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	select {
	case err := <-done:
		t.Fatalf("it ended by itself: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestEditNeedsWhatItChanges: if the record's form changed, tampering would
// silently change nothing, and nothing would be caught.
func TestEditNeedsWhatItChanges(t *testing.T) {
	key, err := evidence.NewPrivateKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	entry, err := evidence.SignPayload([]byte(`{"a":1}`), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edit(entry, [][2]string{{`"b"`, `"c"`}}); err == nil {
		t.Error("a change that does not apply is no error")
	}
	forged, err := edit(entry, [][2]string{{`1`, `2`}})
	if err != nil || bytes.Equal(forged, entry) {
		t.Errorf("want another entry, found %s (%v)", forged, err)
	}
}

// TestMarksDifferWithoutColours: results are told apart without colours.
func TestMarksDifferWithoutColours(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range []evidence.Result{evidence.Supported, evidence.Contradicted, evidence.InDoubt} {
		var out bytes.Buffer
		newView(&out, nil, 80).print(mark(r))
		first := fmt.Sprint([]rune(out.String())[0])
		if seen[first] {
			t.Errorf("%s looks like another result: %s", r, out.String())
		}
		seen[first] = true
	}
}
