package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

func init() {
	party := func(more ...cli.Flag) []cli.Flag {
		return ledgerFlags(append(more, outputFlag(),
			&cli.StringFlag{Name: "as", Usage: "`AGENT` that hands over or takes over", Required: true},
			&cli.PathFlag{Name: "key", Usage: "`FILE` with the key that signs for it (default: the runtime's in --data-dir)"},
		)...)
	}
	trust := &cli.StringSliceFlag{Name: "trust", Usage: "`FILE` with the ledgers of those who hand over, and of those before them; several are trusted together (default: what the peers' trust files name)"}
	artifact := &cli.PathFlag{Name: "artifact", Usage: "`FILE` with the artifact, where it was carried by itself"}
	bare := &cli.BoolFlag{Name: "bare", Usage: "take offers that rest on no evidence: the giver's word is all"}
	runtimeFlag := &cli.StringFlag{Name: "runtime", Usage: "`NAME` of the runtime (default: that of --data-dir)"}
	register(&cli.Command{
		Name:  "handoff",
		Usage: "hand work over, and take over what was verified",
		Description: "Examples:\n" +
			"  # What was handed over, to whom, and what became of it?\n" +
			"  ledgerd handoff list --data-dir data",
		Subcommands: append(inboxCommands(), []*cli.Command{
			{
				Name: "offer", Usage: "offer work of a run to another agent, and write the bundle about the offer",
				Description: "Examples:\n" +
					"  # TO is what the receiver printed, EV the record that the offer rests on\n" +
					"  ledgerd handoff offer --as scout --run-key research-1 --to \"$TO\" \\\n" +
					"    --task analyse --scope 'chart:report/*' --evidence \"$EV\" \\\n" +
					"    -o offer.bundle --data-dir data",
				Flags: party(outFlag("write the bundle"), runtimeFlag,
					&cli.StringFlag{Name: "run-key", Usage: "`KEY` of the run", Required: true},
					&cli.StringFlag{Name: "to", Usage: "`ORIGIN,ACTOR,KEY` of the receiver, as ledgerd handoff receiver prints them", Required: true},
					&cli.StringFlag{Name: "task", Usage: "`TYPE` of task, as the receiver knows it", Required: true},
					&cli.StringSliceFlag{Name: "scope", Usage: "`ACTION:RESOURCE` that is permitted, a final * for all that begin so; once for each", Required: true},
					&cli.StringSliceFlag{Name: "evidence", Usage: "`EV` on which the offer rests; once for each"},
					&cli.PathFlag{Name: "artifact", Usage: "`FILE` that is handed over"},
					&cli.StringFlag{Name: "media", Value: "application/json", Usage: "`TYPE` of the artifact"},
					&cli.StringFlag{Name: "note", Usage: "`TEXT` for the receiver, which nobody verifies"},
					&cli.DurationFlag{Name: "for", Value: time.Hour, Usage: "how `LONG` it can be accepted"},
					&cli.PathFlag{Name: "known", Usage: "`FILE` with the tree head that the receiver knows of this ledger"},
				),
				Action: with(offerHandoff),
			},
			{
				Name: "receiver", Usage: "print for whom offers have to be, to be given to those who offer",
				Description: "Examples:\n" +
					"  # To be given to whoever hands work to our agent\n" +
					"  ledgerd handoff receiver --as analyst --data-dir data",
				Flags: party(),
				Action: with(func(c *cli.Context, t *target) error {
					p, err := t.party(c)
					if err != nil {
						return err
					}
					to := p.Receiver()
					return show(c, to, fmt.Sprintf("%s,%s,%s", to.Origin, to.Actor, to.Key))
				}),
			},
			{
				Name: "known", Usage: "print the tree head of another ledger on which something was accepted",
				Description: "Examples:\n" +
					"  # For their next offer: --known research.head\n" +
					"  ledgerd handoff known ledger.example/research --as analyst \\\n" +
					"    --data-dir data > research.head",
				ArgsUsage: "ORIGIN", Flags: party(),
				Action: with(knownHead),
			},
			{
				Name: "show", Usage: "verify an offer, and show what would be accepted",
				Description: "Examples:\n" +
					"  # Does it verify, and what does it ask for?\n" +
					"  ledgerd handoff show offer.bundle --as analyst --trust research-trust.json \\\n" +
					"    --data-dir data",
				ArgsUsage: "FILE|EV", Flags: party(trust, artifact, bare),
				Action: with(func(c *cli.Context, t *target) error { return receiveHandoff(c, t, showOffer) }),
			},
			{
				Name: "accept", Usage: "accept an offer that verifies, for a run that continues it: a file, or one that waits in the inbox",
				Description: "Examples:\n" +
					"  # Accepted once, for one run; accepted.bundle goes back to the giver\n" +
					"  ledgerd handoff accept offer.bundle --as analyst --trust research-trust.json \\\n" +
					"    --run-key analysis-1 --back accepted.bundle --data-dir data",
				ArgsUsage: "FILE|EV",
				Flags: party(trust, artifact, bare, runtimeFlag,
					&cli.StringFlag{Name: "run-key", Usage: "`KEY` of the run that will continue it", Required: true},
					&cli.PathFlag{Name: "back", Usage: "write the bundle about the acceptance to `FILE`, for the giver"},
				),
				Action: with(func(c *cli.Context, t *target) error { return receiveHandoff(c, t, acceptOffer) }),
			},
			{
				Name: "reject", Usage: "record why an offer is not accepted",
				Description: "Examples:\n" +
					"  # It verifies, and is refused all the same\n" +
					"  ledgerd handoff reject offer.bundle --as analyst --trust research-trust.json \\\n" +
					"    --because busy --data-dir data",
				ArgsUsage: "FILE|EV",
				Flags:     party(trust, artifact, bare, &cli.StringFlag{Name: "because", Usage: "`WORD` of yours, where it verifies"}),
				Action:    with(rejectHandoff),
			},
			{
				Name: "returned", Usage: "record that the receiver accepted: FILE is the bundle about its acceptance",
				Description: "Examples:\n" +
					"  # What came back, checked against both ledgers\n" +
					"  ledgerd handoff returned accepted.bundle --as scout --trust trust.json \\\n" +
					"    --trust analysis-trust.json --data-dir data",
				ArgsUsage: "FILE", Flags: party(trust),
				Action: with(returnedHandoff),
			},
			{
				Name: "graph", Usage: "print who handed what to whom, as far as this ledger knows",
				Description: "Examples:\n" +
					"  # As text\n" +
					"  ledgerd handoff graph --data-dir data\n" +
					"  # As a picture, by dot -Tsvg handoffs.dot\n" +
					"  ledgerd handoff graph --dot --data-dir data > handoffs.dot",
				Flags:  ledgerFlags(outputFlag(), &cli.BoolFlag{Name: "dot", Usage: "for Graphviz"}),
				Action: with(handoffGraph),
			},
			{
				Name: "list", Usage: "list the offers, acceptances and rejections of this ledger",
				Description: "Examples:\n" +
					"  # What was handed over, to whom, and what became of it?\n" +
					"  ledgerd handoff list --data-dir data",
				Flags: ledgerFlags(outputFlag()), Action: with(listHandoffs),
			},
		}...),
	})
}

