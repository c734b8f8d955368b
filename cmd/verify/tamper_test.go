package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/inspect"
	"ledgerd/internal/raced"
	"ledgerd/internal/report"
	"ledgerd/internal/report/forms"
)

// TestTampered changes small files that hold, in every way that changes lists, and has
// each judged as the command judges it. None holds any more, but for the changes without
// meaning, which are listed with each file; and none gets anything but an answer.
//
// Short tests take every 47th change. LEDGERD_TEST_TAMPER=all has every bit of every file
// turned, and takes minutes.
func TestTampered(t *testing.T) {
	raced.Skip(t)
	percent := debug.SetGCPercent(800) // readers have large buffers, which are soon garbage
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	for _, s := range tamperSamples(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.tamper(t)
		})
	}
}

// A tamperSample is a file, and whom its verifier trusts.
type tamperSample struct {
	name        string
	file        []byte
	trust       *bundle.Trust
	others      [][]byte // files like it, whose parts it is spliced with; they hold too
	meaningless []meaningless
	header      bool // of its bytes only those of the first line: the others are as in other samples
}

// A meaningless change may leave a file that holds. docs/bundle-format.md lists them.
type meaningless struct {
	how   string // the changes, as changes calls them, with spaces between
	where string // they lie within this text, wherever in the file it is
	why   string
	// less removes from a report what the change may have it say otherwise; nil:
	// nothing may.
	less func(*report.Report)
}

// Another header is another true statement about the same records: the report says
// which, and whoever asked for a run or a subject is told where it is about another.
func aboutLess(r *report.Report) { r.About, r.Summary = "", "" }

// One cosignature less is a witness less, and the report names those that are left.
func witnessesLess(r *report.Report) { r.Scope.Witnesses, r.Summary = nil, "" }

// A tree head less is nothing that the others could contradict.
func headLess(r *report.Report) {
	r.Rules = slices.DeleteFunc(slices.Clone(r.Rules), func(x report.Rule) bool { return x.Rule == string(audit.RuleConsistency) })
}

// What is left of a receipt without its proof is its tree head.
func headAlone(r *report.Report) {
	*r = report.Report{Outcome: r.Outcome, Origin: r.Origin, Scope: &report.Scope{Size: r.Scope.Size, Root: r.Scope.Root}}
}

// A report has tree heads that contradict each other as they stand in the file.
func notesLess(r *report.Report) {
	var texts [][2]string
	for _, pair := range r.Equivocation {
		one, _, _ := strings.Cut(pair[0], "\n\n")
		two, _, _ := strings.Cut(pair[1], "\n\n")
		texts = append(texts, [2]string{one, two})
	}
	r.Equivocation = texts
}

func (s *tamperSample) tamper(t *testing.T) {
	var wants []*report.Report
	originals := append([][]byte{s.file}, s.others...)
	for _, b := range originals {
		want, err := s.judge(b)
		if err != nil || !holds(want) {
			t.Fatalf("the file itself does not hold: %+v, %v", want, err)
		}
		wants = append(wants, want)
	}
	hit, n := make([]int, len(s.meaningless)), 0
	for c := range s.changes() {
		if slices.ContainsFunc(originals, func(o []byte) bool { return bytes.Equal(c.file, o) }) {
			continue // equal lines were swapped, or the parts are all of one file
		}
		n++
		if testing.Short() && n%47 != 0 || !s.whole(n, c.file) {
			continue
		}
		got, err := s.judge(c.file)
		if err == nil && n%50 == 0 {
			err = printed(got)
		}
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		if !holds(got) {
			s.answers(t, c, got)
			continue
		}
		i := slices.IndexFunc(s.meaningless, func(m meaningless) bool { return m.allows(c) })
		if i < 0 {
			t.Errorf("%s: holds all the same", c)
			continue
		}
		hit[i]++
		want := wants[slices.IndexFunc(originals, func(o []byte) bool { return bytes.Equal(o, c.of) })]
		if one, two := said(want, s.meaningless[i].less), said(got, s.meaningless[i].less); one != two {
			t.Errorf("%s: expected the same report as before\n%s\nfound\n%s", c, one, two)
		}
	}
	for i, m := range s.meaningless {
		if hit[i] == 0 && !testing.Short() {
			t.Errorf("%s: no file that was changed so holds: %s", m.how, m.why)
		}
	}
	t.Logf("%d changes of %d bytes, without meaning: %v", n, len(s.file), hit)
}

