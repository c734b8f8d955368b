package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cosig "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/inspect"
	"ledgerd/ledger/tlog"
)

const contract = `{"contract":"v1","task":"complaint","weakest_source":"runtime","expects":[{"action":"refund","input":{"amount":30}}]}`

// evil is text that a terminal would obey.
const evil = "\x1b]8;;https://evil.example\x1b\\safe\u202e\U000e0041"

// fixtures are the files that scripts verify, by name.
type fixtures map[string][]byte

func newFixtures(t *testing.T) fixtures {
	f := make(fixtures)
	w := audittest.New(t)

	done := w.OpenWith(contract)
	done.Do("refund", `{"amount":30}`)
	done.ClaimContract()
	done.Close(evidence.Completed)

	lied := w.OpenWith(contract)
	lied.ClaimContract()
	lied.Close(evidence.Completed)

	denied := w.OpenWith(contract)
	auth := denied.Authorize("refund", `{"amount":30}`, func(a *evidence.Authorization) { a.Effect = evidence.Deny })
	denied.Execute(auth, evidence.StatusSuccess, nil)
	denied.Close(evidence.Completed)

	empty := w.OpenWith(contract)
	empty.Do("refund", `{"amount":30}`)
	empty.Claim()
	empty.Close(evidence.Completed)

	nothing := w.OpenWith(`{"contract":"v1","task":"complaint"}`)
	nothing.ClaimContract()
	nothing.Close(evidence.Completed)

	verdict := w.OpenWith(contract)
	claim := verdict.ClaimContract()
	told := verdict.Verdict(claim.ID, evidence.Supported, fmt.Appendf(nil, `{"rules":1,"origin":"%s","run":"%s","opened":"%s","claim":"%s","trust":{"digest":"%s"},"result":"%s"}`,
		w.Origin, verdict.ID, verdict.Opened.ID, claim.ID, evidence.Digest(claim.ID), strings.NewReplacer("\x1b", `\u001b`, `\`, `\\`).Replace(evil)))
	verdict.Close(evidence.Completed)

	for name, run := range map[string]*audittest.Run{"done": done, "lied": lied, "denied": denied, "emptyclaim": empty, "emptycontract": nothing, "evil": verdict} {
		f[name+".bundle"] = w.RunBundle(run.ID)
		f[name+".run"] = []byte(run.ID)
		f[name+".ev"] = []byte(run.Last.ID.String())
	}
	f["evil.ev"] = []byte(told.ID.String())
	f["contract.json"] = []byte(contract)
	f["othercontract.json"] = []byte(strings.Replace(contract, "30", "31", 1))
	f["withheld.bundle"] = w.Bundle(audittest.Bundling{
		Header: bundle.RunHeader(w.Origin, done.ID), Indexes: w.RunIndexes(done.ID), Withhold: all(w),
	})
	f["trust.json"] = marshal(t, w.Trust())
	f["other.json"] = marshal(t, audittest.Named(t, "stranger.example/log").Trust())
	f[evil[1:5]+"\x1b[31m.bundle"] = f["done.bundle"]
	f.handoffs(t, w)
	f.pinned(t, w)
	f.receipts(t, w, done)
	f.heads(t, w, done)
	f.forgeries(t, w, done)
	f.logs(t, w)
	return f
}

// handoffs are bundles of runs that continue what another ledger handed over.
func (f fixtures) handoffs(t *testing.T, w *audittest.World) {
	trust := w.Trust()
	for name, c := range map[string]struct {
		lie, withhold bool
		resource      string
	}{"handed": {}, "handed-lie": {lie: true}, "handed-wide": {resource: "customer/7"}, "handed-withheld": {withhold: true}} {
		g, r := audittest.Named(t, "giver.example/log"), audittest.Named(t, "receiver.example/log")
		given := g.Open(nil)
		given.Do("lookup", `{"order":7}`)
		if c.lie {
			given.Claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "ship"})
		}
		offer := given.Line(&evidence.HandoffOffered{
			To:   evidence.Recipient{Origin: r.Origin, Actor: audittest.Agent, Key: r.Key(audittest.Runtime).Public().Thumbprint()},
			Task: "refund", Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "order/*"}}, Expires: g.Clock + 3_600_000, HeadMaxAge: 60,
		})
		over := g.Bundle(audittest.Bundling{Header: bundle.OfferHeader(g.Origin, offer.ID), Indexes: g.RunIndexes(given.ID)})
		size := len(g.Placed)
		var accepted evidence.Commitment
		run := r.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
			accepted = r.CommitAs(bundle.Media, string(over))
			b.Acceptance = r.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
				Offer: offer.ID, Origin: g.Origin, Opens: rec.Run, Bundle: accepted,
				Head: evidence.HeadRef{Size: int64(size), Root: evidence.Digest(g.Root(size))},
			}}, audittest.Runtime).ID
		})
		run.Execute(run.Authorize("refund", `{}`, func(b *evidence.Authorization) {
			b.Resource = cmp.Or(c.resource, "order/7")
		}), evidence.StatusSuccess, nil)
		run.Close(evidence.Completed)
		f[name+".bundle"] = r.Bundle(audittest.Bundling{
			Header: bundle.RunHeader(r.Origin, run.ID), Indexes: r.RunIndexes(run.ID), Withhold: map[evidence.Digest]bool{accepted.Commit: c.withhold},
		})
		if name == "handed" {
			trust.Ledgers = append(trust.Ledgers, r.Trust().Ledgers...)
			f["receiver.json"] = marshal(t, trust)
			trust.Ledgers = append(trust.Ledgers, g.Trust().Ledgers...)
			f["both.json"] = marshal(t, trust)
			f["giver-fork.head"] = g.SignHead(g.Origin, size, tlog.Hash{1})
		}
	}
}

func marshal(t *testing.T, trust *bundle.Trust) []byte {
	b, err := trust.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func all(w *audittest.World) map[evidence.Digest]bool {
	m := make(map[evidence.Digest]bool)
	for d := range w.Payloads {
		m[d] = true
	}
	return m
}

func (f fixtures) pinned(t *testing.T, w *audittest.World) {
	trust := w.Trust()
	trust.Ledgers[0].Actors = []bundle.PinnedActor{{Name: audittest.Runtime, Role: evidence.RoleRuntime, Key: w.Key(audittest.Runtime).Public()}}
	f["pinned.json"] = marshal(t, trust)
}

func (f fixtures) receipts(t *testing.T, w *audittest.World, done *audittest.Run) {
	r := w.Receipt(int(done.Last.Index))
	f["done.tlog-proof"] = r.Marshal()
	change := func(name string, by func(*bundle.Receipt)) {
		c := *r
		c.Hashes = append([]tlog.Hash(nil), r.Hashes...)
		by(&c)
		f[name] = c.Marshal()
	}
	change("row56-index.tlog-proof", func(c *bundle.Receipt) { c.Index = uint64(len(w.Placed)) })
	change("row56-overlong.tlog-proof", func(c *bundle.Receipt) { c.Hashes = append(c.Hashes, tlog.Hash{1}) })
	change("row56-size0.tlog-proof", func(c *bundle.Receipt) { c.Head = w.SignHead(w.Origin, 0, w.Root(1)) })
	change("row55-unsigned.tlog-proof", func(c *bundle.Receipt) {
		i := bytes.Index(c.Head, []byte("\n\n"))
		c.Head = c.Head[:i+2]
	})
	change("row55-origin.tlog-proof", func(c *bundle.Receipt) {
		c.Head = bytes.Replace(c.Head, []byte(w.Origin+"\n"), []byte("elsewhere.example/log\n"), 1)
	})
	change("spaced.tlog-proof", func(c *bundle.Receipt) {
		end := len(c.Head) - len("AAAABBBBCCC=\n") // base64 before it, and after it
		c.Head = slices.Concat(c.Head[:end], []byte{' '}, c.Head[end:])
	})
	change("row52-tworoots.tlog-proof", func(c *bundle.Receipt) {
		// The same size, and a tree in which another record stands last.
		other := audittest.New(t)
		for _, p := range w.Placed[len(other.Placed) : len(w.Placed)-1] {
			other.AppendEntry(p.Entry)
		}
		last := other.Open(nil)
		*c = *other.Receipt(int(last.Last.Index))
	})
	change("row57-payload.tlog-proof", func(c *bundle.Receipt) {
		other := audittest.New(t)
		entry := bytes.Clone(w.Placed[len(w.Placed)-1].Entry)
		parts := bytes.Split(entry, []byte("."))
		parts[1] = []byte(base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,`)))
		p := other.AppendEntry(bytes.Join(parts, []byte(".")))
		*c = *other.Receipt(int(p.Index))
	})
	text := f["done.tlog-proof"]
	f["cutoff.tlog-proof"] = text[:len(text)/2]
}

