package answer

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"ledgerd/audit/audittest"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

func file(name string, b []byte) File {
	return File{name, func() io.Reader { return bytes.NewReader(b) }}
}

// read gathers all that is shown of a node, and the names of the elements.
func read(n *Node, text *strings.Builder, names map[string]bool) {
	text.WriteString(n.Text)
	names[n.Name] = true
	for _, k := range n.Kids {
		read(k, text, names)
		text.WriteByte(' ')
	}
}

func shownText(t *testing.T, a *Answer) (string, map[string]bool) {
	t.Helper()
	if a.Shown == nil {
		t.Fatal("nothing is shown")
	}
	var text strings.Builder
	names := make(map[string]bool)
	read(a.Shown, &text, names)
	return text.String(), names
}

// world is a ledger with one run whose input is text, the run's bundle and the trust
// in the ledger.
func world(t *testing.T, text string) (run, trust File) {
	t.Helper()
	w := audittest.New(t)
	r := w.OpenWith(`{"contract":"v1","task":"complaint","expects":[{"action":"refund"}]}`)
	r.Do("refund", text)
	r.ClaimContract()
	r.Close(evidence.Completed)
	b, err := w.Trust().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return file("run.bundle", w.RunBundle(r.ID)), file("trust.json", b)
}

// Whatever stands in a file, the tree has the elements of a report and no other, and
// the text is there, made visible.
func TestHostileTextIsText(t *testing.T) {
	run, trust := world(t, `{"note":"<script>alert(1)</script><svg onload=alert(2)>]]>&lt;{{.}}\u202e\u001b"}`)
	run.Name = "<img src=x>\u202e.bundle"
	a := Of(&Request{Evidence: []File{run}, Trust: []File{trust}})
	if a.Outcome != report.Verified {
		t.Fatalf("%s: %s", a.Word, a.Says)
	}
	text, names := shownText(t, a)
	for _, want := range []string{`<script>alert(1)</script><svg onload=alert(2)>]]>&lt;{{.}}\\u202e`, `<img src=x>\u{202e}.bundle`} {
		if !strings.Contains(text, want) {
			t.Errorf("expected %q in %q", want, text)
		}
	}
	for _, never := range []string{"script", "svg", "img", "style", "iframe"} {
		if names[never] {
			t.Errorf("found an element %s", never)
		}
	}
	b, err := json.Marshal(a)
	if err != nil || bytes.ContainsRune(b, 0x202e) {
		t.Errorf("%v, %.100s", err, b)
	}
}

// Without trust nothing is decided, whatever there is; and trust is what was given as
// trust.
func TestNoTrustDecidesNothing(t *testing.T) {
	run, trust := world(t, `{}`)
	for name, q := range map[string]*Request{
		"none":                  {Evidence: []File{run}},
		"among the evidence":    {Evidence: []File{run, trust}},
		"evidence as trust":     {Evidence: []File{run}, Trust: []File{run}},
		"trust without a form":  {Evidence: []File{run}, Trust: []File{file("t", []byte("{"))}},
		"trust that is too big": {Evidence: []File{run}, Trust: []File{file("t", make([]byte, 9<<20))}},
		"another's":             {Evidence: []File{run}, Trust: []File{file("t", []byte(`{"trust":"v1","ledgers":[]}`))}},
	} {
		if a := Of(q); a.Outcome != report.Undecidable && a.Outcome != report.Malformed || a.Word == report.Verified.Word() {
			t.Errorf("%s: outcome %q, %s", name, a.Outcome, a.Word)
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the disk\x1b is gone") }

// What cannot be read, or asked, and what breaks inside, has no outcome, and no report.
func TestNoAnswer(t *testing.T) {
	run, trust := world(t, `{}`)
	for want, q := range map[string]*Request{
		"Not started":    {Evidence: []File{run}, Trust: []File{trust}, Run: "run_1"},
		"Not finished":   {Evidence: []File{run, {"b", func() io.Reader { return brokenReader{} }}}, Trust: []File{trust}},
		"Internal error": {Evidence: []File{run, {"b", func() io.Reader { panic("at\x1b the disco") }}}, Trust: []File{trust}},
	} {
		a := Of(q)
		text, _ := shownText(t, a)
		if a.Outcome != "" || a.Word != want || a.Report != "" || !strings.Contains(text, want) || strings.Contains(text, "VERIFIED") || strings.ContainsRune(a.Says+text, 0x1b) {
			t.Errorf("expected %s and nothing else, found %+v: %q", want, a, text)
		}
	}
}
