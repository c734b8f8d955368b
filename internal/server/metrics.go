package server

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ledgerd/ledger/tlog"
)

// Metrics is what the daemon tells Prometheus. The ledger's hooks feed it, so
// it is made before the ledger is opened.
type Metrics struct {
	registry     *prometheus.Registry
	batchEntries prometheus.Histogram
	batchBytes   prometheus.Histogram
	gather       prometheus.Histogram
	sync         prometheus.Histogram
	requests     *prometheus.CounterVec
	problems     *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	exports      *prometheus.CounterVec
	lost         prometheus.Counter
}

// NewMetrics returns metrics that nothing has been counted in.
func NewMetrics() *Metrics {
	seconds := prometheus.ExponentialBuckets(0.0001, 2, 15) // 0.1 ms to 1.6 s
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		batchEntries: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerd_commit_entries", Help: "Entries of one commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		batchBytes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerd_commit_bytes", Help: "Bytes of the entries of one commit.", Buckets: prometheus.ExponentialBuckets(512, 4, 8),
		}),
		gather: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerd_commit_gather_seconds", Help: "Time from a commit's first admission until it was begun.", Buckets: seconds,
		}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerd_commit_sync_seconds", Help: "Time from when a commit was begun until it was durable.", Buckets: seconds,
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerd_http_requests_total", Help: "Requests answered, by route and class of status.",
		}, []string{"route", "status"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerd_http_problems_total", Help: "Problems sent, by reason.",
		}, []string{"reason"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerd_refusals_total", Help: "Records refused, by reason.",
		}, []string{"reason"}),
		exports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerd_span_exports_refused_total", Help: "Exports of spans refused, by reason.",
		}, []string{"reason"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledgerd_appends_unknown_total", Help: "Records of which nobody knows whether they became durable.",
		}),
	}
	m.registry.MustRegister(m.batchEntries, m.batchBytes, m.gather, m.sync, m.requests, m.problems, m.refusals, m.exports, m.lost,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// classes are those of a status; 1xx is none.
var classes = [...]string{"2xx", "3xx", "4xx", "5xx"}

// served counts the answers of one route.
type served struct {
	vec *prometheus.CounterVec
	// known are the counters by class, looked up once each: a class that was
	// never answered is not shown.
	known [len(classes)]atomic.Pointer[prometheus.Counter]
}

func (m *Metrics) served(route string) *served {
	return &served{vec: m.requests.MustCurryWith(map[string]string{"route": route})}
}

func (s *served) count(w *statusWriter) {
	at := min(max(w.status/100-2, 0), len(classes)-1)
	c := s.known[at].Load()
	if c == nil {
		found := s.vec.WithLabelValues(classes[at])
		c = &found
		s.known[at].Store(c)
	}
	(*c).Inc()
}

// Commit is the hook for ledger.Config.OnCommit.
func (m *Metrics) Commit(c tlog.CommitStats) {
	m.batchEntries.Observe(float64(c.Entries))
	m.batchBytes.Observe(float64(c.Bytes))
	m.gather.Observe(c.Gather.Seconds())
	m.sync.Observe(c.Sync.Seconds())
}

// observe adds what is read when Prometheus asks.
func (m *Metrics) observe(s *Server) {
	log := s.ledger.Log()
	counter := func(name, help string, f func(tlog.Counts) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(f(log.Counts())) })
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	handoffs := func(waiting bool) func() float64 {
		return func() float64 {
			if s.cfg.Handoffs == nil {
				return 0
			}
			wait, out := s.cfg.Handoffs.Counts()
			if waiting {
				return float64(wait)
			}
			return float64(out)
		}
	}
	spans := func() SpanCounts {
		if s.cfg.Spans == nil {
			return SpanCounts{}
		}
		return s.cfg.Spans.Counts()
	}
	spanCounter := func(name, help string, f func(SpanCounts) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(f(spans())) })
	}
	for _, c := range []prometheus.Collector{
		gauge("ledgerd_handoffs_waiting", "Offers in the inbox.", handoffs(true)),
		gauge("ledgerd_handoffs_pending", "Offers and acceptances that have not arrived at a peer.", handoffs(false)),
		spanCounter("ledgerd_span_exports_total", "Exports of spans taken.", func(c SpanCounts) uint64 { return c.Exports }),
		spanCounter("ledgerd_spans_total", "Spans taken.", func(c SpanCounts) uint64 { return c.Spans }),
		spanCounter("ledgerd_spans_rejected_total", "Spans of exports taken that were rejected, since their trace is too large.", func(c SpanCounts) uint64 { return c.Rejected }),
		spanCounter("ledgerd_traces_failed_total", "Traces that could not be written.", func(c SpanCounts) uint64 { return c.Failed }),
		gauge("ledgerd_traces_waiting", "Traces that are not written yet.", func() float64 { return float64(spans().Waiting) }),
		gauge("ledgerd_traces_waiting_bytes", "Bytes of their spans.", func() float64 { return float64(spans().Bytes) }),
		gauge("ledgerd_traces_disk_bytes", "Bytes on disk of the exports that hold them.", func() float64 { return float64(spans().OnDisk) }),
		counter("ledgerd_appends_total", "Records appended.", func(c tlog.Counts) uint64 { return c.Appended }),
		counter("ledgerd_duplicates_total", "Records answered with the place where the same bytes stand.", func(c tlog.Counts) uint64 { return c.Duplicates }),
		counter("ledgerd_busy_total", "Records turned away because the queue was full.", func(c tlog.Counts) uint64 { return c.Busy }),
		counter("ledgerd_commits_total", "Commits that became durable.", func(c tlog.Counts) uint64 { return c.Commits }),
		gauge("ledgerd_queue_entries", "Records in line.", func() float64 { return float64(log.Counts().Queue) }),
		gauge("ledgerd_tree_size", "Size of the durable tree.", func() float64 { return float64(log.Head().Size) }),
		gauge("ledgerd_connections", "Connections that are open.", func() float64 { return float64(s.conns.count()) }),
		gauge("ledgerd_uploads", "Requests whose bodies are being read.", func() float64 { return float64(s.uploads.n.Load()) }),
		gauge("ledgerd_streams", "Event streams and exports under way.", func() float64 { return float64(s.streams.n.Load()) }),
		gauge("ledgerd_head_file_failing", "1 while the newest tree head cannot be kept outside the store.", func() float64 {
			if log.Counts().KeepErr != nil {
				return 1
			}
			return 0
		}),
	} {
		// A second server over the same metrics is a test's: the first one's
		// readings stand.
		var already prometheus.AlreadyRegisteredError
		if err := m.registry.Register(c); err != nil && !errors.As(err, &already) {
			panic(err) // names are constants
		}
	}
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