// heads makes the files that need witnesses, or another ledger's keys.
func (f fixtures) heads(t *testing.T, w *audittest.World, done *audittest.Run) {
	w1, key1 := witness(t, "w1.example")
	w2, key2 := witness(t, "w2.example")
	policy, err := bundle.ParsePolicy("log " + w.VKey() + "\nwitness a " + key1 + "\nwitness b " + key2 + "\ngroup g all a b\nquorum g\n")
	if err != nil {
		t.Fatal(err)
	}
	trust := w.Trust()
	trust.Ledgers[0].Policy = policy
	f["witnessed.json"] = marshal(t, trust)
	head := w.Head(len(w.Placed))
	line := func(s note.Signer) string {
		n, err := note.Open(head, note.VerifierList(mustVerifier(t, w.VKey())))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs}, s)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(strings.TrimSuffix(string(signed), "\n"), "\n")
		for _, l := range lines {
			if strings.HasPrefix(l, "— "+s.Name()) {
				return strings.TrimSuffix(l, "\n") + "\n"
			}
		}
		t.Fatal("no cosignature")
		return ""
	}
	with := func(lines ...string) []byte {
		return w.Bundle(audittest.Bundling{
			Header: bundle.RunHeader(w.Origin, done.ID), Indexes: w.RunIndexes(done.ID), Heads: [][]byte{append(bytes.Clone(head), strings.Join(lines, "")...)},
		})
	}
	f["cosigned.head"] = append(bytes.Clone(head), line(w1)+line(w2)...)
	f["once.head"] = append(bytes.Clone(head), line(w1)...)
	trust.Ledgers[0].WeakestSource = evidence.SourceConfirmed
	trust.Ledgers[0].Actors = []bundle.PinnedActor{{Name: audittest.Human, Role: evidence.RoleHuman, Key: w.Key(audittest.Human).Public()}}
	_, key3 := witness(t, "w3.example")
	if trust.Ledgers[0].Policy, err = bundle.ParsePolicy("log " + w.VKey() + "\nwitness a\u202e " + key1 + "\nwitness b " + key2 + "\nwitness c " + key3 + "\ngroup two 2 a\u202e b c\nquorum two\n"); err != nil {
		t.Fatal(err)
	}
	f["evil-trust.json"] = marshal(t, trust)
	f["row53-both.bundle"] = with(line(w1), line(w2))
	f["row53-twice.bundle"] = with(line(w1), line(w1))
	f["row53-renamed.bundle"] = with(line(w1), strings.Replace(line(w1), "w1.example", "w2.example", 1))
}

