package handoff_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

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
