package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"strconv"

	"ledgerd/evidence"
	"ledgerd/examples/a2a/party"
	"ledgerd/handoff/overa2a"
	"ledgerd/runtime"
)

const agent = "scout" // registered in the ledger

// Query is what is looked up.
type Query struct {
	File    string `json:"file"`
	Quarter string `json:"quarter"`
}

// Figures are what was found.
type Figures struct {
	Quarter string   `json:"quarter"`
	Regions []Region `json:"regions"`
}

// Region is what was sold in a region.
type Region struct {
	Name string `json:"name"`
	Sold int64  `json:"sold"`
}

// search reads a file of quarter, region, sold.
func search(_ context.Context, _ *runtime.Call, q Query) (Figures, error) {
	found := Figures{Quarter: q.Quarter}
	f, err := os.Open(q.File)
	if err != nil {
		return found, err
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return found, err
	}
	for _, l := range lines {
		if len(l) != 3 || l[0] != q.Quarter {
			continue
		}
		sold, err := strconv.ParseInt(l[2], 10, 64)
		if err != nil {
			return found, err
		}
		found.Regions = append(found.Regions, Region{l[1], sold})
	}
	return found, nil
}

type researcher struct {
	rt     *runtime.Runtime
	search *runtime.Func[Query, Figures]
}

func newResearcher(side *party.Side) (*researcher, error) {
	r := &researcher{search: runtime.NewFunc(runtime.Spec{
		Name: "search", Action: "search", Description: "Looks up what was sold.", Resource: "/file", Idempotent: true,
	}, search)}
	var err error
	r.rt, err = side.Runtime(nil, r.search)
	return r, err
}

// research looks something up, and hands over what is to be made of it. A program
// that was stopped, or whose message was lost, is run again: what was found is not
// looked up again, and the same offer is sent again.
func (r *researcher) research(ctx context.Context, q Query, to evidence.Recipient, giver overa2a.Giver) error {
	run, err := r.rt.Open(ctx, "research-"+q.Quarter, runtime.As(agent), runtime.Task("research", q))
	if err != nil {
		return err
	}
	return run.Finish(ctx, r.steps(ctx, run, q, to, giver))
}

func (r *researcher) steps(ctx context.Context, run *runtime.Run, q Query, to evidence.Recipient, giver overa2a.Giver) error {
	found, err := runtime.Do(ctx, run, "search", r.search, q)
	if err != nil {
		return err
	}
	offer, err := run.Offer(ctx, runtime.Offering{
		To: to, Task: "analyse",
		Scope:    []evidence.ScopeEntry{{Action: "chart", Resource: "report/" + q.Quarter}},
		Evidence: []evidence.ID{found.Execution},
		Artifact: found.Output,
		Note:     "All sources were checked.", // nobody verifies it, and nobody has to
	})
	if err != nil {
		return err
	}
	fmt.Printf("offered %s to %s of %s\n", offer, to.Actor, to.Origin)
	sent, err := giver.Send(ctx, offer)
	if err != nil {
		return err
	}
	fmt.Printf("accepted, as %s says\n", sent.Recorded)
	for _, a := range sent.Task.Artifacts {
		if a.ID != overa2a.ArtifactID && len(a.Parts) == 1 {
			fmt.Printf("%s: %q\n", to.Actor, a.Parts[0].Text())
		}
	}
	fmt.Println(sent.Task.Status.State)
	_, err = run.Summarize(ctx, "The figures were found, and handed over.", found)
	return err
}
