package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/raced"
	"ledgerd/ledger/tlog"
)

func trustOfLog(t testing.TB) *Trust {
	_, vkey := logSigner(t, origin, "log")
	return newTrust(t, "log "+vkey+"\nquorum none\n")
}

func TestRoundTrip(t *testing.T) {
	b := sample(t)
	if err := read(bytes.NewReader(b), trustOfLog(t)); err != nil {
		t.Fatal(err)
	}
	if Sniff(b[:SniffLen]) != FormBundle {
		t.Error("a bundle is not seen to be one")
	}
	if !bytes.Equal(b, sample(t)) {
		t.Error("the same bundle was written in two ways")
	}
}

// Any set of records, under any heads, gives the roots that RFC 6962 gives.
func TestFoldGivesTheRootsOfRFC6962(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + rnd.IntN(70)
		leaves := leavesOf(n)
		sizes := []uint64{uint64(n)}
		for range rnd.IntN(4) {
			sizes = append(sizes, uint64(rnd.IntN(n+1)))
		}
		slices.Sort(sizes)
		var indexes []uint64
		for i := range n {
			if rnd.IntN(1+rnd.IntN(12)) == 0 {
				indexes = append(indexes, uint64(i))
			}
		}
		f := newFold(sizes)
		seen := map[span]bool{}
		for _, i := range append(slices.Clone(indexes), uint64(n)) {
			for _, s := range f.gap(i) {
				if seen[s] {
					t.Fatalf("node %v comes twice", s)
				}
				seen[s] = true
				f.push(s, naiveRoot(leaves[s.lo:s.hi]))
			}
			if i < uint64(n) {
				f.push(span{i, i + 1}, tlog.LeafHash(leaves[i]))
			}
		}
		if len(f.roots) != len(sizes) {
			t.Fatalf("sizes %v: %d roots", sizes, len(f.roots))
		}
		for i, size := range sizes {
			if f.roots[i] != naiveRoot(leaves[:size]) {
				t.Fatalf("sizes %v, indexes %v: root of size %d differs", sizes, indexes, size)
			}
		}
	}
}

// Under one head the nodes are those of tlog.SetNodes, so that a log's node
// sets fit a bundle.
func TestGapsAreTheNodeSet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		n := uint64(1 + rnd.IntN(5000))
		var indexes []uint64
		for i := range n {
			if rnd.IntN(50) == 0 {
				indexes = append(indexes, i)
			}
		}
		want, err := tlog.SetNodes(n, indexes)
		if err != nil {
			t.Fatal(err)
		}
		f := newFold([]uint64{n})
		var got []span
		for _, i := range append(slices.Clone(indexes), n) {
			for _, s := range f.gap(i) {
				got = append(got, s)
				f.push(s, tlog.Hash{})
			}
			if i < n {
				f.push(span{i, i + 1}, tlog.Hash{})
			}
		}
		if len(got) != len(want) {
			t.Fatalf("size %d: %d nodes, SetNodes has %d", n, len(got), len(want))
		}
		for i, w := range want {
			lo := w.Index << w.Level
			if got[i] != (span{lo, min(lo+1<<w.Level, n)}) {
				t.Fatalf("size %d: node %d is %v, SetNodes has %v", n, i, got[i], w)
			}
		}
	}
}

func TestThousandRecordsNeedFewNodes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	most := 0
	for range 20000 {
		size := 1000 + rnd.Uint64N(1<<32)
		from := rnd.Uint64N(size - 999)
		f := newFold([]uint64{size})
		n := len(f.gap(from))
		f.next = from + 1000
		most = max(most, n+len(f.gap(size)))
	}
	if most >= 64 {
		t.Errorf("1,000 consecutive records take %d nodes, expected fewer than 64", most)
	}
	t.Logf("at most %d nodes", most)
}

