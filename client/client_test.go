package client_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

func TestAppendAndRead(t *testing.T) {
	ctx := context.Background()
	d := daemontest.New(t, nil)
	c := d.Client(d.Token)
	line := d.Line()
	entries := d.Records(line, 250)
	one, err := c.Append(ctx, entries[0])
	if err != nil || len(one) != 1 || one[0].ID != evidence.IDOf(entries[0]) || one[0].Record == nil {
		t.Fatalf("one: %+v, %v", one, err)
	}
	rest, err := c.Submit(entries[1:]...)(ctx)
	if err != nil || len(rest) != 249 || rest[248].Index != one[0].Index+249 {
		t.Fatalf("many: %d, %v", len(rest), err)
	}
	again, err := c.SubmitEach(entries[0])(ctx)
	if err != nil || again[0].Err != nil || !again[0].Duplicate || again[0].Index != one[0].Index {
		t.Fatalf("again: %+v, %v", again, err)
	}

	var run, local [][]byte
	for p, err := range c.Run(ctx, line.Run()) {
		if err != nil {
			t.Fatal(err)
		}
		run = append(run, p.Entry)
	}
	for p, err := range d.Ledger.Run(ctx, line.Run()) {
		if err != nil {
			t.Fatal(err)
		}
		local = append(local, p.Entry)
	}
	if !slices.EqualFunc(run, entries, bytes.Equal) || !slices.EqualFunc(run, local, bytes.Equal) {
		t.Errorf("run: want %d records, found %d over HTTP and %d in process", len(entries), len(run), len(local))
	}
	for _, err := range c.Run(ctx, "run_00000000-0000-0000-0000-000000000000") {
		t.Errorf("a run that nobody opened has no records: %v", err)
	}

	p, err := c.Get(ctx, one[0].ID)
	if err != nil || p.Index != one[0].Index || !bytes.Equal(p.Entry, entries[0]) {
		t.Errorf("get: %+v, %v", p, err)
	}
	if _, err := c.Get(ctx, evidence.IDOf([]byte("x"))); !errors.Is(err, ledger.ErrNoRecord) {
		t.Errorf("want ErrNoRecord, found %v", err)
	}
}

