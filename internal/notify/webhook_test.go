package notify_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/internal/notify"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// hook is a receiver that checks what it gets as Standard Webhooks would have it:
// the signature, the time, and whether it had the message before.
type hook struct {
	*httptest.Server
	mu      sync.Mutex
	answers []int // one after another; 200 then
	header  http.Header
	seen    map[string]bool
	calls   int
	times   []string
	bodies  []string
	refused []string
}

func newHook(t *testing.T, answers ...int) *hook {
	h := &hook{answers: answers, header: make(http.Header), seen: make(map[string]bool)}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	h.times = append(h.times, r.Header.Get("Webhook-Timestamp"))
	h.bodies = append(h.bodies, string(body))
	if why := h.check(r.Header, body, time.Now()); why != "" {
		h.refused = append(h.refused, why)
	}
	status := http.StatusOK
	if len(h.answers) > 0 {
		status, h.answers = h.answers[0], h.answers[1:]
	}
	for k, v := range h.header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	if status == http.StatusOK {
		h.seen[r.Header.Get("Webhook-Id")] = true
	}
}

// check is written from the specification, and not from what it tests.
func (h *hook) check(header http.Header, body []byte, now time.Time) string {
	id, at := header.Get("webhook-id"), header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + at + "." + string(body)))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	sent, err := strconv.ParseInt(at, 10, 64)
	switch {
	case !hmac.Equal([]byte(header.Get("webhook-signature")), []byte(want)):
		return "signature"
	case err != nil || now.Sub(time.Unix(sent, 0)).Abs() > 5*time.Minute:
		return "time"
	case h.seen[id] || id == "" || strings.Contains(id, "."):
		return "id"
	}
	return ""
}