func TestEveryLineCounts(t *testing.T) {
	raced.Skip(t)
	trust := trustOfLog(t)
	lines := splitLines(sample(t))
	check := func(what string, changed []string) {
		t.Helper()
		if slices.Equal(changed, lines) {
			return
		}
		if err := read(strings.NewReader(strings.Join(changed, "")), trust); err == nil {
			t.Errorf("%s: passed", what)
		}
	}
	for i := range lines {
		check(fmt.Sprintf("line %d dropped", i+1), slices.Delete(slices.Clone(lines), i, i+1))
		check(fmt.Sprintf("line %d doubled", i+1), slices.Insert(slices.Clone(lines), i, lines[i]))
		for j := range i {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			check(fmt.Sprintf("lines %d and %d swapped", j+1, i+1), swapped)
		}
	}
	for n := range len(lines) {
		check(fmt.Sprintf("cut off after %d lines", n), lines[:n])
	}
}

// A flipped bit anywhere but in the header, which is compared with what the
// records say and not with itself, is found. What verify says of a whole file that
// was changed, cmd/verify tests.
func TestEveryByteCounts(t *testing.T) {
	raced.Skip(t)
	trust := trustOfLog(t)
	b := smallSample(t)
	start := bytes.IndexByte(b, '\n')
	for i := start; i < len(b); i++ {
		for bit := range 8 {
			if testing.Short() && bit != i%8 {
				continue
			}
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			if err := read(bytes.NewReader(c), trust); err == nil {
				t.Fatalf("byte %d changed from %q to %q: passed", i, b[i], c[i])
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	good := string(sample(t))
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	const about = `"about":{"kind":"run","run":"run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"}`
	lines := splitLines([]byte(good))
	header, head := lines[0], lines[1]
	if err := read(strings.NewReader(replace(about, `"about":{"kind":"record","record":"ev_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ"}`)), trustOfLog(t)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":                  "",
		"no newline at the end":  strings.TrimSuffix(good, "\n"),
		"something after":        good + "\n",
		"another bundle after":   good + good,
		"carriage returns":       strings.ReplaceAll(good, "\n", "\r\n"),
		"empty line":             replace("\n", "\n\n"),
		"white space":            replace(`,"about"`, `, "about"`),
		"white space in a line":  replace(`{"record":{"index":3`, `{"record":{ "index":3`),
		"another order":          replace(`{"index":8,"left":["W2aA4wNdupuKIh7oGegF4cF7MzzWZmTnZALqQ9e2SoM"],"jws":"entry-8"}`, `{"index":8,"jws":"entry-8","left":["W2aA4wNdupuKIh7oGegF4cF7MzzWZmTnZALqQ9e2SoM"]}`),
		"needless escape":        replace(`"jws":"entry-8"`, `"jws":"\u0065ntry-8"`),
		"number with exponent":   replace(`"index":8,`, `"index":8e0,`),
		"number with fraction":   replace(`"index":8,`, `"index":8.0,`),
		"number as text":         replace(`"index":8,`, `"index":"8",`),
		"negative number":        replace(`"index":0,`, `"index":-0,`),
		"byte order mark":        "\ufeff" + good,
		"unknown member":         replace(`"origin"`, `"x":1,"origin"`),
		"unknown in a line":      replace(`"jws":"entry-8"`, `"jws":"entry-8","x":1`),
		"duplicate member":       replace(`"origin":"`+origin+`"`, `"origin":"`+origin+`","origin":"`+origin+`"`),
		"duplicate in a line":    replace(`"jws":"entry-8"`, `"jws":"entry-8","jws":"entry-8"`),
		"other case":             replace(`"origin"`, `"Origin"`),
		"newer version":          replace(`"v1"`, `"v2"`),
		"origin with a space":    replace(origin+`","about`, `o o","about`),
		"origin with a plus":     replace(origin+`","about`, `o+o","about`),
		"no origin":              replace(`"origin":"`+origin+`",`, ``),
		"kind and member differ": replace(`"kind":"run"`, `"kind":"record"`),
		"run that is none":       replace("run_0197f3c2", "run_0197F3C2"),
		"record misspelt":        replace(about, `"about":{"kind":"record","record":"ev_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAF"}`),
		"range upside down":      replace(about, `"about":{"kind":"range","from":5,"to":5}`),
		"range half":             replace(about, `"about":{"kind":"range","from":5}`),
		"range and run":          replace(about, about[:len(about)-1]+`,"from":0,"to":1}`),
		"run and half a range":   replace(about, about[:len(about)-1]+`,"from":5}`),
		"run and record":         replace(about, about[:len(about)-1]+`,"record":"ev_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ"}`),
		"range with a run":       replace(about, strings.Replace(about[:len(about)-1], `"kind":"run"`, `"kind":"range"`, 1)+`,"from":0,"to":1}`),
		"range of nothing":       replace(about, `"about":{"kind":"range"}`),
		"range with a record":    replace(about, `"about":{"kind":"range","from":0,"to":1,"record":"ev_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ"}`),
		"range beyond 2^62":      replace(about, `"about":{"kind":"range","from":0,"to":4611686018427387905}`),
		"record with a run":      replace(about, strings.Replace(about[:len(about)-1], `"kind":"run"`, `"kind":"record"`, 1)+`,"record":"ev_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ"}`),
		"record with a range":    replace(about, `"about":{"kind":"record","from":0,"to":1,"record":"ev_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ"}`),
		"record of nothing":      replace(about, `"about":{"kind":"record"}`),
		"head and data":          replace(strings.TrimSuffix(head, "}\n"), strings.TrimSuffix(head, "}\n")+`,"data":""`),
		"a record twice":         strings.Replace(replace(`"records":6`, `"records":7`), `{"record":{"index":13,"jws":"entry-13"}}`+"\n", strings.Repeat(`{"record":{"index":13,"jws":"entry-13"}}`+"\n", 2), 1),
		"a record too large":     replace(`"jws":"entry-8"`, `"jws":"`+strings.Repeat("x", evidence.MaxEntry+1)+`"`),
		"hash of 48 bytes":       replace("W2aA4wNdupuKIh7oGegF4cF7MzzWZmTnZALqQ9e2SoM", strings.Repeat("A", 64)),
		"no head":                header + strings.Join(lines[3:], ""),
		"heads falling":          header + lines[2] + lines[1] + strings.Join(lines[3:], ""),
		"head after a record":    strings.Replace(strings.Join(slices.Insert(slices.Clone(lines), 4, lines[2]), ""), `"heads":2`, `"heads":3`, 1),
		"head without root":      header + `{"head":"o\n1\n\n"}` + "\n" + strings.Join(lines[3:], ""),
		"record before any head": header + lines[3],
		"end before any record":  header + head + `{"end":{"heads":1,"records":0,"payloads":0}}` + "\n",
		"two members":            strings.Join(slices.Insert(slices.Clone(lines), 4, `{"data":"","end":{"heads":2,"records":1,"payloads":0}}`+"\n"), ""),
		"no member":              strings.Join(slices.Insert(slices.Clone(lines), 4, "{}\n"), ""),
		"null member":            strings.Join(slices.Insert(slices.Clone(lines), 4, `{"data":null}`+"\n"), ""),
		"data alone":             strings.Join(slices.Insert(slices.Clone(lines), 4, `{"data":"eA"}`+"\n"), ""),
		"payload before records": strings.Join(slices.Insert(slices.Clone(lines), 3, lines[5]), ""),
		"empty left":             replace(`{"index":13,`, `{"index":13,"left":[],`),
		"empty record":           replace(`"jws":"entry-8"`, `"jws":""`),
		"hash of 31 bytes":       replace("W2aA4wNdupuKIh7oGegF4cF7MzzWZmTnZALqQ9e2SoM", "W2aA4wNdupuKIh7oGegF4cF7MzzWZmTnZALqQ9e2So"),
		"hash with other bits":   replace("W2aA4wNdupuKIh7oGegF4cF7MzzWZmTnZALqQ9e2SoM", "W2aA4wNdupuKIh7oGegF4cF7MzzWZmTnZALqQ9e2SoN"),
		"hash in base64":         replace("BJ19zbVrz-v", "BJ19zbVrz+v"),
		"deep":                   strings.Repeat("[", 100000) + "\n",
		"gzip":                   "\x1f\x8b\x08\x00\x00\x00\x00\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			err := read(strings.NewReader(text), trustOfLog(t))
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Errorf("expected a *FormatError, found %v", err)
			}
		})
	}
}

