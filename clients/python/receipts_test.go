package python

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

// TestReceiptsAsGoReadsThem: of receipts that were changed in any way, both verifiers
// say the same, rule for rule.
func TestReceiptsAsGoReadsThem(t *testing.T) {
	short(t)
	t.Parallel()
	python(t)
	random := rand.New(rand.NewPCG(8032, 6962))
	dir := t.TempDir()
	good, err := os.ReadFile("../../testdata/bundle/done.tlog-proof")
	must(t, err)
	var stdin bytes.Buffer
	var want []string
	seen := make(map[string]int)
	check := func(receipt []byte, trust string) {
		t.Helper()
		name := filepath.Join(dir, fmt.Sprintf("%d.tlog-proof", len(want)))
		must(t, os.WriteFile(name, receipt, 0o600))
		line, err := json.Marshal([]string{name, trust})
		must(t, err)
		stdin.Write(append(line, '\n'))
		said := goSays(t, receipt, trust)
		want = append(want, said)
		seen[strings.Fields(said)[0]]++
	}
	for _, trust := range []string{"pinned.json", "trust.json", "witnessed.json", "receiver.json"} {
		trust = filepath.Join("../../testdata/bundle", trust)
		check(good, trust)
		for _, edge := range edges {
			changed := strings.Replace(string(good), edge.old, edge.new, 1)
			if changed == string(good) {
				t.Errorf("no %q in the receipt", edge.old)
			}
			check([]byte(changed), trust)
		}
	}
	for _, receipt := range cosigned(t, good) {
		for _, quorum := range []string{"all", "any", "1", "2"} {
			trust := filepath.Join(dir, quorum+".json")
			must(t, os.WriteFile(trust, witnessed(t, quorum), 0o600))
			check(receipt, trust)
		}
	}
	w, pins := signers(t)
	for i, pinned := range pins {
		trust := w.Trust()
		trust.Ledgers[0].Actors = pinned
		b, err := trust.Marshal()
		must(t, err)
		file := filepath.Join(dir, fmt.Sprintf("pins-%d.json", i))
		must(t, os.WriteFile(file, b, 0o600))
		for index := range w.Placed {
			check(w.Receipt(index).Marshal(), file)
		}
	}
	for i := range 100 {
		check(mutate(random, i, good), "../../testdata/bundle/pinned.json")
	}
	cmd := python(t, "tests/outcomes.py")
	cmd.Stdin = &stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	found := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(found) != len(want) {
		t.Fatalf("want %d answers, found %d", len(want), len(found))
	}
	for i := range want {
		if found[i] != want[i] {
			t.Errorf("%d.tlog-proof: Go says %q, Python %q", i, want[i], found[i])
		}
	}
	if seen["verified"] == 0 || seen["wrong"] < 10 || seen["undecidable"] < 10 || seen["malformed"] < 10 {
		t.Errorf("want some of each, found %v", seen)
	}
}

