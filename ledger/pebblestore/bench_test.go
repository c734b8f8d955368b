package pebblestore_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

// entryBytes is the size of an execution record as a JWS.
const entryBytes = 935

// benchEntry makes an entry that compresses as a JWS does: a header and parts
// of the payload that all have in common, and hashes and a signature that are
// random; all of it in base64url.
func benchEntry(i uint64) []byte {
	var random [64 + 3*32]byte
	rand.Read(random[:])
	payload := fmt.Sprintf(`{"v":1,"origin":"ledger.example/support","kind":"execution","run":"run_0197f3c2-%012x","prev":"ev_%s","actor":"support-agent-%02d","time":"2026-05-29T14:32:10.%03dZ","execution":{"authorization":"ev_%s","action":"send_email","tool":"email_sender","input":{"commit":"%s","size":%d,"media":"application/json"},"attempt":1,"status":"success","source":"runtime","refs":{"messageId":"msg_%d"},"took_ms":%d,"cost":{"usd_micro":400,"tokens":0}}}`,
		i/12, base64.RawURLEncoding.EncodeToString(random[64:96]), i%40, i%1000, base64.RawURLEncoding.EncodeToString(random[96:128]),
		base64.RawURLEncoding.EncodeToString(random[128:160]), i%2000, i, i%500)
	e := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","typ":"evidence+jws"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + base64.RawURLEncoding.EncodeToString(random[:64])
	if len(e) < entryBytes {
		e += strings.Repeat("A", entryBytes-len(e))
	}
	return []byte(e[:entryBytes])
}

func benchStore(b *testing.B) (*pebblestore.Store, string) {
	dir, err := os.MkdirTemp("", "ledger-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return open(b, dir, pebblestore.Options{}), dir
}

// BenchmarkAppend measures the log without signatures: what it adds to a
// record's cost. BenchmarkAppendVerify adds one Ed25519 verification a record,
// and what is left out then is JSON and the ledger's own admission.
func BenchmarkAppend(b *testing.B)       { benchAppend(b, nil) }
func BenchmarkAppendVerify(b *testing.B) { benchAppend(b, newVerifying(b)) }

// verifying verifies one signature in each preparation.
type verifying struct {
	key      ed25519.PublicKey
	msg, sig []byte
}

func newVerifying(b *testing.B) *verifying {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, entryBytes-87)
	return &verifying{pub, msg, ed25519.Sign(key, msg)}
}

func (v *verifying) Prepare(cs []*tlog.Candidate) []error {
	errs := make([]error, len(cs))
	for i := range cs {
		if !ed25519.Verify(v.key, v.msg, v.sig) {
			errs[i] = errors.New("the signature does not verify")
		}
	}
	return errs
}
func (*verifying) Admit(uint64, *tlog.Candidate) error { return nil }
func (*verifying) Rows(uint64, int) []tlog.Row         { return nil }
func (*verifying) Durable(uint64)                      {}

func benchAppend(b *testing.B, v *verifying) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, _ := benchStore(b)
			defer s.Close()
			c := config(b)
			if v != nil {
				c.Admitter = v
			}
			var commits, syncs atomic.Int64
			c.OnCommit = func(st tlog.CommitStats) { commits.Add(1); syncs.Add(int64(st.Sync)) }
			l, err := tlog.Open(ctx, s, c)
			if err != nil {
				b.Fatal(err)
			}
			entries := make([][]byte, b.N)
			for i := range entries {
				entries[i] = benchEntry(uint64(i))
			}
			took := make([]time.Duration, b.N)
			before := cpu()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for {
						i := int(next.Add(1)) - 1
						if i >= b.N {
							return
						}
						start := time.Now()
						rs, err := l.Append(ctx, &tlog.Candidate{Entry: entries[i]})
						if err != nil || rs[0].Err != nil {
							b.Error(rs, err)
							return
						}
						took[i] = time.Since(start)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(b.N)/float64(commits.Load()), "records/commit")
			b.ReportMetric(float64(syncs.Load())/float64(commits.Load())/1e3, "sync-µs")
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/record")
			l.Close()
		})
	}
}

// BenchmarkMillion fills a log with 1,000,000 entries, or as many as
// LEDGERD_BENCH_ENTRIES says, and measures what its size costs. Run it with
// -benchtime=1x.
func BenchmarkMillion(b *testing.B) {
	n := 1_000_000
	if v := os.Getenv("LEDGERD_BENCH_ENTRIES"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	s, dir := benchStore(b)
	l, err := tlog.Open(ctx, s, config(b))
	if err != nil {
		b.Fatal(err)
	}
	const each = 256
	fillFrom := func(from, n int) time.Duration {
		start := time.Now()
		sem := make(chan struct{}, 8)
		var wg sync.WaitGroup
		for at := from; at < from+n; at += each {
			sem <- struct{}{}
			wg.Go(func() {
				defer func() { <-sem }()
				cs := make([]*tlog.Candidate, min(each, from+n-at))
				for i := range cs {
					cs[i] = &tlog.Candidate{Entry: benchEntry(uint64(at + i))}
				}
				if rs, err := l.Append(ctx, cs...); err != nil || rs[0].Err != nil {
					b.Error(rs, err)
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	b.ResetTimer()
	early := fillFrom(0, 50_000)
	took := early + fillFrom(50_000, n-100_000)
	late := fillFrom(n-50_000, 50_000)
	took += late
	b.ReportMetric(float64(n)/took.Seconds(), "records/s")
	b.ReportMetric(float64(late)/float64(early), "late/early")
	b.ReportMetric(float64(rss())/(1<<20), "load-MiB")

	for _, readers := range []int{1, runtime.GOMAXPROCS(0)} {
		const proofs = 20_000
		start := time.Now()
		var wg sync.WaitGroup
		for r := range readers {
			wg.Go(func() {
				x := uint64(r)*7919 + 12345
				for range proofs / readers {
					x = x*6364136223846793005 + 1442695040888963407
					if _, err := l.Inclusion(ctx, (x>>11)%uint64(n), uint64(n)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(proofs/time.Since(start).Seconds(), fmt.Sprintf("proofs/s-%d", readers))
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := s.Settle(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(start).Seconds(), "settle-s")
	b.ReportMetric(float64(s.Stats().DiskBytes)/float64(n*entryBytes), "disk/entries")
	b.ReportMetric(float64(s.Stats().TableBytes)/float64(n*entryBytes), "tables/entries")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}

	start = time.Now()
	s = open(b, dir, pebblestore.Options{})
	l, err = tlog.Open(ctx, s, config(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(start).Seconds(), "start-s")
	runtime.GC()
	b.ReportMetric(float64(rss())/(1<<20), "rest-MiB")
	start = time.Now()
	if r, err := l.Check(ctx, nil); err != nil || len(r.Differences) > 0 {
		b.Fatal(r, err)
	}
	b.ReportMetric(time.Since(start).Seconds(), "check-s")
	l.Close()
	s.Close()
	b.ReportMetric(0, "ns/op")
}

// rss returns the resident bytes of this process.
func rss() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(kib)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
