// Package traces makes runs of the spans that a daemon receives by the
// OpenTelemetry protocol: one run for each trace, with the source "observed" for
// what a span shows, written and closed once the trace has been quiet for a while.
//
// A sender's spans are its own word: what makes them better than a transcript is
// that they came while the work was done, from the program that did it. The run is
// of the token's agent, whatever the spans call it, and needs the right by which
// that agent could report the same and more.
//
// What is answered is durable: an export lies in a directory until all of it is written,
// and a daemon that was killed writes it when it starts again.
package traces

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"ledgerd/internal/api"
	"ledgerd/internal/importer"
	"ledgerd/internal/server"
)

// Config says what a receiver works with.
type Config struct {
	Importer *importer.Importer // its registry registers nobody
	Dir      string             // where exports lie that are not written yet; made where it is not there
	Quiet    time.Duration      // a trace is written when no span of it came for so long: 10 s if 0
	Logger   *slog.Logger       // slog.Default if nil

	fault func(op, name string, did bool) error // of tests: asked before each change on disk, and after it
}

// What is held at a time, in bytes.
const (
	maxTrace = 16 << 20 // of one trace: what is beyond is rejected
	maxActor = 32 << 20 // of one agent
	maxAll   = 96 << 20
	overhead = 1 << 10 // of a span, beside what it says
)

// What lies on disk at a time, in bytes: an export as it came may be much larger than what
// is held of it.
const (
	maxActorFiles = 4 * maxActor
	maxAllFiles   = 4 * maxAll
)

// A trace to which spans come without end is written after so long.
const maxAge = 5 * time.Minute

// maxParts bounds how many runs one trace may become, by spans that come late.
const maxParts = 100

// remembered is how many spans are known to have been written: exporters send again
// what got no answer.
const remembered = 1 << 16

// Receiver holds spans until their trace is quiet. Its methods may be called from
// any goroutine.
type Receiver struct {
	cfg  Config
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{}

	// One export is decoded at a time: what is decoded takes many times the room.
	decoding sync.Mutex

	spool spool // names are given with mu held

	mu      sync.Mutex
	held    map[key]*held // guarded by mu, as what follows
	byActor map[string]int
	all     int
	counts  server.SpanCounts // but for what waits
	files   map[string]int    // bytes on disk of each agent's exports
	onDisk  int               // of all of them
	closed  bool
	written map[spanKey]bool
	order   []spanKey // of written, a ring
	next    int       // the oldest in it
}

// key is a trace as an agent sends it: an agent cannot add to another's.
type key struct{ actor, trace string }

type spanKey struct {
	key
	span string
}

// held is a trace that is not written yet.
type held struct {
	spans       []heldSpan
	odd         []oddPart
	exports     []*export // that these are of
	size        int
	first, last time.Time // when spans came
	begun       *begun    // nil: no writing of it has begun
}

// begun says how much of a trace is written, as one set: what comes since waits.
type begun struct {
	mark                *mark
	spans, odd, exports int
}

// oddPart is what of an export is no span that is known here.
type oddPart struct {
	of   *export
	data []byte
}

// heldSpan is a span, encoded.
type heldSpan struct {
	id      string
	encoded []byte
	of      *export
}

// New returns a receiver, which holds what an earlier one had not written. Close ends it.
func New(cfg Config) (*Receiver, error) {
	if cfg.Quiet <= 0 {
		cfg.Quiet = 10 * time.Second
	}
	r := &Receiver{
		cfg: cfg, log: cfg.Logger, done: make(chan struct{}), held: make(map[key]*held), byActor: make(map[string]int),
		files: make(map[string]int), written: make(map[spanKey]bool), spool: spool{dir: cfg.Dir, fault: cfg.fault},
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("spans that are not written yet: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		tick := time.NewTicker(cfg.Quiet/4 + time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				r.write(ctx, false)
			}
		}
	}()
	return r, nil
}

// Close writes what is held, and takes no more.
func (r *Receiver) Close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	<-r.done
	r.write(context.Background(), true)
	r.mu.Lock() // a request that came before may still be answered
	defer r.mu.Unlock()
	for k, h := range r.held {
		r.log.Warn("spans could not be written: they are when the daemon starts again", "actor", k.actor, "trace", k.trace, "spans", len(h.spans))
	}
}