func mustVerifier(t *testing.T, vkey string) note.Verifier {
	v, err := tlog.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func witness(t *testing.T, name string) (note.Signer, string) {
	seed := sha256.Sum256([]byte(name))
	key := ed25519.NewKeyFromSeed(seed[:])
	pub := append([]byte{4}, key.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), pub...))
	id := fmt.Sprintf("%08x", binary.BigEndian.Uint32(sum[:]))
	s, err := cosig.NewSignerForCosignatureV1("PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{4}, seed[:]...)))
	if err != nil {
		t.Fatal(err)
	}
	return s, name + "+" + id + "+" + base64.StdEncoding.EncodeToString(pub)
}

// forgeries are bundles that somebody tampered with.
func (f fixtures) forgeries(t *testing.T, w *audittest.World, done *audittest.Run) {
	// Row 54: a whole ledger of the forger's own, of the same name.
	forger := audittest.Empty(t, w.Origin)
	forger.Clock += 1000 // so that entry 0 is another one
	forger.Create()
	forger.Register(audittest.Runtime, evidence.RoleRuntime)
	forger.RegisterHosted(audittest.Agent, audittest.Runtime)
	forger.LogKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	run := forger.OpenWith(contract)
	run.Do("refund", `{"amount":30}`)
	run.Close(evidence.Completed)
	f["row54-ownkey.bundle"] = forger.RunBundle(run.ID)
	stranger := audittest.Named(t, "stranger.example/log")
	f["row54-stranger.bundle"] = stranger.RunBundle(stranger.Open(nil).ID)

	good := string(f["done.bundle"])
	lines := strings.SplitAfter(good, "\n")
	f["row55-origin.bundle"] = []byte(strings.Replace(good, `"origin":"`+w.Origin+`"`, `"origin":"elsewhere.example/log"`, 1))
	f["row56-index.bundle"] = []byte(strings.Replace(good, fmt.Sprintf(`"index":%d`, done.Last.Index), fmt.Sprintf(`"index":%d`, len(w.Placed)), 1))
	tampered := strings.Replace(good, `"jws":"`, `"jws":"A`, 1)
	f["tampered.bundle"] = []byte(tampered)
	// Two tree heads: the larger is a stranger's, and alone holds the last record.
	under := func(heads ...[]byte) []byte {
		return w.Bundle(audittest.Bundling{Header: bundle.RunHeader(w.Origin, done.ID), Indexes: w.RunIndexes(done.ID), Heads: heads})
	}
	smaller, larger := w.Head(int(done.Last.Index)), w.Head(len(w.Placed))
	f["stranger-head.bundle"] = under(smaller, bytes.ReplaceAll(larger, []byte("— "+w.Origin), []byte("— stranger.example/log")))
	// Both are the log's, and a record is changed: nothing that the log signed differs.
	f["tampered-heads.bundle"] = bytes.Replace(under(smaller, larger), []byte(`"jws":"`), []byte(`"jws":"A`), 1)
	// A payload that does not open its commitment.
	f["row57-payload.bundle"] = []byte(strings.Replace(good, base64.RawURLEncoding.EncodeToString([]byte(`{"amount":30}`)), base64.RawURLEncoding.EncodeToString([]byte(`{"amount":31}`)), 1))
	f["doubled.bundle"] = []byte(strings.Join(append(lines[:3:3], lines[2:]...), ""))
	f["cutoff.bundle"] = []byte(strings.Join(lines[:len(lines)-2], ""))
	f["row60-origin.bundle"] = []byte(strings.Replace(good, `"origin":"`+w.Origin+`"`, `"origin":"`+strings.ReplaceAll(evil, "\x1b", `\u001b`)[8:]+`"`, 1))
	f["row58.zip"] = []byte("PK\x03\x04../../etc/passwd")
	f["row59.gz"] = []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")
	f["row59-line.bundle"] = append([]byte(`{"bundle":"`), bytes.Repeat([]byte("x"), 1<<20)...)
}

