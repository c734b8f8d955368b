package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/internal/server"
	"ledgerd/ledger"
)

func init() {
	answer := func(more ...cli.Flag) []cli.Flag {
		return ledgerFlags(append(more, outputFlag(),
			&cli.PathFlag{Name: "key", Usage: "your private key in `FILE` (JWK, 0600); it signs here and goes nowhere", Required: true},
			&cli.StringFlag{Name: "as", Usage: "`NAME` that you are registered under", Required: true},
			&cli.StringFlag{Name: "reason", Usage: "`TEXT` for whoever reads the answer"})...)
	}
	register(&cli.Command{
		Name:  "approvals",
		Usage: "answer what agents wait for",
		Description: "Examples:\n" +
			"  # What waits for an answer?\n" +
			"  ledgerd approvals list --data-dir data",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list what waits for a human, in open runs",
				Description: "Examples:\n" +
					"  # What waits for an answer?\n" +
					"  ledgerd approvals list --data-dir data",
				Flags: ledgerFlags(outputFlag()), Action: with(listApprovals),
			},
			{
				Name: "show", Usage: "show exactly what would be done",
				Description: "Examples:\n" +
					"  # EV is its name in the list\n" +
					"  ledgerd approvals show \"$EV\" --data-dir data",
				ArgsUsage: "EV", Flags: ledgerFlags(outputFlag()), Action: with(showApproval),
			},
			{
				Name: "approve", Usage: "permit it, once",
				Description: "Examples:\n" +
					"  # Yes, within the next two hours\n" +
					"  ledgerd approvals approve \"$EV\" --as mia --key mia.jwk --until 2h \\\n" +
					"    --data-dir data",
				ArgsUsage: "EV",
				Flags:     answer(&cli.DurationFlag{Name: "until", Value: time.Hour, Usage: "for how `LONG` from now the approval can be used"}),
				Action:    with(func(c *cli.Context, t *target) error { return answerApproval(c, t, evidence.Approve) }),
			},
			{
				Name: "refuse", Usage: "refuse it",
				Description: "Examples:\n" +
					"  # No, and why\n" +
					"  ledgerd approvals refuse \"$EV\" --as mia --key mia.jwk \\\n" +
					"    --reason 'paid last week' --data-dir data",
				ArgsUsage: "EV", Flags: answer(),
				Action: with(func(c *cli.Context, t *target) error { return answerApproval(c, t, evidence.Refuse) }),
			},
		},
	})
}

// question is an authorization that waits for a human.
type question struct {
	ID       evidence.ID    `json:"id"`
	Run      evidence.RunID `json:"run"`
	Step     string         `json:"step"`
	Actor    string         `json:"actor"`
	Action   string         `json:"action"`
	Resource string         `json:"resource,omitempty"`
	Tool     string         `json:"tool"`
	Team     string         `json:"team"`
	Since    string         `json:"since"`
	Policies []string       `json:"policies,omitempty"`
	Input    string         `json:"input,omitempty"` // show: the exact bytes

	Commit evidence.Digest `json:"commit"` // to the input
}

// folded is a run with what its records come to.
type folded struct {
	state  *checkpoint.State
	placed map[evidence.ID]evidence.Placed
}

// fold reads a run.
func (t *target) fold(ctx context.Context, run evidence.RunID, g *api.Registry) (*folded, error) {
	f := &folded{placed: make(map[evidence.ID]evidence.Placed)}
	beside := func(name string) audit.Signer {
		by := audit.Signer{Name: name}
		if a := actorOf(g, name); a != nil {
			by.Role, by.Teams = a.Role, a.Teams
		}
		return by
	}
	var err error
	f.state, err = checkpoint.Fold(t.records(ctx, run), beside, func(p evidence.Placed) { f.placed[p.ID] = p })
	return f, err
}

func actorOf(g *api.Registry, name string) *api.Actor {
	for i := range g.Actors {
		if g.Actors[i].Name == name {
			return &g.Actors[i]
		}
	}
	return nil
}

