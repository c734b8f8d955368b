package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/policy"
)

func init() {
	register(&cli.Command{
		Name:  "policy",
		Usage: "write, check and try out the policies of a runtime",
		Description: "Examples:\n" +
			"  # Policies to begin with, and what they are\n" +
			"  ledgerd policy init policies\n" +
			"  ledgerd policy check policies",
		Subcommands: []*cli.Command{
			{
				Name: "init", Usage: "write policies to begin with",
				ArgsUsage: "DIR",
				Description: "DIR must not be there, or be empty.\n\n" +
					"Examples:\n" +
					"  # For ledgerd serve --policies policies\n" +
					"  ledgerd policy init policies",
				Flags: []cli.Flag{outputFlag()}, Action: initPolicies,
			},
			{
				Name: "check", Usage: "read all policies, and say what is wrong and where",
				ArgsUsage: "DIR",
				Description: "DIR is a directory, or a file with the canonical text that a record's policy_set names.\n\n" +
					"Examples:\n" +
					"  # Are they sound?\n" +
					"  ledgerd policy check policies",
				Flags: []cli.Flag{outputFlag()}, Action: checkPolicies,
			},
			{
				Name: "explain", Usage: "say what the policies decide about a request, and why",
				ArgsUsage: "DIR",
				Description: "DIR is a directory, or a file with the canonical text that a record's policy_set names.\n\n" +
					"Examples:\n" +
					"  # May the agent give this refund?\n" +
					"  ledgerd policy explain policies --principal support-agent \\\n" +
					"    --action issue_refund --task complaint --input refund.json\n" +
					"  # As a test: fail unless it is denied\n" +
					"  ledgerd policy explain policies --principal eve --action issue_refund \\\n" +
					"    --input refund.json --expect deny",
				Flags: []cli.Flag{
					outputFlag(),
					&cli.StringFlag{Name: "principal", Usage: "the agent `NAME`", Required: true},
					&cli.StringFlag{Name: "action", Usage: "the tool's `ACTION`", Required: true},
					&cli.StringFlag{Name: "resource", Usage: "what it is done to, `NAME`"},
					&cli.PathFlag{Name: "input", Usage: "what the tool would get, JSON in `FILE`, - for stdin (default: {})"},
					&cli.StringFlag{Name: "tool", Usage: "the tool's `NAME`"},
					&cli.StringFlag{Name: "step", Usage: "the step's `NAME`"},
					&cli.StringFlag{Name: "run", Usage: "the run `RUN`"},
					&cli.StringFlag{Name: "key", Usage: "the run's `KEY`"},
					&cli.StringFlag{Name: "task", Usage: "the run's `TASK`"},
					&cli.StringFlag{Name: "subject", Usage: "the run's `SUBJECT`"},
					&cli.StringFlag{Name: "on-behalf-of", Usage: "the run's principal, `NAME`"},
					&cli.StringSliceFlag{Name: "budget", Usage: "the run's budget, `UNIT=N`, such as usd_micro=500000"},
					&cli.StringSliceFlag{Name: "spent", Usage: "what it has spent, `UNIT=N`"},
					&cli.StringSliceFlag{Name: "estimate", Usage: "what an attempt may cost, `UNIT=N`"},
					&cli.BoolFlag{Name: "approved", Usage: "a human approved it"},
					&cli.StringFlag{Name: "expect", Usage: "fail unless the effect is this one: `allow|deny|escalate`"},
				},
				Action: explainPolicies,
			},
			{
				Name: "suggest", Usage: "draft policies that would permit what a run did, for review",
				Description: "Examples:\n" +
					"  # What this run did, as policies to begin with\n" +
					"  ledgerd policy suggest --run \"$RUN\" --data-dir data > draft.cedar",
				Flags:  ledgerFlags(outputFlag(), &cli.StringFlag{Name: "run", Usage: "what the run `RUN` did", Required: true}),
				Action: with(suggestPolicies),
			},
		},
	})
}

func initPolicies(c *cli.Context) error {
	if err := args(c, "DIR"); err != nil {
		return err
	}
	dir := c.Args().First()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if there, err := os.ReadDir(dir); err != nil {
		return err
	} else if len(there) > 0 {
		return fmt.Errorf("%s is not empty: what is in it stays as it is", dir)
	}
	starter := policy.Starter()
	return fs.WalkDir(starter, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(starter, name)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		return show(c, struct {
			File string `json:"file"`
		}{path}, "wrote "+path)
	})
}

// readPolicies reads a directory, or a canonical text.
func readPolicies(path string) (*policy.Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return policy.Parse(os.DirFS(path))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return policy.ParseDocument(data)
}

