package report

import "testing"

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		in   []Outcome
		want Outcome
	}{
		{nil, Verified},
		{[]Outcome{Verified, Verified}, Verified},
		{[]Outcome{Verified, Undecidable}, Undecidable},
		{[]Outcome{Undecidable, Malformed}, Malformed},
		{[]Outcome{Malformed, Wrong, Verified}, Wrong},
	} {
		if got := Worst(c.in...); got != c.want {
			t.Errorf("%v: expected %s, found %s", c.in, c.want, got)
		}
	}
}