// handoffs is the ledger as handoffs and runtimes see it.
func (t *target) handoffs() handoff.Ledger {
	if t.remote != nil {
		return client.Handoffs(t.remote)
	}
	return runtime.Embedded{Ledger: t.local.Ledger}
}

// runtimeLedger is the same as a runtime sees it.
func (t *target) runtimeLedger() runtime.Ledger {
	if t.remote != nil {
		return client.Runtime(t.remote)
	}
	return runtime.Embedded{Ledger: t.local.Ledger}
}

// party is this side of a handoff.
func (t *target) party(c *cli.Context) (*handoff.Party, error) {
	g, err := t.registry(c.Context)
	if err != nil {
		return nil, err
	}
	p := &handoff.Party{Ledger: t.handoffs(), Origin: g.Origin, Agent: c.String("as"), Bare: c.Bool("bare")}
	if p.Key, err = signingKey(c); err != nil {
		return nil, err
	}
	p.Trust, err = trustOf(c)
	return p, err
}

// trustOf reads --trust; without, nobody is trusted.
func trustOf(c *cli.Context) (*bundle.Trust, error) {
	names := c.StringSlice("trust")
	if len(names) == 0 {
		return new(bundle.Trust), nil
	}
	files := make([]*bundle.Trust, 0, len(names))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		t, err := bundle.ParseTrust(b)
		if err != nil {
			return nil, fmt.Errorf("--trust %s: %w", name, err)
		}
		files = append(files, t)
	}
	return bundle.JoinTrust(files...)
}

