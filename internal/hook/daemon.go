package hook

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxAnswer is the largest answer of a daemon's, in bytes, that is read.
const MaxAnswer = 64 << 20

// A Transport sends one request with a body of JSON, and returns the answer. An error
// says that nobody knows whether the request was acted on: every request can be sent
// again.
type Transport func(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error)

// Dial returns a Transport to a daemon at http://host:port of the machine itself, or at
// unix:/path. It speaks as much HTTP/1.1 as that takes, one request a connection:
// net/http would take longer to start than a call of a hook may last.
func Dial(server, token string) (Transport, error) {
	network, address, host := "unix", "", "localhost"
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		address = path
	} else {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(server, "/"), "http://")
		name, port, err := net.SplitHostPort(rest)
		if err != nil {
			name, port = strings.Trim(rest, "[]"), "80"
		}
		if !ok || !loopback(name) {
			return nil, errElsewhere
		}
		network, address, host = "tcp", net.JoinHostPort(name, port), rest
	}
	if strings.ContainsAny(token+host, "\r\n") {
		return nil, errors.New("want a token of one line")
	}
	return func(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return 0, nil, err
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
		var head bytes.Buffer
		fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\n", method, path, host, token)
		if body != nil {
			head.WriteString("Content-Type: application/json\r\n")
		}
		fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", len(body))
		if _, err := (&net.Buffers{head.Bytes(), body}).WriteTo(conn); err != nil {
			return 0, nil, err
		}
		status, answer, err := readAnswer(bufio.NewReader(io.LimitReader(conn, MaxAnswer)))
		return status, answer, errors.Join(err, ctx.Err())
	}, nil
}

// errElsewhere: the daemon is not on this machine, or not without TLS.
var errElsewhere = errors.New("want http://host:port on this machine, or unix:/path")

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// readAnswer reads an answer (RFC 9112), its body to the end that it says itself.
func readAnswer(r *bufio.Reader) (status int, body []byte, err error) {
	line, err := readLine(r)
	if err != nil {
		return 0, nil, err
	}
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	if status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(proto, "HTTP/1.") || status < 200 {
		return 0, nil, errNoHTTP
	}
	length, chunked := -1, false
	for {
		if line, err = readLine(r); err != nil {
			return 0, nil, err
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.Atoi(value); err != nil || length < 0 || length > MaxAnswer {
				return 0, nil, errNoHTTP
			}
		case "transfer-encoding":
			chunked = strings.EqualFold(value, "chunked")
		}
	}
	switch {
	case chunked:
		body, err = readChunks(r)
		return status, body, err
	case length < 0:
		return 0, nil, errNoHTTP
	}
	body, err = readExactly(r, nil, length)
	return status, body, err
}

func readChunks(r *bufio.Reader) (body []byte, err error) {
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
		if err != nil || len(body)+int(n) > MaxAnswer {
			return nil, errNoHTTP
		}
		if n == 0 {
			return body, nil // what follows is not waited for
		}
		if body, err = readExactly(r, body, int(n)); err != nil {
			return nil, err
		}
		if line, err = readLine(r); err != nil || line != "" {
			return nil, cut(err)
		}
	}
}

// readExactly appends n bytes, as they come: who says that there are many has to send them.
func readExactly(r *bufio.Reader, body []byte, n int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(b) < n {
		err = io.EOF
	}
	if err != nil {
		return nil, cut(err)
	}
	return append(body, b...), nil
}

