package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

func TestRunFromOpenToClose(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	entries := r.whole("send_email")
	placed := w.must(entries...)
	for i, p := range placed {
		if p.Index != uint64(7+i) || p.ID != evidence.IDOf(entries[i]) {
			t.Errorf("record %d stands at %d as %s", i, p.Index, p.ID)
		}
	}
	w.restart()
	var got []evidence.Kind
	for p, err := range w.Run(t.Context(), r.id) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Record.Kind)
	}
	if len(got) != 4 || got[3] != evidence.KindRunClosed {
		t.Errorf("the run reads %v", got)
	}
}

// refused appends one entry and requires its refusal. stands, if not zero, is
// the record that the refusal has to name.
func (w *world) refused(entry []byte, class ledger.Class, reason ledger.Reason, stands evidence.ID) {
	w.t.Helper()
	size := w.Head().Size
	_, err := w.Append(w.t.Context(), entry)
	r := ledger.AsRefusal(err)
	if r == nil {
		w.t.Fatalf("appended, or failed otherwise: %v; want a refusal for %s", err, reason)
	}
	if r.Class != class || r.Reason != reason {
		w.t.Errorf("refused as %d %s (%v), want %d %s", r.Class, r.Reason, err, class, reason)
	}
	var c *ledger.ConflictError
	if errors.As(err, &c) == stands.IsZero() || c != nil && c.Stands != stands {
		w.t.Errorf("refused with %v, want one that names %s", err, stands)
	} else if c != nil {
		if p, err := w.At(w.t.Context(), c.Index); err != nil || p.ID != stands {
			w.t.Errorf("it stands at %d, where there is %s, %v", c.Index, p.ID, err)
		}
	}
	if got := w.Head().Size; got != size {
		w.t.Errorf("the log has grown from %d to %d", size, got)
	}
}

// jws joins the parts of a JWS over any header, with a signature by the runtime.
func jws(header, payload string) []byte {
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(header)) + "." + enc([]byte(payload))
	sig := ed25519.Sign(ed25519.NewKeyFromSeed(runtimeKey.Seed()), []byte(text))
	return []byte(text + "." + enc(sig))
}