// signingKey is --key, or the runtime's in --data-dir.
func signingKey(c *cli.Context) (*evidence.PrivateKey, error) {
	if path := c.Path("key"); path != "" {
		return datadir.ReadKey(path)
	}
	if c.Path("data-dir") == "" {
		return nil, usage("want --key FILE: the key that signs for %s", c.String("as"))
	}
	d, err := dataDir(c)
	if err != nil {
		return nil, err
	}
	return d.Key(d.Runtime)
}

// driver is a runtime that permits nothing: it only keeps lines.
func (t *target) driver(c *cli.Context, p *handoff.Party) (*runtime.Runtime, error) {
	name := c.String("runtime")
	if name == "" {
		if c.Path("data-dir") == "" {
			return nil, usage("want --runtime NAME: the runtime whose run it is")
		}
		d, err := dataDir(c)
		if err != nil {
			return nil, err
		}
		name = d.Runtime
	}
	return runtime.New(runtime.Config{
		Ledger: t.runtimeLedger(), Origin: p.Origin, Actor: name, Key: p.Key, Handoffs: p.For,
		Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
			return runtime.Permission{Effect: evidence.Deny, Mode: evidence.Enforce}, nil
		}),
	})
}

func recipient(s string) (to evidence.Recipient, err error) {
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return to, usage("--to: want ORIGIN,ACTOR,KEY, found %q", s)
	}
	to.Origin, to.Actor = parts[0], parts[1]
	if err := to.Key.UnmarshalText([]byte(parts[2])); err != nil {
		return to, usage("--to: KEY: %v", err)
	}
	return to, nil
}

func offerHandoff(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	p, err := t.party(c)
	if err != nil {
		return err
	}
	o := runtime.Offering{Task: c.String("task"), Note: c.String("note"), Media: c.String("media"), For: c.Duration("for")}
	if o.To, err = recipient(c.String("to")); err != nil {
		return err
	}
	for _, s := range c.StringSlice("scope") {
		action, resource, ok := strings.Cut(s, ":")
		if !ok {
			return usage("--scope: want ACTION:RESOURCE, found %q", s)
		}
		o.Scope = append(o.Scope, evidence.ScopeEntry{Action: action, Resource: resource})
	}
	for _, s := range c.StringSlice("evidence") {
		id, err := evidence.ParseID(s)
		if err != nil {
			return usage("--evidence: %v", err)
		}
		o.Evidence = append(o.Evidence, id)
	}
	if o.Artifact, err = artifactOf(c); err != nil {
		return err
	}
	export := ledger.ExportOptions{}
	if path := c.Path("known"); path != "" {
		note, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		export.Heads = [][]byte{note}
	}
	rt, err := t.driver(c, p)
	if err != nil {
		return err
	}
	run, err := rt.Open(c.Context, c.String("run-key"), runtime.Reopen())
	if err != nil {
		return err
	}
	defer run.Leave(c.Context)
	if export.Offer, err = run.Offer(c.Context, o); err != nil {
		return err
	}
	if err := toFile(c, func(w io.Writer) error { return t.export(c.Context, w, export) }); err != nil {
		return err
	}
	if c.Path("o") == "-" {
		return nil
	}
	return show(c, map[string]any{"offer": export.Offer, "run": run.ID()}, fmt.Sprintf("offered as %s says; give %s to the receiver", export.Offer, c.Path("o")))
}

func (t *target) export(ctx context.Context, w io.Writer, o ledger.ExportOptions) error {
	if t.remote != nil {
		return t.remote.Export(ctx, w, o)
	}
	return t.local.Export(ctx, w, o)
}

// artifactOf reads --artifact; nil: there is none.
func artifactOf(c *cli.Context) ([]byte, error) {
	if c.Path("artifact") == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.Path("artifact"))
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

