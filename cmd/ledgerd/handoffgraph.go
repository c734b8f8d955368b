package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/report"
	"ledgerd/ledger"
)

// handedOver is an edge of the graph of who handed what to whom.
type handedOver struct {
	Offer  evidence.ID `json:"offer"`
	From   string      `json:"from"` // actor of origin
	To     string      `json:"to"`
	Task   string      `json:"task"`
	Status string      `json:"status"`           // offered, accepted or rejected
	Reason string      `json:"reason,omitempty"` // of a rejection
	Parent evidence.ID `json:"parent,omitzero"`  // the acceptance that it passes on
}

func handoffGraph(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	edges, err := t.handedOver(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("dot") {
		_, err := fmt.Fprint(c.App.Writer, dot(edges))
		return err
	}
	for _, e := range edges {
		line := fmt.Sprintf("%s  ->  %s  %s  %s", e.From, e.To, e.Task, e.Status)
		if e.Reason != "" {
			line += ": " + e.Reason
		}
		if err := show(c, e, line); err != nil {
			return err
		}
	}
	if len(edges) == 0 {
		_, err = fmt.Fprintln(c.App.ErrWriter, "nothing was handed over")
	}
	return err
}

// handedOver gathers what this ledger knows: its own offers, those that it took or
// rejected, and those that lie in the bundles on which it took them.
func (t *target) handedOver(ctx context.Context) ([]*handedOver, error) {
	g, err := t.registry(ctx)
	if err != nil {
		return nil, err
	}
	var edges []*handedOver
	known := make(map[evidence.ID]*handedOver)
	add := func(id evidence.ID, origin, actor string, b *evidence.HandoffOffered) {
		if known[id] == nil {
			e := &handedOver{Offer: id, From: actor + " of " + origin, To: b.To.Actor + " of " + b.To.Origin, Task: b.Task, Status: "offered", Parent: b.Parent}
			known[id] = e
			edges = append(edges, e)
		}
	}
	// taken is an offer that somebody else made, of which the bundle may be gone.
	taken := func(offer evidence.ID, origin, by string) *handedOver {
		if known[offer] == nil {
			known[offer] = &handedOver{Offer: offer, From: "somebody of " + origin, To: by + " of " + g.Origin}
			edges = append(edges, known[offer])
		}
		return known[offer]
	}
	for _, kind := range []evidence.Kind{evidence.KindHandoffOffered, evidence.KindHandoffAccepted, evidence.KindHandoffRejected} {
		for p, err := range t.handoffs().Find(ctx, ledger.Filter{Kind: kind}) {
			if err != nil {
				return nil, err
			}
			switch b := p.Record.Body.(type) {
			case *evidence.HandoffOffered:
				add(p.ID, g.Origin, p.Record.Actor, b)
			case *evidence.HandoffAccepted:
				kept, err := t.payload(ctx, b.Bundle.Commit)
				switch {
				case err == nil:
					offersIn(kept, add, func(id evidence.ID) {
						if e := known[id]; e != nil {
							e.Status = "accepted"
						}
					}, 0)
				case !errors.Is(err, ledger.ErrErased) && !errors.Is(err, ledger.ErrNoPayload):
					return nil, err
				}
				taken(b.Offer, b.Origin, p.Record.Actor).Status = "accepted"
			case *evidence.HandoffRejected:
				if e := taken(b.Offer, b.Origin, p.Record.Actor); e.Status != "accepted" {
					e.Status, e.Reason = "rejected", b.Reason
				}
			}
		}
	}
	return edges, nil
}

// maxChain is how many bundles in each other are looked into.
const maxChain = 32

// offersIn finds the offers and acceptances in a bundle, and in those that lie in it.
// The ledger took it after it was verified.
func offersIn(b []byte, offer func(id evidence.ID, origin, actor string, b *evidence.HandoffOffered), accepted func(offer evidence.ID), depth int) {
	if depth == maxChain {
		return
	}
	r := bundle.NewReader(bytes.NewReader(b))
	h, err := r.Header()
	if err != nil {
		return
	}
	var last *evidence.HandoffAccepted
	for {
		item, err := r.Next()
		if err != nil {
			return
		}
		switch it := item.(type) {
		case *bundle.RecordItem:
			last = nil
			u, err := evidence.Parse(it.Entry)
			if err != nil {
				continue
			}
			switch body := u.UnverifiedRecord().Body.(type) {
			case *evidence.HandoffOffered:
				if h.About.Record == u.ID() {
					offer(u.ID(), h.Origin, u.UnverifiedRecord().Actor, body)
				}
			case *evidence.HandoffAccepted:
				last = body
			}
		case *bundle.PayloadItem:
			if last == nil || it.Commit != last.Bundle.Commit {
				continue
			}
			var inner bytes.Buffer
			if _, err := inner.ReadFrom(it.Data); err != nil {
				return
			}
			offersIn(inner.Bytes(), offer, accepted, depth+1)
			accepted(last.Offer)
		}
	}
}

// dot writes the graph for Graphviz.
func dot(edges []*handedOver) string {
	var b strings.Builder
	b.WriteString("digraph handoffs {\n\trankdir=LR;\n\tnode [shape=box];\n")
	for _, e := range edges {
		label := e.Task + "\n" + e.Status
		if e.Reason != "" {
			label += ": " + e.Reason
		}
		style := map[string]string{"accepted": "solid", "offered": "dashed", "rejected": "dotted"}[e.Status]
		fmt.Fprintf(&b, "\t%s -> %s [label=%s, style=%s];\n", quoteDOT(e.From), quoteDOT(e.To), quoteDOT(label), style)
	}
	b.WriteString("}\n")
	return b.String()
}

// quoteDOT writes a string of the DOT language. Nothing in it is an escape of
// Graphviz's, such as \N, but the line end.
func quoteDOT(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(report.Visible(l))
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}
