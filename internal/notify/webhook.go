package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"ledgerd/runtime"
	"ledgerd/runtime/tools"
)

// WebhookConfig says where messages are posted to.
type WebhookConfig struct {
	URL    string
	Secret []byte // signs: 24 to 64 bytes, which the receiver has too
	// Allow are addresses that may be called although they are not public. Without
	// it a webhook reaches neither this machine nor the network that it is in.
	Allow []netip.Prefix
	// Attempts is how often a message is tried: 6 if 0, the first delay being Delay,
	// 1 s if 0, and each twice the one before.
	Attempts int
	Delay    time.Duration
	Timeout  time.Duration // of one attempt: 10 s if 0

	TLS     *tls.Config
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error) // the system's if nil
	Now     func() time.Time
}

// maxDelay bounds delays, and what a receiver can ask for by Retry-After.
const maxDelay = time.Minute

type webhook struct {
	cfg    WebhookConfig
	name   string
	client *http.Client
}

// NewWebhook returns a sender that posts messages as JSON, signed as Standard
// Webhooks has it (standardwebhooks.com, version 1.0.0), for which there are
// libraries: the headers webhook-id, webhook-timestamp (in seconds) and
// webhook-signature, which is "v1," and the base64 of the HMAC-SHA256 of
// "id.timestamp.body" under the secret. A receiver that refuses what is older than
// some minutes, and drops an id that it has seen, cannot be told anything twice.
//
// It calls the one host of the URL, by TLS unless that is a loopback address, and
// follows no redirect: nobody else gets to see what would be done. What its name
// resolves to is looked at before the connection, and a private address refused
// unless it is allowed.
func NewWebhook(cfg WebhookConfig) (Sender, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		// It may hold a secret: it is not repeated.
		return nil, errors.New("the webhook: want a URL such as https://hooks.example/ledgerd, without a user")
	}
	w := &webhook{cfg: cfg, name: u.Scheme + "://" + u.Host}
	literal, _ := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && !literal.IsLoopback() {
		return nil, fmt.Errorf("the webhook %s: want https, or http to a loopback address: what would be done is nobody else's to read", w.name)
	}
	if literal.IsValid() && !tools.Public(literal) && !allowed(cfg.Allow, literal) {
		return nil, fmt.Errorf("the webhook %s: its address is not public: allow it if it is meant", w.name)
	}
	if n := len(cfg.Secret); n < 24 || n > 64 {
		return nil, fmt.Errorf("the webhook %s: want a secret of 24 to 64 bytes, found %d", w.name, n)
	}
	for _, d := range []struct {
		value *time.Duration
		other time.Duration
	}{{&w.cfg.Delay, time.Second}, {&w.cfg.Timeout, 10 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.other
		}
	}
	if w.cfg.Attempts <= 0 {
		w.cfg.Attempts = 6
	}
	if w.cfg.Now == nil {
		w.cfg.Now = time.Now
	}
	transport, err := tools.Transport([]tools.Host{{Name: u.Host, Addresses: cfg.Allow}}, cfg.Resolve, cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("the webhook: %w", err)
	}
	w.client = &http.Client{
		Transport: transport, Timeout: w.cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

func allowed(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// String implements [Sender]: the path may be a secret.
func (w *webhook) String() string { return w.name }

// Send implements [Sender].
func (w *webhook) Send(ctx context.Context, id string, body []byte) error {
	delay := w.cfg.Delay
	for attempt := 1; ; attempt++ {
		again, after, err := w.post(ctx, id, body)
		if err == nil {
			return nil
		}
		if !again || attempt >= w.cfg.Attempts {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		// Between half of it and all of it, so that receivers who come back are not
		// called by all at once.
		wait := time.NewTimer(min(max(delay/2+rand.N(delay/2+1), after), maxDelay))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("given up after %d attempts, for the process ends: %w", attempt, err)
		}
		delay = min(2*delay, maxDelay)
	}
}

// post makes one attempt, and reports whether, and when, another one may go better.
func (w *webhook) post(ctx context.Context, id string, body []byte) (again bool, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return false, 0, errors.New("its URL cannot be called")
	}
	at := strconv.FormatInt(w.cfg.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ledgerd")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", sign(w.cfg.Secret, id, at, body))
	resp, err := w.client.Do(req)
	if err != nil {
		var u *url.Error // has the URL in it
		if errors.As(err, &u) {
			err = u.Err
		}
		// An address that is refused at dial is refused for good.
		_, refused := errors.AsType[*runtime.Failure](err)
		return !refused, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return false, 0, nil
	case s >= 300 && s < 400:
		return false, 0, fmt.Errorf("it answered %s: a redirect is not followed", status(s))
	case s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s >= 500:
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			after = min(time.Duration(min(n, 3600))*time.Second, maxDelay)
		}
		return true, after, fmt.Errorf("it answered %s", status(s))
	default:
		return false, 0, fmt.Errorf("it answered %s", status(s))
	}
}

// status names a status by its number: its text is the receiver's.
func status(s int) string { return strings.TrimSpace(strconv.Itoa(s) + " " + http.StatusText(s)) }

func sign(secret []byte, id, at string, body []byte) string {
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, id+"."+at+".")
	_, _ = h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

const secretPrefix = "whsec_"

// ReadSecret reads a webhook's secret from a file that nobody else may read: whsec_
// and the base64 of 24 to 64 bytes. Its errors do not repeat it.
func ReadSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 && goruntime.GOOS != "windows" {
		return nil, fmt.Errorf("%s: want mode 0600, found %04o: others may have read it. If nobody has, chmod 600 it", path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), secretPrefix)
	secret, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(secret) < 24 || len(secret) > 64 {
		return nil, fmt.Errorf("%s: want %s and the base64 of 24 to 64 random bytes, such as printf 'whsec_%%s' \"$(head -c 32 /dev/urandom | base64)\" writes", path, secretPrefix)
	}
	return secret, nil
}