// Nodes and payloads have one order and number, which is that of the writer.
func TestMalformedNodesAndPayloads(t *testing.T) {
	lines := splitLines(sample(t))
	at := func(prefix string) int {
		t.Helper()
		i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, prefix) })
		if i < 0 {
			t.Fatalf("no line %s", prefix)
		}
		return i
	}
	three, end := at(`{"record":{"index":3`), at(`{"end"`)
	one := at(`{"payload"`) // size 0, then size 1 with its data
	for name, change := range map[string]func(l []string){
		"a node too many": func(l []string) {
			l[three] = strings.Replace(l[three], `"left":[`, `"left":["`+strings.Repeat("A", 43)+`",`, 1)
		},
		"a node too many at the right": func(l []string) {
			l[three] = strings.Replace(l[three], `"],"jws"`, `","`+strings.Repeat("A", 43)+`"],"jws"`, 1)
		},
		"a node too many at the end": func(l []string) {
			l[end] = strings.Replace(l[end], `],"heads"`, `,"`+strings.Repeat("A", 43)+`"],"heads"`, 1)
		},
		"a node too few": func(l []string) {
			l[three] = strings.Replace(l[three], `"left":["6GiBGkgsJ9ULbUXd55xGXWrbmwZkUQBHepDPPYUYiYs",`, `"left":[`, 1)
		},
		"payloads swapped": func(l []string) { l[one], l[one+1], l[one+2] = l[one+1], l[one+2], l[one] },
		"a payload twice": func(l []string) {
			l[one] += l[one]
			l[end] = strings.Replace(l[end], `"payloads":4`, `"payloads":5`, 1)
		},
		"another count of payloads": func(l []string) { l[end] = strings.Replace(l[end], `"payloads":4`, `"payloads":5`, 1) },
		"another count of records":  func(l []string) { l[end] = strings.Replace(l[end], `"records":6`, `"records":5`, 1) },
		"another count of heads":    func(l []string) { l[end] = strings.Replace(l[end], `"heads":2`, `"heads":1`, 1) },
		"data cut short":            func(l []string) { l[one+2] = `{"data":""}` + "\n" },
		"data with padding":         func(l []string) { l[one+2] = `{"data":"eA=="}` + "\n" },
		"data with other bits":      func(l []string) { l[one+2] = `{"data":"eB"}` + "\n" },
		"data with a line break":    func(l []string) { l[one+2] = `{"data":"eA\n"}` + "\n" },
	} {
		t.Run(name, func(t *testing.T) {
			changed := slices.Clone(lines)
			change(changed)
			if slices.Equal(changed, lines) {
				t.Fatal("nothing was changed")
			}
			var fe *FormatError
			if err := read(strings.NewReader(strings.Join(changed, "")), trustOfLog(t)); !errors.As(err, &fe) {
				t.Errorf("expected a *FormatError, found %v", err)
			}
		})
	}
}