// Take takes an ExportTraceServiceRequest of an agent, and returns the response, in
// the encoding of the request.
func (r *Receiver) Take(ctx context.Context, actor string, body []byte, isJSON bool) ([]byte, *api.Problem) {
	im := r.cfg.Importer
	if err := im.Registry.Host(ctx, actor, im.Runtime); err != nil {
		return nil, api.NewProblem(http.StatusForbidden, api.ReasonOtherActor, "want the token of an agent whose spans these are: %v", err)
	}
	spans, odd, err := r.decode(body, isJSON)
	if errors.Is(err, errTooLarge) {
		return nil, api.NewProblem(http.StatusRequestEntityTooLarge, api.ReasonTooLarge, "%v", err)
	}
	if err != nil {
		return nil, api.NewProblem(http.StatusBadRequest, api.ReasonMalformed, "%v", err)
	}
	e := &export{actor: actor}
	rejected, p := r.hold(spans, odd, e, len(body))
	if p != nil {
		return nil, p
	}
	if err := r.keep(e, body, isJSON); err != nil {
		r.log.Error("spans could not be kept", "actor", actor, "error", err.Error())
		return nil, api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy, "the daemon could not keep the spans, and its log says why: send them again")
	}
	r.mu.Lock()
	r.counts.Exports++
	r.counts.Spans += uint64(len(spans) - rejected)
	r.counts.Rejected += uint64(rejected)
	r.mu.Unlock()
	var response collector.ExportTraceServiceResponse
	if rejected > 0 {
		response.PartialSuccess = &collector.ExportTracePartialSuccess{
			RejectedSpans: int64(rejected), ErrorMessage: fmt.Sprintf("want at most %d MiB of spans in a trace, found more", maxTrace>>20),
		}
	}
	var answer []byte
	if isJSON {
		answer, err = protojson.Marshal(&response)
	} else {
		answer, err = proto.Marshal(&response)
	}
	if err != nil {
		return nil, api.NewProblem(http.StatusInternalServerError, api.ReasonInternal, "the answer could not be written: %v", err)
	}
	return answer, nil
}

// Counts implements [server.Spans].
func (r *Receiver) Counts() server.SpanCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	c.Waiting, c.Bytes, c.OnDisk = len(r.held), r.all, r.onDisk
	return c
}

// inTrace is a span, and its trace.
type inTrace struct {
	trace string
	heldSpan
}

// maxObjects bounds what is decoded at a time: objects take about 300 bytes each.
const maxObjects = 1 << 20

// errTooLarge: an export could not be held if it were the only one.
var errTooLarge = fmt.Errorf("want spans that take at most %d MiB, each with its resource and scope, found more: send fewer at a time", maxActor>>20)

// name is what an export's file calls a span.
func (s *inTrace) name() string { return s.trace + "/" + hex.EncodeToString([]byte(s.id)) }

func (r *Receiver) decode(body []byte, isJSON bool) (all []inTrace, odd []byte, err error) {
	if n := importer.Objects(body, isJSON); n > maxObjects {
		return nil, nil, fmt.Errorf("%w (%d objects, of at most %d)", errTooLarge, n, maxObjects)
	}
	r.decoding.Lock()
	defer r.decoding.Unlock()
	spans, odd, err := importer.ParseSpans(body, isJSON)
	if err != nil {
		return nil, nil, err
	}
	size := len(odd)
	for _, s := range spans {
		encoded, err := s.Marshal()
		if err != nil {
			return nil, nil, err
		}
		if size += len(encoded) + overhead; size > maxActor {
			return nil, nil, errTooLarge // what surrounds many spans stands once in what came
		}
		all = append(all, inTrace{s.Trace(), heldSpan{id: string(s.SpanId), encoded: encoded}})
	}
	return all, slices.Clone(odd), nil // the body's memory is given back
}

// hold keeps spans until their traces are quiet: all of them, but for those of
// traces that are too large, or none.
func (r *Receiver) hold(spans []inTrace, odd []byte, e *export, onDisk int) (rejected int, p *api.Problem) {
	size := len(odd)
	for _, s := range spans {
		size += len(s.encoded) + overhead
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, api.NewProblem(http.StatusServiceUnavailable, api.ReasonStopping, "the daemon is being stopped: send the spans again when it is back")
	case r.byActor[e.actor]+size > maxActor, r.all+size > maxAll, r.files[e.actor]+onDisk > maxActorFiles, r.onDisk+onDisk > maxAllFiles:
		return 0, api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy, "as many spans wait for the end of their traces as are held at a time: send these again later")
	}
	e.name = r.spool.name(exportSuffix)
	rejected = r.add(e.actor, spans, odd, e)
	if e.waits > 0 {
		r.lies(e, onDisk)
	}
	return rejected, nil
}

