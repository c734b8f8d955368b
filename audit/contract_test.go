package audit

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"

	"ledgerd/evidence"
)

func TestParseContract(t *testing.T) {
	c, err := ParseContract([]byte(`{"contract":"v1","task":"x","expects":[{"action":"a"},{"action":"b","times":2,"after":["a"]}],"only":["a","b"]}`))
	if err != nil || c.WeakestSource != evidence.SourceRuntime || c.Expects[1].Least != 2 || c.Empty() {
		t.Fatalf("%+v %v", c, err)
	}
	for name, tt := range map[string]struct{ doc, where string }{
		"not JSON":              {`{`, ""},
		"twice a member":        {`{"contract":"v1","task":"x","task":"y"}`, "/task"},
		"unknown member":        {`{"contract":"v1","task":"x","expect":[]}`, "/expect"},
		"member in other case":  {`{"contract":"v1","Task":"x"}`, "/Task"},
		"version":               {`{"contract":"v2","task":"x"}`, "/contract"},
		"no task":               {`{"contract":"v1"}`, "/task"},
		"task with a space":     {`{"contract":"v1","task":"a b"}`, "/task"},
		"unknown source":        {`{"contract":"v1","task":"x","weakest_source":"rumour"}`, "/weakest_source"},
		"no action":             {`{"contract":"v1","task":"x","expects":[{"action":"a"},{}]}`, "/expects/1/action"},
		"resource":              {`{"contract":"v1","task":"x","expects":[{"action":"a","resource":"b c"}]}`, "/expects/0/resource"},
		"times 0":               {`{"contract":"v1","task":"x","expects":[{"action":"a","times":0}]}`, "/expects/0/times"},
		"too many times":        {`{"contract":"v1","task":"x","expects":[{"action":"a","times":1001}]}`, "/expects/0/times"},
		"times half":            {`{"contract":"v1","task":"x","expects":[{"action":"a","times":1.5}]}`, "/expects/0/times"},
		"input twice":           {`{"contract":"v1","task":"x","expects":[{"action":"a","input":{},"input_has":{}}]}`, "/expects/0/input_has"},
		"after nothing":         {`{"contract":"v1","task":"x","expects":[{"action":"a","after":["b"]}]}`, "/expects/0/after/0"},
		"after itself":          {`{"contract":"v1","task":"x","expects":[{"action":"a","after":["a"]}]}`, "/expects/0/after"},
		"circle":                {`{"contract":"v1","task":"x","expects":[{"action":"a","after":["b"]},{"action":"b","after":["a"]}]}`, "/expects/0/after"},
		"forbidden so often":    {`{"contract":"v1","task":"x","forbids":[{"action":"a","times":2}]}`, "/forbids/0"},
		"twice in only":         {`{"contract":"v1","task":"x","only":["a","a"]}`, "/only/1"},
		"number beyond doubles": {`{"contract":"v1","task":"x","expects":[{"action":"a","input":{"id":9007199254740993}}]}`, ""},
		"infinite number":       {`{"contract":"v1","task":"x","expects":[{"action":"a","input":1e400}]}`, ""},
		"trailing value":        {`{"contract":"v1","task":"x"} {}`, ""},
		"1001 in expects":       {`{"contract":"v1","task":"x","expects":[` + strings.Repeat(`{"action":"a"},`, 1000) + `{"action":"a"}]}`, ""},
		"1001 in forbids":       {`{"contract":"v1","task":"x","forbids":[` + strings.Repeat(`{"action":"a"},`, 1000) + `{"action":"a"}]}`, ""},
		"only of no identifier": {`{"contract":"v1","task":"x","only":["a b"]}`, "/only/0"},
		"forbidden after":       {`{"contract":"v1","task":"x","forbids":[{"action":"a","after":["b"]}]}`, "/forbids/0"},
		"more than a MiB":       {`{"contract":"v1","task":"x","expects":[{"action":"a","input":"` + strings.Repeat("a", maxContract) + `"}]}`, ""},
		"runs of its own":       {`{"contract":"v1","task":"x","expects":[{"action":"a","runs":"own"}]}`, "/expects/0/runs"},
		"as of no identifier":   {`{"contract":"v1","task":"x","expects":[{"action":"a","as":"b c"}]}`, "/expects/0/as"},
	} {
		_, err := ParseContract([]byte(tt.doc))
		var where *ContractError
		if !errors.As(err, &where) || where.Where != tt.where {
			t.Errorf("%s: expected an error at %q, found %v", name, tt.where, err)
		}
	}
}

// TestContractDigest: gowebpki/jcs canonicalises to the same bytes, and spelling
// does not count.
func TestContractDigest(t *testing.T) {
	doc := `{"task":"x", "contract":"v1", "expects":[{"input":{"b":1.50,"a":"\u00e9\n","c":1E3},"action":"a"}]}`
	c, err := ParseContract([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := jcs.Transform([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if want := evidence.Digest(sha256.Sum256(canonical)); c.Digest() != want {
		t.Errorf("digest %s, by jcs %s of %s", c.Digest(), want, canonical)
	}
	again, err := ParseContract([]byte(`{"contract":"v1","task":"x","expects":[{"action":"a","input":{"a":"é\n","b":1.5,"c":1000}}]}`))
	if err != nil || again.Digest() != c.Digest() {
		t.Errorf("%v: another spelling, another digest", err)
	}
}

func FuzzParseContract(f *testing.F) {
	f.Add([]byte(`{"contract":"v1","task":"x","expects":[{"action":"a","input":{"b":1},"times":2},{"action":"c","after":["a"]}],"forbids":[{"action":"d"}],"only":["a"]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := ParseContract(doc)
		if err != nil {
			return
		}
		canonical, err := jcs.Transform(doc)
		if err != nil {
			t.Fatalf("we read it, jcs does not: %v", err)
		}
		if again, err := ParseContract(canonical); err != nil || again.Digest() != c.Digest() || c.Digest() != evidence.Digest(sha256.Sum256(canonical)) {
			t.Fatalf("%v: canonical form %s", err, canonical)
		}
	})
}