func checkPolicies(c *cli.Context) error {
	if err := args(c, "DIR"); err != nil {
		return err
	}
	s, err := readPolicies(c.Args().First())
	if err != nil {
		return err
	}
	all := []*policy.Policy{}
	var text strings.Builder
	for p := range s.Policies() {
		all = append(all, p)
		effect := p.Effect
		if p.Escalate != "" {
			effect += ", asks " + p.Escalate
		}
		fmt.Fprintf(&text, "%-32s %-28s %s\n", p.ID, effect, p.Position)
	}
	fmt.Fprintf(&text, "sound: %d policies, %d entities, set %s", len(all), s.Entities(), s.Digest())
	return show(c, struct {
		Policies []*policy.Policy `json:"policies"`
		Entities int              `json:"entities"`
		Set      string           `json:"set"`
	}{all, s.Entities(), s.Digest()}, text.String())
}

func explainPolicies(c *cli.Context) error {
	if err := args(c, "DIR"); err != nil {
		return err
	}
	switch e := evidence.Effect(c.String("expect")); e {
	case "", evidence.Allow, evidence.Deny, evidence.Escalate:
	default:
		return usage("--expect: want allow, deny or escalate, found %q", e)
	}
	r, err := requestOf(c)
	if err != nil {
		return err
	}
	s, err := readPolicies(c.Args().First())
	if err != nil {
		return err
	}
	d := s.Decide(r)
	err = show(c, struct {
		policy.Decision
		Set string `json:"set"`
	}{d, s.Digest()}, explanation(s, &d))
	if want := c.String("expect"); err == nil && want != "" && string(d.Effect) != want {
		err = fmt.Errorf("expected %s, found %s", want, d.Effect)
	}
	return err
}

// requestOf reads a permission request from the flags.
func requestOf(c *cli.Context) (*runtime.PermissionRequest, error) {
	r := &runtime.PermissionRequest{
		Principal: c.String("principal"), Action: c.String("action"), Resource: c.String("resource"),
		Tool: c.String("tool"), Step: c.String("step"), Approved: c.Bool("approved"), Input: []byte("{}"),
		Run: runtime.RunFacts{
			ID: evidence.RunID(c.String("run")), Key: c.String("key"), Task: c.String("task"),
			Subject: c.String("subject"), Principal: c.String("on-behalf-of"),
		},
	}
	for name, into := range map[string]*evidence.Amounts{"budget": &r.Run.Budget, "spent": &r.Spent, "estimate": &r.Estimate} {
		for _, s := range c.StringSlice(name) {
			unit, text, _ := strings.Cut(s, "=")
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || unit == "" {
				return nil, usage("--%s: want UNIT=N, such as usd_micro=500000, found %q", name, s)
			}
			if *into == nil {
				*into = evidence.Amounts{}
			}
			(*into)[unit] = n
		}
	}
	var err error
	switch path := c.Path("input"); path {
	case "":
	case "-":
		r.Input, err = io.ReadAll(c.App.Reader)
	default:
		r.Input, err = os.ReadFile(path)
	}
	return r, err
}

// explanation says what was decided, by which policies, and where they stand.
func explanation(s *policy.Set, d *policy.Decision) string {
	var b strings.Builder
	b.WriteString(string(d.Effect))
	if d.Team != "" {
		b.WriteString(" to " + d.Team)
	}
	b.WriteString(": " + d.Why)
	list := func(what string, ids []string) {
		for _, id := range ids {
			p := s.Policy(id)
			fmt.Fprintf(&b, "\n  %-10s %s (%s)", what, id, p.Position)
			if p.Escalate != "" {
				b.WriteString(", asks " + p.Escalate)
			}
		}
	}
	list("decides", d.Policies)
	list("permits", d.Permits)
	list("forbids", d.Forbids)
	list("satisfied", d.Satisfied)
	for _, e := range d.Errors {
		fmt.Fprintf(&b, "\n  %-10s %s", "error", e)
	}
	return b.String()
}

func suggestPolicies(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	run, err := evidence.ParseRunID(c.String("run"))
	if err != nil {
		return usage("--run: %v", err)
	}
	found := false
	var did []policy.Did
	for p, err := range t.records(c.Context, run) {
		if err != nil {
			return err
		}
		found = true
		// What was denied, or never ran, the run did not do.
		if b, ok := p.Record.Body.(*evidence.Execution); ok && b.Status != evidence.StatusNotRun {
			did = append(did, policy.Did{Principal: p.Record.Actor, Action: b.Action, Resource: b.Resource})
		}
	}
	switch {
	case !found:
		return fmt.Errorf("%w of %s: nobody opened it", ledger.ErrNoRecord, run)
	case len(did) == 0:
		return errors.New("the run did nothing that a policy could permit")
	}
	if c.String("output") == "text" {
		if _, err := fmt.Fprintf(c.App.Writer, "// A draft from what %s did: review it. What happened is not what should be\n// permitted, and a policy for one resource says nothing about the next.\n", run); err != nil {
			return err
		}
	}
	for _, d := range policy.Suggest(did) {
		if err := show(c, d, "\n"+d.Text); err != nil {
			return err
		}
	}
	return nil
}
