package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// Get returns the record with that evidence ID, or ledger.ErrNoRecord.
func (c *Client) Get(ctx context.Context, id evidence.ID) (evidence.Placed, error) {
	var r api.Record
	if err := c.getJSON(ctx, api.PathRecords+"/"+id.String(), nil, &r); err != nil {
		return evidence.Placed{}, noRecord(err)
	}
	p, err := placedOf(&r)
	if err == nil && p.ID != id {
		err = fmt.Errorf("want record %s, found %s: the daemon handed out another", id, p.ID)
	}
	return p, err
}

func noRecord(err error) error {
	if isProblem(err, http.StatusNotFound) {
		return fmt.Errorf("%w: %w", ledger.ErrNoRecord, err)
	}
	return err
}

func placedOf(r *api.Record) (evidence.Placed, error) {
	u, err := evidence.Parse([]byte(r.Entry))
	if err != nil {
		return evidence.Placed{}, fmt.Errorf("entry %d: %w", r.Index, err)
	}
	if u.ID() != r.ID {
		return evidence.Placed{}, fmt.Errorf("entry %d: want the record %s, found %s", r.Index, r.ID, u.ID())
	}
	return u.PlacedAt(r.Index), nil
}

// Run yields the records of a run in the order of the log: its line, and what
// stands beside it. A run that nobody opened has none.
func (c *Client) Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error] {
	return c.run(ctx, run, nil)
}

// RunAfter is Run for the records beyond an index.
func (c *Client) RunAfter(ctx context.Context, run evidence.RunID, index uint64) iter.Seq2[evidence.Placed, error] {
	return c.run(ctx, run, &index)
}

