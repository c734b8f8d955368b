package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

func init() {
	runFlag := &cli.StringFlag{Name: "run", Usage: "the run `RUN`", Required: true}
	register(&cli.Command{
		Name:  "contract",
		Usage: "check, try out and draft contracts",
		Description: "Examples:\n" +
			"  # Is the contract sound?\n" +
			"  ledgerd contract check contracts/refund.json",
		Subcommands: []*cli.Command{
			{
				Name: "check", Usage: "read contracts, and say what is wrong and where",
				ArgsUsage: "FILE...",
				Description: "FILE is - for stdin. The place of an error is a JSON pointer.\n\n" +
					"Examples:\n" +
					"  # Are they sound?\n" +
					"  ledgerd contract check contracts/*.json",
				Flags: []cli.Flag{outputFlag()}, Action: checkContracts,
			},
			{
				Name: "try", Usage: "say what a contract would have said of a run, as of now, and why",
				ArgsUsage: "FILE",
				Description: "The run need not have the contract. Nothing is recorded.\n\n" +
					"Examples:\n" +
					"  # What would it have said of this run?\n" +
					"  ledgerd contract try contracts/refund.json --run \"$RUN\" --data-dir data\n" +
					"  # As a test: fail unless the run meets it\n" +
					"  ledgerd contract try contracts/refund.json --run \"$RUN\" \\\n" +
					"    --expect supported --data-dir data",
				Flags: ledgerFlags(outputFlag(), runFlag,
					&cli.StringSliceFlag{Name: "trust", Usage: "trust `FILE` that names the ledgers of those who handed work to the run, for what it asks of them"},
					&cli.StringFlag{Name: "weakest-source", Usage: "the weakest source that an auditor lets count: `confirmed|runtime|reported|observed|imported`"},
					&cli.StringFlag{Name: "expect", Usage: "fail unless the result is this one: `supported|contradicted|unsupported|in_doubt|undisclosed|no_contract`"}),
				Action: with(tryContract),
			},
			{
				Name: "suggest", Usage: "draft a contract of what a run did that changed something, for review",
				Description: "What changed something is what the run's own contract has in only; or else every action but those of --reads.\n\n" +
					"Examples:\n" +
					"  # What this run changed, as a contract to begin with\n" +
					"  ledgerd contract suggest --run \"$RUN\" --reads lookup \\\n" +
					"    --data-dir data > draft.json",
				Flags: ledgerFlags(runFlag,
					&cli.StringSliceFlag{Name: "reads", Usage: "`ACTION` changes nothing"}),
				Action: with(suggestContract),
			},
		},
	})
}

func readContract(c *cli.Context, path string) (doc []byte, contract *audit.Contract, err error) {
	if path == "-" {
		doc, err = io.ReadAll(c.App.Reader)
	} else {
		doc, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, nil, err
	}
	if contract, err = audit.ParseContract(doc); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return doc, contract, nil
}

func checkContracts(c *cli.Context) error {
	if c.NArg() == 0 {
		return usage("%s: want FILE...", c.Command.FullName())
	}
	var wrong []error
	for _, path := range c.Args().Slice() {
		_, contract, err := readContract(c, path)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		asks := fmt.Sprintf("%d expected, %d forbidden, %d that change something", len(contract.Expects), len(contract.Forbids), len(contract.Only))
		if contract.Empty() {
			asks = "asks for nothing: a run under it ends as no_contract"
		}
		err = show(c, struct {
			File          string          `json:"file"`
			Task          string          `json:"task"`
			WeakestSource evidence.Source `json:"weakest_source"`
			Expects       int             `json:"expects"`
			Forbids       int             `json:"forbids"`
			Only          int             `json:"only"`
			Digest        evidence.Digest `json:"digest"`
		}{path, contract.Task, contract.WeakestSource, len(contract.Expects), len(contract.Forbids), len(contract.Only), contract.Digest()},
			fmt.Sprintf("%s: sound: task %s, %s, digest %s", path, contract.Task, asks, contract.Digest()))
		if err != nil {
			return err
		}
	}
	return errors.Join(wrong...)
}

// disclosed reads the payloads of a ledger as they are asked for.
type disclosed struct {
	t    *target
	ctx  context.Context //nolint:containedctx // audit.Payloads asks without one
	errs []error
}

// Payload implements audit.Payloads.
func (d *disclosed) Payload(commit evidence.Digest) ([]byte, bool) {
	data, err := d.t.payload(d.ctx, commit)
	if err != nil && !errors.Is(err, ledger.ErrErased) && !errors.Is(err, ledger.ErrNoPayload) {
		d.errs = append(d.errs, err)
	}
	return data, err == nil
}

