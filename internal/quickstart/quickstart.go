package quickstart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"
)

// Origin and Runtime are those of the ledger that is made.
const (
	Origin  = "quickstart.example/support"
	Runtime = "support-runtime"
)

// Options says how the quickstart runs.
type Options struct {
	DataDir string // where the ledger is made; "": in a temporary directory
	Serve   bool   // leave the daemon running until the context ends
	Out     io.Writer
	Width   int      // columns; 0: those of the terminal that Out is
	Environ []string // as os.Environ
	Program string   // how the reader calls ledgerd and verify, with %s for which
	// Agent is the command that calls Agent with its standard input and output, in
	// another process. It ends when the context does.
	Agent  func(context.Context) (*exec.Cmd, error)
	Logger *slog.Logger
}

// Run runs the quickstart. Everything it shows goes to o.Out; an error means
// that something did not go as it should, and says what.
func Run(ctx context.Context, o Options) (err error) {
	t, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.show(ctx, o); err != nil || !o.Serve {
		return err
	}
	t.view.paragraph("The daemon runs on at " + t.url + ". Ctrl-C stops it.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-t.served:
		t.served <- nil // close waits for it
		return fmt.Errorf("the daemon stopped: %w", err)
	}
}

// show is the tour itself.
func (t *tour) show(ctx context.Context, o Options) error {
	v := t.view
	v.title("ledgerd", "An agent's final answer is a claim, not evidence. Six complaints, worked through by agents whose every action goes through the ledger; here is what they did, what they said, and what the evidence says.")

	v.step("A ledger, and a world to act on")
	v.fact("ledger", "D="+t.dir.Path)
	v.fact("entry 0", t.dir.Entry0.String())
	v.fact("daemon", t.url)
	v.fact("mail server", "smtp://"+t.mail.address()+", its mailbox "+t.mail.mailbox.url)
	v.fact("shop", t.shop.url+", tickets and refunds")
	v.fact("a human", t.lead.name+" of "+leads+", with a key of her own in $D."+t.lead.name)

	v.step("Six complaints, live")
	for _, one := range []func(context.Context) error{t.settled, t.retried, t.approved, t.denied, t.lied, t.crashed} {
		if err := one(ctx); err != nil {
			return err
		}
	}

	if err := t.handOut(ctx); err != nil {
		return err
	}
	v.step("What the servers took, and what the records say")
	if err := t.compare(); err != nil {
		return err
	}

	stories, err := t.check()
	if err != nil {
		return err
	}
	v.step("Each claim, checked offline against its run's bundle")
	v.stories(stories)
	if err := t.checkLog(ctx); err != nil {
		return err
	}

	lie, err := t.tamper()
	if err != nil {
		return err
	}
	v.step("Somebody changes one record in a copy")
	v.lie(lie)

	v.step("What to type next")
	t.next(o)
	v.print("")
	v.paragraph(faint.Render(fmt.Sprintf("All of this took %.1f s.", time.Since(t.begun).Seconds())))
	return nil
}

// next says what the reader could do now.
func (t *tour) next(o Options) {
	say := func(program, what, line string) { t.view.command(fmt.Sprintf(o.Program, program)+" "+line, what) }
	t.view.command("D="+t.dir.Path, "the ledger; $D.desk is what the operator wrote, $D.audit what the auditor has")
	if !o.Serve {
		say("ledgerd", "serve it again", "serve --data-dir $D")
	}
	say("ledgerd", "its runs, with claim and verdict", "run list --data-dir $D")
	say("ledgerd", "the killed one: what was believed, allowed and executed", "run show "+string(t.desk.Run(broken))+" --data-dir $D")
	say("verify", "the lie in full, offline, under every rule", "--trust $D.audit/trust.json $D.audit/complaint-"+cheap.ID+".bundle")
	say("ledgerd", "why a refund was denied; change a policy and ask again",
		"policy explain $D.desk/policies --principal support-agent --action issue_refund --task refund --input $D.desk/refund.json")
}