// Rows 1 to 26 of the attacks are package evidence's to refuse. Here each gets
// the class that its writer has to hear.
func TestRefusalsOfForm(t *testing.T) {
	w := newWorld(t)
	kid := runtimeKey.Public().Thumbprint().String()
	good := string(w.newRun().open())
	header := `{"alg":"EdDSA","kid":"` + kid + `","typ":"evidence+jws"}`
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	body := string(payload)
	smallOrder := base64.RawURLEncoding.EncodeToString(append([]byte{1}, make([]byte, 31)...))
	register := `{"v":1,"origin":"` + origin + `","kind":"actor.registered","registry":7,"prev":"` + w.Registry().Tail().String() +
		`","actor":"root","time":"2026-05-29T14:00:00.000Z","actor.registered":{"name":"x","role":"tool","key":{"kty":"OKP","crv":"Ed25519","x":"` + smallOrder + `"}}}`

	for _, tc := range []struct {
		row    int
		name   string
		entry  []byte
		class  ledger.Class
		reason ledger.Reason
	}{
		{1, "alg none", jws(strings.Replace(header, "EdDSA", "none", 1), body), 422, ledger.ReasonHeader},
		{1, "alg absent", jws(strings.Replace(header, `"alg":"EdDSA",`, "", 1), body), 422, ledger.ReasonHeader},
		{1, "alg in another case", jws(strings.Replace(header, "EdDSA", "eddsa", 1), body), 422, ledger.ReasonHeader},
		{2, "HS256", jws(strings.Replace(header, "EdDSA", "HS256", 1), body), 422, ledger.ReasonHeader},
		{3, "no protected header", []byte(`{"payload":"e30","header":{"alg":"EdDSA","kid":"` + kid + `"},"signature":"AA"}`), 400, ledger.ReasonJWS},
		{4, "an unprotected header", []byte(`{"payload":"e30","protected":"e30","header":{"x":1},"signature":"AA"}`), 400, ledger.ReasonJWS},
		{5, "kid as a path", jws(strings.Replace(header, kid, "../../etc/passwd", 1), body), 400, ledger.ReasonJWS},
		{5, "kid of 8 KiB", jws(strings.Replace(header, kid, strings.Repeat("a", 8<<10), 1), body), 400, ledger.ReasonJWS},
		{6, "jwk", jws(strings.Replace(header, `{`, `{"jwk":{"kty":"OKP"},`, 1), body), 422, ledger.ReasonHeader},
		{7, "jku", jws(strings.Replace(header, `{`, `{"jku":"http://127.0.0.1:1/k",`, 1), body), 422, ledger.ReasonHeader},
		{8, "crit", jws(strings.Replace(header, `{`, `{"crit":[],`, 1), body), 422, ledger.ReasonHeader},
		{9, "b64 false", jws(strings.Replace(header, `{`, `{"b64":false,`, 1), body), 422, ledger.ReasonHeader},
		{10, "JSON serialisation", []byte(`{"payload":"e30","signatures":[]}`), 400, ledger.ReasonJWS},
		{11, "a member twice", jws(strings.Replace(header, `{`, `{"alg":"EdDSA",`, 1), body), 422, ledger.ReasonHeader},
		{11, "ALG", jws(strings.Replace(header, `{`, `{"ALG":"EdDSA",`, 1), body), 422, ledger.ReasonHeader},
		{12, "white space", []byte(good + "\n"), 400, ledger.ReasonJWS},
		{12, "CR in a part", []byte(strings.Replace(good, ".", ".\r", 1)), 400, ledger.ReasonJWS},
		{13, "five parts", []byte(good + ".AA.AA"), 400, ledger.ReasonJWS},
		{14, "dots", bytes.Repeat([]byte{'.'}, 60_000), 400, ledger.ReasonJWS},
		{14, "ten million dots", bytes.Repeat([]byte{'.'}, 10_000_000), 400, ledger.ReasonSize},
		{15, "a small-order key registered", jws(header, register), 422, ledger.ReasonKey},
		{19, "another typ", jws(strings.Replace(header, "evidence+jws", "JWT", 1), body), 422, ledger.ReasonHeader},
		{21, "a member of the payload twice", jws(header, strings.Replace(body, `{`, `{"v":1,`, 1)), 400, ledger.ReasonPayload},
		{22, "invalid UTF-8", jws(header, strings.Replace(body, "complaint", "\xff", 1)), 400, ledger.ReasonPayload},
		{23, "an integer beyond 2^53", jws(header, strings.Replace(body, `"registry":6`, `"registry":9007199254740993`, 1)), 400, ledger.ReasonPayload},
		{24, "depth", jws(header, strings.Repeat(`{"a":`, 8000)+"1"+strings.Repeat("}", 8000)), 400, ledger.ReasonPayload},
		{25, "a value after it", jws(header, body+"{}"), 400, ledger.ReasonPayload},
		{26, "an actor with a space", jws(header, strings.Replace(body, `"actor":"support"`, `"actor":"sup port"`, 1)), 400, ledger.ReasonPayload},
		{0, "a newer version", jws(header, strings.Replace(body, `"v":1`, `"v":2`, 1)), 422, ledger.ReasonVersion},
		{0, "nothing", nil, 400, ledger.ReasonSize},
	} {
		t.Run(fmt.Sprintf("row %d %s", tc.row, tc.name), func(t *testing.T) {
			v := *w
			v.t = t
			v.refused(tc.entry, tc.class, tc.reason, evidence.ID{})
		})
	}

	t.Run("row 16 S at least L", func(t *testing.T) {
		// S + L verifies under a careless verifier.
		sig, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		l := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
		carry := 0
		for i := range l {
			carry += int(sig[32+i]) + int(l[i])
			sig[32+i] = byte(carry)
			carry >>= 8
		}
		v := *w
		v.t = t
		v.refused([]byte(parts[0]+"."+parts[1]+"."+base64.RawURLEncoding.EncodeToString(sig)), 422, ledger.Reason(audit.ReasonSignature), evidence.ID{})
	})
	if _, err := w.Append(t.Context(), []byte(good)); err != nil {
		t.Errorf("the record that all of them were made from: %v", err)
	}
}