// foldRun reads the run that --run names.
func foldRun(c *cli.Context, t *target) (*audit.Run, error) {
	id, err := evidence.ParseRunID(c.String("run"))
	if err != nil {
		return nil, usage("--run: %v", err)
	}
	g, err := t.registry(c.Context)
	if err != nil {
		return nil, err
	}
	f, err := t.fold(c.Context, id, g)
	if err != nil {
		return nil, err
	}
	if !f.state.Opened() {
		return nil, fmt.Errorf("%w of %s: nobody opened it", ledger.ErrNoRecord, id)
	}
	return f.state.Run(), nil
}

// handTo gives a run what was handed over to it, as far as --trust lets that be judged.
func handTo(c *cli.Context, t *target, run *audit.Run, payloads audit.Payloads) error {
	trust, err := trustOf(c)
	if err != nil {
		return err
	}
	for _, id := range run.Takes() {
		at, err := t.handoffs().Get(c.Context, id)
		if errors.Is(err, ledger.ErrNoRecord) {
			continue // a source of a context, from elsewhere
		}
		if err != nil {
			return err
		}
		b, ok := at.Record.Body.(*evidence.HandoffAccepted)
		if !ok || b.Opens != run.Run {
			continue
		}
		var offer *audit.Offer
		if data, ok := payloads.Payload(b.Bundle.Commit); ok {
			// What does not hold up is as good as withheld.
			offer, _, _ = audit.VerifyOffer(bytes.NewReader(data), trust, audit.Options{})
		}
		run.Hand(id, b, offer)
	}
	return nil
}

// decided is a decision as contract try prints it.
type decided struct {
	Place   string          `json:"place,omitempty"` // in the contract: a JSON pointer
	Action  string          `json:"action,omitempty"`
	Result  evidence.Result `json:"result"`
	Source  evidence.Source `json:"source,omitempty"`
	Why     string          `json:"why"`
	Records []evidence.ID   `json:"records,omitempty"`
}

func tryContract(c *cli.Context, t *target) error {
	if err := args(c, "FILE"); err != nil {
		return err
	}
	weakest := evidence.Source(c.String("weakest-source"))
	if weakest != "" && weakest.Strength() == 0 {
		return usage("--weakest-source: want confirmed, runtime, reported, observed or imported, found %q", weakest)
	}
	results := []evidence.Result{evidence.Supported, evidence.Contradicted, evidence.Unsupported, evidence.InDoubt, evidence.Undisclosed, evidence.NoContract}
	want := evidence.Result(c.String("expect"))
	if want != "" && !slices.Contains(results, want) {
		return usage("--expect: want one of %v, found %q", results, want)
	}
	_, contract, err := readContract(c, c.Args().First())
	if err != nil {
		return err
	}
	run, err := foldRun(c, t)
	if err != nil {
		return err
	}
	payloads := &disclosed{t: t, ctx: c.Context}
	if err := handTo(c, t, run, payloads); err != nil {
		return err
	}
	trial, err := audit.Try(run, contract, weakest, payloads)
	if err = errors.Join(append(payloads.errs, err)...); err != nil {
		return err
	}
	whole := decided{Result: trial.Result, Source: trial.Source, Why: trial.Why, Records: trial.Records}
	parts := make([]decided, 0, len(trial.Parts))
	var text strings.Builder
	line := func(place string, d *decided) {
		fmt.Fprintf(&text, "%-14s %-20s %s: %s", place, d.Action, d.Result, d.Why)
		if d.Source != "" {
			fmt.Fprintf(&text, " (%s)", d.Source)
		}
		text.WriteByte('\n')
		for _, id := range d.Records {
			fmt.Fprintf(&text, "%-14s %s\n", "", id)
		}
	}
	for _, p := range trial.Parts {
		d := decided{p.Place, p.Action, p.Result, p.Source, p.Why, p.Records}
		parts = append(parts, d)
		line(d.Place, &d)
	}
	line("the whole", &whole)
	for _, commit := range trial.Withheld {
		fmt.Fprintf(&text, "%-14s payload %s (%s)\n", "not there", commit, t.gone())
	}
	err = show(c, struct {
		Run      evidence.RunID    `json:"run"`
		Contract evidence.Digest   `json:"contract"`
		Closed   bool              `json:"closed"`
		Parts    []decided         `json:"parts"`
		Withheld []evidence.Digest `json:"withheld,omitempty"`
		decided
	}{run.Run, contract.Digest(), run.Closed, parts, trial.Withheld, whole}, strings.TrimSuffix(text.String(), "\n"))
	if err == nil && want != "" && trial.Result != want {
		err = fmt.Errorf("expected %s, found %s", want, trial.Result)
	}
	return err
}

