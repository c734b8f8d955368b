package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ledgerd/internal/raced"
)

var update = flag.Bool("update", false, "write the vectors in testdata/bundle again")

const vectorDir = "../../testdata/bundle"

// vector is a file, what it is verified against, and what has to come out.
// testdata/bundle/README.md describes it to other implementations.
type vector struct {
	File    string   `json:"file"`
	Trust   string   `json:"trust"`
	Subject string   `json:"subject,omitempty"`
	Exit    int      `json:"exit"`
	Broken  []string `json:"broken,omitempty"`      // rules, sorted
	Missing []string `json:"undecidable,omitempty"` // rules, sorted; not said where every rule is
	Why     string   `json:"why"`
}

var vectors = []vector{
	{File: "done.bundle", Trust: "trust.json", Why: "a run that did what its contract expects"},
	{File: "done.bundle", Trust: "trust.json", Subject: "ticket-1", Why: "and is about this ticket"},
	{File: "done.bundle", Trust: "trust.json", Subject: "ticket-2", Why: "about another ticket (row 54)"},
	{File: "lied.bundle", Trust: "trust.json", Why: "claims what never happened"},
	{File: "denied.bundle", Trust: "trust.json", Why: "executed although denied"},
	{File: "emptyclaim.bundle", Trust: "trust.json", Why: "a claim that asserts nothing (row 54)"},
	{File: "emptycontract.bundle", Trust: "trust.json", Why: "a contract that asks for nothing (row 54)"},
	{File: "withheld.bundle", Trust: "trust.json", Why: "payloads that would decide are withheld"},
	{File: "evil.bundle", Trust: "trust.json", Why: "a verdict that nobody reached, with text that terminals obey (row 60)"},
	{File: "row53-both.bundle", Trust: "witnessed.json", Why: "cosigned by both witnesses of the quorum"},
	{File: "row53-twice.bundle", Trust: "witnessed.json", Why: "cosigned twice by one witness (row 53)"},
	{File: "row53-renamed.bundle", Trust: "witnessed.json", Why: "one witness under another's name (row 53)"},
	{File: "row54-ownkey.bundle", Trust: "trust.json", Why: "signed by a key of the forger's own (row 54)"},
	{File: "row54-stranger.bundle", Trust: "trust.json", Why: "of a ledger that the trust file does not name (row 54)"},
	{File: "row55-origin.bundle", Trust: "trust.json", Why: "the header names another ledger than the tree head (row 55)"},
	{File: "row56-index.bundle", Trust: "trust.json", Why: "an index beyond the tree (row 56)"},
	{File: "row57-payload.bundle", Trust: "trust.json", Why: "a payload that does not open its commitment (row 57)"},
	{File: "handed.bundle", Trust: "both.json", Why: "a run that continues what another ledger handed over"},
	{File: "handed.bundle", Trust: "receiver.json", Why: "the giver's ledger is not in the trust file"},
	{File: "handed-lie.bundle", Trust: "both.json", Why: "accepted although the giver claimed what never happened (row 50)"},
	{File: "handed-wide.bundle", Trust: "both.json", Why: "an action outside the scope of the offer (row 49)"},
	{File: "handed-withheld.bundle", Trust: "both.json", Why: "what was accepted is withheld"},
	{File: "tampered.bundle", Trust: "trust.json", Why: "a record that was changed"},
	{File: "tampered-heads.bundle", Trust: "trust.json", Why: "a record that was changed, under two tree heads that do not contradict each other"},
	{File: "stranger-head.bundle", Trust: "trust.json", Why: "the last record is under a tree head that nobody known signed, and under no other"},
	{File: "doubled.bundle", Trust: "trust.json", Why: "a line twice"},
	{File: "cutoff.bundle", Trust: "trust.json", Why: "the end is missing"},
	{File: "row58.zip", Trust: "trust.json", Why: "an archive (row 58)"},
	{File: "row59.gz", Trust: "trust.json", Why: "a compressed file (row 59)"},
	{File: "done.tlog-proof", Trust: "pinned.json", Why: "a receipt, its signer pinned"},
	{File: "done.tlog-proof", Trust: "trust.json", Why: "a receipt, its signer not pinned"},
	{File: "row55-unsigned.tlog-proof", Trust: "pinned.json", Why: "an unsigned tree head (row 55)"},
	{File: "row55-origin.tlog-proof", Trust: "pinned.json", Why: "a tree head of another origin than the key that signed it (row 55)"},
	{File: "row56-size0.tlog-proof", Trust: "pinned.json", Why: "size 0 with a root (row 56)"},
	{File: "row56-index.tlog-proof", Trust: "pinned.json", Why: "an index that is not below the size (row 56)"},
	{File: "row56-overlong.tlog-proof", Trust: "pinned.json", Why: "a hash too many (row 56)"},
	{File: "row57-payload.tlog-proof", Trust: "pinned.json", Why: "a record that does not parse (row 57)"},
	{File: "spaced.tlog-proof", Trust: "pinned.json", Why: "a signature line of three words"},
	{File: "cutoff.tlog-proof", Trust: "pinned.json", Why: "cut off"},
}

