//go:build unix

package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
)

// A flood is a daemon under attack, and somebody who asks it all the time, on a
// new connection each time, whether it lives.
type flood struct {
	t      *testing.T
	d      *daemontest.Daemon
	probes *http.Client

	stop, stopped chan struct{}
	mu            sync.Mutex
	asked         int
	peak          map[string]float64 // of the gauges, and of the process
}

func newFlood(t *testing.T, d *daemontest.Daemon) *flood {
	return &flood{
		t: t, d: d, probes: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute},
		stop: make(chan struct{}), stopped: make(chan struct{}), peak: make(map[string]float64),
	}
}

// ask begins to ask, until end.
func (f *flood) ask() {
	go func() {
		defer close(f.stopped)
		for {
			f.probe()
			select {
			case <-f.stop:
				return
			default:
			}
		}
	}()
}

func (f *flood) get(path string) (int, string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, f.d.URL+path, nil)
	if err != nil {
		f.t.Error(err)
		return 0, ""
	}
	req.Header.Set("Authorization", "Bearer "+f.d.Token)
	resp, err := f.probes.Do(req)
	if err != nil {
		f.t.Errorf("%s: %v", path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Errorf("%s: %v", path, err)
	}
	return resp.StatusCode, string(b)
}

func (f *flood) probe() {
	if status, _ := f.get(api.PathHealth); status != 200 {
		f.t.Errorf("/healthz: want 200, found %d", status)
	}
	var mem goruntime.MemStats
	goruntime.ReadMemStats(&mem)
	now := f.gauges()
	now["goroutines"], now["memory"] = float64(goruntime.NumGoroutine()), float64(mem.HeapInuse+mem.StackInuse)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	for k, v := range now {
		f.peak[k] = max(f.peak[k], v)
	}
}

// gauges reads what the daemon counts.
func (f *flood) gauges() map[string]float64 {
	all := make(map[string]float64)
	_, text := f.get(api.PathMetrics)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "ledgerd_uploads" || name == "ledgerd_connections" {
			all[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return all
}

// end stops asking and returns the peaks.
func (f *flood) end() map[string]float64 {
	close(f.stop)
	<-f.stopped
	f.t.Logf("/healthz was asked %d times; peaks: %v", f.asked, f.peak)
	return f.peak
}

// room returns how many connections of one process can be held at once beside
// those of the daemon in it, at most want.
func room(t *testing.T, want int) int {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Logf("the limit of open files stays: %v", err)
	}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	own := server.DefaultLimits().Connections + server.DefaultLimits().Uploads + 500
	if uint64(l.Cur) > uint64(want+own) {
		return want
	}
	if int(l.Cur) < own+500 {
		t.Skipf("%d open files are too few for this test", l.Cur)
	}
	return int(l.Cur) - own
}

// released waits until nothing of an attack is left.
func (f *flood) released(goroutines int) {
	f.t.Helper()
	var last string
	for range 600 {
		f.probes.CloseIdleConnections()
		g := f.gauges()
		n := goruntime.NumGoroutine()
		last = fmt.Sprintf("%v, %d goroutines", g, n)
		if g["ledgerd_uploads"] == 0 && g["ledgerd_connections"] <= 3 && n <= goroutines+20 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Errorf("a minute after the attack it still holds %s", last)
}

// 10,000 uploads that stop after their first byte, half of records, half of
// payloads, by somebody with a token, under the limits that a daemon has. All are
// held at once where the process may have so many files open, else in waves, each
// of which is abandoned for the next.
func TestRow33PartialUploads(t *testing.T) {
	const stuck = 10_000
	wave := room(t, stuck)
	d := daemontest.New(t, func(c *server.Config) {
		// Nothing is let go for its slowness while the test runs.
		c.Limits = server.Limits{BodyGrace: 10 * time.Minute}
	})
	limits := server.DefaultLimits()
	goroutines := goruntime.NumGoroutine()
	f := newFlood(t, d)
	f.ask()
	requests := []string{
		head(d, "POST", api.PathRecords, joseType, "Content-Length: 1000") + "x",
		head(d, "PUT", api.PathPayloads+"/"+strings.Repeat("A", 42)+"E", "Content-Type: text/plain", "Content-Length: 1000000",
			api.HeaderSalt+": "+strings.Repeat("A", 42)+"E") + "x",
	}
	t.Logf("%d uploads, %d at a time", stuck, wave)
	held := make([]net.Conn, 0, wave)
	abandon := func() {
		for _, c := range held {
			_ = c.Close()
		}
		held = held[:0]
	}
	defer abandon()
	for i := range stuck {
		if len(held) == wave {
			abandon()
		}
		c, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
		if err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
		held = append(held, c)
		if _, err := io.WriteString(c, requests[i%2]); err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
	}
	// Every one that has no place is told so, or cut off.
	for deadline := time.Now().Add(time.Minute); ; {
		g := f.gauges()
		if g["ledgerd_connections"] <= float64(limits.Uploads+16) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute later there are %v", g)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if status, _ := f.get(api.PathRecords); status != 200 {
		t.Errorf("reading: want 200, found %d", status)
	}
	refused := held[len(held)-1]
	if err := refused.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(refused), nil); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the last one: want 503, found %v, %v", resp, err)
	}
	peak := f.end()
	switch {
	case peak["ledgerd_uploads"] != float64(limits.Uploads):
		t.Errorf("%v uploads at a time, expected %d", peak["ledgerd_uploads"], limits.Uploads)
	case peak["ledgerd_connections"] > float64(limits.Connections+64):
		t.Errorf("%v connections, expected at most %d", peak["ledgerd_connections"], limits.Connections+64)
	case peak["goroutines"] > float64(goroutines+3*limits.Connections):
		t.Errorf("%v goroutines, expected at most 3 for each of %d connections", peak["goroutines"], limits.Connections)
	case peak["memory"] > 512<<20:
		t.Errorf("%v bytes in use", peak["memory"])
	}
	abandon()
	f.released(goroutines)
	// And it works as ever.
	entry := string(d.Records(d.Line(), 1)[0])
	if got := say(t, dial(t, d), head(d, "POST", api.PathRecords, joseType, "Content-Length: "+strconv.Itoa(len(entry)))+entry); got != http.StatusCreated {
		t.Errorf("an upload afterwards: want 201, found %d", got)
	}
}

