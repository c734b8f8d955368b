package evidence

import (
	"bytes"
	"reflect"
	"testing"
)

// Commitments lists by hand what the bodies hold. Fill every field of every
// kind, so that a commitment added to a body and forgotten there shows up.
func TestCommitmentsOfEveryKind(t *testing.T) {
	for _, k := range Kinds() {
		body := kinds[k].body()
		var n byte
		fill(reflect.ValueOf(body).Elem(), &n)
		cs := (&Record{Kind: k, Body: body}).Commitments()
		if len(cs) != int(n) {
			t.Errorf("%s: %d commitments in the body, %d listed", k, n, len(cs))
		}
		for i := 1; i < len(cs); i++ {
			if bytes.Compare(cs[i-1].Commit[:], cs[i].Commit[:]) >= 0 {
				t.Errorf("%s: commitments out of order", k)
			}
		}
	}
}

func fill(v reflect.Value, n *byte) {
	if v.Type() == reflect.TypeFor[Commitment]() {
		*n++
		// Falling digests, so that order is not by chance.
		v.Set(reflect.ValueOf(Commitment{Commit: Digest{255 - *n, 1}, Size: 1, Media: "m"}))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0), n)
			fill(v.Index(1), n)
		}
	}
}
