package story

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/raced"
	"ledgerd/internal/report"
	"ledgerd/internal/report/forms"
)

func told(t *testing.T, p *report.Page, width int) string {
	t.Helper()
	var out bytes.Buffer
	text := forms.Text{W: &out, Width: width}
	if err := text.Page(p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func html(t *testing.T, p *report.Page) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.HTML(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A run in which everything happens, as a person is told of it.
func TestTell(t *testing.T) {
	p := Tell(rich(t, func(name string) string { return "It is " + name + "." }).read(t))
	p.Input = "rich.bundle"
	golden(t, "report.txt", []byte(told(t, p, 100)))
	golden(t, "report.html", []byte(html(t, p)))
}

// What terminals and browsers obey reaches neither.
func TestRow70NothingRunsInAPage(t *testing.T) {
	p := Tell(rich(t, func(string) string { return evil }).read(t))
	p.Input = evil
	var j bytes.Buffer
	if err := p.JSON(&j); err != nil {
		t.Fatal(err)
	}
	page := html(t, p)
	for form, text := range map[string]string{"text": told(t, p, 80), "narrow": told(t, p, 40), "json": j.String(), "html": page} {
		if strings.ContainsAny(text, "\x1b\u202e\U000e0041\r") {
			t.Errorf("%s: %q", form, text)
		}
		if n := strings.Count(text, "evil.example"); n < 20 && form != "narrow" {
			t.Errorf("%s: the text is shown only %d times", form, n)
		}
	}
	pure(t, page)
	// No line of a text stands where the program's own words do.
	for line := range strings.SplitSeq(told(t, p, 80), "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "'\"") {
			t.Errorf("a line of a text stands by itself: %q", line)
		}
	}
}

// pure holds an HTML page to what it promises: well-formed, no element but those
// of the program, none that runs, fetches or sends anything, and no attribute that
// could.
func pure(t *testing.T, page string) {
	t.Helper()
	elements := []string{
		"html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "section", "nav", "main", "ul", "li", "a", "span", "dl", "dt", "dd",
		"figure", "figcaption", "blockquote", "br",
	}
	attributes := []string{"lang", "xmlns", "charset", "http-equiv", "content", "name", "class", "id", "aria-label", "aria-hidden", "href"}
	policy := false
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if !slices.Contains(elements, el.Name.Local) {
			t.Errorf("an element %s", el.Name.Local)
		}
		for _, a := range el.Attr {
			if !slices.Contains(attributes, a.Name.Local) {
				t.Errorf("an attribute %s of %s", a.Name.Local, el.Name.Local)
			}
			if a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") {
				t.Errorf("a reference to %s", a.Value)
			}
			if a.Name.Local == "content" && strings.HasPrefix(a.Value, "default-src 'none'; style-src 'sha256-") {
				policy = true
			}
		}
	}
	if !policy {
		t.Error("the policy of the page is missing")
	}
	for _, no := range []string{"url(", "@import", "<script", "<img", "onerror=\"", "unsafe-"} {
		if strings.Contains(page, no) {
			t.Errorf("the page has %q", no)
		}
	}
}

