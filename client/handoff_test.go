package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// TestMain is also the process that TestRow46AcceptedOnceByProcesses starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 7 && os.Args[1] == "as-receiver" {
		if err := receive(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// What a receiving process says, one line each: once it verified the offer, what came
// of its acceptance, and what of opening the run.
type (
	ready    struct{ Offer evidence.ID }
	accepted struct {
		Won    bool
		Reason handoff.Reason // why not
		Stands evidence.ID    // the acceptance
	}
	opened struct {
		Run   evidence.RunID
		Other bool // the acceptance opened another run, too
	}
)

// receive is a process that was handed an offer, and accepts it for a run of its own:
// URL, data directory, bundle, trust file, run key. At each of the files 3 and 4 it
// waits until their other end is closed, which is at the same moment for all; then it
// reads from its input the key of the run that the acceptance is for.
func receive(ctx context.Context, args []string) error {
	url, key := args[0], args[4]
	dir, err := datadir.Open(args[1])
	if err != nil {
		return err
	}
	secret, err := dir.AdminToken()
	if err != nil {
		return err
	}
	signs, err := dir.Key(dir.Runtime)
	if err != nil {
		return err
	}
	offer, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[3])
	if err != nil {
		return err
	}
	trust, err := bundle.ParseTrust(text)
	if err != nil {
		return err
	}
	c, err := client.New(url, client.Options{Token: secret})
	if err != nil {
		return err
	}
	party := &handoff.Party{Ledger: client.Handoffs(c), Origin: daemontest.Origin, Agent: daemontest.Agent, Key: signs, Trust: trust}
	rt, err := runtime.New(runtime.Config{
		Ledger: client.Runtime(c), Origin: daemontest.Origin, Actor: dir.Runtime, Key: signs, Permit: runtimetest.AllowAll, Handoffs: party.For,
	})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	barrier := func(fd uintptr) { _, _ = io.Copy(io.Discard, os.NewFile(fd, "barrier")) }

	v, err := party.Verify(ctx, offer, nil)
	if err != nil {
		return err
	}
	_ = out.Encode(ready{v.ID()})
	barrier(3)
	a, err := party.Accept(ctx, v, rt.RunID(key))
	if r := handoff.AsRefused(err); r != nil {
		_ = out.Encode(accepted{Reason: r.Reason, Stands: r.Stands})
		if a, err = party.Load(ctx, r.Stands); err != nil {
			return err
		}
	} else if err != nil {
		return err
	} else {
		_ = out.Encode(accepted{Won: true, Stands: a.ID()})
	}
	winner, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return err
	}
	winner = winner[:len(winner)-1]
	barrier(4)
	open := func(key string) (*runtime.Run, error) {
		for {
			run, err := rt.Open(ctx, key, runtime.As(daemontest.Agent), runtime.Task("analyse", nil), runtime.Continues(a))
			held, ok := errors.AsType[*runtime.RunError](err)
			if !ok || held.Reason != runtime.RunHeld {
				return run, err
			}
			time.Sleep(20 * time.Millisecond) // another drives it: it leaves soon
		}
	}
	run, err := open(winner)
	if err != nil {
		return err
	}
	said := opened{Run: run.ID()}
	run.Leave(ctx)
	if key != winner {
		_, err := open(key)
		said.Other = err == nil
	}
	return out.Encode(said)
}