// Row 17: a revoked key, and a registry number that is not the latest.
func TestRow17RevokedKeyAndStaleRegistry(t *testing.T) {
	w := newWorld(t)
	stale, r := w.newRun(), w.newRun()
	old := stale.open() // names registry number 6
	w.must(r.open())
	revoked, err := w.Revoke(t.Context(), rootKey, &evidence.ActorRevoked{Name: "runtime-02", Reason: "retired"})
	if err != nil {
		t.Fatal(err)
	}
	w.refused(old, 409, ledger.Reason(audit.ReasonStale), evidence.ID{})
	other := w.newRun()
	rec := other.record(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-02"})
	rec.Actor = "runtime-02"
	w.refused(sign(t, rec, otherKey), 403, ledger.Reason(audit.ReasonRevoked), evidence.ID{})
	// What names no registry number goes on under a key that holds.
	w.must(r.authorize("send_email"))

	// A registry record with a number that is taken names what stands there.
	again, err := w.NextRegistry(&evidence.ActorRevoked{Name: "alice", Reason: "left"})
	if err != nil {
		t.Fatal(err)
	}
	*again.Registry = lastNumber + 1
	w.refused(sign(t, again, rootKey), 409, ledger.Reason(audit.ReasonNumber), revoked.ID)
	// And the same revocation twice is the same record.
	if p := w.must(revoked.Entry); p[0].Index != revoked.Index {
		t.Errorf("the same bytes stand at %d and %d", revoked.Index, p[0].Index)
	}
}

func TestRow18AnotherActorsKey(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	w.must(r.open())
	// The tool's key for a human's record; the agent's key for the hosted
	// agent's; the other runtime's key for an agent that this one hosts.
	rec := &evidence.Record{
		Origin: origin, Kind: evidence.KindConfirmation, Run: r.id, About: r.prev, Actor: "alice", Time: w.clock.time(),
		Body: &evidence.Confirmation{Status: evidence.StatusSuccess},
	}
	w.refused(sign(t, rec, toolKey), 403, ledger.Reason(audit.ReasonActor), evidence.ID{})
	open := w.newRun().record(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-02"})
	w.refused(sign(t, open, otherKey), 403, ledger.Reason(audit.ReasonActor), evidence.ID{})
	// A stranger's key.
	w.refused(sign(t, open, key("stranger")), 403, ledger.Reason(audit.ReasonUnknownKey), evidence.ID{})
	// A runtime that is not this run's, for itself.
	fork := r.record(&evidence.Escalation{Reason: "policy", To: "billing"})
	fork.Actor = "runtime-02"
	w.refused(sign(t, fork, otherKey), 403, ledger.Reason(audit.ReasonWriter), evidence.ID{})
}

func TestRow20AnotherOrigin(t *testing.T) {
	w := newWorld(t)
	rec := w.newRun().record(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-01"})
	rec.Origin = "ledger.example/other"
	w.refused(sign(t, rec, runtimeKey), 422, ledger.Reason(audit.ReasonOrigin), evidence.ID{})
}

// Row 27: a fork, a wrong prev, anything after run.closed; in the memory of
// admission, and read back from the store.
func TestRow27ForksAndClosedRuns(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted %v", restart), func(t *testing.T) {
			w := newWorld(t)
			r := w.newRun()
			opened := w.must(r.open())[0]
			fork := *r
			tail := w.must(r.authorize("send_email"))[0]
			if restart {
				w.restart()
			}
			w.refused(fork.authorize("refund"), 409, ledger.Reason(audit.ReasonPrev), tail.ID)
			// Opened a second time.
			again := &run{w: w, id: r.id}
			rec := again.record(&evidence.RunOpened{Principal: "user:2", Task: "complaint", Runtime: "runtime-01"})
			w.refused(sign(t, rec, runtimeKey), 409, ledger.Reason(audit.ReasonOpened), opened.ID)
			// A prev that names nothing.
			lost := *r
			lost.prev = evidence.IDOf([]byte("nothing"))
			w.refused(lost.authorize("refund"), 409, ledger.Reason(audit.ReasonPrev), tail.ID)
			closed := w.must(r.execute("send_email", 1), r.close())[1]
			if restart {
				w.restart()
			}
			after := *r
			w.refused(after.authorize("refund"), 409, ledger.Reason(audit.ReasonClosed), closed.ID)
			beside := &evidence.Record{
				Origin: origin, Kind: evidence.KindConfirmation, Run: r.id, About: tail.ID, Actor: "email_sender", Time: w.clock.time(),
				Body: &evidence.Confirmation{Status: evidence.StatusSuccess},
			}
			w.refused(sign(t, beside, toolKey), 409, ledger.Reason(audit.ReasonClosed), closed.ID)
			// A run that nobody opened.
			nowhere := w.newRun()
			nowhere.prev = tail.ID
			w.refused(nowhere.authorize("refund"), 409, ledger.Reason(audit.ReasonNotOpened), evidence.ID{})
		})
	}
}

