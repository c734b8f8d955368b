package handoff_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"ledgerd/handoff"
)

// TestNothingElseIsAccepted changes, drops, repeats, swaps and mixes whatever there is
// in bundles of true offers: never is anything verified that was not true before.
func TestNothingElseIsAccepted(t *testing.T) {
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
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	one := bytes.SplitAfter(true1, []byte("\n"))
	two := bytes.SplitAfter(true2, []byte("\n"))
	join := func(lines [][]byte) []byte { return bytes.Join(lines, nil) }
	for range rounds {
		b := bytes.Clone(true2)
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
		for k := range two[:i] {
			swapped := append([][]byte{}, two...)
			swapped[i], swapped[k] = two[k], two[i]
			try("lines swapped", join(swapped))
		}
		for _, l := range one {
			mixed := append([][]byte{}, two...)
			mixed[i] = l
			try("a line of another bundle", join(mixed))
		}
		try("cut and continued by another", join(append(append([][]byte{}, two[:i]...), one[min(i, len(one)):]...)))
	}
	t.Logf("%d bundles that were changed and still say the same", accepted)
	if accepted > 0 {
		t.Errorf("a bundle has one form: %d others were accepted", accepted)
	}
}