// TestRow46AcceptedOnceByProcesses: of many processes that accept one offer at once,
// one wins, and the others are told which acceptance stands. It opens one run,
// whoever comes with it.
func TestRow46AcceptedOnceByProcesses(t *testing.T) {
	n := 64
	if testing.Short() {
		n = 8
	}
	d := daemontest.New(t, nil)
	giver := runtimetest.Named(t, "ledger.example/research")
	giver.Clock.Add(max(0, time.Since(giver.Clock.Now()))) // the daemon's is the system's
	folder := t.TempDir()
	offer, trust := filepath.Join(folder, "offer"), filepath.Join(folder, "trust")
	handOver(t, giver, evidence.Recipient{Origin: daemontest.Origin, Actor: daemontest.Agent, Key: d.Key.Public().Thumbprint()}, offer, trust)

	var together [2]*os.File // read by all
	var release [2]*os.File
	for i := range together {
		var err error
		if together[i], release[i], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = together[i].Close(), release[i].Close() })
	}
	all := make([]*receiver, n)
	for i := range all {
		all[i] = startReceiver(t, together[:], d.URL, d.Dir.Path, offer, trust, fmt.Sprintf("analysis-%d", i))
	}
	for _, p := range all {
		p.hear(t, new(ready))
	}
	_ = release[0].Close()
	var winner string
	stands := make(map[evidence.ID]int)
	for i, p := range all {
		var a accepted
		p.hear(t, &a)
		stands[a.Stands]++
		switch {
		case a.Won && winner != "":
			t.Errorf("%s and analysis-%d won", winner, i)
		case a.Won:
			winner = fmt.Sprintf("analysis-%d", i)
		case a.Reason != handoff.Used:
			t.Errorf("analysis-%d was refused for %q, want %s", i, a.Reason, handoff.Used)
		}
	}
	if winner == "" || len(stands) != 1 {
		t.Fatalf("%q won, and these acceptances stand: %v", winner, stands)
	}
	for _, p := range all {
		if _, err := fmt.Fprintln(p.stdin, winner); err != nil {
			t.Fatal(err)
		}
	}
	_ = release[1].Close()
	runs := make(map[evidence.RunID]int)
	for i, p := range all {
		var o opened
		p.hear(t, &o)
		runs[o.Run]++
		if o.Other {
			t.Errorf("analysis-%d opened a run that was not accepted for", i)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("analysis-%d: %v: %s", i, err, p.stderr)
		}
	}
	if len(runs) != 1 {
		t.Errorf("want one run opened, found %v", runs)
	}
	for kind, want := range map[evidence.Kind]int{evidence.KindHandoffAccepted: 1, evidence.KindRunOpened: 1} {
		found := 0
		for p, err := range d.Ledger.Find(t.Context(), ledger.Filter{Kind: kind}) {
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := p.Record.Body.(*evidence.RunOpened); ok && (runs[p.Record.Run] == 0 || stands[b.Acceptance] == 0) {
				t.Errorf("run %s was opened, by %s", p.Record.Run, b.Acceptance)
			}
			found++
		}
		if found != want {
			t.Errorf("%d of %s, want %d", found, kind, want)
		}
	}
}

// handOver has an agent of the giver's do a step and offer its outcome, and writes the
// bundle about the offer and the trust file for it.
func handOver(t *testing.T, giver *runtimetest.World, to evidence.Recipient, offer, trust string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	search := runtime.NewFunc(runtime.Spec{Name: "search", Action: "search", Idempotent: true}, func(context.Context, *runtime.Call, struct{}) (int, error) { return 7, nil })
	run, err := giver.Runtime(search).Open(t.Context(), "q3", runtime.As(runtimetest.Agent), runtime.Task("research", nil))
	must(err)
	found, err := run.Do(t.Context(), runtime.Action{Step: "search", Tool: "search", Input: []byte(`{}`)})
	must(err)
	id, err := run.Offer(t.Context(), runtime.Offering{
		To: to, Task: "analyse", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "*"}}, Evidence: []evidence.ID{found.Execution},
	})
	must(err)
	var b bytes.Buffer
	must(giver.Ledger.Export(t.Context(), &b, ledger.ExportOptions{Offer: id}))
	must(os.WriteFile(offer, b.Bytes(), 0o600))
	names, err := giver.Ledger.Trust()
	must(err)
	text, err := names.Marshal()
	must(err)
	must(os.WriteFile(trust, text, 0o600))
}

// receiver is a process of receive.
type receiver struct {
	*exec.Cmd
	stdin  io.Writer
	says   *json.Decoder
	stderr *bytes.Buffer // to be read once it ended
}

func startReceiver(t *testing.T, together []*os.File, args ...string) *receiver {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &receiver{Cmd: exec.CommandContext(t.Context(), self, append([]string{"as-receiver"}, args...)...), stderr: new(bytes.Buffer)}
	p.ExtraFiles, p.Stderr = together, p.stderr
	p.Env = append(os.Environ(), "GOMAXPROCS=1") // many of them share a machine
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.says = json.NewDecoder(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// hear reads what the process says next.
func (p *receiver) hear(t *testing.T, v any) {
	t.Helper()
	if err := p.says.Decode(v); err != nil {
		_ = p.Process.Kill()
		_ = p.Wait()
		t.Fatalf("%s: %v: %s", p.Args[len(p.Args)-1], err, p.stderr)
	}
}
