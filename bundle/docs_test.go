package bundle

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"testing"

	"ledgerd/evidence"
)

// example returns the fenced block that follows <!-- example: name --> in
// docs/bundle-format.md.
func example(t *testing.T, name string) string {
	t.Helper()
	doc, err := os.ReadFile("../docs/bundle-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "<!-- example: "+name+" -->\n")
	_, rest, ok2 := strings.Cut(rest, "\n")
	block, _, ok3 := strings.Cut(rest, "```\n")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("no example %s", name)
	}
	return block
}

func docTrust(t *testing.T) *Trust {
	trust := trustOfLog(t)
	trust.Ledgers[0].Actors = []PinnedActor{{"email_sender", evidence.RoleTool, actorKey(t, "email_sender")}}
	trust.Ledgers[0].WeakestSource = evidence.SourceRuntime
	return trust
}

func TestDocTrust(t *testing.T) {
	want, err := docTrust(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	text := example(t, "trust")
	if text != string(want) {
		t.Errorf("the document differs from what is written:\n%s", want)
	}
	if _, err := ParseTrust([]byte(text)); err != nil {
		t.Error(err)
	}
}

func TestDocBundle(t *testing.T) {
	signer, _ := logSigner(t, origin, "log")
	leaves := leavesOf(9)
	var want bytes.Buffer
	w := NewWriter(&want, RunHeader(origin, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"), nodesOf(leaves))
	must(t, w.Head(signHead(t, 9, naiveRoot(leaves), signer)))
	must(t, w.Record(0, leaves[0]))
	must(t, w.Record(3, leaves[3]))
	p := payloads[3][1]
	must(t, w.Payload(p.commitment(), p.salt, bytes.NewReader(p.data)))
	must(t, w.Close())
	text := example(t, "bundle")
	if text != want.String() {
		t.Errorf("the document differs from what is written:\n%s", want.String())
	}
	if err := read(strings.NewReader(text), trustOfLog(t)); err != nil {
		t.Error(err)
	}
}

// readAsDocumented is a reader written from the document alone: it shares no
// code with the package, and gives the roots of the tree heads.
func readAsDocumented(b []byte) (roots [][32]byte, err error) {
	type node struct {
		lo, hi uint64
		hash   [32]byte
	}
	var (
		sizes []uint64
		stack []node
		next  uint64
	)
	pass := func(at uint64) {
		for len(roots) < len(sizes) && sizes[len(roots)] == at {
			if at == 0 {
				roots = append(roots, sha256.Sum256(nil))
				continue
			}
			h := stack[len(stack)-1].hash
			for i := len(stack) - 2; i >= 0; i-- {
				h = sha256.Sum256(slices.Concat([]byte{1}, stack[i].hash[:], h[:]))
			}
			roots = append(roots, h)
		}
	}
	push := func(n node) {
		stack = append(stack, n)
		for len(stack) >= 2 {
			low, up := stack[len(stack)-2], stack[len(stack)-1]
			width := up.hi - up.lo
			if low.hi-low.lo != width || bits.OnesCount64(width) != 1 {
				break
			}
			stack = append(stack[:len(stack)-2], node{low.lo, up.hi, sha256.Sum256(slices.Concat([]byte{1}, low.hash[:], up.hash[:]))})
		}
		next = n.hi
		pass(next)
	}
	gap := func(index uint64, left []string) error {
		size := sizes[len(sizes)-1]
		lo := next
		for _, cut := range append(slices.Clone(sizes), index) {
			end := min(cut, index)
			for lo < end {
				var hi uint64
				if end == size {
					if hi = end; lo != 0 {
						hi = min(lo+1<<bits.TrailingZeros64(lo), end)
					}
				} else {
					width := uint64(1)
					for lo%(2*width) == 0 && 2*width <= end-lo {
						width *= 2
					}
					hi = lo + width
				}
				if len(left) == 0 {
					return fmt.Errorf("too few nodes left of %d", index)
				}
				h, err := base64.RawURLEncoding.DecodeString(left[0])
				if err != nil {
					return err
				}
				push(node{lo, hi, [32]byte(h)})
				left, lo = left[1:], hi
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("too many nodes left of %d", index)
		}
		return nil
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, MaxLine+1)
	for lines.Scan() {
		var l struct {
			Head   *string
			Record *struct {
				Index uint64
				Left  []string
				JWS   string
			}
			End *struct{ Left []string }
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, err
		}
		switch {
		case l.Head != nil:
			var size uint64
			if _, err := fmt.Sscan(strings.Split(*l.Head, "\n")[1], &size); err != nil {
				return nil, err
			}
			sizes = append(sizes, size)
		case l.Record != nil:
			if next == 0 {
				pass(0)
			}
			if err := gap(l.Record.Index, l.Record.Left); err != nil {
				return nil, err
			}
			push(node{l.Record.Index, l.Record.Index + 1, sha256.Sum256(append([]byte{0}, l.Record.JWS...))})
		case l.End != nil:
			if err := gap(sizes[len(sizes)-1], l.End.Left); err != nil {
				return nil, err
			}
		}
	}
	return roots, lines.Err()
}

func TestDocIsEnoughToReadABundle(t *testing.T) {
	leaves := leavesOf(23)
	roots, err := readAsDocumented(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(roots) != 2 || naiveRoot(leaves[:9]) != roots[0] || naiveRoot(leaves) != roots[1] {
		t.Error("the reader written from the document finds other roots")
	}
	if roots, err = readAsDocumented([]byte(example(t, "bundle"))); err != nil || naiveRoot(leaves[:9]) != roots[0] {
		t.Errorf("the example in the document: %v", err)
	}
}