// Connections that ask nothing, or never come to the end of their headers, are
// capped as well: each beyond the limit takes the place of the oldest.
func TestRow33Connections(t *testing.T) {
	places := server.DefaultLimits().Connections
	many := room(t, 2*places)
	if many < places+100 {
		t.Skipf("%d connections at a time are too few for a limit of %d", many, places)
	}
	d := daemontest.New(t, func(c *server.Config) { c.Limits = server.Limits{HeaderTimeout: 10 * time.Minute} })
	goroutines := goruntime.NumGoroutine()
	f := newFlood(t, d)
	f.ask()
	held := make([]net.Conn, 0, many)
	for i := range many {
		c, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		held = append(held, c)
		if text := []string{"", "GET / HTTP/1.1\r\nHost: loc", "x"}[i%3]; text != "" {
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	}
	// The first has lost its place.
	if err := held[0].SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, held[0]); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the oldest connection: want it closed, found %v", err)
	}
	if peak := f.end(); peak["ledgerd_connections"] != float64(places) {
		t.Errorf("%v connections, expected %d", peak["ledgerd_connections"], places)
	}
	for _, c := range held {
		_ = c.Close()
	}
	f.released(goroutines)
}

// Where every place has a request at work, probes are answered all the same, and
// nothing else.
func TestRow33EveryPlaceAtWork(t *testing.T) {
	const places = 40
	d := daemontest.New(t, func(c *server.Config) {
		c.Limits = server.Limits{Connections: places, HeaderTimeout: 10 * time.Minute, BodyGrace: 10 * time.Minute}
	})
	goroutines := goruntime.NumGoroutine()
	f := newFlood(t, d)
	var held []net.Conn
	for range places {
		c := dial(t, d)
		held = append(held, c)
		if _, err := io.WriteString(c, head(d, "POST", api.PathRecords, joseType, "Content-Length: 1000", "Expect: 100-continue")); err != nil {
			t.Fatal(err)
		}
		// The answer to Expect says that the handler reads.
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("an upload: %q, %v", line, err)
		}
	}
	for _, path := range []string{api.PathHealth, api.PathReady} {
		if status, _ := f.get(path); status != 200 {
			t.Errorf("%s with every place taken: want 200, found %d", path, status)
		}
	}
	if status, body := f.get(api.PathRecords); status != 503 || !strings.Contains(body, "connections") {
		t.Errorf("anything else: want 503, found %d: %s", status, body)
	}
	// Nor can the room for probes be taken by who asks nothing.
	for range 200 {
		held = append(held, dial(t, d))
	}
	if status, _ := f.get(api.PathHealth); status != 200 {
		t.Errorf("/healthz: want 200, found %d", status)
	}
	for _, c := range held {
		_ = c.Close()
	}
	f.released(goroutines)
}
