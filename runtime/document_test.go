package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// TestDocumentStoredOnce: a policy set is one payload for as long as its bytes
// and its media type stay the same, whoever holds it, and another when they
// change.
func TestDocumentStoredOnce(t *testing.T) {
	reused := &runtime.Document{Media: "text/plain", Data: []byte("one")}
	sets := []func() *runtime.Document{
		func() *runtime.Document { return reused },
		func() *runtime.Document { return runtime.NewDocument("text/plain", []byte("one")) },
		func() *runtime.Document { return &runtime.Document{Media: "text/plain", Data: []byte("one")} },
		func() *runtime.Document { copy(reused.Data, "two"); return reused },
		func() *runtime.Document { return runtime.NewDocument("text/plain", []byte("two")) },
		func() *runtime.Document { return runtime.NewDocument("text/markdown", []byte("one")) },
	}
	want := []int{0, 0, 0, 1, 1, 2}
	w := runtimetest.New(t)
	var next func() *runtime.Document
	w.Permit = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Allow, Policies: []string{"p"}, Set: next()}, nil
	})
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool))
	for i := range sets {
		next = sets[i]
		if _, err := runtime.Do(ctx, run, fmt.Sprint("step-", i), tool, mail{To: "mia"}); err != nil {
			t.Fatal(err)
		}
	}
	var commits []evidence.Digest
	var found []int
	for _, p := range w.Records(run.ID()) {
		b, ok := p.Record.Body.(*evidence.Authorization)
		if !ok {
			continue
		}
		i := slices.Index(commits, b.PolicySet.Commit)
		if i < 0 {
			i = len(commits)
			commits = append(commits, b.PolicySet.Commit)
		}
		found = append(found, i)
	}
	if !slices.Equal(found, want) {
		t.Errorf("want the sets stored as %v, found %v", want, found)
	}
	for i, text := range []string{"one", "two", "one"} {
		if p, err := (runtime.Embedded{Ledger: w.Ledger}).ReadPayload(ctx, commits[i]); err != nil || string(p.Data) != text {
			t.Errorf("want %q, found %v, %v", text, p, err)
		}
	}
}
