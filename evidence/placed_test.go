package evidence

import (
	"bytes"
	"testing"
)

// TestPlacedKeepsWhatWasParsed, together with the word that it was admitted, but
// not for an entry, an ID or a record that somebody put in its place.
func TestPlacedKeepsWhatWasParsed(t *testing.T) {
	entry, err := Sign(samples(t)[0].record, testKey(t, "runtime"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseAdmitted(entry)
	if err != nil || !u.Admitted() {
		t.Fatal(u, err)
	}
	p := u.PlacedAt(7)
	if p.Index != 7 || p.ID != IDOf(entry) || p.Record != u.UnverifiedRecord() || &p.Entry[0] != &entry[0] {
		t.Errorf("%+v", p)
	}
	if again, err := p.Parsed(); again != u || err != nil {
		t.Errorf("it was parsed again: %v", err)
	}
	for name, change := range map[string]func(*Placed){
		"bare":    func(p *Placed) { *p = Placed{Index: p.Index, ID: p.ID, Entry: p.Entry, Record: p.Record} },
		"record":  func(p *Placed) { r := *p.Record; p.Record = &r },
		"id":      func(p *Placed) { p.ID[0]++ },
		"entry":   func(p *Placed) { p.Entry = forgedSignature(p.Entry) },
		"members": func(p *Placed) { p.Record = nil },
	} {
		changed := p
		change(&changed)
		found, err := changed.Parsed()
		if err != nil || found == u || found.Admitted() || !bytes.Equal(found.Entry(), changed.Entry) || found.ID() != IDOf(changed.Entry) {
			t.Errorf("%s: want the entry parsed anew, found %+v, %v", name, found, err)
		}
	}
	if _, err := ParseAdmitted([]byte("a.b.c")); err == nil {
		t.Error("what has no form was admitted")
	}
	if u, err := Parse(entry); err != nil || u.Admitted() {
		t.Error("Parse says that somebody admitted it", err)
	}
}

func forgedSignature(entry []byte) []byte {
	forged := bytes.Clone(entry)
	at := bytes.LastIndexByte(forged, '.') + 1
	if forged[at] != 'A' {
		forged[at] = 'A'
	} else {
		forged[at] = 'B'
	}
	return forged
}