func (c *Client) run(ctx context.Context, run evidence.RunID, after *uint64) iter.Seq2[evidence.Placed, error] {
	records := c.pages(ctx, strings.Replace(api.PathRunRecords, "{run}", string(run), 1), url.Values{}, after, 0)
	return func(yield func(evidence.Placed, error) bool) {
		for p, err := range records {
			if isProblem(err, http.StatusNotFound) {
				return
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// Find yields the records that meet f in the order of the log. Unlike that of a
// *ledger.Ledger it may show what was appended since it was called.
func (c *Client) Find(ctx context.Context, f ledger.Filter) iter.Seq2[evidence.Placed, error] {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("actor", f.Actor)
	set("action", f.Action)
	set("kind", string(f.Kind))
	if !f.Parent.IsZero() {
		set("parent", f.Parent.String())
	}
	if !f.Offer.IsZero() {
		set("offer", f.Offer.String())
	}
	set("known", f.Known)
	if f.From != 0 {
		q.Set("from", f.From.String())
	}
	if f.To != 0 {
		q.Set("to", f.To.String())
	}
	if f.Run == "" {
		return c.pages(ctx, api.PathRecords, q, f.After, f.Limit)
	}
	if len(q) > 0 {
		return func(yield func(evidence.Placed, error) bool) {
			yield(evidence.Placed{}, errors.New("find: want a run, or other conditions: the daemon does not take both"))
		}
	}
	return c.pages(ctx, strings.Replace(api.PathRunRecords, "{run}", string(f.Run), 1), q, f.After, f.Limit)
}

// pages yields the records of one page after the other.
func (c *Client) pages(ctx context.Context, path string, q url.Values, after *uint64, limit int) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		left := limit
		for next := after; ; {
			if next != nil {
				q.Set("after", strconv.FormatUint(*next, 10))
			}
			size := api.MaxPage
			if limit > 0 {
				size = min(size, left)
			}
			q.Set("limit", strconv.Itoa(size))
			var page api.Page
			if err := c.getJSON(ctx, path, q, &page); err != nil {
				yield(evidence.Placed{}, err)
				return
			}
			for i := range page.Records {
				p, err := placedOf(&page.Records[i])
				if !yield(p, err) || err != nil {
					return
				}
				left--
			}
			if page.Next == nil || limit > 0 && left <= 0 {
				return
			}
			next = page.Next
		}
	}
}

// Runs yields what the daemon's index knows of every run, in the order in which
// they were opened, beginning after the index after where that is not nil.
func (c *Client) Runs(ctx context.Context, after *uint64) iter.Seq2[api.Run, error] {
	return func(yield func(api.Run, error) bool) {
		for next := after; ; {
			q := url.Values{"limit": {strconv.Itoa(api.DefaultPage)}}
			if next != nil {
				q.Set("after", strconv.FormatUint(*next, 10))
			}
			var page api.Runs
			if err := c.getJSON(ctx, api.PathRuns, q, &page); err != nil {
				yield(api.Run{}, err)
				return
			}
			for _, r := range page.Runs {
				if !yield(r, nil) {
					return
				}
			}
			if next = page.Next; next == nil {
				return
			}
		}
	}
}

// RunSummary returns what the daemon's index knows of a run, or
// ledger.ErrNoRecord.
func (c *Client) RunSummary(ctx context.Context, run evidence.RunID) (*api.Run, error) {
	var r api.Run
	if err := c.getJSON(ctx, api.PathRuns+"/"+string(run), nil, &r); err != nil {
		return nil, noRecord(err)
	}
	return &r, nil
}

// Receipt returns the proof that a record stands in the log. Check it against a
// trust file: it is the daemon's word until then.
func (c *Client) Receipt(ctx context.Context, id evidence.ID) (*bundle.Receipt, error) {
	b, err := c.getBytes(ctx, api.PathReceipt[:len(api.PathReceipt)-len("{id}")]+id.String(), 1<<20)
	if err != nil {
		return nil, noRecord(err)
	}
	return bundle.ParseReceipt(b)
}

// Consistency returns the proof that the tree of size to extends that of size
// from. It is not checked.
func (c *Client) Consistency(ctx context.Context, from, to uint64) (*tlog.Consistency, error) {
	var a api.Consistency
	q := url.Values{"from": {strconv.FormatUint(from, 10)}, "to": {strconv.FormatUint(to, 10)}}
	if err := c.getJSON(ctx, api.PathConsistency, q, &a); err != nil {
		return nil, err
	}
	p := &tlog.Consistency{From: a.From, To: a.To}
	for _, text := range a.Hashes {
		h, err := tlog.ParseHash(text)
		if err != nil {
			return nil, fmt.Errorf("consistency proof: %w", err)
		}
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// Head returns the newest tree head as the daemon signed it: a C2SP checkpoint.
func (c *Client) Head(ctx context.Context) ([]byte, error) {
	return c.getBytes(ctx, api.PathHead, tlog.MaxHead)
}

// Trust returns what the daemon says to trust. An auditor gets it another way.
func (c *Client) Trust(ctx context.Context) (*bundle.Trust, error) {
	b, err := c.getBytes(ctx, api.PathTrust, bundle.MaxTrust)
	if err != nil {
		return nil, err
	}
	return bundle.ParseTrust(b)
}

func (c *Client) getBytes(ctx context.Context, path string, max int64) ([]byte, error) {
	resp, err := c.do(ctx, &request{method: http.MethodGet, path: path})
	if err != nil {
		return nil, asLedger(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("want at most %d bytes", max)
	}
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	return b, nil
}

// Export writes a bundle, as *ledger.Ledger does. What was written before an
// error is no bundle. o.Hide withholds every payload where it is set: which ones
// cannot be told over the wire.
func (c *Client) Export(ctx context.Context, w io.Writer, o ledger.ExportOptions) error {
	q := url.Values{}
	switch {
	case o.Run != "":
		q.Set("run", string(o.Run))
	case o.FromTime != 0 || o.ToTime != 0:
		if o.FromTime != 0 {
			q.Set("from", o.FromTime.String())
		}
		if o.ToTime != 0 {
			q.Set("to", o.ToTime.String())
		}
	case !o.Record.IsZero():
		q.Set("record", o.Record.String())
	case !o.Offer.IsZero():
		q.Set("offer", o.Offer.String())
	default:
		q.Set("from", strconv.FormatUint(o.From, 10))
		if o.To != 0 {
			q.Set("to", strconv.FormatUint(o.To, 10))
		}
	}
	if o.Hide != nil {
		q.Set("payloads", "hidden")
	} else if o.NoHandoffs {
		q.Set("payloads", "without-handoffs")
	}
	for _, note := range o.Heads {
		q.Add("head", base64.RawURLEncoding.EncodeToString(note))
	}
	resp, err := c.do(ctx, &request{method: http.MethodGet, path: api.PathBundles, query: q})
	if err != nil {
		return noRecord(asLedger(err))
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("export: the bundle was cut short: %w", err)
	}
	return nil
}

// Registry returns the actors and keys.
func (c *Client) Registry(ctx context.Context) (*api.Registry, error) {
	var g api.Registry
	return &g, c.getJSON(ctx, api.PathRegistry, nil, &g)
}

// registryUnless is Registry where the registry's tag is not the given one, and nil
// where it is. It returns the tag.
func (c *Client) registryUnless(ctx context.Context, tag string) (*api.Registry, string, error) {
	r := &request{method: http.MethodGet, path: api.PathRegistry}
	if tag != "" {
		r.header = map[string]string{"If-None-Match": tag}
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, "", asLedger(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return nil, tag, nil
	}
	g := new(api.Registry)
	if err := json.NewDecoder(resp.Body).Decode(g); err != nil {
		return nil, "", fmt.Errorf("%s %s: the answer: %w", r.method, r.path, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // so that the connection is used again
	return g, resp.Header.Get("ETag"), nil
}

// Events yields records as they become durable, beginning with the one at index
// next (nil: from now on). It ends with an error where the stream breaks; call
// it again with the index after the last record.
func (c *Client) Events(ctx context.Context, next *uint64) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		r := &request{method: http.MethodGet, path: api.PathEvents, header: map[string]string{"Accept": api.MediaEvents}}
		if next != nil {
			r.header["Last-Event-Id"] = strconv.FormatInt(int64(*next)-1, 10)
		}
		resp, err := c.do(ctx, r)
		if err != nil {
			yield(evidence.Placed{}, asLedger(err))
			return
		}
		defer resp.Body.Close()
		for data, err := range eventData(resp.Body) {
			var rec api.Record
			if err == nil {
				err = json.Unmarshal(data, &rec)
			}
			var p evidence.Placed
			if err == nil {
				p, err = placedOf(&rec)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Tile returns a tile or an entry tile by its path, without a leading slash
// (tlog.Tile.Path, tlog.EntryTilePath). It is not checked.
func (c *Client) Tile(ctx context.Context, path string) ([]byte, error) {
	return c.getBytes(ctx, "/"+path, 256*(2+evidence.MaxEntry))
}
