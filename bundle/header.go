package bundle

import (
	"errors"
	"fmt"
	"strings"

	"ledgerd/evidence"
)

// Version is the version of the bundle format that this package reads and writes.
const Version = "v1"

// Media is the media type of a bundle.
const Media = "application/vnd.ledgerd.bundle+jsonl"

// A Header is the first line of a bundle. It says what the bundle means to be
// about, which a verifier compares with what it is asked for and with what the
// records say.
type Header struct {
	Version string `json:"bundle"` // "v1"
	Origin  string `json:"origin"` // of the ledger that all records are bound to
	About   About  `json:"about"`
}

// About says what a bundle is about.
type About struct {
	Kind   AboutKind      `json:"kind"`
	Run    evidence.RunID `json:"run,omitzero"`    // kind run
	From   *uint64        `json:"from,omitzero"`   // kind range: the first index
	To     *uint64        `json:"to,omitzero"`     // kind range: the index after the last
	Record evidence.ID    `json:"record,omitzero"` // kinds record and offer
}

// AboutKind is a kind of thing that a bundle is about.
type AboutKind string

// The kinds.
const (
	AboutRun    AboutKind = "run"    // one run, whole
	AboutRange  AboutKind = "range"  // every record of a contiguous range, with the lines of its runs that began before
	AboutRecord AboutKind = "record" // one record, with its run up to it
	AboutOffer  AboutKind = "offer"  // a handoff: the giver's run up to the offer
)

// RunHeader returns the header of a bundle about a run.
func RunHeader(origin string, run evidence.RunID) Header {
	return Header{Version, origin, About{Kind: AboutRun, Run: run}}
}

// RangeHeader returns the header of a bundle about the records from index from
// to index to-1.
func RangeHeader(origin string, from, to uint64) Header {
	return Header{Version, origin, About{Kind: AboutRange, From: &from, To: &to}}
}

// RecordHeader returns the header of a bundle about one record.
func RecordHeader(origin string, id evidence.ID) Header {
	return Header{Version, origin, About{Kind: AboutRecord, Record: id}}
}

// OfferHeader returns the header of a bundle about an offer.
func OfferHeader(origin string, id evidence.ID) Header {
	return Header{Version, origin, About{Kind: AboutOffer, Record: id}}
}

// Check reports the first rule of form that h breaks.
func (h *Header) Check() error {
	if h.Version != Version {
		return fmt.Errorf("bundle: expected version %q, found %q", Version, clip(h.Version))
	}
	if !validName(h.Origin) || strings.Contains(h.Origin, "+") {
		return fmt.Errorf("origin: expected 1 to 256 bytes of printable ASCII without spaces or plus signs, found %q", clip(h.Origin))
	}
	if err := h.About.check(); err != nil {
		return fmt.Errorf("about: %w", err)
	}
	return nil
}

func (a *About) check() error {
	run, span, record := a.Run != "", a.From != nil && a.To != nil, !a.Record.IsZero()
	if (a.From == nil) != (a.To == nil) {
		return errors.New("expected from and to, or neither")
	}
	switch a.Kind {
	case AboutRun:
		if !run || span || record {
			return errors.New("expected kind run with a run and nothing else")
		}
		_, err := evidence.ParseRunID(string(a.Run))
		return err
	case AboutRange:
		if run || !span || record || *a.From >= *a.To || *a.To > maxSize {
			return errors.New("expected kind range with from below to and nothing else")
		}
	case AboutRecord, AboutOffer:
		if run || span || !record {
			return fmt.Errorf("expected kind %s with a record and nothing else", a.Kind)
		}
	default:
		return fmt.Errorf("expected kind run, range, record or offer, found %q", clip(string(a.Kind)))
	}
	return nil
}

// String says it in words.
func (a About) String() string {
	switch a.Kind {
	case AboutRun:
		return string(a.Run)
	case AboutRange:
		return fmt.Sprintf("records %d to %d", *a.From, *a.To-1)
	}
	return fmt.Sprintf("%s %s", a.Kind, a.Record)
}

// skip reports whether a bundle may leave out the records from index lo to hi-1.
func (a *About) skip(lo, hi uint64) error {
	if a.Kind != AboutRange {
		return nil
	}
	if lo, hi = max(lo, *a.From), min(hi, *a.To); lo < hi {
		return fmt.Errorf("expected every record from %d to %d, found none at %d", *a.From, *a.To-1, lo)
	}
	return nil
}