// Every vector is told, with the answer of the audit and with what the audit says of
// its claims, in every form.
func TestTellVectors(t *testing.T) {
	raced.Skip(t)
	n := 0
	for _, dir := range []string{"bundle", "verdicts", "handoffs"} {
		var trusts []*bundle.Trust
		for _, name := range []string{"trust.json", "both.json", "other.json"} {
			b, err := os.ReadFile(filepath.Join("../../testdata", dir, name))
			if err != nil {
				continue
			}
			trust, err := bundle.ParseTrust(b)
			if err != nil {
				t.Fatal(err)
			}
			trusts = append(trusts, trust)
		}
		files, err := filepath.Glob(filepath.Join("../../testdata", dir, "*.bundle"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, trust := range trusts {
				want, wantErr := audit.VerifyBundle(bytes.NewReader(b), trust, audit.Options{})
				x, err := ReadBundle(bytes.NewReader(b), trust, audit.Options{})
				if (err == nil) != (wantErr == nil) {
					t.Errorf("%s: %v, where the audit says %v", file, err, wantErr)
				}
				if err != nil {
					continue
				}
				n++
				p := Tell(x)
				if p.Outcome != outcome(want.Status()) {
					t.Errorf("%s: told to be %s, and is %s", file, p.Outcome, want.Status())
				}
				if (p.Outcome == report.Verified) != (len(p.Why) == 0) {
					t.Errorf("%s: %s for %d reasons", file, p.Outcome, len(p.Why))
				}
				text, page := told(t, p, 120), html(t, p)
				pure(t, page)
				for _, v := range want.Verdicts {
					if !v.Verdict.Claim.IsZero() && !strings.Contains(text, "claimed: "+in(results, v.Verdict.Result)[:8]) {
						t.Errorf("%s: a claim is %s, and nothing says so", file, v.Verdict.Result)
					}
				}
				first := want.Rule(audit.RuleSignature).Findings
				if len(first) > 0 && first[0].Reason == audit.ReasonUntrusted && (strings.Contains(text, ": done.") || strings.Contains(text, "✓")) {
					t.Errorf("%s: under a trust file that does not name the ledger something is called done", file)
				}
				for _, rec := range x.records[max(len(x.records)-3, 0):] {
					e, err := Explain(x, rec.id.String())
					if err != nil {
						t.Fatal(err)
					}
					if e.Outcome != p.Outcome {
						t.Errorf("%s: explained as %s", file, e.Outcome)
					}
				}
			}
		}
	}
	if n < 150 {
		t.Errorf("only %d were told", n)
	}
}

// section returns the text of one section.
func (s *scene) section(t *testing.T, name string) string {
	t.Helper()
	p := Tell(s.read(t))
	i := slices.IndexFunc(p.Sections, func(x report.Section) bool { return x.Name == name })
	p.Sections, p.Why = p.Sections[i:i+1], nil
	return told(t, p, 200)
}

func runScene(w *audittest.World, r *audittest.Run, withhold map[evidence.Digest]bool) *scene {
	return &scene{w.Bundle(audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: w.RunIndexes(r.ID), Withhold: withhold}), w.Trust(), w, r}
}

