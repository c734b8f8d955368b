package ledger

import (
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
)

func rising(indexes []uint64, end error) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for _, i := range indexes {
			if !yield(i, nil) {
				return
			}
		}
		if end != nil {
			yield(0, end)
		}
	}
}

// TestMerge: all of both in order, as far as they go.
func TestMerge(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	errEnd := errors.New("end")
	for range 500 {
		var a, b []uint64
		for i := range random.Uint64N(12) {
			switch random.IntN(3) {
			case 0:
				a = append(a, i)
			case 1:
				b = append(b, i)
			}
		}
		want := slices.Concat(a, b)
		slices.Sort(want)
		var found []uint64
		for i, err := range merge(rising(a, nil), rising(b, nil)) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, i)
		}
		if !slices.Equal(found, want) {
			t.Fatalf("%v and %v: want %v, found %v", a, b, want, found)
		}
		// Who stops early is asked no more, and an error is the last of it.
		stop := random.IntN(len(want) + 1)
		n := 0
		for range merge(rising(a, nil), rising(b, nil)) {
			if n++; n >= stop {
				break
			}
		}
		for _, broken := range []iter.Seq2[uint64, error]{merge(rising(a, errEnd), rising(b, nil)), merge(rising(a, nil), rising(b, errEnd))} {
			var last error
			for i, err := range broken {
				if last != nil {
					t.Fatalf("%d, %v after an error", i, err)
				}
				last = err
			}
			if !errors.Is(last, errEnd) {
				t.Fatalf("%v and %v: want the error last, found %v", a, b, last)
			}
		}
	}
}
