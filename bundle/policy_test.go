package bundle

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	formatswitness "github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"

	"ledgerd/internal/raced"
)

// policyKeys replaces LOG and W1 to W5 by verifier keys.
func policyKeys(t testing.TB, text string) string {
	_, vkey := logSigner(t, origin, "log")
	text = strings.ReplaceAll(text, "LOG", vkey)
	for i := 1; i <= 5; i++ {
		_, w := cosigner(t, fmt.Sprintf("w%d.example", i))
		text = strings.ReplaceAll(text, fmt.Sprintf("W%d", i), w)
	}
	return text
}

// A policy is satisfied by the same sets of witnesses as in an implementation
// that we did not write.
func TestPolicyAgreesWithFormats(t *testing.T) {
	raced.Skip(t)
	const five = "log LOG\nwitness a W1 https://a\nwitness b W2 https://b\nwitness c W3 https://c\nwitness d W4 https://d\nwitness e W5 https://e\n"
	for _, text := range []string{
		five + "quorum none\n",
		five + "quorum c\n",
		five + "group g any a b c\nquorum g\n",
		five + "group g all a b c\nquorum g\n",
		five + "group g 2 a b c\ngroup h 1 d e\ngroup both all g h\nquorum both\n",
		five + "group g 2 a b\ngroup h 2 g c d\ngroup k any h e\nquorum k\n",
		"\t# comment\n\n  log\tLOG \n witness  a\tW1 https://a\nquorum a",
	} {
		text = policyKeys(t, text)
		p, err := ParsePolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != text || p.Origin() != origin {
			t.Error("the policy changed its text or origin")
		}
		theirs, err := formatswitness.ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		trust := newTrust(t, text)
		for set := range 32 {
			log, _ := logSigner(t, origin, "log")
			signers := []note.Signer{log}
			for i := range 5 {
				if set>>i&1 == 1 {
					w, _ := cosigner(t, fmt.Sprintf("w%d.example", i+1))
					signers = append(signers, w)
				}
			}
			head := signHead(t, 1, naiveRoot(leavesOf(1)), signers...)
			_, err := trust.OpenHead(head)
			if got, want := err == nil, theirs.Satisfied(head); got != want {
				t.Errorf("%s\nwitnesses %05b: accepted %v, expected %v (%v)", text, set, got, want, err)
			}
		}
	}
}

func TestPolicyRefuses(t *testing.T) {
	_, otherLog := logSigner(t, "other.example/log", "log")
	_, second := logSigner(t, "other.example/log", "another log")
	plain := strings.Replace(policyKeys(t, "LOG"), origin, "w.example", 1)
	_, w1 := cosigner(t, "w1.example")
	name, rest, _ := strings.Cut(w1, "+")
	id, key, _ := strings.Cut(rest, "+")
	// A log key whose ID has letters.
	var upper, upperID string
	for i := 0; upperID == strings.ToUpper(upperID); i++ {
		_, v := logSigner(t, "ledger.example", fmt.Sprint(i))
		upperID = v[len("ledger.example+"):][:8]
		upper = strings.Replace(v, "+"+upperID+"+", "+", 1)
	}
	for what, text := range map[string]string{
		"nothing":                    "",
		"no log":                     "quorum none\n",
		"no quorum":                  "log LOG\n",
		"two logs":                   "log LOG\nlog " + second + "\nquorum none\n",
		"one log twice":              "log LOG\nlog " + otherLog + "\nquorum none\n",
		"two quorums":                "log LOG\nquorum none\nquorum none\n",
		"unknown quorum":             "log LOG\nquorum a\n",
		"quorum before its witness":  "log LOG\nquorum a\nwitness a W1\n",
		"witness without key":        "log LOG\nwitness a\nquorum a\n",
		"witness called none":        "log LOG\nwitness none W1\nquorum none\n",
		"group called none":          "log LOG\nwitness a W1\ngroup none any a\nquorum none\n",
		"name twice":                 "log LOG\nwitness a W1\nwitness a W2\nquorum a\n",
		"group with a witness' name": "log LOG\nwitness a W1\ngroup a any a\nquorum a\n",
		"row 53: one key, two names": "log LOG\nwitness a W1\nwitness b W1\ngroup g all a b\nquorum g\n",
		"member of two groups":       "log LOG\nwitness a W1\nwitness b W2\ngroup g any a b\ngroup h any a g\nquorum h\n",
		"member twice":               "log LOG\nwitness a W1\ngroup g 2 a a\nquorum g\n",
		"member of itself":           "log LOG\nwitness a W1\ngroup g any g\nquorum g\n",
		"no members":                 "log LOG\ngroup g any\nquorum g\n",
		"none as member":             "log LOG\ngroup g any none\nquorum g\n",
		"threshold 0":                "log LOG\nwitness a W1\ngroup g 0 a\nquorum g\n",
		"threshold too high":         "log LOG\nwitness a W1\ngroup g 2 a\nquorum g\n",
		"threshold not decimal":      "log LOG\nwitness a W1\ngroup g +1 a\nquorum g\n",
		"threshold with zero":        "log LOG\nwitness a W1\ngroup g 01 a\nquorum g\n",
		"unknown word":               "log LOG\nquorum none\nlogs LOG\n",
		"trailing comment":           "log LOG\nquorum none # really\n",
		"carriage return":            "log LOG\r\nquorum none\r\n",
		"log key as witness":         "log LOG\nwitness a " + vkeyOf("w.example", typeEd25519Cosig, edKey("log").Public().(ed25519.PublicKey)) + "\nquorum a\n",
		"witness with a log's type":  "log LOG\nwitness a " + plain + "\nquorum a\n",
		"log with a witness' type":   "log W1\nquorum none\n",
		"key ID that is not its own": "log LOG\nwitness a " + name + "+00000000+" + key + "\nquorum a\n",
		"upper-case key ID":          "log LOG\nwitness a " + name + "+" + strings.ToUpper(id) + "+" + key + "\nquorum a\n",
		"small-order key":            "log LOG\nwitness a " + vkeyOf("w.example", typeEd25519Cosig, append([]byte{1}, make([]byte, 31)...)) + "\nquorum a\n",
		"small-order log key":        "log " + vkeyOf(origin, typeEd25519, append([]byte{1}, make([]byte, 31)...)) + "\nquorum none\n",
		"NUL in a comment":           "log LOG\nquorum none\n# \x00\n",
		"DEL in a comment":           "log LOG\nquorum none\n# \x7f\n",
		"log with an upper-case ID":  "log " + strings.Replace(upper, "+", "+"+strings.ToUpper(upperID)+"+", 1) + "\nquorum none\n",
		"log without key":            "log x.example+00000000+\nquorum none\n",
		"ML-DSA-44 key cut short":    "log LOG\nwitness a " + vkeyOf("w.example", typeMLDSA44Cosig, make([]byte, 10)) + "\nquorum a\n",
		"too long":                   "log LOG\nquorum none\n" + strings.Repeat("#\n", maxPolicy),
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := ParsePolicy(policyKeys(t, text)); err == nil {
				t.Error("expected it to be refused")
			}
		})
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(policyKeys(f, "log LOG\nwitness a W1 https://a\nwitness b W2\ngroup g 2 a b\nquorum g\n"))
	f.Add("log \nquorum none\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		again, err := ParsePolicy(p.String())
		if err != nil || again.String() != text {
			t.Errorf("%q: %v", text, err)
		}
		// Nobody's word is enough only where the policy says so.
		if p.satisfied(nil) != (p.quorum == noQuorum) {
			t.Errorf("%q is satisfied without a cosignature", text)
		}
	})
}