// TestFind: the client finds what the ledger finds, page by page.
func TestFind(t *testing.T) {
	ctx := context.Background()
	d := daemontest.New(t, nil)
	c := d.Client(d.Token)
	for range 3 {
		if _, err := c.Append(ctx, d.Records(d.Line(), 400)...); err != nil {
			t.Fatal(err)
		}
	}
	accepted := make([]evidence.ID, 3)
	for i := range accepted {
		number := d.Ledger.Registry().Number()
		accepted[i] = evidence.IDOf([]byte{byte(i)})
		p := evidence.Payload{Media: "text/plain"}
		entry, err := evidence.Sign(&evidence.Record{
			Origin: daemontest.Origin, Kind: evidence.KindHandoffAccepted, Actor: daemontest.Agent, Time: evidence.TimeOf(time.Now()), Registry: &number,
			Body: &evidence.HandoffAccepted{
				Offer: accepted[i], Origin: "ledger.example/other", Opens: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11",
				Head: evidence.HeadRef{Size: int64(3 - i), Root: evidence.Digest{1}}, Bundle: p.Commitment(),
			},
		}, d.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Append(ctx, entry); err != nil {
			t.Fatal(err)
		}
	}
	after := uint64(500)
	for _, f := range []ledger.Filter{
		{Offer: accepted[1]},
		{Offer: evidence.IDOf([]byte("nobody's"))},
		{Known: "ledger.example/other"},
		{Known: "ledger.example/other", Offer: accepted[0]},
		{Known: "ledger.example/none"},
		{},
		{Limit: 7},
		{Kind: evidence.KindAuthorization},
		{Action: "send_email"},
		{Action: "send_email", After: &after, Limit: 3},
		{Actor: "support", Kind: evidence.KindRunOpened},
		{Actor: "nobody"},
		{From: evidence.TimeOf(time.Now().Add(-time.Hour))},
		{To: evidence.TimeOf(time.Now().Add(-time.Hour))},
		{Limit: 1000},
		{Limit: 1001},
	} {
		var here, there []evidence.ID
		for p, err := range d.Ledger.Find(ctx, f) {
			if err != nil {
				t.Fatal(err)
			}
			here = append(here, p.ID)
		}
		for p, err := range c.Find(ctx, f) {
			if err != nil {
				t.Fatal(err)
			}
			there = append(there, p.ID)
		}
		if !slices.Equal(here, there) {
			t.Errorf("%+v: want %d records, found %d", f, len(here), len(there))
		}
		if (f.Offer == accepted[1] || f.Known == "ledger.example/other") && len(here) != 1 {
			t.Errorf("%+v: want one record, found %d", f, len(here))
		}
	}
	for _, err := range c.Find(ctx, ledger.Filter{Known: "no name"}) {
		if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusBadRequest {
			t.Errorf("a name that no ledger has: %v", err)
		}
	}
	runs := 0
	for r, err := range c.Runs(ctx, nil) {
		if err != nil || r.Runtime != "runtime" || r.Records != 400 || r.Closed {
			t.Errorf("%+v, %v", r, err)
		}
		runs++
	}
	if runs != 3 {
		t.Errorf("want 3 runs, found %d", runs)
	}
}

// TestErrors: a program that knows the ledger's errors knows the client's.
func TestErrors(t *testing.T) {
	ctx := context.Background()
	d := daemontest.New(t, nil)
	c := d.Client(d.Token)
	line := d.Line()
	entries := d.Records(line, 3)
	if _, err := c.Append(ctx, entries[:2]...); err != nil {
		t.Fatal(err)
	}
	fork := func() []byte {
		r := &evidence.Record{
			Origin: daemontest.Origin, Kind: evidence.KindEscalation, Run: line.Run(), Prev: evidence.IDOf(entries[0]), Actor: "runtime",
			Time: evidence.TimeOf(time.Now()), Body: &evidence.Escalation{Reason: "test", To: "finance"},
		}
		e, err := evidence.Sign(r, d.Key)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}()
	_, here := d.Ledger.Append(ctx, fork)
	for name, err := range map[string]error{"one": second(c.Append(ctx, fork)), "many": second(c.Append(ctx, entries[2], fork))} {
		var got, want *ledger.ConflictError
		if !errors.As(here, &want) || !errors.As(err, &got) || got.Reason != want.Reason || got.Class != want.Class {
			t.Errorf("%s: want %v, found %v", name, here, err)
		}
	}
	var conflict *ledger.ConflictError
	if err := second(c.Append(ctx, fork)); !errors.As(err, &conflict) || conflict.Stands != evidence.IDOf(entries[2]) {
		t.Errorf("want the conflict to name the last record, found %v", err)
	}
	if r := ledger.AsRefusal(second(c.Append(ctx, []byte("a.b.c")))); r == nil || r.Class != ledger.Malformed {
		t.Errorf("want a refusal of class 400, found %+v", r)
	}
	var p *client.Problem
	if err := second(d.Client("ledgerd_wrong").Append(ctx, entries[0])); !errors.As(err, &p) || p.Status != 401 || ledger.AsRefusal(err) != nil {
		t.Errorf("want a problem 401, found %v", err)
	}
	if err := d.Ledger.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second(c.Append(ctx, entries[0])); !errors.Is(err, tlog.ErrNotAppended) {
		t.Errorf("want ErrNotAppended, found %v", err)
	}
	d.Stop()
	// A client without connections: on one that is left over from before, a
	// request may have been sent, and then nobody knows.
	c = d.Client(d.Token)
	if err := second(c.Append(ctx, entries[0])); !errors.Is(err, tlog.ErrNotAppended) {
		t.Errorf("nobody listens: want ErrNotAppended, found %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestConnectionThatBreaks: a request that was sent and not answered may have
// been acted on.
func TestConnectionThatBreaks(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<16))
			_ = c.Close()
		}
	}()
	c, err := client.New("http://"+ln.Addr().String(), client.Options{Token: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second(c.Append(context.Background(), []byte("a.b.c"))); !errors.Is(err, tlog.ErrUnknown) {
		t.Errorf("want ErrUnknown, found %v", err)
	}
}

func refusedWith(err error, status int, text string) bool {
	p, ok := errors.AsType[*client.Problem](err)
	return ok && p.Status == status && strings.Contains(err.Error(), text)
}

func TestProofs(t *testing.T) {
	ctx := context.Background()
	d := daemontest.New(t, nil)
	c := d.Client(d.Token)
	line := d.Line()
	if _, err := c.Append(ctx, d.Records(line, 20)...); err != nil {
		t.Fatal(err)
	}
	old := d.Ledger.Head()
	placed, err := c.Append(ctx, d.Records(line, 300)...)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := c.Trust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Receipt(ctx, placed[100].ID)
	if err != nil {
		t.Fatal(err)
	}
	head, err := trust.OpenHead(r.Head)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(head); err != nil || !bytes.Equal(r.Entry, placed[100].Entry) {
		t.Errorf("receipt: %v", err)
	}
	now := d.Ledger.Head()
	proof, err := c.Consistency(ctx, old.Size, now.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := proof.Check(old.Root, now.Root); err != nil {
		t.Errorf("consistency: %v", err)
	}
	note, err := c.Head(ctx)
	if err != nil || !bytes.Equal(note, now.Note) {
		t.Errorf("head: %v", err)
	}
	var here, there bytes.Buffer
	// An acceptance, and the bundle that it commits to.
	given := evidence.Payload{Salt: [32]byte{7}, Media: bundle.Media, Data: []byte("a bundle")}
	if _, err := c.PutPayloads(ctx, []evidence.Payload{given}); err != nil {
		t.Fatal(err)
	}
	s, n := d.Signer(), d.Ledger.Registry().Number()
	body := &evidence.HandoffAccepted{
		Offer: evidence.ID{1}, Origin: "ledger.example/giver", Opens: line.Run(), Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}, Bundle: given.Commitment(),
	}
	entry, err := evidence.Sign(&evidence.Record{Origin: s.Origin, Kind: body.Kind(), Actor: s.Agent, Registry: &n, Time: evidence.TimeOf(time.Now()), Body: body}, s.Key)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := c.Append(ctx, entry)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []ledger.ExportOptions{
		{Run: line.Run()},
		{Record: placed[3].ID},
		{From: 2, To: 50},
		{All: true},
		{Run: line.Run(), Heads: [][]byte{old.Note}},
		{Record: accepted[0].ID},
		{Record: accepted[0].ID, NoHandoffs: true},
		{Record: accepted[0].ID, Hide: ledger.Hidden},
	} {
		here.Reset()
		there.Reset()
		if err := d.Ledger.Export(ctx, &here, o); err != nil {
			t.Fatal(err)
		}
		if err := c.Export(ctx, &there, o); err != nil || !bytes.Equal(here.Bytes(), there.Bytes()) {
			t.Errorf("export %+v: %d bytes over HTTP, %d in process: %v", o, there.Len(), here.Len(), err)
		}
		if heads := bytes.Count(there.Bytes(), []byte(`{"head":`)); heads != 1+len(o.Heads) {
			t.Errorf("export %+v: %d tree heads", o, heads)
		}
		if shown := bytes.Contains(there.Bytes(), []byte(`{"payload":`)); !o.Record.IsZero() && o.Record == accepted[0].ID && shown != (o.Hide == nil && !o.NoHandoffs) {
			t.Errorf("export %+v: what was accepted is disclosed: %v", o, shown)
		}
	}
	if err := c.Export(ctx, &there, ledger.ExportOptions{Run: line.Run(), Heads: [][]byte{[]byte("no head")}}); !refusedWith(err, 400, "an earlier tree head that is not this log's") {
		t.Errorf("a tree head of somebody else: %v", err)
	}
	if err := c.Export(ctx, &there, ledger.ExportOptions{Run: "run_00000000-0000-0000-0000-000000000000"}); !errors.Is(err, ledger.ErrNoRecord) {
		t.Errorf("a run that nobody opened: want ErrNoRecord, found %v", err)
	}
	if _, err := bundle.ParseReceipt(r.Marshal()); err != nil {
		t.Error(err)
	}
}

func TestPayloads(t *testing.T) {
	ctx := context.Background()
	d := daemontest.New(t, nil)
	c := d.Client(d.Token)
	var many []evidence.Payload
	for i := range 1200 {
		many = append(many, evidence.Payload{Salt: [32]byte{byte(i), byte(i >> 8), 9}, Media: "text/plain", Data: bytes.Repeat([]byte{byte(i)}, i%50)})
	}
	many = append(many, evidence.Payload{Salt: [32]byte{1, 1, 1}, Media: "application/octet-stream", Data: make([]byte, 9<<20)})
	stored, err := c.PutPayloads(ctx, many)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 49, 999, 1000, 1199, 1200} {
		p, err := c.Payload(ctx, stored[i].Commit)
		if err != nil || !p.Opens(stored[i]) || !p.Opens(many[i].Commitment()) {
			t.Errorf("payload %d: %v", i, err)
		}
	}
	one, err := c.PutPayload(ctx, [32]byte{5}, "application/json", bytes.NewReader([]byte(`{}`)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Client(d.Grant("runtime", api.RightRead)).Payload(ctx, one.Commit); !errors.Is(err, ledger.ErrNoPayload) {
		t.Errorf("without the right: want ErrNoPayload, found %v", err)
	}
	p, err := c.Erase(ctx, one.Commit, "asked-for")
	if err != nil || p.Record.Kind != evidence.KindPayloadErased {
		t.Fatalf("erase: %+v, %v", p, err)
	}
	if _, err := c.Payload(ctx, one.Commit); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("erased: want ErrErased, found %v", err)
	}
	if _, err := c.PutPayload(ctx, [32]byte{5}, "application/json", bytes.NewReader([]byte(`{}`))); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("put again: want ErrErased, found %v", err)
	}
	big := make([]byte, ledger.DefaultMaxPayload+1)
	var problem *client.Problem
	if _, err := c.PutPayload(ctx, [32]byte{6}, "application/json", bytes.NewReader(big)); !errors.As(err, &problem) || problem.Status != 413 {
		t.Errorf("too long: want 413, found %v", err)
	}
}

func TestServerAddress(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8420", "ftp://x", "http://ledger.example", "http://"} {
		if _, err := client.New(bad, client.Options{}); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
	for _, good := range []string{client.DefaultServer, "https://ledger.example", "unix:/run/ledgerd.sock", "http://[::1]:1", "http://localhost"} {
		if _, err := client.New(good, client.Options{}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// TestBusy: a client that is told to come again does, as often as it was allowed.
func TestBusy(t *testing.T) {
	d := daemontest.New(t, func(c *server.Config) { c.Limits = server.Limits{UploadBytes: 1} })
	entry := d.Records(d.Line(), 1)[0]
	if err := second(d.Client(d.Token).Append(context.Background(), entry)); !errors.Is(err, tlog.ErrBusy) {
		t.Errorf("want ErrBusy, found %v", err)
	}
	c, err := client.New(d.URL, client.Options{Token: d.Token, BusyRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := second(c.Append(context.Background(), entry)); !errors.Is(err, tlog.ErrBusy) || time.Since(began) < time.Second {
		t.Errorf("want ErrBusy after a second of waiting, found %v after %v", err, time.Since(began))
	}
}
