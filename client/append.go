package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// Submit sends the entries, each a record's JWS. wait returns where they stand
// once they are durable: with a zero one for each that was refused, and the
// first refusal. Records before and after it may have been admitted.
//
// The order of entries in one call is their order in the log. Two calls that
// are under way together have no order between them, unlike those of a
// *ledger.Ledger: one who extends a run waits, or submits together.
func (c *Client) Submit(entries ...[]byte) (wait func(context.Context) ([]evidence.Placed, error)) {
	outcomes := c.SubmitEach(entries...)
	return func(ctx context.Context) ([]evidence.Placed, error) {
		outs, err := outcomes(ctx)
		if err != nil {
			return nil, err
		}
		return placed(outs)
	}
}

// Append is Submit, and wait.
func (c *Client) Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	outs, err := c.appendEach(ctx, entries)
	if err != nil {
		return nil, err
	}
	return placed(outs)
}

// placed makes one error of many outcomes.
func placed(outs []ledger.Outcome) ([]evidence.Placed, error) {
	all := make([]evidence.Placed, len(outs))
	var first error
	for i, o := range outs {
		all[i] = o.Placed
		if o.Err != nil && first == nil {
			if first = o.Err; len(outs) > 1 {
				first = fmt.Errorf("record %d of %d: %w", i+1, len(outs), o.Err)
			}
		}
	}
	return all, first
}

// SubmitEach sends the entries; wait returns what became of each, in their
// order. The entries must not change until then.
func (c *Client) SubmitEach(entries ...[]byte) (wait func(context.Context) ([]ledger.Outcome, error)) {
	type result struct {
		outs []ledger.Outcome
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Submitting is not given up with a wait: the records have their
		// place in line or get it.
		outs, err := c.appendEach(context.Background(), entries)
		done <- result{outs, err}
	}()
	return func(ctx context.Context) ([]ledger.Outcome, error) {
		select {
		case r := <-done:
			done <- r // it may be called again
			return r.outs, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// appendEach sends entries in as many requests as they need, one after the
// other.
func (c *Client) appendEach(ctx context.Context, entries [][]byte) ([]ledger.Outcome, error) {
	if len(entries) == 1 {
		return c.appendOne(ctx, entries[0])
	}
	outs := make([]ledger.Outcome, 0, len(entries))
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && n < api.MaxLines && size+len(entries[n])+1 <= api.MaxBatchSize {
			size += len(entries[n]) + 1
			n++
		}
		if n == 0 {
			return nil, fmt.Errorf("%w: found %d bytes", tlog.ErrEntrySize, len(entries[0]))
		}
		some, err := c.appendMany(ctx, entries[:n], size)
		if err != nil {
			if len(outs) == 0 {
				return nil, err
			}
			// Others were appended before: this is the fate of the rest.
			for range entries {
				outs = append(outs, ledger.Outcome{Err: err})
			}
			return outs, nil
		}
		outs = append(outs, some...)
		entries = entries[n:]
	}
	return outs, nil
}

func (c *Client) appendOne(ctx context.Context, entry []byte) ([]ledger.Outcome, error) {
	resp, err := c.do(ctx, &request{
		method: http.MethodPost, path: api.PathRecords, body: entry, header: map[string]string{"Content-Type": api.MediaJOSE},
	})
	if err != nil {
		if err = asLedger(sent(ctx, err)); ledger.AsRefusal(err) != nil || perRecord(err) {
			return []ledger.Outcome{{Err: err}}, nil
		}
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	var p api.Placed
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the answer: %w", tlog.ErrUnknown, err)
	}
	out, err := outcome(entry, p.Status, p.Index, p.ID)
	return []ledger.Outcome{out}, err
}

// perRecord: answers that the ledger, too, gives for a single record.
func perRecord(err error) bool {
	return errors.Is(err, tlog.ErrUnknown) || errors.Is(err, tlog.ErrDiskFull) || errors.Is(err, tlog.ErrEntrySize)
}

func (c *Client) appendMany(ctx context.Context, entries [][]byte, size int) ([]ledger.Outcome, error) {
	body := make([]byte, 0, size)
	for i, e := range entries {
		if bytes.IndexByte(e, '\n') >= 0 {
			return nil, fmt.Errorf("record %d: want a compact JWS, found a line end in it", i+1)
		}
		body = append(append(body, e...), '\n')
	}
	resp, err := c.do(ctx, &request{
		method: http.MethodPost, path: api.PathRecords, body: body, header: map[string]string{"Content-Type": api.MediaLines},
	})
	if err != nil {
		return nil, asLedger(sent(ctx, err))
	}
	defer resp.Body.Close()
	outs := make([]ledger.Outcome, 0, len(entries))
	d := json.NewDecoder(resp.Body)
	for i, e := range entries {
		var line api.Line
		if err := d.Decode(&line); err != nil {
			return nil, fmt.Errorf("%w: the answer, line %d of %d: %w", tlog.ErrUnknown, i+1, len(entries), err)
		}
		if line.Problem != nil {
			outs = append(outs, ledger.Outcome{Err: asLedger(line.Problem)})
			continue
		}
		if line.Index == nil || line.ID == nil {
			return nil, fmt.Errorf("%w: the answer, line %d of %d: want index and id", tlog.ErrUnknown, i+1, len(entries))
		}
		out, err := outcome(e, line.Status, *line.Index, *line.ID)
		if err != nil {
			return nil, err
		}
		outs = append(outs, out)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return outs, nil
}

// outcome is that of an entry that the daemon says it placed.
func outcome(entry []byte, status int, index uint64, id evidence.ID) (ledger.Outcome, error) {
	u, err := evidence.Parse(entry)
	if err != nil {
		return ledger.Outcome{}, err
	}
	if u.ID() != id {
		return ledger.Outcome{}, fmt.Errorf("%w: want an answer about %s, found one about %s", tlog.ErrUnknown, u.ID(), id)
	}
	return ledger.Outcome{
		Placed:    evidence.Placed{Index: index, ID: id, Entry: entry, Record: u.UnverifiedRecord()},
		Duplicate: status == http.StatusOK,
	}, nil
}