// drafted is an item of a draft. Members stand in the order in which one reads them.
type drafted struct {
	Action   string          `json:"action"`
	Resource string          `json:"resource,omitempty"`
	Input    json.RawMessage `json:"input,omitempty"`
	Times    int             `json:"times,omitempty"`
}

func suggestContract(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	run, err := foldRun(c, t)
	if err != nil {
		return err
	}
	payloads := &disclosed{t: t, ctx: c.Context}
	draft := struct {
		Contract      string          `json:"contract"`
		Task          string          `json:"task"`
		WeakestSource evidence.Source `json:"weakest_source"`
		Expects       []drafted       `json:"expects"`
		Only          []string        `json:"only"`
	}{"v1", run.Body.Task, "", nil, []string{}}
	changes := changing(run, c.StringSlice("reads"), payloads)
	places := placesOf(payloads.json(run.Body.Input))
	for _, a := range run.Actions() {
		if a.Status != evidence.StatusSuccess || !changes(a.Record.Action) {
			continue
		}
		if draft.WeakestSource == "" || a.Source.Strength() < draft.WeakestSource.Strength() {
			draft.WeakestSource = a.Source
		}
		item := drafted{Action: a.Record.Action, Resource: a.Record.Resource, Times: 1}
		if in := payloads.json(&a.Record.Input); in != nil {
			if item.Input, err = json.Marshal(parameters(in, places)); err != nil {
				return err
			}
		}
		same := slices.IndexFunc(draft.Expects, func(d drafted) bool {
			return d.Action == item.Action && d.Resource == item.Resource && bytes.Equal(d.Input, item.Input)
		})
		if same >= 0 {
			draft.Expects[same].Times++
			continue
		}
		draft.Expects = append(draft.Expects, item)
		if !slices.Contains(draft.Only, item.Action) {
			draft.Only = append(draft.Only, item.Action)
		}
	}
	if err := errors.Join(payloads.errs...); err != nil {
		return err
	}
	if len(draft.Expects) == 0 {
		return errors.New("the run did nothing that changed something and that a contract could expect")
	}
	for i := range draft.Expects {
		if draft.Expects[i].Times == 1 {
			draft.Expects[i].Times = 0 // as good as absent
		}
	}
	doc, err := json.MarshalIndent(draft, "", "  ")
	if err != nil {
		return err
	}
	if _, err := audit.ParseContract(doc); err != nil {
		return fmt.Errorf("what the run did makes no contract: %w", err)
	}
	fmt.Fprintf(c.App.ErrWriter, "A draft of what %s did: review it. What happened is not what should have.\n", run.Run)
	_, err = fmt.Fprintf(c.App.Writer, "%s\n", doc)
	return err
}

// changing tells which actions change something, as far as anybody said so.
func changing(run *audit.Run, reads []string, p *disclosed) func(action string) bool {
	if ref := run.Body.Contract; ref != nil && len(reads) == 0 {
		if doc, ok := p.Payload(ref.Document.Commit); ok {
			if contract, err := audit.ParseContract(doc); err == nil && contract.Only != nil {
				return func(action string) bool { return slices.Contains(contract.Only, action) }
			}
		}
	}
	return func(action string) bool { return !slices.Contains(reads, action) }
}

// json reads a payload as JSON, its numbers as they are written; nil where it is
// not there, or no JSON.
func (d *disclosed) json(c *evidence.Commitment) any {
	if c == nil {
		return nil
	}
	data, ok := d.Payload(c.Commit)
	if !ok {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil
	}
	return v
}

// placesOf returns where in the run's input each string and number stands; "": at
// several places, of which nobody knows which is meant.
func placesOf(input any) map[any]string {
	places := make(map[any]string)
	var walk func(v any, at string)
	walk = func(v any, at string) {
		switch v := v.(type) {
		case map[string]any:
			for name, m := range v {
				walk(m, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
			}
		case []any:
			for i, m := range v {
				walk(m, fmt.Sprintf("%s/%d", at, i))
			}
		case string, json.Number:
			if _, again := places[v]; again {
				at = ""
			}
			places[v] = at
		}
	}
	walk(input, "")
	return places
}

// parameters puts references to the run's input in the place of what stands there.
func parameters(v any, places map[any]string) any {
	switch v := v.(type) {
	case map[string]any:
		changed := make(map[string]any, len(v))
		literal := len(v) > 0 // an object that would be read as a matcher
		for name, m := range v {
			changed[name] = parameters(m, places)
			literal = literal && strings.HasPrefix(name, "$")
		}
		if literal {
			return map[string]any{"$value": v}
		}
		return changed
	case []any:
		changed := make([]any, len(v))
		for i, m := range v {
			changed[i] = parameters(m, places)
		}
		return changed
	case string, json.Number:
		if at := places[v]; at != "" {
			return map[string]any{"$input": at}
		}
	}
	return v
}
