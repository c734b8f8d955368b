package runtime

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// Classify gives an error of a tool its class. A *Failure is what it says;
// otherwise the table of docs/runtime.md holds. What is not known to be anything
// else is tool_failed where the tool answered, and tool_unavailable where it was
// not reached.
func Classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	f := &Failure{Class: evidence.ToolFailed, Err: err}
	var netErr net.Error
	var dns *net.DNSError
	var op *net.OpError
	var exit *exec.ExitError
	switch {
	case errors.As(err, &dns), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, exec.ErrNotFound),
		errors.As(err, &op) && op.Op == "dial":
		f.Class, f.NotRun = evidence.ToolUnavailable, true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &netErr) && netErr.Timeout():
		f.Class = evidence.ToolTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		// It may have done its work before the connection broke.
		f.Class = evidence.ToolTimeout
	case errors.As(err, &exit):
		f.Class = classOfExit(exit.ExitCode())
	}
	return f
}

// classOfExit: 124 and 137 are what a command leaves that was ended for its time,
// 75 is EX_TEMPFAIL, 64 and 65 are EX_USAGE and EX_DATAERR (sysexits.h), 126 and
// 127 a shell's for what it could not run.
func classOfExit(code int) evidence.Class {
	switch code {
	case 124, 137:
		return evidence.ToolTimeout
	case 75, 126, 127:
		return evidence.ToolUnavailable
	case 64, 65:
		return evidence.InvalidToolPayload
	}
	return evidence.ToolFailed
}

// ClassifyHTTP gives an HTTP answer its class; nil where it is a success (2xx).
// Retry-After is a number of seconds or a date (RFC 9110 section 10.2.3).
func ClassifyHTTP(status int, header http.Header, body []byte, now time.Time) *Failure {
	if status >= 200 && status < 300 {
		return nil
	}
	text := strings.TrimSpace(string(body[:min(len(body), 512)]))
	f := &Failure{Class: evidence.ToolFailed, Err: &HTTPError{Status: status, Body: text}}
	switch status {
	case http.StatusTooManyRequests:
		f.Class, f.NotRun = evidence.RateLimited, true
	case http.StatusServiceUnavailable:
		f.Class, f.NotRun = evidence.ToolUnavailable, true
	case http.StatusBadGateway:
		f.Class = evidence.ToolTimeout // somebody behind the gateway may have done it
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		f.Class = evidence.ToolTimeout
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge:
		f.Class = evidence.InvalidToolPayload
	}
	if f.Class == evidence.RateLimited || f.Class == evidence.ToolUnavailable {
		f.RetryAfter = retryAfter(header.Get("Retry-After"), now)
	}
	return f
}

// maxRetryAfter bounds what a tool can ask for.
const maxRetryAfter = time.Hour

func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return min(max(0, time.Duration(n)*time.Second), maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	return 0
}

// HTTPError is an answer that was no success.
type HTTPError struct {
	Status int
	Body   string // its beginning
}

func (e *HTTPError) Error() string {
	text := "HTTP " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// answerExt says in the record what is done about a failure: a retry, and after
// how long at least.
func (s *stepper) answerExt(body *evidence.Execution, f *Failure) evidence.Object {
	if f == nil {
		return nil
	}
	rule := s.rt.rule(s.reg.spec.Name, f.Class)
	answer := rule.Answer
	if answer == AnswerRetry && int(body.Attempt) >= rule.Attempts {
		answer = AnswerStop
	}
	ext := `{"dev.ledgerd.answer":{"answer":` + strconv.Quote(string(answer)) + `,"class":` + strconv.Quote(string(f.Class))
	if f.RetryAfter > 0 {
		ext += `,"retry_after_ms":` + strconv.FormatInt(f.RetryAfter.Milliseconds(), 10)
	}
	return evidence.Object(jsontext.Value(ext + "}}"))
}