// What went wrong is told where a person looks for it.
func TestTellsWhatWentWrong(t *testing.T) {
	for name, c := range map[string]struct {
		section string
		want    string
		not     string
		make    func(w *audittest.World) *scene
	}{
		"denied and done all the same": {section: "happened", want: "✗ delete, by the tool email_sender: denied, and attempted all the same", make: func(w *audittest.World) *scene {
			r := w.Open(nil)
			r.Execute(r.Authorize("delete", `{}`, func(b *evidence.Authorization) { b.Effect = evidence.Deny }), evidence.StatusSuccess, nil)
			return runScene(w, r, nil)
		}},
		"never attempted": {section: "contract", want: "✗ refund must have been done (item 1 of the contract): unsupported", make: func(w *audittest.World) *scene {
			r := w.OpenWith(`{"contract":"v1","task":"complaint","expects":[{"action":"refund"}]}`)
			r.Close(evidence.Completed)
			return runScene(w, r, nil)
		}},
		"no contract": {section: "contract", want: "Nobody declared what had to be done", make: func(w *audittest.World) *scene {
			return runScene(w, w.Open(nil), nil)
		}},
		"contract withheld": {section: "contract", want: "It is not disclosed", make: func(w *audittest.World) *scene {
			r := w.OpenWith(`{"contract":"v1","task":"complaint","expects":[{"action":"refund"}]}`)
			return runScene(w, r, map[evidence.Digest]bool{r.Body.Contract.Document.Commit: true})
		}},
		"in doubt": {section: "happened", want: "? refund, by the tool email_sender: in doubt", not: "✓", make: func(w *audittest.World) *scene {
			r := w.Open(nil)
			r.Authorize("refund", `{}`, nil)
			return runScene(w, r, nil)
		}},
		"not enforced": {section: "observed", want: `refund: the permission check said "deny", and was not enforced`, make: func(w *audittest.World) *scene {
			r := w.Open(nil)
			r.Execute(r.Authorize("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Mode = evidence.Deny, evidence.Observe }), evidence.StatusSuccess, nil)
			return runScene(w, r, nil)
		}},
		"words alone": {section: "claims", want: "words alone", make: func(w *audittest.World) *scene {
			r := w.Open(nil)
			r.Claim()
			return runScene(w, r, nil)
		}},
		"refused": {section: "approvals", want: "ann refused refund.", not: "ann approved", make: func(w *audittest.World) *scene {
			r := w.Open(nil)
			a := r.Authorize("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Team = evidence.Escalate, audittest.Team })
			r.Beside(audittest.Human, a.ID, &evidence.Approval{Answer: evidence.Refuse})
			return runScene(w, r, nil)
		}},
		"an approval that somebody else signed": {section: "approvals", want: "not counted: nobody can be shown to have signed this", not: "✓", make: func(w *audittest.World) *scene {
			r := w.Open(nil)
			a := r.Authorize("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Team = evidence.Escalate, audittest.Team })
			r.Append(&evidence.Record{Run: r.ID, About: a.ID, Actor: audittest.Human, Body: &evidence.Approval{Answer: evidence.Approve, Until: w.Clock + 1_000_000}}, audittest.Tool)
			return runScene(w, r, nil)
		}},
		"the bundle is withheld": {section: "handed", want: "not decidable here: the bundle that was accepted is not disclosed", not: "✓", make: func(w *audittest.World) *scene {
			g := audittest.Named(t, "giver.example/log")
			from := g.Open(nil)
			r, id := take(w, from, offerTo(from, w, "x", g.Commit(`"n"`)))
			var commit evidence.Digest
			for _, p := range w.Placed {
				if p.ID == id {
					commit = p.Record.Body.(*evidence.HandoffAccepted).Bundle.Commit
				}
			}
			return runScene(w, r, map[evidence.Digest]bool{commit: true})
		}},
		"the giver lied": {section: "handed", want: "what the work is worth: unsupported", make: func(w *audittest.World) *scene {
			g := audittest.Named(t, "giver.example/log")
			from := g.Open(nil)
			from.Claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "ship"})
			r, _ := take(w, from, offerTo(from, w, "x", g.Commit(`"n"`)))
			s := runScene(w, r, nil)
			s.trust.Ledgers = append(s.trust.Ledgers, g.Trust().Ledgers...)
			return s
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.make(audittest.New(t)).section(t, c.section)
			if !strings.Contains(got, c.want) {
				t.Errorf("expected %q in\n%s", c.want, got)
			}
			if c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("expected no %q in\n%s", c.not, got)
			}
		})
	}
}

// Of long texts the beginning is shown, and their size; and never half a character.
func TestTellCutsTexts(t *testing.T) {
	w := audittest.New(t)
	long := w.CommitAs("text/plain", strings.Repeat("ä", 1_000_001))
	r := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Intent = &long })
	p := Tell(runScene(w, r, nil).read(t))
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 30_000 || !strings.Contains(told(t, p, 100), "the beginning of 2000002 bytes of text/plain") {
		t.Errorf("%d bytes of page\n%s", len(b), told(t, p, 100))
	}
	// A text that begins in the middle of a character is cut before it.
	if got := excerpt([]byte("aä")[:2]); got != "a" {
		t.Errorf("%q", got)
	}
}