// signers is a ledger with records that are signed in all kinds of ways, and actors to pin.
func signers(t *testing.T) (w *audittest.World, pins [][]bundle.PinnedActor) {
	t.Helper()
	w = audittest.New(t)
	r := w.Open(nil)
	auth := r.Authorize("send_email", `{}`, func(b *evidence.Authorization) { b.Effect, b.Team = evidence.Escalate, audittest.Team })
	r.Beside(audittest.Human, auth.ID, &evidence.Approval{Answer: evidence.Refuse})
	done := r.Do("create_ticket", `{}`)
	r.Beside(audittest.Tool, done.ID, &evidence.Confirmation{Status: evidence.StatusSuccess})
	r.Line(&evidence.Decision{Model: "model-1", Choice: w.Commit(`{}`)}) // the runtime's key for the agent it hosts
	for _, by := range []string{audittest.Human, audittest.Loner, audittest.Tool} {
		r.LineBy(&evidence.Record{Actor: by, Body: &evidence.Checkpoint{Name: "x", Sequence: 1, State: w.Commit(`{}`)}}, by) // which it may not
	}
	r.LineBy(&evidence.Record{Actor: audittest.Human, Body: &evidence.Decision{Model: "model-1", Choice: w.Commit(`{}`)}}, audittest.Runtime)
	r.LineBy(&evidence.Record{Actor: audittest.Runtime, Origin: "ledger.example/else", Body: &evidence.Checkpoint{Name: "x", Sequence: 1, State: w.Commit(`{}`)}}, audittest.Runtime)
	last := r.Close(evidence.Completed)
	spoilt := bytes.Clone(last.Entry) // signed by nobody, and in the tree all the same
	spoilt[len(spoilt)-20] ^= 1
	w.AppendEntry(spoilt)
	w.AppendEntry([]byte("no.record.atall"))
	header, rest, _ := bytes.Cut(last.Entry, []byte("."))
	_, signature, _ := bytes.Cut(rest, []byte("."))
	later := base64.RawURLEncoding.EncodeToString([]byte(`{"v":2,"kind":"anything"}`))
	w.AppendEntry([]byte(string(header) + "." + later + "." + string(signature)))
	pin := func(name string, role evidence.Role, key string) bundle.PinnedActor {
		return bundle.PinnedActor{Name: name, Role: role, Key: w.Key(key).Public()}
	}
	return w, [][]bundle.PinnedActor{
		nil,
		{pin(audittest.Runtime, evidence.RoleRuntime, audittest.Runtime)},
		{pin(audittest.Runtime, evidence.RoleRuntime, audittest.Runtime), pin(audittest.Human, evidence.RoleHuman, audittest.Human), pin(audittest.Tool, evidence.RoleTool, audittest.Tool), pin(audittest.Root, evidence.RoleRoot, audittest.Root)},
		{pin(audittest.Runtime, evidence.RoleRuntime, "another"), pin(audittest.Human, evidence.RoleAgent, audittest.Human), pin(audittest.Agent, evidence.RoleAgent, "third")},
		{pin(audittest.Tool, evidence.RoleTool, audittest.Runtime), pin(audittest.Loner, evidence.RoleAgent, audittest.Loner)},
	}
}

// cosigned are receipts under a tree head with cosignatures in all kinds of order.
func cosigned(t *testing.T, good []byte) (receipts [][]byte) {
	t.Helper()
	b, err := os.ReadFile("../../testdata/bundle/row53-both.bundle")
	must(t, err)
	var line struct{ Head string }
	must(t, json.Unmarshal(bytes.Split(b, []byte("\n"))[1], &line))
	proof, _, _ := bytes.Cut(good, []byte("\n\n"))
	text, signatures, _ := strings.Cut(line.Head, "\n\n")
	lines := strings.SplitAfter(signatures, "\n")
	log, w1, w2 := lines[0], lines[1], lines[2]
	spoilt := func(line string) string { return line[:len(line)-8] + "AAAA" + line[len(line)-4:] }
	for _, of := range [][]string{
		{log, w1, w2},
		{log},
		{log, w1},
		{log, w2},
		{w2, log, w1},
		{log, w1, w1},
		{log, spoilt(w1), w2},
		{log, spoilt(w1), w1, w2},
		{log, w1, spoilt(w1), w2},
		{log, w1, strings.Replace(w1, "w1.", "w2.", 1)},
		{w1, w2},
		{log, log, w1, w2},
		{spoilt(log), w1, w2},
		{spoilt(log), log, w1, w2},
		{log, spoilt(log), w1, w2},
	} {
		receipts = append(receipts, []byte(string(proof)+"\n\n"+text+"\n\n"+strings.Join(of, "")))
	}
	return receipts
}

// witnessed is a trust file that asks for witnesses, and pins the signer.
func witnessed(t *testing.T, quorum string) []byte {
	t.Helper()
	read := func(name string) *bundle.Trust {
		b, err := os.ReadFile(filepath.Join("../../testdata/bundle", name))
		must(t, err)
		trust, err := bundle.ParseTrust(b)
		must(t, err)
		return trust
	}
	trust := read("witnessed.json")
	trust.Ledgers[0].Actors = read("pinned.json").Ledgers[0].Actors
	policy, err := bundle.ParsePolicy(strings.Replace(trust.Ledgers[0].Policy.String(), "group g all", "group g "+quorum, 1))
	must(t, err)
	trust.Ledgers[0].Policy = policy
	b, err := trust.Marshal()
	must(t, err)
	return b
}

