package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"ledgerd/examples/a2a/party"
	"ledgerd/handoff"
	"ledgerd/handoff/overa2a"
	"ledgerd/runtime"
)

const (
	agent = "analyst" // registered in the ledger
	task  = "analyse"
)

// contract is what has to have happened before the analyst may say that it is done.
const contract = `{"contract": "v1", "task": "analyse", "expects": [{"action": "chart"}], "forbids": [{"action": "publish"}]}`

// Figures are what is handed over.
type Figures struct {
	Quarter string   `json:"quarter"`
	Regions []Region `json:"regions"`
}

// Region is what was sold in a region.
type Region struct {
	Name string `json:"name"`
	Sold int64  `json:"sold"`
}

// Chart is the input of both tools: the report, and what it shows.
type Chart struct {
	Report  string   `json:"report"` // report/NAME, or public/NAME
	Regions []Region `json:"regions"`
}

// Written is what came of it.
type Written struct {
	Bytes int `json:"bytes"`
}

// analyst is an [overa2a.Worker].
type analyst struct {
	rt             *runtime.Runtime
	chart, publish *runtime.Func[Chart, Written]
}

func newAnalyst(side *party.Side, reports string) (*analyst, error) {
	if err := os.MkdirAll(reports, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(reports) // a report's name came from elsewhere
	if err != nil {
		return nil, err
	}
	// Writing the same file again does nothing again.
	write := func(_ context.Context, _ *runtime.Call, c Chart) (Written, error) {
		_, name, _ := strings.Cut(c.Report, "/")
		text := bars(c.Regions)
		return Written{len(text)}, root.WriteFile(name+".txt", []byte(text), 0o644)
	}
	tool := func(name, what string) *runtime.Func[Chart, Written] {
		return runtime.NewFunc(runtime.Spec{Name: name, Action: name, Description: what, Resource: "/report", Idempotent: true}, write)
	}
	w := &analyst{chart: tool("chart", "Draws a chart."), publish: tool("publish", "Shows a chart to everybody.")}
	w.rt, err = side.Runtime([]byte(contract), w.chart, w.publish)
	return w, err
}

// Work implements [overa2a.Worker]. What is in unverified, nobody looks at.
func (w *analyst) Work(ctx context.Context, a *handoff.Accepted, unverified *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		fmt.Printf("accepted %s of %s, for %s\n", a.OfferID(), a.Origin(), a.Opens())
		said, err := w.analyse(ctx, a)
		if err != nil {
			fmt.Fprintf(os.Stderr, "server: %q\n", err.Error())
			yield(a2a.NewStatusUpdateEvent(unverified, a2a.TaskStateFailed, nil), nil)
			return
		}
		if yield(a2a.NewArtifactEvent(unverified, a2a.NewTextPart(said)), nil) {
			yield(a2a.NewStatusUpdateEvent(unverified, a2a.TaskStateCompleted, nil), nil)
		}
	}
}

// analyse does the work in the run that continues the handoff, and returns what the
// analyst may say of it. A program that was stopped calls it again.
func (w *analyst) analyse(ctx context.Context, a *handoff.Accepted) (string, error) {
	run, err := w.rt.Open(ctx, overa2a.RunKey(a.OfferID()), runtime.As(agent), runtime.Task(task, nil), runtime.Continues(a))
	if err != nil {
		return "", err
	}
	said, err := w.steps(ctx, run, a)
	return said, run.Finish(ctx, err)
}

func (w *analyst) steps(ctx context.Context, run *runtime.Run, a *handoff.Accepted) (string, error) {
	var figures Figures
	if err := json.Unmarshal(a.Artifact(), &figures); err != nil {
		return "", fmt.Errorf("the artifact: %w", err)
	}
	done, err := runtime.Do(ctx, run, "chart", w.chart, Chart{"report/" + figures.Quarter, figures.Regions})
	if err != nil {
		return "", err
	}
	words := "The chart is drawn."
	// Eager as agents are, it goes on to what nobody asked for.
	_, err = runtime.Do(ctx, run, "publish", w.publish, Chart{"public/" + figures.Quarter, figures.Regions})
	if denied := (*runtime.Denied)(nil); errors.As(err, &denied) {
		words += fmt.Sprintf(" Publishing it was denied: %s.", strings.Join(denied.Policies, ", "))
	} else if err != nil {
		return "", err
	}
	s, err := run.Summarize(ctx, words, done)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%s)", s.Text, s.Verdict.Result), nil
}

// Cancel implements [overa2a.Worker]: the work is done in one go, and not stopped.
func (w *analyst) Cancel(_ context.Context, _ *handoff.Accepted, unverified *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) { yield(nil, a2a.ErrTaskNotCancelable) }
}

// bars draws a bar for each region.
func bars(regions []Region) string {
	most := int64(1)
	for _, r := range regions {
		most = max(most, r.Sold)
	}
	var b strings.Builder
	for _, r := range regions {
		fmt.Fprintf(&b, "%-12.12q %s\n", r.Name, strings.Repeat("#", int(max(0, min(r.Sold, most))*40/most)))
	}
	return b.String()
}
