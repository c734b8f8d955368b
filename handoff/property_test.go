package handoff_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/raced"
	"ledgerd/runtime"
)

// TestNothingElseIsAccepted changes, drops, repeats, swaps and mixes whatever there is
// in bundles of true offers: never is anything verified that was not true before.
func TestNothingElseIsAccepted(t *testing.T) {
	raced.Skip(t)
	x := newExchange(t)
	x.open("one")
	true1 := x.offer(x.offering())
	x.open("two")
	o := x.offering()
	o.Artifact, o.Note = []byte(`{"rows":8}`), "The other."
	true2 := x.offer(o)
	want := make(map[string][3]string)
	said := func(v *handoff.Verified) [3]string {
		return [3]string{string(v.Artifact()), string(v.Note()), string(v.Offer().Scope[0].Resource)}
	}
	for _, b := range [][]byte{true1, true2} {
		v := x.verified(b)
		want[v.ID().String()] = said(v)
	}
	accepted := 0
	try := func(what string, b []byte) {
		t.Helper()
		if bytes.Equal(b, true1) || bytes.Equal(b, true2) {
			return
		}
		v, err := x.party.Verify(ctx, b, nil)
		if err != nil {
			if handoff.AsRefused(err) == nil {
				t.Fatalf("%s: %v", what, err)
			}
			return
		}
		accepted++
		if said(v) != want[v.ID().String()] {
			t.Fatalf("%s: verified %v", what, said(v))
		}
	}
	bent(t, 3000, true2, true1, try)
	t.Logf("%d bundles that were changed and still say the same", accepted)
	if accepted > 0 {
		t.Errorf("a bundle has one form: %d others were accepted", accepted)
	}
}

// bent changes, drops, repeats, swaps and mixes the parts of a bundle with those of
// another, and has each tried: rounds times a byte, a tenth of that in short tests.
func bent(t *testing.T, rounds int, b, other []byte, try func(what string, b []byte)) {
	t.Helper()
	if testing.Short() {
		rounds /= 10
	}
	some := max(1, rounds/150) // of the other lines, for each
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	one := bytes.SplitAfter(other, []byte("\n"))
	two := bytes.SplitAfter(b, []byte("\n"))
	join := func(lines [][]byte) []byte { return bytes.Join(lines, nil) }
	for range rounds {
		b := bytes.Clone(b)
		i := r.IntN(len(b))
		switch r.IntN(4) {
		case 0: // one bit
			b[i] ^= 1 << r.IntN(8)
		case 1: // another character of the alphabet
			b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[r.IntN(64)]
		case 2: // a byte less
			b = append(b[:i], b[i+1:]...)
		case 3: // a byte more
			b = append(b[:i], append([]byte{b[i]}, b[i:]...)...)
		}
		try("a byte", b)
	}
	for i := range two {
		try("a line dropped", join(append(append([][]byte{}, two[:i]...), two[i+1:]...)))
		try("a line repeated", join(append(append([][]byte{}, two[:i+1]...), two[i:]...)))
		for _, k := range r.Perm(i)[:min(i, some)] {
			swapped := append([][]byte{}, two...)
			swapped[i], swapped[k] = two[k], two[i]
			try("lines swapped", join(swapped))
		}
		for _, l := range r.Perm(len(one))[:min(len(one), some)] {
			mixed := append([][]byte{}, two...)
			mixed[i] = one[l]
			try("a line of another bundle", join(mixed))
		}
		try("cut and continued by another", join(append(append([][]byte{}, two[:i]...), one[min(i, len(one)):]...)))
	}
}

// TestNoWorldIsBent does the same to the bundle of a run that rests on the work of
// others, and theirs on its own: whatever is said of what was changed, nothing is
// supported that was not.
func TestNoWorldIsBent(t *testing.T) {
	raced.Skip(t)
	x := newTeam(t)
	plan := x.do(x.run, "plan", "")
	x.takes(x.work(0, "db/north", plan))
	half := x.exported()
	x.takes(x.work(1, "db/south", plan))
	compiled := x.do(x.run, "compile", "")
	if s, err := x.run.Summarize(ctx, "It is compiled.", compiled, runtime.Given{Action: "search"}); err != nil || s.Verdict.Result != evidence.Supported {
		t.Fatalf("%+v, %v", s, err)
	}
	x.must(x.run.Close(ctx))
	whole := x.exported()
	documents := func(r *audit.Report) []string {
		var all []string
		for _, j := range r.Verdicts {
			document, err := j.Verdict.Bytes()
			x.must(err)
			all = append(all, string(document))
		}
		return all
	}
	verified := func(b []byte) *audit.Report {
		r, err := audit.VerifyBundle(bytes.NewReader(b), x.party.Trust, audit.Options{Run: x.run.ID()})
		if err != nil || r.ExitCode() != 0 {
			return nil
		}
		return r
	}
	want := verified(whole)
	if want == nil || len(want.Verdicts) != 2 {
		t.Fatalf("the bundle itself: %+v", want)
	}
	bent(t, 400, whole, half, func(what string, b []byte) {
		if r := verified(b); r != nil && !bytes.Equal(b, whole) {
			t.Fatalf("%s: verified, and says %v, where %v is true", what, documents(r), documents(want))
		}
	})
}
