package importer

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"ledgerd/evidence"
)

// builder is one run being written.
type builder struct {
	im     *Importer
	t      *Transcript
	run    evidence.RunID
	drafts []draft

	line     line
	placed   []evidence.Placed // the line as it stands in the log
	tail     evidence.ID       // of the last record signed
	last     evidence.Time     // of the last record signed
	appended int
	payloads map[evidence.Digest]*evidence.Payload // all that the run commits to
	verdict  evidence.Result                       // empty until judged
	closed   bool
}

func (b *builder) outcome() Outcome {
	return Outcome{ID: b.t.ID, Run: b.run, Verdict: b.verdict, Records: len(b.placed), Appended: b.appended, Kept: b.t.Kept}
}

// replay follows what an earlier import wrote and requires it to be what the
// transcript says.
func (b *builder) replay(ctx context.Context) error {
	for p, err := range b.im.Ledger.Run(ctx, b.run) {
		if err != nil {
			return fmt.Errorf("reading run %s: %w", b.run, err)
		}
		if !p.Record.OnLine() {
			continue // someone's word beside the line: not the import's
		}
		b.tail, b.last = p.ID, p.Record.Time
		switch body := p.Record.Body.(type) {
		case *evidence.Verdict:
			b.verdict = body.Result
		case *evidence.RunClosed:
			b.closed = true
		default:
			if err := b.follow(ctx, p); err != nil {
				return err
			}
		}
		b.placed = append(b.placed, p)
	}
	if b.closed && len(b.line.ids) != len(b.drafts) {
		last := b.placed[len(b.placed)-1]
		return &ChangedError{b.t.ID, b.run, last.ID, last.Record.Kind, len(b.placed) - 1}
	}
	return nil
}

// follow compares a record that stands with its draft: the same body over
// commitments that the draft's parts open.
func (b *builder) follow(ctx context.Context, p evidence.Placed) error {
	i := len(b.line.ids)
	changed := &ChangedError{b.t.ID, b.run, p.ID, p.Record.Kind, len(b.placed)}
	if i >= len(b.drafts) || b.drafts[i].kind != p.Record.Kind {
		return changed
	}
	d := &b.drafts[i]
	own := commitments(p.Record.Body)
	if len(own) != len(d.parts) {
		return changed
	}
	for j, c := range own {
		stored, err := b.im.Ledger.Payload(ctx, c.Commit)
		if err != nil {
			return fmt.Errorf("run %s is in the ledger, and whether it is this transcript cannot be told without payload %s of record %s: %w",
				b.run, c.Commit, p.ID, err)
		}
		if stored.Media != d.parts[j].media || !bytes.Equal(stored.Data, d.parts[j].data) {
			return changed
		}
		b.payloads[c.Commit] = stored
	}
	want := *p.Record
	want.Body, want.At, want.Actor = d.body(&b.line, own), d.at, b.t.Actor
	x, err := evidence.MarshalPayload(&want)
	if err != nil {
		return err
	}
	y, err := evidence.MarshalPayload(p.Record)
	if err != nil {
		return err
	}
	if !bytes.Equal(x, y) {
		return changed
	}
	b.line.ids, b.line.commits = append(b.line.ids, p.ID), append(b.line.commits, own)
	return nil
}

// commitments returns a body's own commitments in the order of a draft's parts.
// An execution's input is its authorization's.
func commitments(body evidence.Body) []evidence.Commitment {
	var out []evidence.Commitment
	add := func(c *evidence.Commitment) {
		if c != nil {
			out = append(out, *c)
		}
	}
	switch x := body.(type) {
	case *evidence.RunOpened:
		add(x.Intent)
		if x.Contract != nil {
			add(&x.Contract.Document)
		}
	case *evidence.Context:
		for i := range x.Sources {
			add(&x.Sources[i].Content)
		}
	case *evidence.Decision:
		add(&x.Choice)
	case *evidence.Authorization:
		add(&x.Input)
	case *evidence.Execution:
		add(x.Output)
		add(x.Error)
	case *evidence.Claim:
		for i := range x.Statements {
			add(&x.Statements[i].Text)
		}
	}
	return out
}

