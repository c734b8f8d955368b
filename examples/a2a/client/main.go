// Command client is a researcher: it looks something up, offers the rest of the work
// to an analyst, and hands it over with the evidence, over A2A.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/v2/a2aext"

	"ledgerd/examples/a2a/party"
	"ledgerd/handoff"
	"ledgerd/handoff/overa2a"
)

func main() {
	dir := flag.String("data-dir", "g", "`DIR` of the researcher's ledger")
	server := flag.String("server", "http://127.0.0.1:9001", "`URL` of the analyst")
	sales := flag.String("sales", "sales.csv", "`FILE` that is looked up: quarter, region, sold")
	quarter := flag.String("quarter", "q3", "`QUARTER` that is looked up")
	summary := flag.String("summary-only", "", "hand over these `WORDS` and no evidence, to see that refused")
	var trust []string
	flag.Func("trust", "trust `FILE` of those who receive; may be repeated", func(s string) error { trust = append(trust, s); return nil })
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, *dir, *server, *sales, *quarter, *summary, trust)
	if r := handoff.AsRefused(err); r != nil {
		fmt.Println(r)
		os.Exit(3)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "client: %q\n", err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, server, sales, quarter, summary string, trust []string) error {
	card, err := agentcard.DefaultResolver.Resolve(ctx, server)
	if err != nil {
		return err
	}
	client, err := a2aclient.NewFromCard(ctx, card, a2aclient.WithCallInterceptors(a2aext.NewActivator(overa2a.URI)))
	if err != nil {
		return err
	}
	if summary != "" {
		return words(ctx, client, summary)
	}
	side, err := party.Open(ctx, dir, agent, trust)
	if err != nil {
		return err
	}
	defer side.Close()
	to, err := overa2a.ReceiverOf(card, side.Party.Trust)
	if err != nil {
		return err
	}
	r, err := newResearcher(side)
	if err != nil {
		return err
	}
	return r.research(ctx, Query{sales, quarter}, to, overa2a.Giver{Client: client, Party: side.Party, Ledger: side.Ledger})
}

// words sends what an agent says, as it would without evidence.
func words(ctx context.Context, client *a2aclient.Client, summary string) error {
	result, err := client.SendMessage(ctx, &a2a.SendMessageRequest{Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(summary))})
	if err != nil {
		return err
	}
	task, ok := result.(*a2a.Task)
	if !ok {
		return fmt.Errorf("want a task, found a %T", result)
	}
	refused, err := overa2a.RefusedIn(task)
	if err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	fmt.Println(task.Status.State)
	return nil
}