// logs are static trees: as it was, as it is, and as it should not be.
func (f fixtures) logs(t *testing.T, denied *audittest.World) {
	f.tree(t, "log", denied, len(denied.Placed), nil)

	grow := func(w *audittest.World) {
		run := w.OpenWith(contract)
		run.Do("refund", `{"amount":30}`)
		run.ClaimContract()
		run.Close(evidence.Completed)
	}
	w := audittest.New(t)
	grow(w)
	before := len(w.Placed)
	grow(w)
	f.tree(t, "log-before", w, before, nil)
	f.tree(t, "log-later", w, len(w.Placed), nil)
	f.tree(t, "log-flipped", w, before, func(path string, b []byte) {
		if strings.HasPrefix(path, "tile/entries/") {
			b[len(b)-3] ^= 1
		}
	})
	f.tree(t, "log-badtile", w, before, func(path string, b []byte) {
		if strings.HasPrefix(path, "tile/0/") {
			b[40] ^= 1
		}
	})
	// Another history, signed by the same key: the same size, and longer.
	fork := audittest.New(t)
	fork.Clock++
	grow(fork)
	grow(fork)
	f.tree(t, "log-fork", fork, len(fork.Placed), nil)
	grow(fork)
	f.tree(t, "log-longfork", fork, len(fork.Placed), nil)
	f.notes(t, w, before, fork)
}

// notes are tree heads by themselves: of the log as it was and as it grew, of
// another history, and such that the log did not sign.
func (f fixtures) notes(t *testing.T, w *audittest.World, before int, fork *audittest.World) {
	f["empty.head"] = w.Head(0)
	f["old.head"] = w.Head(before)
	f["new.head"] = w.Head(len(w.Placed))
	f["fork.head"] = fork.Head(len(w.Placed))
	f["longfork.head"] = fork.Head(len(fork.Placed))
	f["stranger.head"] = audittest.Named(t, "stranger.example/log").Head(3)
	f["forged.head"] = bytes.Replace(f["new.head"], []byte(fmt.Sprintf("\n%d\n", len(w.Placed))), []byte(fmt.Sprintf("\n%d\n", len(w.Placed)+1)), 1)
	f["unsigned.head"] = f["new.head"][:bytes.Index(f["new.head"], []byte("\n\n"))+2]
	f["cutoff.head"] = f["new.head"][:len(f["new.head"])-10]
	f["other.head"] = bytes.Replace(f["new.head"], []byte(w.Origin), []byte("elsewhere.example/log"), 1)
	signer, err := tlog.NewSigner(w.Origin, w.LogKey)
	if err != nil {
		t.Fatal(err)
	}
	f.proofs(t, w, before)
	f.tree(t, "log-rotten", w, len(w.Placed), func(path string, b []byte) {
		if strings.HasPrefix(path, "tile/0/") {
			b[70] ^= 1
		}
	})
	// A note has no control characters, and may have others that a terminal obeys.
	if f["evil.head"], err = note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\nsafe\u202e\U000e0041\n", w.Origin, before, tlog.Hash{1})}, signer); err != nil {
		t.Fatal(err)
	}
	f.watched(t, w, before)
}