// judge answers as verify FILE does.
func (s *tamperSample) judge(file []byte) (r *report.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if r, err = inspect.File("-", bytes.NewReader(file), s.trust, audit.Options{}, inspect.NewHeadBook(s.trust)); err != nil {
		return nil, err
	}
	return r, nil
}

// printed says whether a report can be written in every form.
func printed(r *report.Report) error {
	text := forms.Text{W: io.Discard}
	return errors.Join(text.Write(r), report.JSON(io.Discard, r), forms.SARIF(io.Discard, descriptions, r), forms.JUnit(io.Discard, r))
}

// holds says whether a file proves what it means to: a proof of equivocation, that its
// log is wrong.
func holds(r *report.Report) bool {
	return r.Outcome == report.Verified || r.Form == "proof of equivocation" && len(r.Equivocation) > 0
}

// answers holds the answer to a file that does not hold to what may be said of one.
func (s *tamperSample) answers(t *testing.T, c change, r *report.Report) {
	t.Helper()
	if len(r.Equivocation) > 0 {
		t.Errorf("%s: the log is said to contradict itself", c)
	}
	said := map[report.Status]int{}
	for _, rule := range r.Rules {
		for _, f := range rule.Findings {
			said[f.Status]++
		}
	}
	switch {
	case r.Outcome == report.Malformed && r.Error != "" && len(r.Rules) == 0:
	case r.Outcome == report.Wrong && said[report.Broken] > 0 && s.name != "proof":
	case r.Outcome == report.Undecidable && said[report.Broken] == 0 && said[report.NotDecided] > 0:
	default:
		t.Errorf("%s: an answer without a reason: %+v", c, r)
	}
	if c.how == "cut" && bytes.HasPrefix(c.file, []byte(`{"bundle":`)) && r.Outcome != report.Malformed {
		t.Errorf("%s: expected a bundle without its end to be malformed, found %s", c, r.Outcome)
	}
}