// Row 28: an idempotency key, an attempt, once; identical bytes, the same index.
func TestRow28SecondUses(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted %v", restart), func(t *testing.T) {
			w := newWorld(t)
			r := w.newRun()
			placed := w.must(r.open(), r.authorize("send_email"))
			auth := placed[1]
			execution := w.must(r.execute("send_email", 1))[0]
			if restart {
				w.restart()
			}
			second := *r
			same := auth.Record.Body.(*evidence.Authorization)
			w.refused(second.next(same), 409, ledger.Reason(audit.ReasonUsed), auth.ID)
			second = *r
			body := *execution.Record.Body.(*evidence.Execution)
			body.Status, body.Class = evidence.StatusFailure, evidence.ToolFailed
			w.refused(second.next(&body), 409, ledger.Reason(audit.ReasonUsed), execution.ID)
			// The next attempt is another use, and the key another run's.
			body.Attempt = 2
			w.must(r.next(&body))
			other := w.newRun()
			w.must(other.open(), other.next(same))
			for _, p := range append(placed, execution) {
				o, err := w.SubmitEach(p.Entry)(t.Context())
				if err != nil || o[0].Err != nil || !o[0].Duplicate || o[0].Index != p.Index {
					t.Errorf("the same bytes again: %+v, %v; want a duplicate at %d", o, err, p.Index)
				}
			}
		})
	}
}