// watched are logs for verify watch: bent behind what was seen, of another
// ledger; and a state of long ago.
func (f fixtures) watched(t *testing.T, w *audittest.World, before int) {
	size := len(w.Placed)
	f.tree(t, "log-bent", w, size, func(path string, b []byte) {
		if strings.HasPrefix(path, "tile/entries/") {
			b[len(b)-3] ^= 1
		}
	})
	stranger := audittest.Named(t, "stranger.example/log")
	f.tree(t, "log-stranger", stranger, len(stranger.Placed), nil)
	source := tileMap{}
	f.tree(t, "log-evil", w, before, nil)
	f["log-evil/checkpoint"] = f["evil.head"]
	for path, b := range f {
		if path, ok := strings.CutPrefix(path, "log-later/"); ok {
			source[path] = b
		}
	}
	follower, err := audit.Follow(source, w.Trust(), nil, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follower.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state")
	if err := writeState(path, follower.State(), time.Date(2026, 5, 29, 14, 32, 10, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if f["old.json"], err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
}

// proofs are such as prove nothing, or are in no form.
func (f fixtures) proofs(t *testing.T, w *audittest.World, before int) {
	put := func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		f[name+".proof"] = b
	}
	type form struct {
		Heads []string `json:"heads"`
		Nodes []string `json:"nodes,omitempty"`
		More  int      `json:"more,omitempty"`
	}
	heads := func(names ...string) []string {
		var out []string
		for _, n := range names {
			out = append(out, string(f[n+".head"]))
		}
		return out
	}
	hashes, err := inspect.NodesOf(t.Context(), tileMap(w.Tiles()), uint64(before), uint64(len(w.Placed)), 0)
	if err != nil {
		t.Fatal(err)
	}
	nodes := inspect.EncodeNodes(hashes)
	put("agree", form{Heads: heads("new", "new")})
	put("forged", form{Heads: heads("new", "forged")})
	put("strangers", form{Heads: heads("stranger", "new")})
	put("bare", form{Heads: heads("old", "new")})
	put("extends", form{Heads: heads("old", "new"), Nodes: nodes})
	put("badnode", form{Heads: heads("old", "new"), Nodes: append(inspect.EncodeNodes([]tlog.Hash{{1}}), nodes[1:]...)})
	put("rejected", form{Heads: heads("new", "fork")})
	put("turned", form{Heads: heads("fork", "new")})
	put("three", form{Heads: heads("new", "fork", "old")})
	put("member", form{Heads: heads("new", "fork"), More: 1})
	put("toomany", form{Heads: heads("old", "new"), Nodes: append(nodes[:len(nodes):len(nodes)], nodes[0])})
	put("nodes", form{Heads: heads("new", "fork"), Nodes: nodes})
	put("spelled", form{Heads: heads("old", "new"), Nodes: append([]string{nodes[0] + "="}, nodes[1:]...)})
	put("nohead", form{Heads: []string{"no", "head"}})
	f["after.proof"] = append(bytes.Clone(f["rejected.proof"]), "{}"...)
	f["huge.proof"] = append(bytes.Clone(f["rejected.proof"]), bytes.Repeat([]byte(" "), 1<<20)...)
}

// tree writes a log of at most 256 entries as tlog-tiles has it.
func (f fixtures) tree(t *testing.T, dir string, w *audittest.World, size int, mod func(string, []byte)) {
	if size >= tlog.TileWidth {
		t.Fatal("the fixture's log is too large")
	}
	var hashes, entries []byte
	for _, p := range w.Placed[:size] {
		hashes = append(hashes, p.ID[:]...)
		entries = tlog.AppendEntry(entries, p.Entry)
	}
	for path, b := range map[string][]byte{
		"checkpoint":                  w.Head(size),
		tlog.Tile{Width: size}.Path(): hashes,
		tlog.EntryTilePath(0, size):   entries,
	} {
		if mod != nil {
			mod(path, b)
		}
		f[dir+"/"+path] = b
	}
}

func (f fixtures) write(dir string) error {
	for name, b := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tileMap serves tiles from memory.
type tileMap map[string][]byte

func (m tileMap) Read(_ context.Context, path string, _ int64) ([]byte, error) {
	b, ok := m[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}
