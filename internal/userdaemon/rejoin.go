package userdaemon

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"ledgerd/client"
	"ledgerd/internal/api"
)

// busyRetries is how often a request is sent again to a daemon that is too busy for it.
const busyRetries = 10

// client returns a client with a token. again has a daemon answer where one that ended
// did not.
func (d daemon) client(secret string, again func(context.Context) error) (*client.Client, error) {
	return client.New("unix:"+d.Socket, client.Options{
		Token: secret, BusyRetries: busyRetries,
		HTTP: &http.Client{
			Transport:     &rejoin{d.transport(), again},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
}

// rejoins is how many daemons may end under one request.
const rejoins = 10

// rejoin sends requests, and sends them again to the next daemon if the one that was
// asked has ended. Whether that had done what it was asked is not known then; see [Join].
type rejoin struct {
	sender *http.Transport
	again  func(context.Context) error
}

// RoundTrip implements http.RoundTripper.
func (t *rejoin) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for try := 0; ; try++ {
		resp, err := t.sender.RoundTrip(req)
		if err == nil && !stopping(resp) {
			return resp, nil
		}
		if try == rejoins || ctx.Err() != nil || req.Body != nil && req.GetBody == nil {
			return resp, err
		}
		if try > 0 {
			time.Sleep(time.Duration(try) * 5 * time.Millisecond) // it is there, and does not answer
		}
		if resp != nil {
			_ = resp.Body.Close()
		}
		if err := t.again(ctx); err != nil {
			return nil, err
		}
		req = req.Clone(ctx)
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// stopping reports whether an answer is that the daemon ends, and did nothing.
func stopping(resp *http.Response) bool {
	if resp.StatusCode != http.StatusServiceUnavailable {
		return false
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(b))
	var p api.Problem
	return err == nil && json.Unmarshal(b, &p) == nil && p.Reason == api.ReasonStopping
}