// runs yields the runs in the order in which they were opened.
func (t *target) runs(ctx context.Context) iter.Seq2[*api.Run, error] {
	return func(yield func(*api.Run, error) bool) {
		if t.remote != nil {
			for r, err := range t.remote.Runs(ctx, nil) {
				if !yield(&r, err) || err != nil {
					return
				}
			}
			return
		}
		for p, err := range t.local.Find(ctx, ledger.Filter{Kind: evidence.KindRunOpened}) {
			var r *api.Run
			if err == nil {
				r, err = server.Summary(ctx, t.local.Ledger, p.Record.Run)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (t *target) get(ctx context.Context, id evidence.ID) (evidence.Placed, error) {
	if t.remote != nil {
		return t.remote.Get(ctx, id)
	}
	return t.local.Get(ctx, id)
}

// payload reads a payload, whole.
func (t *target) payload(ctx context.Context, d evidence.Digest) ([]byte, error) {
	if t.remote != nil {
		p, err := t.remote.Payload(ctx, d)
		if err != nil {
			return nil, err
		}
		return p.Data, nil
	}
	p, err := t.local.Payload(ctx, d)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(p)
	return data, errors.Join(err, p.Close())
}

func (t *target) putPayload(ctx context.Context, p evidence.Payload) error {
	var err error
	if t.remote != nil {
		_, err = t.remote.PutPayloads(ctx, []evidence.Payload{p})
	} else {
		_, err = t.local.PutPayloads(ctx, []evidence.Payload{p})
	}
	return err
}

func questionOf(p *evidence.Placed) (*question, error) {
	b, ok := p.Record.Body.(*evidence.Authorization)
	if !ok || b.Effect != evidence.Escalate || b.Mode != evidence.Enforce {
		return nil, fmt.Errorf("%s is no question to a human: want an authorization that was escalated", p.ID)
	}
	return &question{
		ID: p.ID, Run: p.Record.Run, Step: b.Step, Actor: p.Record.Actor, Action: b.Action, Resource: b.Resource, Tool: b.Tool,
		Team: b.Team, Since: p.Record.Time.String(), Policies: b.Policies, Commit: b.Input.Commit,
	}, nil
}

func listApprovals(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	g, err := t.registry(c.Context)
	if err != nil {
		return err
	}
	waiting := 0
	for r, err := range t.runs(c.Context) {
		if err != nil {
			return err
		}
		if r.Closed {
			continue
		}
		f, err := t.fold(c.Context, r.Run, g)
		if err != nil {
			return err
		}
		for _, w := range f.state.Waiting(evidence.TimeOf(time.Now())) {
			p := f.placed[w.Action.Authorization]
			q, err := questionOf(&p)
			if err != nil {
				return err
			}
			line := fmt.Sprintf("%s  %s  %s  step %s: %s", q.ID, q.Since, q.Run, q.Step, q.Action)
			if q.Resource != "" {
				line += " on " + q.Resource
			}
			line += "  asks " + q.Team
			if len(q.Policies) > 0 {
				line += " by " + strings.Join(q.Policies, ",")
			}
			if err := show(c, q, line); err != nil {
				return err
			}
			waiting++
		}
	}
	if waiting == 0 {
		_, err = fmt.Fprintln(c.App.ErrWriter, "nothing waits for a human")
	}
	return err
}

// asked returns the question that a command is about.
func (t *target) asked(c *cli.Context) (*question, error) {
	if err := args(c, "EV"); err != nil {
		return nil, err
	}
	id, err := evidence.ParseID(c.Args().First())
	if err != nil {
		return nil, usage("EV: %v", err)
	}
	p, err := t.get(c.Context, id)
	if err != nil {
		return nil, err
	}
	q, err := questionOf(&p)
	if err != nil {
		return nil, err
	}
	input, err := t.payload(c.Context, q.Commit)
	if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload) {
		return nil, fmt.Errorf("what would be done is %s, and nobody can answer for what they cannot read: %w", t.gone(), err)
	}
	if err != nil {
		return nil, err
	}
	q.Input = string(input)
	return q, nil
}

func showApproval(c *cli.Context, t *target) error {
	q, err := t.asked(c)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("question  %s\nrun       %s\nstep      %s\nagent     %s\naction    %s\nresource  %s\ntool      %s\nteam      %s\nsince     %s\npolicies  %s\n",
		q.ID, q.Run, q.Step, q.Actor, q.Action, q.Resource, q.Tool, q.Team, q.Since, strings.Join(q.Policies, ", "))
	return show(c, q, text+fmt.Sprintf("input     %d bytes, exactly:\n%s", len(q.Input), q.Input))
}

// open reports why a question cannot be answered by somebody, nil where it can.
func (t *target) open(c *cli.Context, q *question, g *api.Registry, key *evidence.PublicKey) error {
	name := c.String("as")
	a := actorOf(g, name)
	switch {
	case a == nil || !a.Active || a.Role != evidence.RoleHuman:
		return fmt.Errorf("no human called %q is registered, with a key that holds", name)
	case !slices.Contains(a.Teams, q.Team):
		return fmt.Errorf("the team %q is asked, and %s is of %q", q.Team, name, strings.Join(a.Teams, ", "))
	case !slices.ContainsFunc(a.Keys, func(k api.Key) bool { return k.Kid == key.Thumbprint() && k.Revoked == nil }):
		return fmt.Errorf("the key %s is none of %s that holds", key.Thumbprint(), name)
	}
	f, err := t.fold(c.Context, q.Run, g)
	if err != nil {
		return err
	}
	if f.state.Run().Closed {
		return fmt.Errorf("%s is closed: nobody waits for an answer any more", q.Run)
	}
	plan := f.state.Plan(q.Step, evidence.TimeOf(time.Now()))
	switch {
	case plan.Action.Authorization != q.ID:
		return fmt.Errorf("it was answered, and the run went on: step %q rests on %s by now", q.Step, plan.Action.Authorization)
	case plan.Next != checkpoint.Ask:
		return fmt.Errorf("it was answered already: %s by %s in %s", plan.Answered.Answer, f.placed[plan.Approval].Record.Actor, plan.Approval)
	}
	return nil
}

func answerApproval(c *cli.Context, t *target, answer evidence.Answer) error {
	q, err := t.asked(c)
	if err != nil {
		return err
	}
	key, err := datadir.ReadKey(c.Path("key"))
	if err != nil {
		return err
	}
	g, err := t.registry(c.Context)
	if err != nil {
		return err
	}
	if err := t.open(c, q, g, key.Public()); err != nil {
		return err
	}
	now := time.Now()
	body := &evidence.Approval{Answer: answer}
	if answer == evidence.Approve {
		if c.Duration("until") <= 0 {
			return usage("--until: want how long from now, such as 1h, found %s", c.Duration("until"))
		}
		body.Until = evidence.TimeOf(now.Add(c.Duration("until")))
	}
	if reason := c.String("reason"); reason != "" {
		p := evidence.Payload{Media: "text/plain", Data: []byte(reason)}
		if _, err := rand.Read(p.Salt[:]); err != nil {
			return err
		}
		if err := t.putPayload(c.Context, p); err != nil {
			return err
		}
		commit := p.Commitment()
		body.Reason = &commit
	}
	entry, err := evidence.Sign(&evidence.Record{
		Origin: g.Origin, Kind: body.Kind(), Run: q.Run, About: q.ID, Registry: &g.Number, Actor: c.String("as"), Time: evidence.TimeOf(now), Body: body,
	}, key)
	if err != nil {
		return err
	}
	placed, err := t.append(c.Context, entry)
	if err != nil {
		return err
	}
	p := placed[0]
	text := fmt.Sprintf("refused, as %s says", p.ID)
	if answer == evidence.Approve {
		text = fmt.Sprintf("approved until %s, as %s says", body.Until, p.ID)
	}
	return show(c, struct {
		ID     evidence.ID     `json:"id"`
		Index  uint64          `json:"index"`
		About  evidence.ID     `json:"about"`
		Answer evidence.Answer `json:"answer"`
	}{p.ID, p.Index, q.ID, answer}, text)
}