func webhook(t *testing.T, cfg notify.WebhookConfig) notify.Sender {
	t.Helper()
	if cfg.Secret == nil {
		cfg.Secret = secret
	}
	if cfg.Delay == 0 {
		cfg.Delay = time.Millisecond
	}
	w, err := notify.NewWebhook(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWebhook(t *testing.T) {
	h := newHook(t)
	w := webhook(t, notify.WebhookConfig{URL: h.URL + "/T0/s3cr3t?k=s3cr3t", Allow: loopback})
	if err := w.Send(t.Context(), "ev_1-approval", []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if h.calls != 1 || len(h.refused) > 0 || h.bodies[0] != `{"a":1}` {
		t.Errorf("%d calls, %q, refused: %v", h.calls, h.bodies, h.refused)
	}
	if strings.Contains(w.String(), "s3cr3t") {
		t.Errorf("its path is in its name %s", w)
	}
	// The receiver can tell what is not genuine, was changed, or is sent again.
	if _ = w.Send(t.Context(), "ev_1-approval", []byte(`{"a":1}`)); len(h.refused) != 1 || h.refused[0] != "id" {
		t.Errorf("a replay: %v", h.refused)
	}
	old := webhook(t, notify.WebhookConfig{URL: h.URL, Allow: loopback, Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	if _ = old.Send(t.Context(), "ev_2-approval", []byte(`{}`)); len(h.refused) != 2 || h.refused[1] != "time" {
		t.Errorf("of an hour ago: %v", h.refused)
	}
	other := webhook(t, notify.WebhookConfig{URL: h.URL, Allow: loopback, Secret: bytes.Repeat([]byte("x"), 32)})
	if _ = other.Send(t.Context(), "ev_3-approval", []byte(`{}`)); len(h.refused) != 3 || h.refused[2] != "signature" {
		t.Errorf("another's: %v", h.refused)
	}
}

// TestWebhookVector is a vector of the Standard Webhooks libraries.
func TestWebhookVector(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	var signature string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { signature = r.Header.Get("Webhook-Signature") }))
	defer s.Close()
	w := webhook(t, notify.WebhookConfig{URL: s.URL, Secret: key, Allow: loopback, Now: func() time.Time { return time.Unix(1614265330, 0) }})
	if err := w.Send(t.Context(), "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`)); err != nil {
		t.Fatal(err)
	}
	if signature != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Error(signature)
	}
}

func TestWebhookTriesAgain(t *testing.T) {
	clock := int64(1_700_000_000)
	for _, c := range []struct {
		name    string
		answers []int
		calls   int
		ok      bool
	}{
		{"passing", []int{503, 429, 408, 500}, 5, true},
		{"for good", []int{503, 503, 503, 503, 503, 503, 503, 503}, 6, false},
		{"refused", []int{400}, 1, false},
		{"not for us", []int{403}, 1, false},
		{"gone", []int{410}, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHook(t, c.answers...)
			w := webhook(t, notify.WebhookConfig{URL: h.URL + "/s3cr3t", Allow: loopback, Now: func() time.Time { clock++; return time.Unix(clock, 0) }})
			err := w.Send(t.Context(), "ev_1-approval", []byte(`{"a":"xyzzy"}`))
			if (err == nil) != c.ok || h.calls != c.calls {
				t.Errorf("%d calls, %v", h.calls, err)
			}
			if err != nil && (strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "xyzzy")) {
				t.Errorf("a secret, or the message, is in the error %v", err)
			}
			for i := 1; i < len(h.times); i++ {
				if h.times[i] == h.times[i-1] {
					t.Errorf("two attempts bear the same time: %v", h.times)
				}
			}
		})
	}
	t.Run("when it is asked to", func(t *testing.T) {
		h := newHook(t, 429)
		h.header.Set("Retry-After", "1")
		begun := time.Now()
		if err := webhook(t, notify.WebhookConfig{URL: h.URL, Allow: loopback}).Send(t.Context(), "id", nil); err != nil || time.Since(begun) < time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
	t.Run("not after the end", func(t *testing.T) {
		h := newHook(t, 503, 503, 503)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := webhook(t, notify.WebhookConfig{URL: h.URL, Allow: loopback, Delay: time.Hour}).Send(ctx, "id", nil)
		if err == nil || h.calls != 1 {
			t.Errorf("%d calls, %v", h.calls, err)
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		hang := make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
		defer s.Close()
		defer close(hang)
		w := webhook(t, notify.WebhookConfig{URL: s.URL + "/s3cr3t", Allow: loopback, Timeout: 50 * time.Millisecond, Attempts: 2})
		begun := time.Now()
		if err := w.Send(t.Context(), "id", nil); err == nil || time.Since(begun) > 3*time.Second || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

// TestRow45Webhook: a webhook that leads to the metadata service, to this machine or
// its network, by its address, by what its name resolves to, now or the second time,
// or by a redirect, is refused before anything is sent.
func TestRow45Webhook(t *testing.T) {
	for _, u := range []string{
		"http://169.254.169.254/latest/meta-data", "http://127.0.0.1:9/", "https://127.0.0.1/", "http://[::1]:9/", "https://10.0.0.7/x",
		"https://[fd00::1]/", "https://[::ffff:169.254.169.254]/", "https://0.0.0.0/", "http://hooks.example/", "ftp://hooks.example/",
		"https://me:s3cr3t@hooks.example/", "https:///x", "hooks.example", "",
	} {
		if _, err := notify.NewWebhook(notify.WebhookConfig{URL: u, Secret: secret}); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", u, err)
		}
	}

	var reached, second atomic.Int64
	port := counting(t, "127.0.0.1:0", &reached)
	counting(t, "127.0.0.2:"+port, &second)
	for _, addrs := range []string{"127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "10.0.0.1", "0.0.0.0", "64:ff9b::7f00:1"} {
		resolved := 0
		w := webhook(t, notify.WebhookConfig{URL: "https://hooks.example:" + port + "/", Attempts: 3, Resolve: func(context.Context, string) ([]netip.Addr, error) {
			resolved++
			return []netip.Addr{netip.MustParseAddr(addrs)}, nil
		}})
		if err := w.Send(t.Context(), "id", nil); err == nil || !strings.Contains(err.Error(), "no address that may be called") || resolved != 1 {
			t.Errorf("%s: resolved %d times, %v", addrs, resolved, err)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections were made to where none may be", n)
	}
	// Rebound: what was looked at is what is called, and the next time it is looked at
	// again.
	answers := []string{"127.0.0.1", "127.0.0.2"}
	w := webhook(t, notify.WebhookConfig{
		URL: "https://hooks.example:" + port + "/", Attempts: 3, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			a := answers[0]
			answers = answers[1:]
			return []netip.Addr{netip.MustParseAddr(a)}, nil
		},
	})
	if err := w.Send(t.Context(), "id", nil); err == nil || !strings.Contains(err.Error(), "no address that may be called") {
		t.Errorf("rebound: %v", err)
	}
	if n := reached.Load(); n != 1 || second.Load() != 0 {
		t.Errorf("rebound: %d connections to the allowed address, %d to the other", n, second.Load())
	}

	// Redirected: nobody else gets it, be it the same host.
	other := newHook(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{other.URL, "/here"} {
			h := newHook(t, status)
			h.header.Set("Location", to)
			if err := webhook(t, notify.WebhookConfig{URL: h.URL, Allow: loopback}).Send(t.Context(), "id", []byte(`{}`)); err == nil || h.calls != 1 {
				t.Errorf("%d to %s: %d calls, %v", status, to, h.calls, err)
			}
		}
	}
	if other.calls != 0 {
		t.Error("a redirect was followed")
	}
}

// counting counts connections, and closes them. It returns the port.
func counting(t *testing.T, address string, n *atomic.Int64) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, strconv.Itoa(len(text)))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := "whsec_" + base64.StdEncoding.EncodeToString(secret)
	if got, err := notify.ReadSecret(write(good+"\n", 0o600)); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%q %v", got, err)
	}
	for _, path := range []string{
		write(good, 0o640), write(good[6:], 0o600), write("whsec_c2hvcnQ=", 0o600), write("whsec_!!!!"+good, 0o600), write("", 0o600),
		write("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 65)), 0o600), filepath.Join(dir, "none"),
	} {
		if _, err := notify.ReadSecret(path); err == nil || strings.Contains(err.Error(), good[6:20]) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := notify.NewWebhook(notify.WebhookConfig{URL: "https://hooks.example/", Secret: []byte("short")}); err == nil || strings.Contains(err.Error(), "short") {
		t.Error(err)
	}
}
