package exchange_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/exchange"
)

// named returns the trust file of a new ledger of that name.
func named(t *testing.T, origin string) *bundle.Trust {
	t.Helper()
	trust, err := daemontest.Named(t, origin).Ledger.Trust()
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func text(t *testing.T, all ...*bundle.Trust) []byte {
	t.Helper()
	together := &bundle.Trust{}
	for _, one := range all {
		together.Ledgers = append(together.Ledgers, one.Ledgers...)
	}
	b, err := together.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPeers: what a peer's trust file may say, and that the file of peers holds it.
func TestPeers(t *testing.T) {
	own, a, b, c := named(t, analysis), named(t, "ledger.example/a"), named(t, "ledger.example/b"), named(t, "ledger.example/c")
	path := filepath.Join(t.TempDir(), "peers.json")
	open := func() *exchange.Peers {
		t.Helper()
		p, err := exchange.OpenPeers(path, own)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open()
	add := func(origin string, trust []byte) error {
		_, err := p.Add(api.Peer{Origin: origin, URL: "https://handoffs.example/x/", Trust: trust}, time.Now())
		return err
	}
	for name, good := range map[string]error{
		"one ledger":               add("", text(t, a)),
		"and this one":             add("", text(t, a, own)),
		"and the one before":       add("ledger.example/b", text(t, b, a)),
		"again, with another file": add("ledger.example/b", text(t, b)),
		"once more":                add("ledger.example/b", text(t, b, a)),
	} {
		if good != nil {
			t.Errorf("%s: %v", name, good)
		}
	}
	other := named(t, "ledger.example/a")
	for name, bad := range map[string]struct {
		err  error
		says string
	}{
		"two, and none is said":        {add("", text(t, c, a)), "say which is the peer's"},
		"one that is not in it":        {add("ledger.example/c", text(t, a)), "want the origin of another ledger"},
		"this ledger":                  {add(analysis, text(t, own)), "want the origin of another ledger"},
		"this ledger with another key": {add("ledger.example/c", text(t, c, named(t, analysis))), "names this ledger"},
		"another ledger of that name":  {add("ledger.example/c", text(t, c, other)), "expected one word on the ledger"},
		"no trust file":                {add("", []byte(`{}`)), "trust file"},
	} {
		if bad.err == nil || !strings.Contains(bad.err.Error(), bad.says) {
			t.Errorf("%s: want %q, found %v", name, bad.says, bad.err)
		}
	}
	again := open()
	for _, p := range []*exchange.Peers{p, again} {
		if n, l := len(p.List()), len(p.Trust().Ledgers); n != 2 || l != 3 {
			t.Errorf("%d peers, %d ledgers", n, l)
		}
		if peer := p.Peer("ledger.example/b"); peer == nil || peer.URL != "https://handoffs.example/x" {
			t.Errorf("the peer: %+v", peer)
		}
		if p.Peer(analysis) != nil || p.Peer("ledger.example/c") != nil {
			t.Error("a peer that nobody added")
		}
	}
	if err := p.Remove("ledger.example/b"); err != nil || len(p.Trust().Ledgers) != 2 || open().Peer("ledger.example/b") != nil {
		t.Errorf("removed: %v", err)
	}
	if err := os.WriteFile(path, []byte(`{"peers":[{"origin":"x","url":"y","trust":{},"more":1}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exchange.OpenPeers(path, own); err == nil {
		t.Error("a file that says more is taken")
	}
}

// TestRemovedPeer: nothing is taken of who is no peer any more, and what continues its
// handoffs is not driven until it is one again.
func TestRemovedPeer(t *testing.T) {
	g, r := strangers(t, nil)
	offer, later := g.offers("research-1", r), g.offers("research-2", r)
	r.deliver(g.bundleOf(offer))
	_, err := r.continues("analysis-1", offer)
	r.must(err)
	r.must(r.admin.RemovePeer(ctx, research))
	r.refused(g.bundleOf(later), http.StatusForbidden, api.ReasonUnknownPeer)
	r.end()
	r.start()
	path := strings.NewReplacer("{run}", "analysis-1", "{step}", "more").Replace(api.PathRunStep)
	if status, answer := r.post("POST", path, `{"tool":"chart","resource":"report/q3","input":{}}`); status != 422 || !strings.Contains(answer, `"undecidable":true`) {
		t.Errorf("want the handoff not decidable, found %d %s", status, answer)
	}
	r.knows(g)
	r.step("analysis-1", "more", "report/q3", api.StepSucceeded)
}

// TestFilesOfACrash: what a crash may leave beside the files that count does not count.
func TestFilesOfACrash(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	g.knows(r)
	r.knows(g)
	offer := g.offers("research-1", r)
	r.waits(offer)
	g.until("it is delivered", func() bool { return g.delivery(offer).State == api.DeliveryDelivered })
	g.end()
	r.end()
	outbox := filepath.Join(g.Dir.HandoffsPath(), "outbox.jsonl")
	was, err := os.ReadFile(outbox)
	g.must(err)
	g.must(os.WriteFile(outbox, append(was, `{"record":"ev_`...), 0o600))
	inbox := filepath.Join(r.Dir.HandoffsPath(), "inbox")
	kept, err := os.ReadFile(filepath.Join(inbox, offer.String()+".offer"))
	r.must(err)
	for name, content := range map[string][]byte{"." + offer.String() + ".offer.123": kept[:100], "ev_x.offer": kept, "other.txt": nil} {
		r.must(os.WriteFile(filepath.Join(inbox, name), content, 0o600))
	}
	g.start()
	r.start()
	if d := g.delivery(offer); d.State != api.DeliveryDelivered {
		t.Errorf("%+v", d)
	}
	if _, err := os.Stat(filepath.Join(inbox, "."+offer.String()+".offer.123")); err == nil {
		t.Error("half a file is still there")
	}
	if n := len(r.list().Waiting); n != 1 {
		t.Errorf("%d offers wait", n)
	}
	second := g.offers("research-2", r)
	r.waits(second)
	g.until("the second is delivered", func() bool { return g.delivery(second).State == api.DeliveryDelivered })
	now, err := os.ReadFile(outbox)
	g.must(err)
	for line := range bytes.Lines(now) {
		if !json.Valid(line) {
			t.Errorf("the outbox has %q", line)
		}
	}
	// An offer whose acceptance stands does not wait, whatever file a crash brought back.
	_, err = r.continues("analysis-1", offer)
	r.must(err)
	r.end()
	r.must(os.WriteFile(filepath.Join(inbox, offer.String()+".offer"), kept, 0o600))
	r.start()
	if all := r.list().Waiting; len(all) != 1 || all[0].Offer != second {
		t.Errorf("what waits: %+v", all)
	}
}

// TestSpoiledInbox: what was changed in the inbox's files is not accepted.
func TestSpoiledInbox(t *testing.T) {
	g, r := strangers(t, nil)
	offer := g.offers("research-1", r)
	r.deliver(g.bundleOf(offer))
	file := filepath.Join(r.Dir.HandoffsPath(), "inbox", offer.String()+".offer")
	kept, err := os.ReadFile(file)
	r.must(err)
	kept[bytes.LastIndex(kept, []byte(`"jws":"`))+300] ^= 1
	r.must(os.WriteFile(file, kept, 0o600))
	if _, err := r.agent.Handoff(ctx, offer); err == nil {
		t.Error("shown")
	}
	if _, err := r.continues("analysis-1", offer); err == nil {
		t.Error("accepted")
	}
	if n := len(r.records(evidence.KindHandoffAccepted, offer)); n != 0 {
		t.Errorf("%d acceptances", n)
	}
}
