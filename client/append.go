package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

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

var (
	oneRecord   = map[string]string{"Content-Type": api.MediaJOSE}
	manyRecords = map[string]string{"Content-Type": api.MediaLines}
)

func (c *Client) appendOne(ctx context.Context, entry []byte) ([]ledger.Outcome, error) {
	resp, err := c.do(ctx, &request{
		method: http.MethodPost, path: api.PathRecords, body: entry, header: oneRecord, record: true,
	})
	if err != nil {
		if err = asLedger(sent(ctx, err)); ledger.AsRefusal(err) != nil || perRecord(err) {
			return []ledger.Outcome{{Err: err}}, nil
		}
		return nil, err
	}
	defer resp.Body.Close()
	b, err := readAnswer(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: the answer: %w", tlog.ErrUnknown, err)
	}
	out, err := c.outcome(entry, b)
	if err != nil {
		return nil, fmt.Errorf("%w: the answer: %w", tlog.ErrUnknown, err)
	}
	return []ledger.Outcome{out}, nil
}

// readAnswer reads an answer about one record, which is seldom longer than what
// is set aside for it.
func readAnswer(body io.Reader) ([]byte, error) {
	b := make([]byte, 0, 256)
	for len(b) < 4<<10 {
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		b = slices.Grow(b, 128)
	}
	return nil, errors.New("want at most 4 KiB")
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
		method: http.MethodPost, path: api.PathRecords, body: body, header: manyRecords,
	})
	if err != nil {
		return nil, asLedger(sent(ctx, err))
	}
	defer resp.Body.Close()
	outs := make([]ledger.Outcome, len(entries))
	lines := bufio.NewReader(resp.Body)
	for i, e := range entries {
		line, err := lines.ReadBytes('\n')
		if err == nil {
			outs[i], err = c.outcome(e, line)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the answer, line %d of %d: %w", tlog.ErrUnknown, i+1, len(entries), err)
		}
	}
	_, _ = io.Copy(io.Discard, lines) // so that the connection is used again
	return outs, nil
}

// outcome is that of an entry that the daemon gave a line of its answer to.
func (c *Client) outcome(entry, line []byte) (ledger.Outcome, error) {
	status, index, id, ok := parsePlaced(line)
	if !ok {
		var l api.Line
		if err := json.Unmarshal(line, &l); err != nil {
			return ledger.Outcome{}, err
		}
		if l.Problem != nil {
			return ledger.Outcome{Err: asLedger(l.Problem)}, nil
		}
		if l.Index == nil || l.ID == nil {
			return ledger.Outcome{}, errors.New("want index and id")
		}
		status, index, id = l.Status, *l.Index, *l.ID
	}
	if own := evidence.IDOf(entry); own != id {
		return ledger.Outcome{}, fmt.Errorf("want one about %s, found one about %s", own, id)
	}
	out := ledger.Outcome{Placed: evidence.Placed{Index: index, ID: id, Entry: entry}, Duplicate: status == http.StatusOK}
	if !c.bare {
		u, err := evidence.Parse(entry)
		if err != nil {
			return ledger.Outcome{}, err
		}
		out.Record = u.UnverifiedRecord()
	}
	return out, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

// parsePlaced reads an api.Placed in the very form that the daemon writes. Any
// other is left to encoding/json.
func parsePlaced(line []byte) (status int, index uint64, id evidence.ID, ok bool) {
	line, ok = bytes.CutPrefix(bytes.TrimSuffix(line, []byte{'\n'}), []byte(`{"status":20`))
	if !ok || len(line) == 0 || line[0] != '0' && line[0] != '1' {
		return 0, 0, id, false
	}
	status = 200 + int(line[0]-'0')
	line, ok = bytes.CutPrefix(line[1:], []byte(`,"index":`))
	digits, text, found := bytes.Cut(line, []byte(`,"id":"ev_`))
	if !ok || !found || len(text) != 43+len(`"}`) || string(text[43:]) != `"}` {
		return 0, 0, id, false
	}
	index, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || len(digits) > 1 && digits[0] == '0' {
		return 0, 0, id, false
	}
	n, err := strictBase64.Decode(id[:], text[:43])
	return status, index, id, err == nil && n == len(id) && !id.IsZero()
}