// goSays is what outcomes.py prints, of Go's verifier.
func goSays(t *testing.T, receipt []byte, trust string) string {
	t.Helper()
	b, err := os.ReadFile(trust)
	must(t, err)
	trusted, err := bundle.ParseTrust(b)
	must(t, err)
	report, err := audit.VerifyReceipt(receipt, trusted, audit.Options{})
	if err != nil {
		return "malformed"
	}
	if report.ExitCode() == 0 {
		return "verified"
	}
	var broken, undecidable []string
	for _, r := range report.Rules {
		switch r.Status {
		case audit.Broken:
			broken = append(broken, string(r.Rule))
		case audit.Undecidable:
			undecidable = append(undecidable, string(r.Rule))
		}
	}
	slices.Sort(broken)
	slices.Sort(undecidable)
	outcome := "undecidable"
	if len(broken) > 0 {
		outcome = "wrong"
	}
	return strings.Join(slices.Concat([]string{outcome}, broken, []string{"-"}, undecidable), " ")
}

// edges are changes that a lenient reader would not see, or see otherwise.
var edges = []struct{ old, new string }{
	{"index ", "index 0"},
	{"index ", "index +"},
	{"index ", "index 99"},
	{"index 10", "index 11"},
	{"index 10", "index 18446744073709551616"},
	{"proof@v1", "proof@v2"},
	{"extra ", "extra  "},
	{"extra ", "Extra "},
	{"\nextra ", "\nextra \nextra "},
	{"\n", "\r\n"},
	{"=\n\n\u2014", "=\nextension\n\n\u2014"},
	{"=\n\n\u2014", "=\n\n\n\u2014"},
	{"=\n\n\u2014", "=\n\u2014"},
	{"\n\u2014 ", "\n\u2014 a\u0085b AAAAAAAA\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 a\tb AAAAAAAA\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 a\u2003b AAAAAAAA\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 a\x7fb AAAAAAAA\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 a+b AAAAAAAA\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 other AAAA\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 other AAAAAAAB\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 other AAAAAAB=\n\u2014 "},
	{"\n\u2014 ", "\n\u2014  AAAAAAAA\n\u2014 "},
	{"\n\u2014 ", "\n\u2014 other  AAAAAAAA\n\u2014 "},
	{"\n\u2014 ", "\n" + strings.Repeat("\u2014 other AAAAAAAA\n", 99) + "\u2014 "},
	{"\n\u2014 ", "\n" + strings.Repeat("\u2014 other AAAAAAAA\n", 100) + "\u2014 "},
	{"\n\u2014 ", "\n" + strings.Repeat("\u2014 other AAAAAAAA\n", 256) + "\u2014 "},
	{"\n\u2014 ledger.example/test", "\n\u2014 ledger.example/else"},
	{"\n\u2014 ledger.example/test QKPPe", "\n\u2014 ledger.example/test QKPPf"},
	{"\nledger.example/test\n30\n", "\nledger.example/test\n030\n"},
	{"\nledger.example/test\n30\n", "\nledger.example/test\n-30\n"},
	{"\nledger.example/test\n30\n", "\nledger.example/test\n4611686018427387905\n"},
	{"\nledger.example/test\n30\n", "\nledger.example/log\n30\n"},
	{"\nledger.example/test\n30\n", "\n\n30\n"},
}

// mutate changes a file in one place: what way, its number says; where, chance.
func mutate(random *rand.Rand, i int, file []byte) []byte {
	lines := bytes.SplitAfter(bytes.Clone(file), []byte("\n"))
	lines = lines[:len(lines)-1]
	n := random.IntN(len(lines))
	switch i % 5 {
	case 0: // any bit
		file = bytes.Clone(file)
		file[random.IntN(len(file))] ^= 1 << random.IntN(8)
		return file
	case 1: // a character of base64 for another
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
		file = bytes.Clone(file)
		file[random.IntN(len(file))] = alphabet[random.IntN(len(alphabet))]
		return file
	case 2: // a line left out
		lines = slices.Delete(lines, n, n+1)
	case 3: // a line twice
		lines = slices.Insert(lines, n, lines[n])
	case 4: // cut off
		return file[:random.IntN(len(file))]
	}
	return bytes.Join(lines, nil)
}