// add holds the spans of an export. It is called with mu held, or before there is anybody
// else.
func (r *Receiver) add(actor string, spans []inTrace, odd []byte, e *export) (rejected int) {
	now := r.cfg.Importer.Now()
	for _, s := range spans {
		k := key{actor, s.trace}
		if r.written[spanKey{k, s.id}] {
			e.known = append(e.known, s.name())
			continue // sent again, since the answer was lost
		}
		h := r.held[k]
		if h == nil {
			h = &held{first: now}
			r.held[k] = h
		}
		h.last = now
		if odd != nil {
			r.count(k, h, len(odd))
			h.odd, odd = append(h.odd, oddPart{e, odd}), nil // once
			h.of(e)
		}
		if h.size+len(s.encoded)+overhead > maxTrace {
			rejected++
			continue
		}
		s.of = e
		h.spans = append(h.spans, s.heldSpan)
		h.of(e)
		r.count(k, h, len(s.encoded)+overhead)
	}
	return rejected
}

// of says that something of an export is held.
func (h *held) of(e *export) {
	if n := len(h.exports); n == 0 || h.exports[n-1] != e {
		h.exports = append(h.exports, e)
		e.waits++
	}
}

func (r *Receiver) count(k key, h *held, size int) {
	h.size += size
	r.byActor[k.actor] += size
	r.all += size
}

// lies says how many bytes of an export lie on disk. It is called with mu held.
func (r *Receiver) lies(e *export, size int) {
	r.files[e.actor] += size - e.size
	r.onDisk += size - e.size
	if r.files[e.actor] == 0 {
		delete(r.files, e.actor)
	}
	e.size = size
}

// release holds a trace no more. It is called with mu held.
func (r *Receiver) release(k key, h *held) {
	r.byActor[k.actor] -= h.size
	r.all -= h.size
	if r.byActor[k.actor] == 0 {
		delete(r.byActor, k.actor)
	}
	delete(r.held, k)
}

// write writes the traces that are quiet, or all. What comes while one is written
// is held anew.
func (r *Receiver) write(ctx context.Context, all bool) {
	now := r.cfg.Importer.Now()
	r.mu.Lock()
	var due []key
	for k, h := range r.held {
		if all || h.begun != nil || now.Sub(h.last) >= r.cfg.Quiet || now.Sub(h.first) >= maxAge || h.size > maxTrace/2 {
			due = append(due, k)
		}
	}
	slices.SortFunc(due, func(a, b key) int {
		return cmp.Or(r.held[a].first.Compare(r.held[b].first), cmp.Compare(a.actor, b.actor), cmp.Compare(a.trace, b.trace))
	})
	r.mu.Unlock()
	for _, k := range due {
		h, spans, odd, err := r.begin(k)
		if err == nil {
			err = r.record(ctx, k, spans, odd)
		}
		if err == nil {
			err = r.finish(h.begun.mark)
		}
		switch {
		case err == nil:
			r.settle(r.forget(k, h, false)...)
		case ctx.Err() != nil, errors.Is(err, errNotKept):
		case now.Sub(h.first) > 2*maxAge && h.begun != nil:
			r.log.Error("spans could not be written, and are left where they are", "actor", k.actor, "trace", k.trace, "spans", len(spans),
				"dir", r.spool.dir, "files", "*"+failedSuffix, "error", err.Error())
			r.settle(r.forget(k, h, true)...)
		default:
			r.log.Warn("a trace could not be written: trying again", "actor", k.actor, "trace", k.trace, "error", err.Error())
		}
	}
}

// errNotKept: an export has come, and is not on disk yet.
var errNotKept = errors.New("an export is not kept yet")