// said is a report without what may differ.
func said(r *report.Report, less func(*report.Report)) string {
	if less != nil {
		c := *r
		if r.Scope != nil {
			scope := *r.Scope
			c.Scope = &scope
		}
		less(&c)
		r = &c
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// A change is a file that was changed between two places of the original.
type change struct {
	how      string
	of       []byte // the original
	from, to int
	file     []byte
}

func (c change) String() string {
	return fmt.Sprintf("%s at %d, %q", c.how, c.from, c.of[c.from:min(c.to, c.from+80)])
}

func (m meaningless) allows(c change) bool {
	if !slices.Contains(strings.Fields(m.how), c.how) {
		return false
	}
	for at := 0; ; at++ {
		i := bytes.Index(c.of[at:], []byte(m.where))
		if i < 0 {
			return false
		}
		if at += i; at <= c.from && c.to <= at+len(m.where) {
			return true
		}
	}
}

// changes are those of bytes, lines and JSON, and the file with parts of others.
func (s *tamperSample) changes() iter.Seq[change] {
	return func(yield func(change) bool) {
		for _, all := range []iter.Seq[change]{s.byteChanges(), s.cuts(), s.lineChanges(), s.jsonChanges(), s.splices()} {
			for c := range all {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// byteChanges have one byte take another value: one bit of it is turned; every fourth is
// a newline too. Of a bundle in a bundle, whose bytes all go into one hash, it is every
// fifth byte.
func (s *tamperSample) byteChanges() iter.Seq[change] {
	return func(yield func(change) bool) {
		end := len(s.file)
		if s.header {
			end = bytes.IndexByte(s.file, '\n') + 1
		}
		from := bytes.Index(s.file, []byte(`{"data":"`+base64.RawURLEncoding.EncodeToString([]byte(`{"bundle":`))[:12]))
		to := from + bytes.IndexByte(s.file[max(from, 0):], '\n')
		for i := range end {
			if from < i && i < to && i%5 != 0 && !s.small() {
				continue
			}
			for _, b := range s.otherValues(i) {
				file := bytes.Clone(s.file)
				file[i] = b
				if !yield(change{"byte", s.file, i, i + 1, file}) {
					return
				}
			}
		}
	}
}

// small says whether every bit is turned, and not one of each byte.
func (s *tamperSample) small() bool {
	return len(s.file) < 1000 || s.header || os.Getenv("LEDGERD_TEST_TAMPER") == "all"
}

func (s *tamperSample) otherValues(i int) []byte {
	b := s.file[i]
	if !s.small() {
		return []byte{b ^ 1<<(i%8), '\n'}[:2-min(1, i%4)]
	}
	all := []byte{'\n', 0}
	for bit := range 8 {
		all = append(all, b^1<<bit)
	}
	return all
}

// cuts leave out the end, or the beginning: of bundles, to every fourth byte.
func (s *tamperSample) cuts() iter.Seq[change] {
	return func(yield func(change) bool) {
		for i := len(s.file) - 1; i > 0; i-- {
			if !yield(change{"cut", s.file, i, len(s.file), s.file[:i]}) {
				return
			}
			if (i%4 == 0 || !bytes.HasPrefix(s.file, []byte(`{"bundle":`))) && !yield(change{"beheaded", s.file, 0, i, s.file[i:]}) {
				return
			}
		}
	}
}

// lineChanges drop, double and swap lines: those of the file, and those of a note that
// lies in a string of it.
func (s *tamperSample) lineChanges() iter.Seq[change] {
	return func(yield func(change) bool) {
		lines := pieces(s.file, piece{0, len(s.file)}, "\n")
		if !s.moved(lines, yield) {
			return
		}
		for _, line := range lines {
			if parts := pieces(s.file, line, `\n`); len(parts) > 1 && !s.moved(parts, yield) {
				return
			}
		}
	}
}

// A piece of a file.
type piece struct{ from, to int }

// pieces are the parts of a piece that end with end.
func pieces(file []byte, of piece, end string) []piece {
	var all []piece
	at := of.from
	for part := range bytes.SplitAfterSeq(file[of.from:of.to], []byte(end)) {
		if len(part) > 0 {
			all = append(all, piece{at, at + len(part)})
		}
		at += len(part)
	}
	return all
}

// moved drops each piece, doubles it, and swaps it with each that comes after it.
func (s *tamperSample) moved(parts []piece, yield func(change) bool) bool {
	f := s.file
	for i, p := range parts {
		if !yield(change{"dropped", f, p.from, p.to, slices.Concat(f[:p.from], f[p.to:])}) ||
			!yield(change{"doubled", f, p.from, p.to, slices.Concat(f[:p.to], f[p.from:])}) {
			return false
		}
		for _, q := range parts[i+1:] {
			if !yield(change{"swapped", f, p.from, q.to, slices.Concat(f[:p.from], f[q.from:q.to], f[p.to:q.from], f[p.from:p.to], f[q.to:])}) {
				return false
			}
		}
	}
	return true
}

// jsonChanges change members and elements of the JSON values in the file.
func (s *tamperSample) jsonChanges() iter.Seq[change] {
	return func(yield func(change) bool) {
		if s.file[0] != '{' {
			return
		}
		for _, line := range pieces(s.file, piece{0, len(s.file)}, "\n") {
			for _, list := range lists(s.file[line.from:line.to]) {
				for i := range list {
					list[i].from += line.from
					list[i].to += line.from
					list[i].value += line.from
				}
				if !s.listChanges(list, yield) {
					return
				}
			}
		}
	}
}

// listChanges drop each item of a list with its comma, double it, put a space before it,
// swap it with the next; and have it be null, be called by its name in another case, or
// be about a thing of another kind.
func (s *tamperSample) listChanges(list []item, yield func(change) bool) bool {
	f := s.file
	put := func(how string, from, to int, text ...string) bool {
		return yield(change{how, f, from, to, slices.Concat(f[:from], []byte(strings.Join(text, "")), f[to:])})
	}
	for i, x := range list {
		text := string(f[x.from:x.to])
		ok := put("item-doubled", x.from, x.to, text, ",", text) && put("space", x.from, x.from, " ") &&
			put("null", x.value, x.to, "null") && put("item-dropped", x.from, x.to)
		switch {
		case i > 0:
			ok = ok && put("item-dropped", list[i-1].to, x.to)
		case len(list) > 1:
			ok = ok && put("item-dropped", x.from, list[1].from)
		}
		if i+1 < len(list) {
			next := list[i+1]
			ok = ok && put("item-swapped", x.from, next.to, string(f[next.from:next.to]), ",", text)
		}
		if x.value > x.from {
			ok = ok && put("renamed", x.from, x.from+2, strings.ToUpper(text[:2])) && put("value", x.value, x.to, `""`) && put("value", x.value, x.to, "{}")
		}
		if strings.HasPrefix(text, `"kind":`) {
			for _, kind := range []bundle.AboutKind{bundle.AboutRun, bundle.AboutRange, bundle.AboutRecord, bundle.AboutOffer} {
				ok = ok && put("kind", x.value, x.to, `"`+string(kind)+`"`)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// An item is a member of an object, or an element of an array: where it begins, where
// its value does, and where that ends.
type item struct{ from, value, to int }

// lists are the items of every object and array in a JSON text without white space.
func lists(text []byte) [][]item {
	var all [][]item
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	var walk func() error
	walk = func() error {
		tok, err := dec.ReadToken()
		if err != nil || tok.Kind() != '{' && tok.Kind() != '[' {
			return err
		}
		inside, list := tok.Kind(), []item(nil)
		for dec.PeekKind() != '}' && dec.PeekKind() != ']' {
			x := item{from: int(dec.InputOffset())}
			if text[x.from] == ',' {
				x.from++
			}
			x.value = x.from
			if inside == '{' {
				if _, err := dec.ReadToken(); err != nil {
					return err
				}
				x.value = int(dec.InputOffset()) + 1
			}
			if err := walk(); err != nil {
				return err
			}
			x.to = int(dec.InputOffset())
			list = append(list, x)
		}
		all = append(all, list)
		_, err = dec.ReadToken()
		return err
	}
	if err := walk(); err != nil {
		panic(err) // the file is one that holds
	}
	return all
}

// splices are the beginning of the file with the end of another one, and the other way
// round, cut at every line.
func (s *tamperSample) splices() iter.Seq[change] {
	return func(yield func(change) bool) {
		for _, other := range s.others {
			for _, a := range pieces(s.file, piece{0, len(s.file)}, "\n")[1:] {
				for _, b := range pieces(other, piece{0, len(other)}, "\n")[1:] {
					if !yield(change{"spliced", s.file, a.from, len(s.file), slices.Concat(s.file[:a.from], other[b.from:])}) ||
						!yield(change{"spliced", other, b.from, len(other), slices.Concat(other[:b.from], s.file[a.from:])}) {
						return
					}
				}
			}
		}
	}
}

// whole says whether a change is judged whole. What the reader of bundles refuses for
// its form is malformed whatever the audit found before: of those every fiftieth is.
func (s *tamperSample) whole(n int, file []byte) bool {
	if !bytes.HasPrefix(file, []byte(`{"bundle":`)) || n%50 == 0 {
		return true
	}
	r := bundle.NewReader(bytes.NewReader(file))
	for {
		_, err := r.Next()
		var form *bundle.FormatError
		switch {
		case errors.As(err, &form):
			return false
		case err != nil:
			return true
		}
	}
}