// Row 56: an index that the tree does not have is a contradiction, not a
// spelling mistake.
func TestRow56IndexBeyondTheTree(t *testing.T) {
	b := sample(t)
	lines := splitLines(b)
	last := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, `{"record":{"index":20`) })
	lines[last] = strings.Replace(lines[last], `"index":20`, `"index":23`, 1)
	err := read(strings.NewReader(strings.Join(lines, "")), trustOfLog(t))
	var pe *ProofError
	if !errors.As(err, &pe) {
		t.Errorf("expected a *ProofError, found %v", err)
	}
}

func TestRangeIsContiguous(t *testing.T) {
	signer, _ := logSigner(t, origin, "log")
	leaves := leavesOf(40)
	write := func(indexes ...uint64) (string, error) {
		var b bytes.Buffer
		w := NewWriter(&b, RangeHeader(origin, 10, 14), nodesOf(leaves))
		must(t, w.Head(signHead(t, 40, naiveRoot(leaves), signer)))
		for _, i := range indexes {
			if err := w.Record(i, leaves[i]); err != nil {
				return "", err
			}
		}
		return b.String(), w.Close()
	}
	if _, err := write(0, 3, 10, 11, 12, 13, 30); err != nil {
		t.Error(err)
	}
	for _, hole := range [][]uint64{{0, 11, 12, 13}, {10, 11, 13}, {10, 11, 12}, {10, 11, 12, 20}, {0}} {
		if _, err := write(hole...); err == nil {
			t.Errorf("records %v were written as the range from 10 to 13", hole)
		}
	}
	// The reader says the same of a bundle that somebody else wrote.
	b := bytes.Replace(sample(t), []byte(`{"kind":"run","run":"run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"}`), []byte(`{"kind":"range","from":12,"to":15}`), 1)
	var fe *FormatError
	if err := read(bytes.NewReader(b), trustOfLog(t)); !errors.As(err, &fe) {
		t.Errorf("expected a *FormatError for the range without record 14, found %v", err)
	}
	b = bytes.Replace(b, []byte(`"to":15`), []byte(`"to":14`), 1)
	if err := read(bytes.NewReader(b), trustOfLog(t)); err != nil {
		t.Errorf("range 12 to 13: %v", err)
	}
}