// A duplicate is one though its clock is long past, and its key revoked.
func TestRow28DuplicateOutlivesClockAndKey(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	placed := w.must(r.whole("send_email")...)
	if _, err := w.Revoke(t.Context(), rootKey, &evidence.ActorRevoked{Name: "runtime-01", Reason: "retired"}); err != nil {
		t.Fatal(err)
	}
	w.clock.Add(time.Hour)
	for _, p := range placed {
		if got := w.must(p.Entry); got[0].Index != p.Index {
			t.Errorf("the same bytes stand at %d and %d", p.Index, got[0].Index)
		}
	}
	// While it is in flight, too: one submission with the same bytes twice.
	r2 := w.newRun()
	e := sign(t, func() *evidence.Record {
		rec := r2.record(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-02"})
		rec.Actor = "runtime-02"
		return rec
	}(), otherKey)
	got := w.must(e, e, e)
	if got[0].Index != got[1].Index || got[1].Index != got[2].Index {
		t.Errorf("one entry stands at %d, %d and %d", got[0].Index, got[1].Index, got[2].Index)
	}
}

// Row 29: time more than 5 minutes off, or before prev's.
func TestRow29Time(t *testing.T) {
	w := newWorld(t)
	at := func(d time.Duration) []byte {
		rec := w.newRun().record(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-01"})
		rec.Time = evidence.TimeOf(start.Add(d))
		return sign(t, rec, runtimeKey)
	}
	ms := time.Millisecond
	w.refused(at(5*time.Minute+ms), 422, ledger.ReasonTime, evidence.ID{})
	w.refused(at(-5*time.Minute-ms), 422, ledger.ReasonTime, evidence.ID{})
	w.must(at(5*time.Minute), at(-5*time.Minute))

	r := w.newRun()
	w.must(r.open())
	rec := r.record(&evidence.Escalation{Reason: "policy", To: "billing"})
	rec.Time--
	w.refused(sign(t, rec, runtimeKey), 422, ledger.Reason(audit.ReasonTimeBefore), evidence.ID{})
	// What was imported is signed now, whenever it happened.
	rec.Time++
	rec.At = evidence.TimeOf(start.Add(-1000 * time.Hour))
	w.must(sign(t, rec, runtimeKey))
}

// An actor's registration and its first record may stand in line together: its
// key is not known yet when the record is prepared.
func TestKeyRegisteredInFlight(t *testing.T) {
	w := newWorld(t)
	fresh := key("runtime-03")
	jwk := fresh.Public().JWK()
	reg, err := w.NextRegistry(&evidence.ActorRegistered{Name: "runtime-03", Role: evidence.RoleRuntime, Key: &jwk})
	if err != nil {
		t.Fatal(err)
	}
	number := int64(lastNumber + 1)
	open := func(k *evidence.PrivateKey) []byte {
		rec := w.newRun().record(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-03"})
		rec.Actor, rec.Registry = "runtime-03", &number
		return sign(t, rec, k)
	}
	forged := open(fresh)
	forged[len(forged)-1] ^= 'A' ^ 'Q' // another signature, in canonical base64
	outs, err := w.SubmitEach(sign(t, reg, rootKey), open(fresh), forged)(t.Context())
	if err != nil || outs[0].Err != nil || outs[1].Err != nil {
		t.Fatalf("%+v, %v", outs, err)
	}
	if r := ledger.AsRefusal(outs[2].Err); r == nil || r.Reason != ledger.Reason(audit.ReasonSignature) {
		t.Errorf("a forged record under a key in flight: %v", outs[2].Err)
	}
}

// 64 writers race for the next record of a run: one line comes out, and every
// loser hears of a record that stands on it.
func TestRaceForALine(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	w.must(r.open())
	const writers, wins = 64, 3
	var wg sync.WaitGroup
	var mu sync.Mutex
	conflicts := 0
	for i := range writers {
		wg.Go(func() {
			mine := *r
			for won := 0; won < wins; {
				next := mine
				next.n = i*1000 + won // a key of its own
				placed, err := w.Append(t.Context(), next.authorize(fmt.Sprintf("action-%d", i)))
				if err == nil {
					won++
					mine.prev = placed[0].ID
					continue
				}
				var c *ledger.ConflictError
				if !errors.As(err, &c) || c.Reason != ledger.Reason(audit.ReasonPrev) {
					t.Error(err)
					return
				}
				mu.Lock()
				conflicts++
				mu.Unlock()
				mine.prev = c.Stands
			}
		})
	}
	wg.Wait()
	w.holdLine(r.id, 1+writers*wins)
	if conflicts == 0 {
		t.Error("nobody lost a race: the test tests nothing")
	}
	t.Logf("%d records, %d conflicts", writers*wins, conflicts)
}

// holdLine requires a run to be one line of n records.
func (w *world) holdLine(id evidence.RunID, n int) {
	w.t.Helper()
	var line audit.Line
	count := 0
	for p, err := range w.Run(w.t.Context(), id) {
		if err != nil {
			w.t.Fatal(err)
		}
		if p.Record.OnLine() {
			if err := line.Next(p.Record, "runtime-01"); err != nil {
				w.t.Fatalf("record %d of %s: %v", p.Index, id, err)
			}
			line.Extend(p.Index, p.ID, p.Record)
			count++
		}
	}
	if n >= 0 && count != n {
		w.t.Errorf("the line of %s has %d records, want %d", id, count, n)
	}
}

// One offer, a hundred acceptances: one stands.
func TestAcceptOnce(t *testing.T) {
	w := newWorld(t)
	offer := evidence.IDOf([]byte("an offer of another ledger"))
	accept := func(i int) []byte {
		n := w.Registry().Number()
		return sign(t, &evidence.Record{
			Origin: origin, Kind: evidence.KindHandoffAccepted, Actor: "agent-own", Time: w.clock.time(), Registry: &n,
			Body: &evidence.HandoffAccepted{
				Offer: offer, Origin: "ledger.example/giver", Opens: runID(1000 + i),
				Head:   evidence.HeadRef{Size: 7, Root: evidence.Digest(evidence.IDOf([]byte("root")))},
				Bundle: (&evidence.Payload{Media: "application/octet-stream", Data: []byte("a bundle")}).Commitment(),
			},
		}, agentKey)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []evidence.ID
	stands := map[evidence.ID]int{}
	for i := range 100 {
		wg.Go(func() {
			placed, err := w.Append(t.Context(), accept(i))
			mu.Lock()
			defer mu.Unlock()
			var c *ledger.ConflictError
			switch {
			case err == nil:
				won = append(won, placed[0].ID)
			case errors.As(err, &c) && c.Reason == ledger.Reason(audit.ReasonUsed):
				stands[c.Stands]++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || stands[won[0]] != 99 {
		t.Fatalf("%d acceptances stand, and the losers heard of %v", len(won), stands)
	}
	// One run for the acceptance, and no second one under another ID.
	open := func(id evidence.RunID) []byte {
		r := &run{w: w, id: id}
		return r.next(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-01", Acceptance: won[0]})
	}
	first := w.must(open(runID(2000)))[0]
	w.refused(open(runID(2001)), 409, ledger.Reason(audit.ReasonUsed), first.ID)
}

// Row 30: entries whose hashes begin alike stay two entries.
func TestRow30HashesThatBeginAlike(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	w.must(r.open())
	about := r.prev
	var entries [][]byte
	for i := range 2000 {
		entries = append(entries, sign(t, &evidence.Record{
			Origin: origin, Kind: evidence.KindConfirmation, Run: r.id, About: about, Actor: "email_sender", Time: w.clock.time() + evidence.Time(i),
			Body: &evidence.Confirmation{Status: evidence.StatusSuccess},
		}, toolKey))
	}
	placed := w.must(entries...)
	alike, begins := 0, make(map[[2]byte]evidence.Placed)
	for _, p := range placed {
		if first, ok := begins[[2]byte(p.ID[:2])]; ok {
			alike++
			for _, x := range []evidence.Placed{first, p} {
				if got, err := w.Get(t.Context(), x.ID); err != nil || got.Index != x.Index || !bytes.Equal(got.Entry, x.Entry) {
					t.Errorf("%s stands at %d, %v; want %d", x.ID, got.Index, err, x.Index)
				}
			}
		}
		begins[[2]byte(p.ID[:2])] = p
	}
	if alike == 0 || w.Head().Size != uint64(8+len(entries)) {
		t.Errorf("%d pairs begin alike, the log has %d entries", alike, w.Head().Size)
	}
}

// More runs than are kept in memory, each extended in turn: their lines are read
// back, and hold.
func TestMoreRunsThanMemoryHolds(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Runs = 8 })
	runs := make([]*run, 50)
	for i := range runs {
		runs[i] = w.newRun()
		w.must(runs[i].open())
	}
	for range 3 {
		for _, r := range runs {
			fork := *r
			w.must(r.authorize("send_email"))
			w.refused(fork.authorize("refund"), 409, ledger.Reason(audit.ReasonPrev), r.prev)
		}
	}
	// All of them at once, by turns: those in flight stay, however many, for
	// the store does not have their last records yet.
	var entries [][]byte
	for range 2 {
		for _, r := range runs {
			entries = append(entries, r.authorize("send_email"))
		}
	}
	for _, r := range runs {
		entries = append(entries, r.close())
	}
	w.must(entries...)
	for _, r := range runs {
		w.holdLine(r.id, 7)
	}
}

// A long run has more uses than are kept in memory.
func TestRow28SecondUseInALongRun(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	w.must(r.open())
	first := w.must(r.authorize("send_email"))[0]
	for range 9 {
		var entries [][]byte
		for range 500 {
			entries = append(entries, r.authorize("send_email"))
		}
		w.must(entries...)
		second := *r
		w.refused(second.next(first.Record.Body), 409, ledger.Reason(audit.ReasonUsed), first.ID)
	}
}

func TestStatsCountRefusals(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	w.must(r.open())
	fork := *r
	w.must(r.authorize("a"))
	w.refused(fork.authorize("b"), 409, ledger.Reason(audit.ReasonPrev), r.prev)
	w.refused([]byte("no record"), 400, ledger.ReasonJWS, evidence.ID{})
	s := w.Stats()
	if s.Refusals[ledger.Reason(audit.ReasonPrev)] != 1 || s.Refusals[ledger.ReasonJWS] != 1 || s.Appended != 9 || s.Entries != 9 || s.Refused != 2 {
		t.Errorf("%+v", s)
	}
}
