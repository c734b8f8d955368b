package main

import (
	"fmt"
	"testing"
)

// Memory is given to a load at once, and taken back when it has been gone for a
// while; a little in between is no load.
func TestPace(t *testing.T) {
	p, total := pace{last: 7_000}, uint64(7_000)
	for second, c := range []struct {
		records uint64
		want    string
	}{
		{0, "100 false"},
		{busyRecords - 1, "100 false"},
		{busyRecords, "300 true"},
		{9000, "300 false"},
		{10, "300 false"},
		{0, "300 false"},
		{busyRecords, "300 false"}, // a pause, not the end
		{0, "300 false"},
		{0, "300 false"},
		{0, "300 false"},
		{0, "300 false"},
		{0, "100 true"},
		{0, "100 false"},
		{busyRecords, "300 true"},
	} {
		total += c.records
		percent, changed := p.second(total)
		if got := fmt.Sprint(percent, changed); got != c.want {
			t.Errorf("second %d, %d records: want %s, found %s", second, c.records, c.want, got)
		}
	}
}
