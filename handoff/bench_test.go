package handoff_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// BenchmarkVerify verifies an offer whose bundle has 100 records, payloads and all.
func BenchmarkVerify(b *testing.B) {
	w := runtimetest.Named(b, research)
	tool := runtime.NewFunc(runtime.Spec{Name: "search", Action: "search", Idempotent: true}, func(_ context.Context, _ *runtime.Call, q query) (finding, error) { return finding{7}, nil })
	run, err := w.Runtime(tool).Open(ctx, "q3", runtime.As(runtimetest.Agent), runtime.Task("research", nil))
	if err != nil {
		b.Fatal(err)
	}
	var found *runtime.Result
	for i := range 47 {
		if found, err = run.Do(ctx, runtime.Action{Step: fmt.Sprint("search-", i), Tool: "search", Input: []byte(`{"q":"sales"}`)}); err != nil {
			b.Fatal(err)
		}
	}
	to := handoff.Receiver{Origin: analysis, Actor: "analyst", Key: w.Party().Key.Public().Thumbprint()}
	id, err := run.Offer(ctx, runtime.Offering{
		To: evidence.Recipient{Origin: to.Origin, Actor: to.Actor, Key: to.Key}, Task: "analyse", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "*"}},
		Evidence: []evidence.ID{found.Execution}, Artifact: []byte(`{"rows":7}`),
	})
	if err != nil {
		b.Fatal(err)
	}
	var file bytes.Buffer
	if err := w.Ledger.Export(ctx, &file, ledger.ExportOptions{Offer: id}); err != nil {
		b.Fatal(err)
	}
	o := handoff.Options{Trust: w.Party(w).Trust, To: to, Now: w.Clock.Now()}
	v, err := handoff.Verify(file.Bytes(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(v.Report().Scope.Records), "records")
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		if _, err := handoff.Verify(file.Bytes(), o); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAccept verifies and accepts an offer that nobody accepted, in a ledger where
// 10 others were, and in one where 20,000 were, in turn: whatever else the machine does
// is done to both. many/few is what the second takes of the first.
func BenchmarkAccept(b *testing.B) {
	few, many := newReceiving(b, 10), newReceiving(b, 20_000)
	var took [2]time.Duration
	for b.Loop() {
		for i, r := range []*receiving{few, many} {
			offer := r.offer()
			began := time.Now()
			r.accept(offer)
			took[i] += time.Since(began)
		}
	}
	b.ReportMetric(0, "ns/op") // offers are made meanwhile
	b.ReportMetric(float64(took[0].Nanoseconds())/float64(b.N), "few-ns")
	b.ReportMetric(float64(took[1].Nanoseconds())/float64(b.N), "many-ns")
	b.ReportMetric(float64(took[1])/float64(took[0]), "many/few")
}

// receiving is a giver that goes on offering, and a receiver.
type receiving struct {
	*testing.B
	giver  *runtimetest.World
	party  *handoff.Party
	rt     *runtime.Runtime // the giver's
	offers int
}

// newReceiving makes a receiver that accepted n offers before, of other ledgers.
func newReceiving(b *testing.B, n int) *receiving {
	b.Helper()
	giver, receiver := runtimetest.Named(b, research), runtimetest.Named(b, analysis)
	acceptances(b, receiver, n)
	tool := runtime.NewFunc(runtime.Spec{Name: "search", Action: "search", Idempotent: true}, func(_ context.Context, _ *runtime.Call, q query) (finding, error) { return finding{7}, nil })
	return &receiving{B: b, giver: giver, party: receiver.Party(giver), rt: giver.Runtime(tool)}
}

func (r *receiving) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// offer returns the bundle about a new offer, of a run of its own: none is larger than
// the one before.
func (r *receiving) offer() []byte {
	r.Helper()
	r.offers++
	run, err := r.rt.Open(ctx, fmt.Sprint("q", r.offers), runtime.As(runtimetest.Agent), runtime.Task("research", nil))
	r.must(err)
	found, err := run.Do(ctx, runtime.Action{Step: "search", Tool: "search", Input: []byte(`{"q":"sales"}`)})
	r.must(err)
	to := r.party.Receiver()
	id, err := run.Offer(ctx, runtime.Offering{
		To: evidence.Recipient{Origin: to.Origin, Actor: to.Actor, Key: to.Key}, Task: "analyse", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "*"}},
		Evidence: []evidence.ID{found.Execution}, Artifact: []byte(`{"rows":7}`),
	})
	r.must(err)
	run.Leave(ctx)
	known, err := r.party.Known(ctx, research)
	r.must(err)
	o := ledger.ExportOptions{Offer: id}
	if known != nil {
		o.Heads = [][]byte{known.Note}
	}
	var file bytes.Buffer
	r.must(r.giver.Ledger.Export(ctx, &file, o))
	return file.Bytes()
}

func (r *receiving) accept(offer []byte) {
	r.Helper()
	v, err := r.party.Verify(ctx, offer, nil)
	r.must(err)
	_, err = r.party.Accept(ctx, v, evidence.RunID(fmt.Sprintf("run_0197f3c2-7d1e-7a60-8b1c-%012x", r.offers)))
	r.must(err)
}

// acceptances records that n offers were accepted, of a thousand other ledgers.
func acceptances(b *testing.B, w *runtimetest.World, n int) {
	b.Helper()
	number, p := w.Ledger.Registry().Number(), evidence.Payload{Media: "text/plain"}
	var entries [][]byte
	for i := range n {
		entry, err := evidence.Sign(&evidence.Record{
			Origin: w.Origin, Kind: evidence.KindHandoffAccepted, Actor: runtimetest.Agent, Time: evidence.TimeOf(w.Clock.Now()), Registry: &number,
			Body: &evidence.HandoffAccepted{
				Offer: evidence.IDOf(fmt.Append(nil, i)), Origin: fmt.Sprint("ledger.example/", i%1000), Opens: opens,
				Head: evidence.HeadRef{Size: int64(i + 1), Root: evidence.Digest{1}}, Bundle: p.Commitment(),
			},
		}, w.Party().Key)
		if err != nil {
			b.Fatal(err)
		}
		if entries = append(entries, entry); len(entries) == 500 || i == n-1 {
			if _, err := w.Ledger.Append(ctx, entries...); err != nil {
				b.Fatal(err)
			}
			entries = entries[:0]
		}
	}
}