func knownHead(c *cli.Context, t *target) error {
	if err := args(c, "ORIGIN"); err != nil {
		return err
	}
	p, err := t.party(c)
	if err != nil {
		return err
	}
	k, err := p.Known(c.Context, c.Args().First())
	switch {
	case err != nil:
		return err
	case k == nil:
		return fmt.Errorf("nothing of %s was accepted here", c.Args().First())
	case k.Note == nil:
		return fmt.Errorf("the tree head of size %d of %s is known, but the bundle that held it is gone", k.Size, c.Args().First())
	}
	_, err = c.App.Writer.Write(k.Note)
	return err
}

// received reads what was handed over: a file, or what waits in the inbox.
func (t *target) received(c *cli.Context) (*handoff.Party, []byte, []byte, error) {
	if err := args(c, "FILE|EV"); err != nil {
		return nil, nil, nil, err
	}
	p, err := t.party(c)
	if err != nil {
		return nil, nil, nil, err
	}
	artifact, err := artifactOf(c)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(c.StringSlice("trust")) == 0 {
		if p.Trust, err = t.trustOfPeers(c); err != nil {
			return nil, nil, nil, err
		}
	}
	if offer, err := evidence.ParseID(c.Args().First()); err == nil {
		b, err := t.offerBundle(c, offer)
		return p, b, artifact, err
	}
	b, err := readBundle(c.Args().First())
	return p, b, artifact, err
}

// readBundle reads a file, - for stdin, up to one byte more than is accepted.
func readBundle(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, handoff.MaxBundle+1))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, handoff.MaxBundle+1))
	return b, errors.Join(err, f.Close())
}

func receiveHandoff(c *cli.Context, t *target, then func(*cli.Context, *target, *handoff.Party, *handoff.Verified) error) error {
	p, b, artifact, err := t.received(c)
	if err != nil {
		return err
	}
	v, err := p.Verify(c.Context, b, artifact)
	if err != nil {
		return err
	}
	return then(c, t, p, v)
}

// offerView is an offer as it is shown.
type offerView struct {
	Offer    evidence.ID           `json:"offer"`
	From     string                `json:"from"`
	Origin   string                `json:"origin"`
	To       string                `json:"to"`
	Task     string                `json:"task"`
	Scope    []evidence.ScopeEntry `json:"scope"`
	Evidence []evidence.ID         `json:"evidence,omitempty"`
	Artifact string                `json:"artifact,omitempty"`
	Note     string                `json:"unverified_note,omitempty"`
	Expires  evidence.Time         `json:"expires"`
}

func showOffer(c *cli.Context, _ *target, _ *handoff.Party, v *handoff.Verified) error {
	o := v.Offer()
	w := offerView{
		Offer: v.ID(), From: v.Giver(), Origin: v.Origin(), To: o.To.Actor, Task: o.Task, Scope: o.Scope, Evidence: o.Evidence,
		Artifact: string(v.Artifact()), Note: string(v.Note()), Expires: o.Expires,
	}
	var scope []string
	for _, s := range o.Scope {
		scope = append(scope, s.Action+" on "+s.Resource)
	}
	text := fmt.Sprintf("VERIFIED  %s\nfrom      %s of %s\nto        %s\ntask      %s\nscope     %s\nexpires   %s\nevidence  %d records, all of which stand\nrecords   %d of the giver's ledger\n",
		w.Offer, w.From, w.Origin, w.To, w.Task, strings.Join(scope, "; "), w.Expires, len(w.Evidence), v.Report().Scope.Records)
	if o.Artifact != nil {
		text += fmt.Sprintf("artifact  %d bytes of %s, as the offer commits to\n", len(v.Artifact()), o.Artifact.Media)
	}
	if o.Note != nil {
		text += "note      which nobody verified: " + w.Note + "\n"
	}
	return show(c, w, strings.TrimSuffix(text, "\n"))
}

func acceptOffer(c *cli.Context, t *target, p *handoff.Party, v *handoff.Verified) error {
	rt, err := t.driver(c, p)
	if err != nil {
		return err
	}
	a, err := p.Accept(c.Context, v, rt.RunID(c.String("run-key")))
	if err != nil {
		return err
	}
	if path := c.Path("back"); path != "" {
		if err := newFile(path, func(w io.Writer) error { return t.export(c.Context, w, ledger.ExportOptions{Record: a.ID()}) }); err != nil {
			return err
		}
	}
	return show(c, map[string]any{"acceptance": a.ID(), "offer": a.OfferID(), "opens": a.Opens()},
		fmt.Sprintf("accepted, as %s says; it opens %s alone", a.ID(), a.Opens()))
}

