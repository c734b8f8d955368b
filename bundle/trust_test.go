package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"ledgerd/evidence"
)

func signNote(text string, signers ...note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: text}, signers...)
}

func actorKey(t testing.TB, name string) *evidence.PublicKey {
	t.Helper()
	k, err := evidence.NewPrivateKey(seed(name))
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func fullTrust(t testing.TB) *Trust {
	trust := newTrust(t, policyKeys(t, "log LOG\nwitness a W1\nquorum a\n"))
	trust.Ledgers[0].WeakestSource = evidence.SourceRuntime
	trust.Ledgers[0].Actors = []PinnedActor{
		{"email_sender", evidence.RoleTool, actorKey(t, "tool")},
		{"email_sender", evidence.RoleTool, actorKey(t, "tool's next key")},
	}
	_, other := logSigner(t, "other.example/log", "other log")
	p, err := ParsePolicy(policyKeys(t, "log "+other+"\nwitness a W1\nquorum a\n"))
	if err != nil {
		t.Fatal(err)
	}
	trust.Ledgers = append(trust.Ledgers, &TrustedLedger{Policy: p, Entry0: evidence.IDOf([]byte("other"))})
	return trust
}

func TestTrustRoundTrip(t *testing.T) {
	trust := fullTrust(t)
	b, err := trust.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if Sniff(b) != FormTrust {
		t.Error("a trust file is not seen to be one")
	}
	again, err := ParseTrust(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := again.Marshal()
	if err != nil || !bytes.Equal(b, c) {
		t.Errorf("%s\nbecame\n%s\n%v", b, c, err)
	}
	one, _ := trust.Digest()
	two, _ := again.Digest()
	again.Ledgers[0].WeakestSource = evidence.SourceReported
	three, _ := again.Digest()
	if one != two || one == three {
		t.Error("the digest does not tell trust files apart")
	}
	l := again.Ledger(origin)
	if l == nil || len(l.Pinned("email_sender")) != 2 || l.Pinned("else") != nil || again.Ledger("else") != nil {
		t.Errorf("%+v", l)
	}
	if k := l.Pinned("email_sender")[0].Key; k.Thumbprint() != actorKey(t, "tool").Thumbprint() {
		t.Error("a pinned key changed")
	}
}

func TestTrustRefuses(t *testing.T) {
	b, err := fullTrust(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for what, text := range map[string]string{
		"empty":                  "",
		"no ledger":              `{"trust":"v1","ledgers":[]}`,
		"another version":        replace(`"v1"`, `"v2"`),
		"unknown member":         replace(`"trust"`, `"x":1,"trust"`),
		"unknown ledger member":  replace(`"entry0"`, `"x":1,"entry0"`),
		"duplicate member":       replace(`"trust": "v1"`, `"trust":"v1","trust":"v1"`),
		"other case":             replace(`"trust"`, `"Trust"`),
		"something after":        good + "{}",
		"no entry 0":             replace(`"entry0": "`+evidence.IDOf([]byte("entry-0")).String()+`",`, ""),
		"entry 0 misspelt":       replace(`"ev_`, `"EV_`),
		"weakest source unknown": replace(`"runtime"`, `"Runtime"`),
		"role unknown":           replace(`"tool"`, `"robot"`),
		"two roles":              replace(`"role": "tool"`, `"role": "human"`),
		"actor with a space":     replace(`"email_sender"`, `"email sender"`),
		"key of another curve":   replace(`"Ed25519"`, `"Ed448"`),
		"key with a secret":      replace(`"kty"`, `"d":"AA","kty"`),
		"origin twice":           strings.ReplaceAll(good, "other.example/log", origin),
		"a policy that is none":  replace("quorum a", "quorum"),
	} {
		t.Run(what, func(t *testing.T) {
			var fe *FormatError
			if _, err := ParseTrust([]byte(text)); !errors.As(err, &fe) {
				t.Errorf("expected a *FormatError, found %v", err)
			}
		})
	}
}

// A key has one purpose, whoever claims it.
func TestTrustKeysAreDisjoint(t *testing.T) {
	pub := func(s string) *evidence.PublicKey { return actorKey(t, s) } // seeds are those of edKey
	for what, change := range map[string]func(*Trust){
		"log key as actor":                          func(t *Trust) { t.Ledgers[0].Actors[0].Key = pub("log") },
		"witness key as actor":                      func(t *Trust) { t.Ledgers[0].Actors[0].Key = pub("w1.example") },
		"log key of one ledger as actor of another": func(t *Trust) { t.Ledgers[0].Actors[0].Key = pub("other log") },
		"one key, two actors": func(t *Trust) {
			t.Ledgers[0].Actors[1] = PinnedActor{"other", evidence.RoleTool, t.Ledgers[0].Actors[0].Key}
		},
		"actor without key": func(t *Trust) { t.Ledgers[0].Actors[0].Key = nil },
	} {
		trust := fullTrust(t)
		change(trust)
		if trust.Check() == nil {
			t.Errorf("%s: passed", what)
		}
		if _, err := trust.Marshal(); err == nil {
			t.Errorf("%s: written", what)
		}
	}
	// One log key under two names is two ledgers with one key.
	trust := fullTrust(t)
	_, again := logSigner(t, "third.example/log", "log")
	p, err := NewPolicy(again)
	if err != nil {
		t.Fatal(err)
	}
	trust.Ledgers = append(trust.Ledgers, &TrustedLedger{Policy: p, Entry0: evidence.IDOf([]byte("third"))})
	if trust.Check() == nil {
		t.Error("one key for two logs: passed")
	}
	// A witness of one ledger that is the log of another.
	_, w2 := logSigner(t, "fourth.example/log", "w1.example")
	if p, err = NewPolicy(w2); err != nil {
		t.Fatal(err)
	}
	trust = fullTrust(t)
	trust.Ledgers = append(trust.Ledgers, &TrustedLedger{Policy: p, Entry0: evidence.IDOf([]byte("fourth"))})
	if trust.Check() == nil {
		t.Error("a witness of one ledger, the log of another: passed")
	}
}

func FuzzTrust(f *testing.F) {
	b, err := fullTrust(f).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(fmt.Sprintf(`{"trust":"v1","ledgers":[%s]}`, "{}")))
	f.Fuzz(func(t *testing.T, b []byte) {
		trust, err := ParseTrust(b)
		if err != nil {
			return
		}
		out, err := trust.Marshal()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", b, err)
		}
		again, err := ParseTrust(out)
		if err != nil {
			t.Fatalf("%q was written and cannot be read: %v", out, err)
		}
		one, _ := trust.Digest()
		if two, _ := again.Digest(); one != two {
			t.Errorf("%q changes its digest", b)
		}
	})
}

// TestJoinTrust: several files are trusted together, where they do not contradict each
// other.
func TestJoinTrust(t *testing.T) {
	full := fullTrust(t)
	one, two := &Trust{Ledgers: full.Ledgers[:1]}, &Trust{Ledgers: full.Ledgers[1:]}
	changed := *full.Ledgers[0]
	changed.Entry0 = evidence.IDOf([]byte("another"))
	for name, c := range map[string]struct {
		files []*Trust
		want  int // ledgers; 0: an error
	}{
		"one":                  {[]*Trust{full}, 2},
		"two":                  {[]*Trust{one, two}, 2},
		"one of them twice":    {[]*Trust{one, full, one}, 2},
		"two words on one":     {[]*Trust{one, {Ledgers: []*TrustedLedger{&changed}}}, 0},
		"none that names some": {nil, 0},
	} {
		got, err := JoinTrust(c.files...)
		if (err == nil) != (c.want > 0) || err == nil && len(got.Ledgers) != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