// readLine reads a line of a message's head.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errNoHTTP
	}
	if err != nil {
		return "", cut(err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

var errNoHTTP = errors.New("what answers is no daemon")

// cut is an answer that ended too early.
func cut(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// The bodies of the daemon's API for agents, as far as they are used here. Those of
// internal/api would bring the record format with them, which takes its time to start;
// a test holds the two to each other.
type (
	openRun struct {
		Task  string `json:"task"`
		Input any    `json:"input,omitempty"`
	}
	askStep struct {
		Tool        string         `json:"tool"`
		Action      string         `json:"action"`
		Resource    string         `json:"resource,omitempty"`
		Input       jsontext.Value `json:"input"`
		Asker       string         `json:"asker,omitempty"`
		Description string         `json:"description,omitempty"`
		Observe     bool           `json:"observe,omitempty"`
	}
	step struct {
		State         string   `json:"state"`
		Effect        string   `json:"effect"`
		Action        string   `json:"action"`
		Authorization string   `json:"authorization"`
		Policies      []string `json:"policies"`
		Attempt       int      `json:"attempt"`
		Team          string   `json:"team"`
		Refusal       string   `json:"refusal"`
	}
	reportStep struct {
		Attempt int            `json:"attempt"`
		Status  string         `json:"status"`
		Error   string         `json:"error,omitempty"`
		Output  jsontext.Value `json:"output,omitempty"`
		TookMS  *int64         `json:"took_ms,omitempty"`
	}
	runState struct {
		State      string `json:"state"`
		Checkpoint string `json:"checkpoint"`
		Verdict    string `json:"verdict"` // on the last claim
		InDoubt    []struct {
			Step    string `json:"step"`
			Attempt int    `json:"attempt"`
		} `json:"in_doubt"`
		Steps []struct {
			Step   string `json:"step"`
			State  string `json:"state"`
			Action string `json:"action"`
		} `json:"steps"`
	}
	makeClaim struct {
		Text string `json:"text"`
	}
	claim struct {
		Verdict struct {
			ID     string   `json:"id"`
			Result string   `json:"result"`
			Holds  bool     `json:"holds"`
			Why    []string `json:"why"`
			Unmet  []string `json:"unmet"`
		} `json:"verdict"`
	}
	closeRun struct {
		End    string `json:"end,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	problem struct {
		Status int    `json:"status"`
		Reason string `json:"reason"`
		Detail string `json:"detail"`
	}
)

// States of a step, and reasons of a problem, that are told apart here.
const (
	stateAllowed   = "allowed"
	stateSucceeded = "succeeded"
	stateDenied    = "denied"
	stateWaiting   = "waiting"
	stateInDoubt   = "in_doubt"

	effectAllow = "allow"

	supported = "supported" // the result of a verdict

	reasonNotFound = "not_found"
	reasonEnded    = "run_ended"
	reasonChanged  = "run_changed"
	reasonReported = "outcome_stands"
	reasonDenied   = "not_permitted"
	reasonClaim    = "claim_unsupported"
	reasonNoClaim  = "no_claim"
	reasonInvalid  = "invalid"
	reasonRight    = "right"
)

func (p *problem) Error() string {
	return fmt.Sprintf("the ledger says %s (%d): %s", p.Reason, p.Status, clip(p.Detail, 500))
}

// reasonOf is the reason of a daemon's no, "" of any other error.
func reasonOf(err error) string {
	var p *problem
	if errors.As(err, &p) {
		return p.Reason
	}
	return ""
}

// noWay is why there is no way to a daemon, now or later.
type noWay struct{ error }

// A daemon is asked until it answers, or patience is over: a request that nobody knows
// the fate of is sent again, for the same request is the same record.
type daemon struct {
	send     Transport
	patience time.Duration
}

func (d *daemon) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	until := time.Now().Add(d.patience)
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		status, answer, err := d.send(ctx, method, path, body)
		if err == nil && status != 503 {
			return read(status, answer, out)
		}
		if err == nil {
			err = read(status, answer, nil)
		}
		var never noWay
		if errors.As(err, &never) || ctx.Err() != nil || time.Now().Add(wait).After(until) {
			return fmt.Errorf("the ledger is out of reach: %w", err)
		}
		time.Sleep(wait)
	}
}

func read(status int, answer []byte, out any) error {
	if status >= 300 {
		p := &problem{Status: status, Reason: "no_problem", Detail: "want a problem as application/problem+json"}
		_ = json.Unmarshal(answer, p)
		return p
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return errNoHTTP
	}
	return nil
}