// begin marks what is held of a trace as the set that is written, unless that has begun.
func (r *Receiver) begin(k key) (h *held, spans []heldSpan, odd [][]byte, err error) {
	r.mu.Lock()
	h = r.held[k]
	if h == nil { // what there was of it could not be kept
		r.mu.Unlock()
		return nil, nil, nil, errNotKept
	}
	b := h.begun
	if b == nil {
		b = &begun{mark: &mark{name: r.spool.name(markSuffix)}, spans: len(h.spans), odd: len(h.odd), exports: len(h.exports)}
	}
	f := markFile{Actor: k.actor, Trace: k.trace}
	for _, e := range h.exports[:b.exports] {
		if !e.kept {
			err = errNotKept
		}
		f.Exports = append(f.Exports, e.name)
	}
	spans = h.spans[:b.spans]
	for _, o := range h.odd[:b.odd] {
		if !slices.ContainsFunc(odd, func(b []byte) bool { return bytes.Equal(b, o.data) }) { // sent again
			odd = append(odd, o.data)
		}
		f.Odd = append(f.Odd, o.of.name)
	}
	r.mu.Unlock()
	if err != nil || h.begun != nil {
		return h, spans, odd, err
	}
	line, err := json.Marshal(&f)
	if err == nil {
		err = r.spool.write(b.mark.name, line)
	}
	if err != nil {
		return h, nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h.begun = b
	for _, e := range h.exports[:b.exports] {
		e.marks = append(e.marks, b.mark)
	}
	b.mark.exports = b.exports
	return h, spans, odd, nil
}

// forget drops what was written of a trace, and knows it for a while. It returns the
// exports that it was of. What failed is not known, and its exports are not removed.
func (r *Receiver) forget(k key, h *held, failed bool) []*export {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := h.begun
	if failed {
		r.counts.Failed++
	} else {
		for _, s := range h.spans[:b.spans] {
			r.known(spanKey{k, s.id})
		}
	}
	for _, e := range h.exports[:b.exports] {
		e.waits--
		e.failed = e.failed || failed
	}
	r.release(k, h)
	// What came meanwhile, and not only a second time.
	late := &held{odd: h.odd[b.odd:], exports: h.exports[b.exports:]}
	for _, s := range h.spans[b.spans:] {
		if !r.written[spanKey{k, s.id}] {
			late.spans = append(late.spans, s)
		}
	}
	done := h.exports[:b.exports]
	if len(late.spans) == 0 {
		for _, e := range late.exports {
			e.waits--
		}
		return slices.Concat(done, late.exports)
	}
	late.first = r.cfg.Importer.Now()
	late.last = late.first
	r.held[k] = late
	for _, o := range late.odd {
		r.count(k, late, len(o.data))
	}
	for _, s := range late.spans {
		r.count(k, late, len(s.encoded)+overhead)
	}
	return done
}

// known knows for a while that a span is written. It is called with mu held.
func (r *Receiver) known(w spanKey) {
	if r.written[w] {
		return
	}
	if len(r.order) < remembered {
		r.order = append(r.order, w)
	} else {
		delete(r.written, r.order[r.next])
		r.order[r.next] = w
		r.next = (r.next + 1) % remembered
	}
	r.written[w] = true
}

// record writes the spans of a trace as a run. Spans that come after a run was
// closed are a run of their own: a further part of the trace.
func (r *Receiver) record(ctx context.Context, k key, spans []heldSpan, odd [][]byte) error {
	run := importer.SpanRun{Name: "trace:" + k.trace, Odd: odd}
	for _, s := range spans {
		one, _, err := importer.ParseSpans(s.encoded, false)
		if err != nil {
			return err
		}
		run.Spans = append(run.Spans, one...)
	}
	if !run.HasGenAI() {
		r.log.Warn("spans became no run: none of their trace is an agent's", "actor", k.actor, "trace", k.trace, "spans", len(run.Spans))
		return nil
	}
	for part := 1; part <= maxParts; part++ {
		t, err := run.Transcript(k.actor)
		if err != nil {
			return err
		}
		t.Observed, t.Task = true, "observed"
		t.ID = fmt.Sprintf("otlp/%s/%s/%d", k.actor, run.Name, part)
		out, err := r.cfg.Importer.Import(ctx, t)
		var changed *importer.ChangedError
		if errors.As(err, &changed) {
			continue
		}
		if err == nil {
			r.log.Info("a trace is recorded", "actor", k.actor, "trace", k.trace, "run", out.Run, "part", part, "records", out.Records, "kept", out.Kept)
		}
		return err
	}
	return fmt.Errorf("want at most %d runs of a trace: spans of it come late again and again", maxParts)
}