// batch is the number of records that are appended at once.
const batch = 100

// extend writes the drafts that are not there yet.
func (b *builder) extend(ctx context.Context) error {
	for len(b.line.ids) < len(b.drafts) {
		var payloads []evidence.Payload
		var entries [][]byte
		for len(entries) < batch && len(b.line.ids) < len(b.drafts) {
			d := &b.drafts[len(b.line.ids)]
			own := make([]evidence.Commitment, len(d.parts))
			for j, part := range d.parts {
				p, err := b.seal(part)
				if err != nil {
					return err
				}
				own[j] = p.Commitment()
				payloads = append(payloads, *p)
			}
			entry, err := b.sign(ctx, d.kind, b.t.Actor, d.at, d.body(&b.line, own))
			if err != nil {
				return err
			}
			b.line.ids, b.line.commits = append(b.line.ids, evidence.IDOf(entry)), append(b.line.commits, own)
			entries = append(entries, entry)
		}
		if err := b.write(ctx, payloads, entries); err != nil {
			return err
		}
	}
	return nil
}

// finish judges the claim and closes the run.
func (b *builder) finish(ctx context.Context) error {
	var payloads []evidence.Payload
	var entries [][]byte
	if b.verdict == "" {
		result, document, err := b.judge()
		if err != nil {
			return err
		}
		p, err := b.seal(part{mediaJSON, document})
		if err != nil {
			return err
		}
		payloads = append(payloads, *p)
		entry, err := b.sign(ctx, evidence.KindVerdict, b.im.Runtime, 0, &evidence.Verdict{
			Claim: b.line.ids[len(b.line.ids)-1], Result: result, Document: p.Commitment(),
		})
		if err != nil {
			return err
		}
		b.verdict = result
		entries = append(entries, entry)
	}
	end := &evidence.RunClosed{End: evidence.Completed}
	if b.verdict != evidence.Supported && b.verdict != evidence.NoContract {
		end = &evidence.RunClosed{End: evidence.Failed, Reason: string(evidence.ClaimUnsupported)}
	}
	entry, err := b.sign(ctx, evidence.KindRunClosed, b.im.Runtime, 0, end)
	if err != nil {
		return err
	}
	return b.write(ctx, payloads, append(entries, entry))
}

// seal salts a part, and keeps it for the judge.
func (b *builder) seal(x part) (*evidence.Payload, error) {
	p := &evidence.Payload{Media: x.media, Data: x.data}
	if _, err := io.ReadFull(b.im.Random, p.Salt[:]); err != nil {
		return nil, fmt.Errorf("salt: %w", err)
	}
	b.payloads[p.Commitment().Commit] = p
	return p, nil
}

// sign makes the next record of the line. A line's times never go back, so the
// last record's counts where the clock is behind it.
func (b *builder) sign(ctx context.Context, kind evidence.Kind, actor string, at evidence.Time, body evidence.Body) ([]byte, error) {
	b.last = max(b.last, evidence.TimeOf(b.im.Now()))
	r := &evidence.Record{
		Origin: b.im.Origin, Kind: kind, Run: b.run, Prev: b.tail, Actor: actor, Time: b.last, At: at, Body: body,
	}
	if kind.NamesRegistry() {
		n, err := b.im.Registry.Number(ctx)
		if err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
		r.Registry = &n
	}
	entry, err := evidence.Sign(r, b.im.Key)
	if err != nil {
		return nil, err
	}
	b.tail = evidence.IDOf(entry)
	return entry, nil
}

// write stores payloads, then appends the records that commit to them.
func (b *builder) write(ctx context.Context, payloads []evidence.Payload, entries [][]byte) error {
	if _, err := b.im.Ledger.PutPayloads(ctx, payloads); err != nil {
		return fmt.Errorf("payloads: %w", err)
	}
	placed, err := b.im.Ledger.Append(ctx, entries...)
	if err != nil {
		return err
	}
	b.placed = append(b.placed, placed...)
	b.appended += len(placed)
	return nil
}
