package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	cosig "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// witness makes the two halves of a witness's key (C2SP tlog-cosignature).
func witness(t *testing.T, name string) (vkey string, s note.Signer) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	key := ed25519.NewKeyFromSeed(seed[:])
	pub := append([]byte{4}, key.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), pub...))
	id := fmt.Sprintf("%08x", binary.BigEndian.Uint32(sum[:]))
	s, err := cosig.NewSignerForCosignatureV1("PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{4}, key.Seed()...)))
	if err != nil {
		t.Fatal(err)
	}
	return name + "+" + id + "+" + base64.StdEncoding.EncodeToString(pub), s
}

func cosign(t *testing.T, head []byte, w *audittest.World, s note.Signer) []byte {
	t.Helper()
	v, err := tlog.NewVerifier(w.VKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(head, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	out, err := note.Sign(n, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAttack53: a quorum of two is not met by one witness, counted twice; it is
// by two.
func TestAttack53(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	r.Close(evidence.Completed)
	v1, s1 := witness(t, "w1.example")
	v2, s2 := witness(t, "w2.example")
	policy, err := bundle.ParsePolicy("log " + w.VKey() + "\nwitness one " + v1 + "\nwitness two " + v2 + "\ngroup both all one two\nquorum both\n")
	if err != nil {
		t.Fatal(err)
	}
	trust := w.Trust()
	trust.Ledgers[0].Policy = policy
	head := w.Head(len(w.Placed))
	once := cosign(t, head, w, s1)
	extra := once[bytes.LastIndex(once[:len(once)-1], []byte("\n"))+1:]
	twice := append(bytes.Clone(once), extra...)
	both := cosign(t, once, w, s2)
	// note.Sign keeps only signatures that it knows: the first cosignature is
	// put back.
	both = append(bytes.Clone(both), extra...)
	for name, tt := range map[string]struct {
		head []byte
		exit int
	}{"none": {head, 2}, "one": {once, 2}, "one twice": {twice, 2}, "two": {both, 0}} {
		b := audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: w.RunIndexes(r.ID), Heads: [][]byte{tt.head}}
		got := verify(t, w.Bundle(b), trust, audit.Options{})
		want := audit.Held
		if tt.exit == 2 {
			want = audit.Undecidable
		}
		if got.ExitCode() != tt.exit || got.Rule(audit.RuleInclusion).Status != want {
			dump(t, got)
			t.Errorf("%s: exit %d", name, got.ExitCode())
		}
	}
}

// TestAttack56: an empty tree with a root, an index beyond the tree, a proof
// longer than it has to be: proven wrong.
func TestAttack56(t *testing.T) {
	w := busyLog(t, 3)
	n := len(w.Placed)
	trust := w.Trust()
	trust.Ledgers[0].Actors = nil
	receipt := func(change func(*bundle.Receipt)) *audit.Report {
		r := w.Receipt(7)
		change(r)
		got, err := audit.VerifyReceipt(r.Marshal(), trust, audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := receipt(func(*bundle.Receipt) {}); got.Rule(audit.RuleInclusion).Status != audit.Held || got.Rule(audit.RuleSignature).Status != audit.Undecidable || got.ExitCode() != 2 {
		dump(t, got)
		t.Fatal("a valid receipt")
	}
	for name, change := range map[string]func(*bundle.Receipt){
		"size 0 with a root": func(r *bundle.Receipt) {
			r.Head = w.SignHead(w.Origin, 0, tlog.LeafHash(nil))
			r.Index, r.Hashes = 0, nil
		},
		"index beyond the tree": func(r *bundle.Receipt) { r.Index = uint64(n) },
		"another index":         func(r *bundle.Receipt) { r.Index = 8 },
		"overlong proof":        func(r *bundle.Receipt) { r.Hashes = append(r.Hashes, tlog.LeafHash(nil)) },
		"short proof":           func(r *bundle.Receipt) { r.Hashes = r.Hashes[:len(r.Hashes)-1] },
		"another record":        func(r *bundle.Receipt) { r.Entry = w.Placed[8].Entry },
	} {
		if got := receipt(change); got.Rule(audit.RuleInclusion).Status != audit.Broken || got.ExitCode() != 1 {
			dump(t, got)
			t.Errorf("%s: exit %d", name, got.ExitCode())
		}
	}
	// In a bundle, the index of a record that the tree does not have.
	s := play(t, nil)
	good := string(s.Bundle(s.bundling()))
	last := fmt.Sprintf(`{"record":{"index":%d,`, len(s.Placed)-1)
	if !strings.Contains(good, last) {
		t.Fatal("no last record")
	}
	bad := strings.Replace(good, last, fmt.Sprintf(`{"record":{"index":%d,`, len(s.Placed)), 1)
	if got := verify(t, []byte(bad), s.Trust(), audit.Options{}); got.ExitCode() != 1 {
		t.Errorf("bundle: exit %d", got.ExitCode())
	}
}

// TestReceiptSigner: a receipt decides its signature where the trust file pins
// the key, and no further.
func TestReceiptSigner(t *testing.T) {
	w := busyLog(t, 3)
	trust := w.Trust()
	index := -1
	for i, p := range w.Placed {
		if p.Record.Kind == evidence.KindExecution {
			index = i
		}
	}
	check := func(signer string, key *evidence.PublicKey, want audit.Status, exit int) {
		t.Helper()
		trust.Ledgers[0].Actors = []bundle.PinnedActor{{Name: signer, Role: evidence.RoleRuntime, Key: key}}
		got, err := audit.VerifyReceipt(w.Receipt(index).Marshal(), trust, audit.Options{})
		if err != nil || got.Rule(audit.RuleSignature).Status != want || got.ExitCode() != exit {
			t.Errorf("%v, exit %d", err, got.ExitCode())
			dump(t, got)
		}
	}
	check(audittest.Runtime, w.Key(audittest.Runtime).Public(), audit.Held, 0)
	check("another", w.Key("another").Public(), audit.Undecidable, 2)
	check(audittest.Agent, w.Key("another").Public(), audit.Broken, 1)
	got, err := audit.VerifyReceipt(w.Receipt(index).Marshal(), audittest.Named(t, "ledger.example/unknown").Trust(), audit.Options{})
	if err != nil || got.ExitCode() != 2 {
		t.Errorf("%v, exit %d", err, got.ExitCode())
	}
}

// TestAttack57: a payload that does not parse is proven wrong, in a record and
// beside it; and what it would have decided is not supported.
func TestAttack57(t *testing.T) {
	for name, payload := range map[string]string{
		"cut off": `{"order":7`, "twice a member": `{"order":7,"order":8}`, "invalid UTF-8": "{\"order\":\"\xff\"}", "nothing": ``, "two values": `{} {}`,
		"endless": strings.Repeat("[", 100_000),
	} {
		w := audittest.New(t)
		r := w.OpenWith(`{"contract":"v1","task":"x","expects":[{"action":"refund","input":{"order":7}}]}`)
		r.Do("refund", payload)
		r.ClaimContract()
		r.Close(evidence.Completed)
		got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
		if got.Rule(audit.RuleDisclosure).Status != audit.Broken || got.Rule(audit.RuleClaim).Status != audit.Broken || got.ExitCode() != 1 {
			dump(t, got)
			t.Errorf("%s: exit %d", name, got.ExitCode())
		}
	}
	for name, contract := range map[string]string{"cut off": `{"contract":"v1"`, "of another version": `{"contract":"v2","task":"x"}`} {
		w := audittest.New(t)
		r := w.OpenWith(contract)
		r.ClaimContract()
		r.Close(evidence.Completed)
		if got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{}); got.Rule(audit.RuleContract).Status != audit.Broken || got.ExitCode() != 1 {
			dump(t, got)
			t.Errorf("contract %s: exit %d", name, got.ExitCode())
		}
	}
	// An entry that is no record, under a proof that holds.
	for name, entry := range map[string]string{"no JWS": "hello", "no JSON": "eyJh.eyJh.AAAA"} {
		w := audittest.New(t)
		w.AppendEntry([]byte(entry))
		receipt := w.Receipt(len(w.Placed) - 1)
		got, err := audit.VerifyReceipt(receipt.Marshal(), w.Trust(), audit.Options{})
		if err != nil || got.Rule(audit.RuleInclusion).Status != audit.Held || got.Rule(audit.RuleSignature).Status != audit.Broken || got.ExitCode() != 1 {
			t.Errorf("%s: %v, exit %d", name, err, got.ExitCode())
		}
		log, _ := verifyLog(t, served(w.Tiles()), w, audit.Options{})
		if rules, reasons := broken(log); len(rules) != 1 || rules[0] != audit.RuleSignature || reasons[0] != audit.ReasonForm {
			t.Errorf("%s: %v %v", name, rules, reasons)
		}
	}
}

// TestDisclosure: what is withheld or erased is named, and decides nothing.
func TestDisclosure(t *testing.T) {
	s := play(t, nil)
	input := s.Placed[s.at(evidence.KindAuthorization, 1)].Record.Body.(*evidence.Authorization).Input
	b := s.bundling()
	b.Withhold = map[evidence.Digest]bool{input.Commit: true}
	r := verify(t, s.Bundle(b), s.Trust(), audit.Options{})
	if r.Rule(audit.RuleDisclosure).Status != audit.Held || r.Scope.Withheld != 1 || !slices.Contains(r.Scope.WithheldBy, input.Commit) {
		t.Errorf("scope %+v", r.Scope)
	}
	for _, rule := range []audit.Rule{audit.RuleClaim, audit.RuleContract, audit.RuleVerdict} {
		x := r.Rule(rule)
		if x.Status != audit.Undecidable || !strings.Contains(x.Findings[0].Decides, input.Commit.String()) {
			t.Errorf("%s: %+v", rule, x)
		}
	}
	if r.ExitCode() != 2 {
		t.Errorf("exit %d", r.ExitCode())
	}
	// Erased: it is gone, and the record says so.
	s.Append(&evidence.Record{Actor: audittest.Runtime, Body: &evidence.PayloadErased{Commit: input.Commit, Reason: "request"}}, audittest.Runtime)
	b = s.bundling()
	b.Withhold = map[evidence.Digest]bool{input.Commit: true}
	r = verify(t, s.Bundle(b), s.Trust(), audit.Options{})
	if r.Scope.Erased != 1 || r.Scope.Withheld != 0 || r.ExitCode() != 2 {
		t.Errorf("scope %+v", r.Scope)
	}
	// What is not of the record: its salt, its bytes.
	good := s.Bundle(s.bundling())
	bad := bytes.Replace(good, []byte(`"salt":"`), []byte(`"salt":"A`), 1)
	at := bytes.Index(bad, []byte(`"salt":"A`)) + len(`"salt":"A`)
	bad = append(bad[:at:at], bad[at+1:]...)
	if bytes.Equal(bad, good) {
		bad[at-1] = 'B'
	}
	r = verify(t, bad, s.Trust(), audit.Options{})
	if rules, reasons := broken(r); len(rules) != 1 || rules[0] != audit.RuleDisclosure || reasons[0] != audit.ReasonCommitment {
		t.Errorf("%v %v", rules, reasons)
	}
}

// TestNotEnforced: what a permission check would have denied, and did not.
func TestNotEnforced(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	denied := r.Authorize("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Mode = evidence.Deny, evidence.Observe })
	r.Execute(denied, evidence.StatusSuccess, nil)
	r.Close(evidence.Completed)
	got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
	if x := got.Rule(audit.RuleAuthorized); x.Status != audit.Held || !strings.Contains(x.Note, "not enforced") || !got.Scope.NotEnforced {
		t.Errorf("%+v", x)
	}
}

// TestImported: an imported authorization was nobody's permission check.
func TestImported(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Source = evidence.SourceImported })
	r.Do("lookup", `{}`)
	r.Close(evidence.Completed)
	got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
	if x := got.Rule(audit.RuleAuthorized); x.Status != audit.NotApplicable || got.ExitCode() != 0 {
		t.Errorf("%+v", x)
	}
	r = w.Open(nil)
	a := r.Authorize("lookup", `{}`, func(b *evidence.Authorization) { b.Source = evidence.SourceImported })
	r.Execute(a, evidence.StatusSuccess, func(b *evidence.Execution) { b.Source = evidence.SourceRuntime })
	got = verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
	if x := got.Rule(audit.RuleAuthorized); x.Status != audit.Broken {
		t.Errorf("an import as a way around permission checks: %+v", x)
	}
}
