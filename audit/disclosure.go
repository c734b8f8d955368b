package audit

import (
	"io"
	"slices"
	"strings"

	"ledgerd/bundle"
	"ledgerd/evidence"
)

// maxKept is how many bytes of disclosed payloads an audit keeps for judging.
// What is beyond is checked against its commitment and let go; where it would
// decide something, that is undecidable.
const maxKept = 128 << 20

// maxTracked is how many commitments an audit tells apart as disclosed, withheld
// or erased. Beyond it they are counted no more.
const maxTracked = 1 << 20

// disclosures is what became of the payloads that records commit to.
type disclosures struct {
	kept    map[evidence.Digest][]byte
	bytes   int64
	state   map[evidence.Digest]disclosed
	dropped bool
}

type disclosed uint8

const (
	withheld disclosed = iota
	shown
	erased
)

func newDisclosures() *disclosures {
	return &disclosures{kept: make(map[evidence.Digest][]byte), state: make(map[evidence.Digest]disclosed)}
}

// Payload implements Payloads.
func (d *disclosures) Payload(commit evidence.Digest) ([]byte, bool) {
	b, ok := d.kept[commit]
	return b, ok
}

func (d *disclosures) commit(list []evidence.Commitment) {
	for i := range list {
		if _, seen := d.state[list[i].Commit]; !seen && len(d.state) < maxTracked {
			d.state[list[i].Commit] = withheld
		}
	}
}

func (d *disclosures) erase(commit evidence.Digest) {
	if d.state[commit] != shown {
		d.state[commit] = erased
	}
}

// payload takes a payload that is disclosed with the record before.
func (a *Auditor) payload(it *bundle.PayloadItem) error {
	a.tally.applies[RuleDisclosure] = true
	p, rec := a.lastAt, a.last
	var data []byte
	keep := rec != nil && judged(rec, it.Commit) && a.payloads.bytes+it.Size <= maxKept
	isJSON := rec != nil && jsonMedia(mediaOf(rec, it.Commit)) && it.Size <= maxKept
	if keep || isJSON || shows(rec, it.Commit) != nil {
		var err error
		if data, err = io.ReadAll(it.Data); err != nil {
			return err
		}
	}
	given := a.nested(rec, it)
	opened, err := it.Opened()
	if err != nil {
		return err
	}
	c, committed := commitmentOf(rec, it.Commit)
	switch {
	case !committed:
		a.tally.add(p.broken(RuleDisclosure, ReasonCommitment, "a payload that the record before commits to", "%s", it.Commit))
		return nil
	case !opened:
		a.tally.add(p.broken(RuleDisclosure, ReasonCommitment, "SHA-256 of salt and payload to be "+it.Commit.String(), "another"))
		return nil
	case c.Size != it.Size:
		a.tally.add(p.broken(RuleDisclosure, ReasonCommitment, "the size that the record says", "%d bytes for %d", it.Size, c.Size))
		return nil
	}
	a.payloads.state[it.Commit] = shown
	if given != nil {
		a.give(p, rec, given)
	}
	if isJSON {
		a.readable(p, rec, c, data)
	}
	if keep {
		a.payloads.kept[it.Commit] = data
		a.payloads.bytes += it.Size
	} else if judged(rec, it.Commit) {
		a.payloads.dropped = true
	}
	return nil
}

// readable holds a JSON payload to its media type, and to what the record shows
// of it.
func (a *Auditor) readable(p place, rec *evidence.Record, c evidence.Commitment, data []byte) {
	v, err := parseValue(data)
	if err != nil {
		a.tally.add(p.broken(RuleDisclosure, ReasonParse, "a payload of media "+c.Media, "%v", err))
		return
	}
	if public := clearOf(shows(rec, c.Commit)); public != nil && !(v.kind == '{' && public.within(v)) {
		a.tally.add(p.broken(RuleDisclosure, ReasonPublic, "params and refs to be members of the payload", "others"))
	}
}

// shows returns params or refs, where the commitment is to their payload.
func shows(rec *evidence.Record, commit evidence.Digest) evidence.Object {
	if rec == nil {
		return nil
	}
	is := func(c *evidence.Commitment) bool { return c != nil && c.Commit == commit }
	switch b := rec.Body.(type) {
	case *evidence.Authorization:
		if is(&b.Input) {
			return b.Params
		}
	case *evidence.Execution:
		if is(b.Output) {
			return b.Refs
		}
	case *evidence.Confirmation:
		if is(b.Output) {
			return b.Refs
		}
	case *evidence.Settlement:
		if is(b.Output) {
			return b.Refs
		}
	}
	return nil
}

// judged reports whether the payload can bear on a verdict, or on an offer.
func judged(rec *evidence.Record, commit evidence.Digest) bool {
	is := func(c *evidence.Commitment) bool { return c != nil && c.Commit == commit }
	switch b := rec.Body.(type) {
	case *evidence.RunOpened:
		return is(b.Input) || b.Contract != nil && is(&b.Contract.Document)
	case *evidence.Authorization:
		return is(&b.Input)
	case *evidence.Execution:
		return is(&b.Input) || is(b.Output)
	case *evidence.Confirmation:
		return is(b.Output)
	case *evidence.Settlement:
		return is(b.Output)
	case *evidence.Verdict:
		return is(&b.Document)
	case *evidence.HandoffOffered:
		return is(b.Artifact) || is(b.Note)
	case *evidence.Claim:
		for i := range b.Statements {
			if slices.ContainsFunc(b.Statements[i].Assertions, func(x evidence.Assertion) bool { return is(x.Expect) }) {
				return true
			}
		}
	}
	return false
}

func commitmentOf(rec *evidence.Record, commit evidence.Digest) (evidence.Commitment, bool) {
	if rec == nil {
		return evidence.Commitment{}, false
	}
	list := rec.Commitments()
	i := slices.IndexFunc(list, func(c evidence.Commitment) bool { return c.Commit == commit })
	if i < 0 {
		return evidence.Commitment{}, false
	}
	return list[i], true
}

func mediaOf(rec *evidence.Record, commit evidence.Digest) string {
	c, _ := commitmentOf(rec, commit)
	return c.Media
}

// jsonMedia reports whether a media type is that of JSON (RFC 8259, RFC 6839).
func jsonMedia(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	return media == "application/json" || strings.HasSuffix(media, "+json")
}
