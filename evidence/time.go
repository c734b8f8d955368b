package evidence

import (
	"fmt"
	"time"
)

// Time is an instant in milliseconds since the Unix epoch. Its text form is RFC
// 3339 in UTC with exactly three decimals: 2026-05-29T14:32:10.120Z. The zero
// Time is absent.
type Time int64

const timeLayout = "2006-01-02T15:04:05.000Z"

// TimeOf truncates t to milliseconds.
func TimeOf(t time.Time) Time { return Time(t.UnixMilli()) }

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String returns the text form.
func (t Time) String() string { return t.Std().Format(timeLayout) }

// MarshalText is [Time.String]; a year outside 1970 to 9999 is an error.
func (t Time) MarshalText() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	return []byte(t.String()), nil
}

// maxTime is the last millisecond of the year 9999.
const maxTime = 253402300799999

func (t Time) check() error {
	if t <= 0 || t > maxTime {
		return fmt.Errorf("time: want a year from 1970 to 9999, found %d ms since the Unix epoch", int64(t))
	}
	return nil
}

// UnmarshalText reads the text form and refuses any other spelling.
func (t *Time) UnmarshalText(b []byte) error {
	p, ok := parseTime(b)
	if !ok {
		return fmt.Errorf("time: want the form %s, found %q", timeLayout, clip(b))
	}
	if *t = TimeOf(p); *t <= 0 {
		return fmt.Errorf("time: want a time after 1970-01-01, found %q", b)
	}
	return nil
}

// parseTime is time.Parse of the one layout, less the comma that it takes for
// the decimal point.
func parseTime(b []byte) (p time.Time, ok bool) {
	const form = "0000-00-00T00:00:00.000Z"
	if len(b) != len(form) {
		return p, false
	}
	var n [7]int // year, month, day, hour, minute, second, millisecond
	field := 0
	for i := range len(form) {
		switch c := b[i]; {
		case form[i] != '0':
			if c != form[i] {
				return p, false
			}
			field++
		case c < '0' || c > '9':
			return p, false
		default:
			n[field] = 10*n[field] + int(c-'0')
		}
	}
	if n[3] > 23 || n[4] > 59 || n[5] > 59 {
		return p, false
	}
	p = time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1_000_000, time.UTC)
	year, month, day := p.Date() // of what the calendar does not have, Date makes another day
	return p, year == n[0] && int(month) == n[1] && day == n[2]
}

func (t Time) absent() bool { return t == 0 }
