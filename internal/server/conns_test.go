package server

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// tcpPair returns the two ends of a connection, one of them counted.
func tcpPair(t *testing.T) (client net.Conn, c *conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	nc, err := (limitedListener{ln, &connections{limit: 1}}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), nc.Close() })
	return client, nc.(*conn)
}

// A deadline holds whenever it is set: before the read that it is for, or while
// that waits. One that was taken back does not.
func TestReadDeadline(t *testing.T) {
	read := func(c net.Conn) error {
		defer time.AfterFunc(10*time.Second, func() { _ = c.Close() }).Stop()
		_, err := c.Read(make([]byte, 16))
		return err
	}
	soon := func() time.Time { return time.Now().Add(20 * time.Millisecond) }

	_, c := tcpPair(t)
	for name, set := range map[string]func(time.Time) error{"SetReadDeadline": c.SetReadDeadline, "SetDeadline": c.SetDeadline} {
		if err := errors.Join(set(soon()), read(c)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s before the read: %v", name, err)
		}
		_ = set(time.Time{})
		waits := make(chan error, 1)
		go func() { waits <- read(c) }()
		time.Sleep(20 * time.Millisecond)
		_ = set(soon())
		select {
		case err := <-waits:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s while the read waits: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s while the read waits: it waits on", name)
		}
	}

	client, c := tcpPair(t)
	_ = c.SetReadDeadline(soon())
	_ = c.SetReadDeadline(time.Time{})
	time.AfterFunc(60*time.Millisecond, func() { _, _ = client.Write([]byte("x")) })
	if err := read(c); err != nil {
		t.Errorf("a deadline that was taken back: %v", err)
	}
	// Taken back while the read waits.
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	time.AfterFunc(20*time.Millisecond, func() { _ = c.SetReadDeadline(time.Time{}) })
	time.AfterFunc(300*time.Millisecond, func() { _, _ = client.Write([]byte("x")) })
	if err := read(c); err != nil {
		t.Errorf("a deadline that was taken back while the read waited: %v", err)
	}
}

// An unwatched connection ends the watch, and no other read.
func TestUnwatch(t *testing.T) {
	client, c := tcpPair(t)
	c.begin()
	c.unwatch()
	watch := make(chan string, 1)
	go func() {
		n, err := c.Read(make([]byte, 1))
		watch <- string(rune('0'+n)) + errorText(err)
	}()
	select {
	case got := <-watch:
		if got != "0" {
			t.Errorf("want no byte and no error, found %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the watch goes on")
	}
	_, _ = client.Write([]byte("xyz"))
	b := make([]byte, 2)
	if n, err := c.Read(b); n != 2 || err != nil {
		t.Errorf("a read of the body: %d, %v", n, err)
	}
	c.end()
	if n, err := c.Read(b[:1]); n != 1 || err != nil || b[0] != 'z' {
		t.Errorf("one byte when no request is at work: %d, %q, %v", n, b[:1], err)
	}
	(*conn)(nil).unwatch() // a test's recorder has none
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