// TestRangeIsWithinTheTree: a range that goes on beyond the tree lacks records,
// though there are none to leave out.
func TestRangeIsWithinTheTree(t *testing.T) {
	signer, _ := logSigner(t, origin, "log")
	leaves := leavesOf(40)
	var b bytes.Buffer
	w := NewWriter(&b, RangeHeader(origin, 38, 40), nodesOf(leaves))
	must(t, w.Head(signHead(t, 40, naiveRoot(leaves), signer)))
	must(t, w.Record(38, leaves[38]))
	must(t, w.Record(39, leaves[39]))
	must(t, w.Close())
	must(t, read(bytes.NewReader(b.Bytes()), trustOfLog(t)))
	longer := bytes.Replace(b.Bytes(), []byte(`"to":40`), []byte(`"to":41`), 1)
	var fe *FormatError
	if err := read(bytes.NewReader(longer), trustOfLog(t)); !errors.As(err, &fe) {
		t.Errorf("expected a *FormatError for a range to 40 of a tree of size 40, found %v", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	signer, _ := logSigner(t, origin, "log")
	leaves := leavesOf(8)
	head := signHead(t, 8, naiveRoot(leaves), signer)
	p := disclosed{[32]byte{1}, []byte("payload")}
	c := p.commitment()
	for name, do := range map[string]func(*Writer) error{
		"record without head":   func(w *Writer) error { return w.Record(0, leaves[0]) },
		"index twice":           func(w *Writer) error { w.Head(head); w.Record(1, leaves[1]); return w.Record(1, leaves[1]) },
		"index beyond":          func(w *Writer) error { w.Head(head); return w.Record(8, leaves[0]) },
		"head after record":     func(w *Writer) error { w.Head(head); w.Record(1, leaves[1]); return w.Head(head) },
		"no record":             func(w *Writer) error { w.Head(head); return w.Close() },
		"payload before record": func(w *Writer) error { w.Head(head); return w.Payload(c, p.salt, bytes.NewReader(p.data)) },
		"payload twice": func(w *Writer) error {
			w.Head(head)
			w.Record(1, leaves[1])
			w.Payload(c, p.salt, bytes.NewReader(p.data))
			return w.Payload(c, p.salt, bytes.NewReader(p.data))
		},
		"payload too short": func(w *Writer) error {
			w.Head(head)
			w.Record(1, leaves[1])
			return w.Payload(c, p.salt, bytes.NewReader(p.data[1:]))
		},
		"payload too long": func(w *Writer) error {
			w.Head(head)
			w.Record(1, leaves[1])
			return w.Payload(c, p.salt, bytes.NewReader(append(p.data, 'x')))
		},
		"another payload": func(w *Writer) error {
			w.Head(head)
			w.Record(1, leaves[1])
			return w.Payload(c, [32]byte{2}, bytes.NewReader(p.data))
		},
		"after close": func(w *Writer) error { w.Head(head); w.Record(1, leaves[1]); w.Close(); return w.Record(2, leaves[2]) },
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWriter(io.Discard, RunHeader(origin, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"), nodesOf(leaves))
			if err := do(w); err == nil {
				t.Error("expected an error")
			}
		})
	}
}

// Row 59: neither a line without end nor a million records take memory.
func TestRow59BombsTakeNoMemory(t *testing.T) {
	raced.Skip(t)
	t.Run("line without end", func(t *testing.T) {
		grew := heapGrowth(func() {
			err := read(io.MultiReader(strings.NewReader(`{"bundle":"`), &endless{1 << 30}), trustOfLog(t))
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Errorf("expected a *FormatError, found %v", err)
			}
		})
		if grew > 4<<20 {
			t.Errorf("took %d bytes", grew)
		}
	})
	t.Run("many records, then no end", func(t *testing.T) {
		const n = 100_000
		signer, _ := logSigner(t, origin, "log")
		pr, pw := io.Pipe()
		go func() {
			w := NewWriter(pw, RunHeader(origin, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"), func(lo, hi uint64) (tlog.Hash, error) { return tlog.Hash{1}, nil })
			w.Head(signHead(t, 4*n, tlog.Hash{1}, signer))
			for i := range uint64(n) {
				w.Record(3*i, []byte("an entry"))
			}
			w.w.Flush()
			pw.Close()
		}()
		r := NewReader(pr)
		var err error
		grew := heapGrowth(func() {
			for err == nil {
				_, err = r.Next()
			}
		})
		var fe *FormatError
		if !errors.As(err, &fe) {
			t.Errorf("expected a *FormatError, found %v", err)
		}
		if r.seen.Records != n {
			t.Errorf("read %d records of %d", r.seen.Records, n)
		}
		if len(r.fold.stack) > 64 {
			t.Errorf("the reader holds %d hashes, expected at most 64", len(r.fold.stack))
		}
		if grew > 4<<20 {
			t.Errorf("took %d bytes", grew)
		}
	})
}

// heapGrowth returns by how many live bytes the heap grew while f ran.
func heapGrowth(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

type endless struct{ left int }

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	for i := range b {
		b[i] = 'x'
	}
	e.left -= len(b)
	return len(b), nil
}

func FuzzReader(f *testing.F) {
	b := sample(f)
	f.Add(b)
	lines := splitLines(b)
	for i := range lines {
		f.Add([]byte(strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "")))
	}
	trust := trustOfLog(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		var again bytes.Buffer
		h, err := r.Header()
		if err != nil {
			return
		}
		_ = trust
		w := NewWriter(&again, *h, nil)
		var left []tlog.Hash
		w.nodes = func(lo, hi uint64) (tlog.Hash, error) { h := left[0]; left = left[1:]; return h, nil }
		// Whatever is read to its end is what a writer would have written.
		raw := splitLines(b)
		lineOf := func() *line {
			l := new(line)
			if err := decode([]byte(strings.TrimSuffix(raw[r.n-1], "\n")), l); err != nil {
				t.Fatal(err)
			}
			return l
		}
		setLeft := func(hs []hash32) {
			left = left[:0]
			for _, h := range hs {
				left = append(left, tlog.Hash(h))
			}
		}
		for {
			it, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
			switch it := it.(type) {
			case *HeadItem:
				must(t, w.Head(it.Note))
			case *RecordItem:
				setLeft(lineOf().Record.Left)
				must(t, w.Record(it.Index, it.Entry))
			case *PayloadItem:
				return // the writer computes commitments, the fuzzer cannot
			case *EndItem:
				setLeft(lineOf().End.Left)
				must(t, w.Close())
			}
		}
		if !bytes.Equal(again.Bytes(), b) {
			t.Errorf("read %q, wrote %q", b, again.Bytes())
		}
	})
}
