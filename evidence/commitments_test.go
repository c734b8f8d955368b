package evidence

import (
	"encoding/binary"
	"reflect"
	"testing"
)

// Every member of type Commitment, wherever it stands in a body, is listed: a
// body that gets a new one and is forgotten in Commitments fails here.
func TestCommitmentsListsEveryMember(t *testing.T) {
	for kind, rule := range kinds {
		body := rule.body()
		var want []Commitment
		fill(reflect.ValueOf(body).Elem(), &want)
		got := (&Record{Kind: kind, Body: body}).Commitments()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: listed %d commitments, its body holds %d", kind, len(got), len(want))
		}
	}
}

// fill puts a different commitment everywhere that one can stand, two elements
// into each slice, and returns them in the order of the members.
func fill(v reflect.Value, out *[]Commitment) {
	switch {
	case v.Type() == reflect.TypeFor[Commitment]():
		c := Commitment{Size: int64(len(*out)), Media: "text/plain"}
		binary.BigEndian.PutUint32(c.Commit[:], uint32(len(*out)+1))
		v.Set(reflect.ValueOf(c))
		*out = append(*out, c)
	case v.Kind() == reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), out)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), out)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), out)
		}
	}
}