// A text that is not the one that the record commits to is not shown as if it were.
func TestTellForgedText(t *testing.T) {
	trustFile, err := os.ReadFile("../../testdata/bundle/trust.json")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := bundle.ParseTrust(trustFile)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("../../testdata/bundle/done.bundle")
	if err != nil {
		t.Fatal(err)
	}
	b64 := func(s string) []byte { return []byte(base64.RawURLEncoding.EncodeToString([]byte(s))) }
	b = bytes.ReplaceAll(b, b64(`{"amount":30}`), b64(`{"amount":31}`))
	x, err := ReadBundle(bytes.NewReader(b), trust, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := told(t, Tell(x), 100)
	if strings.Contains(text, `"amount":31`) || !strings.Contains(text, "Disclosed, and not what was committed to: input that was checked") {
		t.Errorf("the forged text is shown, or not told of:\n%s", text)
	}
}

// Whose signature does not verify did not sign, and it is not said that they did.
func TestForgedSignature(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	good := r.Authorize("refund", `{}`, nil)
	w.Placed = w.Placed[:len(w.Placed)-1]
	entry := bytes.Clone(good.Entry)
	at := bytes.LastIndexByte(entry, '.') + 60
	entry[at] = map[bool]byte{true: 'B', false: 'A'}[entry[at] == 'A']
	forged := w.AppendEntry(entry)
	s := runScene(w, r, nil)
	x := s.read(t)
	p, err := Explain(x, forged.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	if text := told(t, p, 200); p.Outcome != report.Wrong || !strings.Contains(text, "✗ Nobody can be shown to have signed it") || strings.Contains(text, "✓ runtime-01") {
		t.Errorf("a forged signature is explained so:\n%s", text)
	}
	if text := s.section(t, "happened"); !strings.Contains(text, "not counted: nobody can be shown to have signed this") {
		t.Errorf("a forged signature is told so:\n%s", text)
	}
}

// Under a tree head that a stranger signed nothing is shown to be so, though every
// record is what it was.
func TestTellStrangersHead(t *testing.T) {
	w := audittest.New(t)
	trust := w.Trust()
	r := w.Open(nil)
	done := r.Do("refund", `{}`)
	w.LogKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	s := runScene(w, r, nil)
	s.trust = trust
	x := s.read(t)
	p, err := Explain(x, done.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*report.Page{p, Tell(x)} {
		if text := told(t, p, 100); p.Outcome != report.Undecidable || strings.Contains(text, "✓") || strings.Contains(text, ": done.") {
			t.Errorf("told so:\n%s", text)
		}
	}
}

// Of long lists the beginning is told, and how much more there is.
func TestTellCutsLists(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	for range maxTold + 7 {
		r.Authorize("refund", `{}`, nil)
	}
	text := runScene(w, r, nil).section(t, "happened")
	if n := strings.Count(text, "? refund, by the tool"); n != maxTold || !strings.Contains(text, "… and 7 more") {
		t.Errorf("%d are told, and of the others is said: %q", n, text[max(len(text)-200, 0):])
	}
}

// What was accepted and cannot be read to its end is told as that.
func TestTellBrokenBundleWithin(t *testing.T) {
	w, g := audittest.New(t), audittest.Named(t, "giver.example/log")
	from := g.Open(nil)
	offer := offerTo(from, w, "x", g.Commit(`"n"`))
	over := g.Bundle(audittest.Bundling{Header: bundle.OfferHeader(g.Origin, offer.ID), Indexes: g.RunIndexes(from.ID)})
	r := w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
		b.Acceptance = w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
			Offer: offer.ID, Origin: g.Origin, Opens: rec.Run, Bundle: w.CommitAs(bundle.Media, string(over[:len(over)-20])),
			Head: evidence.HeadRef{Size: 1, Root: evidence.Digest(g.Root(1))},
		}}, audittest.Runtime).ID
	})
	s := runScene(w, r, nil)
	if text := s.section(t, "handed"); !strings.Contains(text, "✗ support took work over") || !strings.Contains(text, "no bundle that can be read") {
		t.Errorf("told so:\n%s", text)
	}
	if _, err := Explain(s.read(t), offer.ID.String()); !errors.Is(err, ErrRecord) {
		t.Errorf("expected ErrRecord, found %v", err)
	}
}
