package exchange

import (
	"errors"
	"testing"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
)

// TestAcceptedOnTheWay: an offer that arrives after something else was accepted than what
// its bundle knew is sent again; one that was answered is not looked after any more.
func TestAcceptedOnTheWay(t *testing.T) {
	id := evidence.IDOf([]byte("offer"))
	x := &Exchange{arrived: make(map[evidence.ID]*arrival), answers: map[string]int{"peer": 1}}
	p := &parcel{id: id, offer: true, to: "peer", sent: &arrival{head: []byte("head"), size: 7, holds: map[uint64]bool{7: true}}, kept: 7}
	if !x.arrives(p, false) {
		t.Error("something was accepted on the way: want it sent again")
	}
	p.answers = 1
	if x.arrives(p, false) || x.arrived[id].size != 7 {
		t.Errorf("nothing was accepted on the way: want it to lie there, found %+v", x.arrived[id])
	}
	p.kept = 5 // the receiver keeps another bundle
	if x.arrives(p, false) || x.arrived[id].head != nil {
		t.Errorf("want it not known what lies there, found %+v", x.arrived[id])
	}
	if x.arrives(p, true) || len(x.arrived) != 0 {
		t.Error("an answered offer lies nowhere")
	}
}

// TestFinal: who says which tree head it knows takes another bundle.
func TestFinal(t *testing.T) {
	older := func(known string) error {
		return &api.Problem{Status: 422, Reason: api.ReasonHandoff + string(handoff.HeadOlder), Known: known}
	}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"a head that is known":   {older("a head"), false},
		"none that is":           {older(""), true},
		"not decidable":          {&api.Problem{Status: 422, Reason: api.ReasonHandoff + string(handoff.HeadOther), Undecidable: true}, false},
		"no answer":              {errors.New("no line"), false},
		"another form is wanted": {&api.Problem{Status: 400, Reason: api.ReasonMalformed}, true},
	} {
		if got := final(c.err); got != c.want {
			t.Errorf("%s: want %v, found %v", name, c.want, got)
		}
	}
}
