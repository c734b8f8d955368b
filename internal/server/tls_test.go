package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/internal/daemontest"
)

// TestTLS: the same over TLS, with the framing guard below it.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)

	d := daemontest.New(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}
	go func() { done <- d.Server.Serve(ctx, ln, config, time.Second) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer h.CloseIdleConnections()
	c, err := client.New("https://"+ln.Addr().String(), client.Options{Token: d.Token, HTTP: h})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(context.Background(), d.Records(d.Line(), 3)...); err != nil {
		t.Error(err)
	}
	// Who does not speak TLS, or never says anything, gets no further.
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := raw.Read(make([]byte, 1)); err == nil || time.Since(began) > 15*time.Second {
		t.Errorf("a silent connection: %v after %v", err, time.Since(began))
	}
	_, err = tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}})
	if err == nil {
		t.Error("want no HTTP/2")
	}
}

// TestRow37NoStreamsToReset: the daemon speaks HTTP/1.1 alone, over TLS (TestTLS) and
// without, so that there are no HTTP/2 streams to reset.
func TestRow37NoStreamsToReset(t *testing.T) {
	d := daemontest.New(t, nil)
	c, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The preface of HTTP/2, empty settings, and a reset of stream 1 (RFC 9113).
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 ") || !strings.Contains(string(answer[:16]), " 4") && !strings.Contains(string(answer[:16]), " 5") {
		t.Errorf("%q, %v", answer, err)
	}
}
