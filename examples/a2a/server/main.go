// Command server is an analyst: an A2A agent that works on nothing but what was handed
// over to it on evidence that it verified itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"ledgerd/examples/a2a/party"
	"ledgerd/handoff/overa2a"
)

func main() {
	dir := flag.String("data-dir", "r", "`DIR` of the analyst's ledger")
	reports := flag.String("reports", "reports", "`DIR` that reports are written to")
	listen := flag.String("listen", "127.0.0.1:9001", "`ADDRESS` to listen on")
	var trust []string
	flag.Func("trust", "trust `FILE` of those who hand over; may be repeated", func(s string) error { trust = append(trust, s); return nil })
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *dir, *reports, *listen, trust); err != nil {
		fmt.Fprintf(os.Stderr, "server: %q\n", err.Error())
		os.Exit(1)
	}
}

func serve(ctx context.Context, dir, reports, listen string, trust []string) error {
	side, err := party.Open(ctx, dir, agent, trust)
	if err != nil {
		return err
	}
	defer side.Close()
	analyst, err := newAnalyst(side, reports)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	url := "http://" + ln.Addr().String()
	card := &a2a.AgentCard{
		Name: agent, Description: "Charts figures that were handed over on evidence.", Version: "1",
		SupportedInterfaces: []*a2a.AgentInterface{a2a.NewAgentInterface(url+"/a2a", a2a.TransportProtocolJSONRPC)},
		// Who asks to be served without the extension is refused by the protocol.
		Capabilities:      a2a.AgentCapabilities{Extensions: []a2a.AgentExtension{overa2a.Extension(side.Party)}},
		DefaultInputModes: []string{overa2a.Media}, DefaultOutputModes: []string{"text/plain"},
		Skills: []a2a.AgentSkill{{ID: task, Name: task, Description: "A chart of figures.", Tags: []string{"figures"}}},
	}
	executor := overa2a.NewExecutor(overa2a.Receiver{Party: side.Party, Ledger: side.Ledger, RunID: analyst.rt.RunID, Worker: analyst})
	handler := a2asrv.NewHandler(executor, a2asrv.WithCapabilityChecks(&card.Capabilities))
	mux := http.NewServeMux()
	mux.Handle("/a2a", http.MaxBytesHandler(a2asrv.NewJSONRPCHandler(handler), overa2a.MaxRequest))
	mux.Handle(a2asrv.WellKnownAgentCardPath, a2asrv.NewStaticAgentCardHandler(card))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Println("listening on", url)
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.WithoutCancel(ctx)) // answers what was asked; Serve says the rest
	}()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