func rejectHandoff(c *cli.Context, t *target) error {
	p, b, artifact, err := t.received(c)
	if err != nil {
		return err
	}
	v, err := p.Verify(c.Context, b, artifact)
	r := handoff.AsRefused(err)
	switch {
	case err != nil && r == nil:
		return err
	case r == nil && c.String("because") == "":
		return usage("the offer %s verifies: want --because WORD to reject it all the same", v.ID())
	case r == nil:
		r = &handoff.Refused{Reason: handoff.Reason(c.String("because")), Offer: v.ID(), Origin: v.Origin(), Expected: "work that is wanted", Found: "work that is not"}
	}
	id, err := p.Reject(c.Context, r)
	if err != nil {
		return err
	}
	return show(c, map[string]any{"rejection": id, "offer": r.Offer, "reason": r.Reason}, fmt.Sprintf("rejected, as %s says: %s", id, r))
}

func returnedHandoff(c *cli.Context, t *target) error {
	p, b, _, err := t.received(c)
	if err != nil {
		return err
	}
	id, err := p.Returned(c.Context, b)
	if err != nil {
		return err
	}
	return show(c, map[string]any{"recorded": id}, fmt.Sprintf("recorded, as %s says", id))
}

// handoffView is a record of a handoff as it is shown.
type handoffView struct {
	ID     evidence.ID   `json:"id"`
	Kind   evidence.Kind `json:"kind"`
	Time   string        `json:"time"`
	Actor  string        `json:"actor"`
	Offer  evidence.ID   `json:"offer"`
	With   string        `json:"with"` // the other side: its ledger, and the actor where it is known
	Task   string        `json:"task,omitempty"`
	Run    string        `json:"run,omitempty"` // that offered, or that the acceptance opens
	Reason string        `json:"reason,omitempty"`

	Delivery *api.Delivery `json:"delivery,omitempty"`
}

func listHandoffs(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	sent, err := t.deliveries(c)
	if err != nil {
		return err
	}
	found := 0
	for _, kind := range []evidence.Kind{evidence.KindHandoffOffered, evidence.KindHandoffAccepted, evidence.KindHandoffRejected} {
		for p, err := range t.handoffs().Find(c.Context, ledger.Filter{Kind: kind}) {
			if err != nil {
				return err
			}
			w := handoffView{ID: p.ID, Kind: kind, Time: p.Record.Time.String(), Actor: p.Record.Actor, Offer: p.ID}
			line := fmt.Sprintf("%s  %s  %-16s  %s", w.ID, w.Time, kind, w.Actor)
			switch b := p.Record.Body.(type) {
			case *evidence.HandoffOffered:
				w.With, w.Task, w.Run = b.To.Origin+" "+b.To.Actor, b.Task, string(p.Record.Run)
				line += fmt.Sprintf("  to %s of %s: %s", b.To.Actor, b.To.Origin, b.Task)
			case *evidence.HandoffAccepted:
				w.Offer, w.With, w.Run = b.Offer, b.Origin, string(b.Opens)
				if b.Acceptance.IsZero() {
					line += fmt.Sprintf("  took %s of %s, for %s", b.Offer, b.Origin, b.Opens)
				} else {
					line += fmt.Sprintf("  %s was taken by %s, for its %s", b.Offer, b.Origin, b.Opens)
				}
			case *evidence.HandoffRejected:
				w.Offer, w.With, w.Reason = b.Offer, b.Origin, b.Reason
				line += fmt.Sprintf("  not %s of %s: %s", b.Offer, b.Origin, b.Reason)
			}
			if w.Delivery = sent[p.ID]; w.Delivery != nil {
				line += "  [" + strings.TrimSuffix(w.Delivery.State+": "+w.Delivery.Reason, ": ") + "]"
			}
			if err := show(c, w, line); err != nil {
				return err
			}
			found++
		}
	}
	if found == 0 {
		_, err := fmt.Fprintln(c.App.ErrWriter, "nothing was handed over")
		return err
	}
	return nil
}