// TestVectors verifies the files of testdata/bundle, which another
// implementation can verify too. With -update it writes them: whoever does
// that looks at every changed answer.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	text, err := os.ReadFile(filepath.Join(vectorDir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []vector
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != len(vectors) {
		t.Errorf("expected %d cases, found %d: write them again with -update", len(vectors), len(cases))
	}
	for _, want := range cases {
		got := want
		answer(t, vectorDir, &got)
		if got.Exit != want.Exit || !slices.Equal(got.Broken, want.Broken) || !slices.Equal(got.Missing, want.Missing) {
			t.Errorf("%s (%s):\nexpected %+v\nfound    %+v", want.File, want.Why, want, got)
		}
	}
}

// answer verifies a vector's file and fills in what came out.
func answer(t *testing.T, dir string, v *vector) {
	t.Helper()
	args := []string{"verify", "--output", "json", "--trust", filepath.Join(dir, v.Trust), filepath.Join(dir, v.File)}
	if v.Subject != "" {
		args = append(args, "--subject", v.Subject)
	}
	out, code := capture(t, args)
	var r struct {
		Rules []struct{ Rule, Status string }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%s: %v", v.File, err)
	}
	v.Exit, v.Broken, v.Missing = code, nil, nil
	for _, rule := range r.Rules {
		switch rule.Status {
		case "broken":
			v.Broken = append(v.Broken, rule.Rule)
		case "undecidable":
			v.Missing = append(v.Missing, rule.Rule)
		}
	}
	if len(v.Missing) >= 13 {
		v.Missing = nil
	}
	slices.Sort(v.Broken)
	slices.Sort(v.Missing)
}

func writeVectors(t *testing.T) {
	all, keep := newFixtures(t), make(fixtures)
	cases := slices.Clone(vectors)
	for _, v := range cases {
		keep[v.File], keep[v.Trust] = all[v.File], all[v.Trust]
	}
	if err := keep.write(vectorDir); err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		answer(t, vectorDir, &cases[i])
	}
	b, err := json.MarshalIndent(cases, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(vectorDir, "cases.json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestVerdictVectors: the program says of each bundle in testdata/verdicts what
// the vector says, and shows statements that are words alone as what they are.
func TestVerdictVectors(t *testing.T) {
	raced.Skip(t)
	const dir = "../../testdata/verdicts"
	text, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		File, Claim, Result, Why string
		Bare                     []string
		Exit                     int
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, want := range cases {
		args := []string{"verify", "--trust", filepath.Join(dir, "trust.json"), filepath.Join(dir, want.File)}
		out, code := capture(t, append(args, "--output", "json"))
		var r struct {
			Claims []struct {
				Claim, Result string
				Bare          []string
			}
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%s: %v", want.File, err)
		}
		found := false
		for _, c := range r.Claims {
			found = found || c.Claim == want.Claim && c.Result == want.Result && slices.Equal(c.Bare, want.Bare)
		}
		if !found || code != want.Exit {
			t.Errorf("%s (%s): exit %d, expected %d and %s on %q\n%s", want.File, want.Why, code, want.Exit, want.Result, want.Claim, out)
		}
		if out, _ = capture(t, args); len(want.Bare) > 0 && !strings.Contains(strings.Join(strings.Fields(out), " "), want.Bare[0]) {
			t.Errorf("%s: no word of it that %s\n%s", want.File, want.Bare[0], out)
		}
	}
}
