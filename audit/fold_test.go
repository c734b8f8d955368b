package audit

import (
	"testing"

	"ledgerd/audit/audittest"
	"ledgerd/evidence"
)

// fold checks every record of a world with a registry, as an audit would, and
// folds those of one run. It fails the test for what the registry refuses.
func fold(t testing.TB, w *audittest.World, run evidence.RunID) (*Run, []Finding) {
	t.Helper()
	g := NewRegistry(w.Origin, w.Placed[0].ID)
	r := NewRun(g)
	var found []Finding
	for _, p := range w.Placed {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			t.Fatal(err)
		}
		rec, by, err := g.Check(p.Index, u)
		if err != nil {
			t.Fatalf("index %d: %v", p.Index, err)
		}
		if rec.Kind.Place() == evidence.Registry {
			if err := g.Apply(p.Index, p.ID, rec); err != nil {
				t.Fatal(err)
			}
		}
		if rec.Run == run {
			found = append(found, r.Apply(p.Index, p.ID, rec, by)...)
		}
	}
	return r, found
}
