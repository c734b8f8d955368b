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
)

func payloadPath(d evidence.Digest) string { return api.PathPayloads + "/" + d.String() }

// PutPayload stores a payload, and returns its commitment once it is durable: to
// be called before the record that holds the commitment is submitted. The
// payload is read into memory, because the daemon is told the commitment first;
// [Client.PutCommitted] streams.
func (c *Client) PutPayload(ctx context.Context, salt [evidence.SaltSize]byte, media string, r io.Reader) (evidence.Commitment, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return evidence.Commitment{}, err
	}
	p := evidence.Payload{Salt: salt, Media: media, Data: data}
	want := p.Commitment()
	return want, c.PutCommitted(ctx, want, salt, bytes.NewReader(data))
}

// PutCommitted streams a payload that opens want.
func (c *Client) PutCommitted(ctx context.Context, want evidence.Commitment, salt [evidence.SaltSize]byte, r io.Reader) error {
	return c.callJSON(ctx, &request{
		method: http.MethodPut, path: payloadPath(want.Commit), stream: r, size: want.Size,
		header: map[string]string{"Content-Type": want.Media, api.HeaderSalt: evidence.Digest(salt).String()},
	}, nil)
}

// PutPayloads stores many payloads for the price of a few syncs.
func (c *Client) PutPayloads(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error) {
	out := make([]evidence.Commitment, 0, len(payloads))
	for len(payloads) > 0 {
		var body []byte
		n := 0
		for n < len(payloads) && n < api.MaxLines {
			p := &payloads[n]
			line, err := json.Marshal(api.PayloadLine{Salt: p.Salt, Media: p.Media, Data: p.Data})
			if err != nil {
				return nil, err
			}
			if len(body)+len(line)+1 > api.MaxBatchSize {
				break
			}
			body = append(append(body, line...), '\n')
			n++
		}
		if n == 0 { // too long for a line
			p := &payloads[0]
			stored, err := c.PutPayload(ctx, p.Salt, p.Media, bytes.NewReader(p.Data))
			if err != nil {
				return nil, err
			}
			out, payloads = append(out, stored), payloads[1:]
			continue
		}
		var stored []evidence.Commitment
		err := c.callJSON(ctx, &request{
			method: http.MethodPost, path: api.PathPayloads, body: body, header: map[string]string{"Content-Type": api.MediaJSONLines},
		}, &stored)
		if err == nil && len(stored) != n {
			err = fmt.Errorf("want %d commitments, found %d", n, len(stored))
		}
		if err != nil {
			return nil, err
		}
		for i := range stored {
			if !payloads[i].Opens(stored[i]) {
				return nil, fmt.Errorf("payload %d: %w: the daemon stored another", i+1, ledger.ErrCommitment)
			}
		}
		out, payloads = append(out, stored...), payloads[n:]
	}
	return out, nil
}

// Payload returns the payload under a commitment's digest, verified, in memory;
// ledger.ErrErased where it was erased, and ledger.ErrNoPayload where it is not
// there or the token has no right to it.
func (c *Client) Payload(ctx context.Context, d evidence.Digest) (*evidence.Payload, error) {
	resp, err := c.do(ctx, &request{method: http.MethodGet, path: payloadPath(d)})
	if isProblem(err, http.StatusNotFound) {
		return nil, fmt.Errorf("%w: %w", ledger.ErrNoPayload, err)
	}
	if err != nil {
		return nil, asLedger(err)
	}
	defer resp.Body.Close()
	salt, err := evidence.ParseDigest(resp.Header.Get(api.HeaderSalt))
	if err != nil {
		return nil, fmt.Errorf("payload %s: header %s: %w", d, api.HeaderSalt, err)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("payload %s: %w", d, err)
	}
	p := &evidence.Payload{Salt: salt, Media: resp.Header.Get(api.HeaderMedia), Data: data}
	if p.Commitment().Commit != d {
		return nil, fmt.Errorf("payload %s: %w", d, ledger.ErrCommitment)
	}
	return p, nil
}

// Erase makes a payload and its salt unreadable, and returns the record that
// says so.
func (c *Client) Erase(ctx context.Context, d evidence.Digest, reason string) (evidence.Placed, error) {
	var a api.Placed
	err := c.callJSON(ctx, &request{method: http.MethodDelete, path: payloadPath(d), query: map[string][]string{"reason": {reason}}}, &a)
	if err != nil {
		return evidence.Placed{}, err
	}
	return c.Get(ctx, a.ID)
}

var errNoRegistry = errors.New("the daemon's registry has no record yet")
