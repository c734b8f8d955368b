package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// What the format bounds, one beyond each bound, and what a writer refuses to write.

// all reads a bundle to its end and returns the error; nil: none.
func all(text string) error {
	r := NewReader(strings.NewReader(text))
	for {
		if _, err := r.Next(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func malformedAt(t *testing.T, what, text string, line int) {
	t.Helper()
	var fe *FormatError
	if err := all(text); !errors.As(err, &fe) || fe.Line != line {
		t.Errorf("%s: expected line %d to be malformed, found %v", what, line, err)
	}
}

func TestReaderBounds(t *testing.T) {
	lines := splitLines(sample(t))
	payload := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, `{"payload"`) })
	size := func(n string) string {
		changed := slices.Clone(lines)
		changed[payload] = strings.Replace(changed[payload], `"size":0`, `"size":`+n, 1)
		return strings.Join(changed, "")
	}
	malformedAt(t, "a size below 0", size("-1"), payload+1)
	malformedAt(t, "a size beyond 2^53-1", size("9007199254740992"), payload+1)

	heads := slices.Concat(lines[:1], slices.Repeat(lines[1:2], maxHeads+1))
	malformedAt(t, "65 tree heads", strings.Join(heads, ""), maxHeads+2)

	var many strings.Builder
	many.WriteString(strings.Join(lines[:payload], ""))
	for i := range maxRecordPayloads + 1 {
		b, err := encode(&line{Payload: &payloadLine{Commit: evidence.Digest{1, byte(i >> 8), byte(i)}}})
		must(t, err)
		many.Write(append(b, '\n'))
	}
	malformedAt(t, "4,097 payloads of a record", many.String(), payload+1+maxRecordPayloads)
}

func TestWriterBounds(t *testing.T) {
	signer, _ := logSigner(t, origin, "log")
	leaves := leavesOf(5)
	head := signHead(t, 5, naiveRoot(leaves), signer)
	write := func(nodes Nodes) *Writer {
		w := NewWriter(io.Discard, RunHeader(origin, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"), nodes)
		must(t, w.Head(head))
		return w
	}
	for name, try := range map[string]func() error{
		"a header without origin": func() error { return NewWriter(io.Discard, Header{Version: Version}, nil).Head(head) },
		"65 tree heads": func() error {
			w := write(nodesOf(leaves))
			for range maxHeads - 1 {
				must(t, w.Head(head))
			}
			return w.Head(head)
		},
		"a line too long": func() error { return write(nodesOf(leaves)).Record(0, bytes.Repeat([]byte("x"), MaxLine)) },
		"nodes that there are not": func() error {
			return write(func(lo, hi uint64) (tlog.Hash, error) { return tlog.Hash{}, errors.New("none") }).Record(3, leaves[3])
		},
		"4,097 payloads of a record": func() error {
			w := write(nodesOf(leaves))
			must(t, w.Record(0, leaves[0]))
			var list []disclosed
			for i := range maxRecordPayloads + 1 {
				list = append(list, disclosed{salt: [32]byte{byte(i >> 8), byte(i)}})
			}
			slices.SortFunc(list, func(a, b disclosed) int {
				x, y := a.commitment(), b.commitment()
				return bytes.Compare(x.Commit[:], y.Commit[:])
			})
			for _, p := range list[:maxRecordPayloads] {
				must(t, w.Payload(p.commitment(), p.salt, strings.NewReader("")))
			}
			last := list[maxRecordPayloads]
			return w.Payload(last.commitment(), last.salt, strings.NewReader(""))
		},
		"an end after the end": func() error {
			w := write(nodesOf(leaves))
			must(t, w.Record(0, leaves[0]))
			must(t, w.Close())
			return w.Close()
		},
	} {
		if try() == nil {
			t.Errorf("%s: written", name)
		}
	}
}

func TestReceiptBounds(t *testing.T) {
	signer, _ := logSigner(t, origin, "log")
	for size, want := range map[int]bool{evidence.MaxEntry: true, evidence.MaxEntry + 1: false} {
		r := &Receipt{Entry: bytes.Repeat([]byte("x"), size), Head: signHead(t, 1, tlog.Hash{}, signer)}
		if _, err := ParseReceipt(r.Marshal()); (err == nil) != want {
			t.Errorf("a record of %d bytes: %v", size, err)
		}
	}
}

func TestPolicyBounds(t *testing.T) {
	_, log := logSigner(t, origin, "log")
	text := "log " + log + "\nquorum none\n"
	for i := range maxPolicyName + 1 {
		_, w := cosigner(t, fmt.Sprintf("w%d.example", i))
		text += fmt.Sprintf("witness w%d %s\n", i, w)
		if i < maxPolicyName-1 {
			continue
		}
		if _, err := ParsePolicy(text); (err == nil) != (i < maxPolicyName) {
			t.Errorf("%d witnesses: %v", i+1, err)
		}
	}
}

func TestHeaderBounds(t *testing.T) {
	for to, want := range map[uint64]bool{maxSize: true, maxSize + 1: false} {
		h := RangeHeader(origin, 0, to)
		if err := h.Check(); (err == nil) != want {
			t.Errorf("a range to %d: %v", to, err)
		}
	}
}

func TestTrustBounds(t *testing.T) {
	ledgers := func(from, n int) *Trust {
		trust := new(Trust)
		for i := range n {
			_, vkey := logSigner(t, fmt.Sprintf("ledger-%d.example", from+i), fmt.Sprintf("ledger %d", from+i))
			p, err := NewPolicy(vkey)
			must(t, err)
			trust.Ledgers = append(trust.Ledgers, &TrustedLedger{Policy: p, Entry0: evidence.IDOf([]byte("entry-0"))})
		}
		return trust
	}
	full := ledgers(0, maxLedgers)
	b, err := full.Marshal()
	must(t, err)
	if _, err := ParseTrust(b); err != nil {
		t.Error(err)
	}
	if _, err := JoinTrust(full, ledgers(maxLedgers, 1)); err == nil {
		t.Error("257 ledgers of two files: joined")
	}
	full.Ledgers = append(full.Ledgers, ledgers(maxLedgers, 1).Ledgers...)
	if b, err = full.Marshal(); err != nil {
		t.Fatal(err)
	}
	one := ledgers(0, 1)
	small, err := one.Marshal()
	must(t, err)
	actor := PinnedActor{"email_sender", evidence.RoleTool, actorKey(t, "tool")}
	one.Ledgers[0].Actors = slices.Repeat([]PinnedActor{actor}, maxPinned+1)
	pinned, err := one.Marshal()
	must(t, err)
	for what, text := range map[string][]byte{"257 ledgers": b, "10,001 actors": pinned, "more than 8 MiB": append(small, bytes.Repeat([]byte(" "), MaxTrust)...)} {
		if _, err := ParseTrust(text); err == nil {
			t.Errorf("%s: read", what)
		}
	}
	for what, change := range map[string]func(*Trust){
		"no policy": func(t *Trust) { t.Ledgers[0].Policy = nil },
		"no role":   func(t *Trust) { t.Ledgers[0].Actors = t.Ledgers[0].Actors[:1]; t.Ledgers[0].Actors[0].Role = "robot" },
		"two logs of one origin": func(x *Trust) {
			_, vkey := logSigner(t, x.Ledgers[0].Origin(), "another key")
			p, err := NewPolicy(vkey)
			must(t, err)
			x.Ledgers[1].Policy = p
		},
	} {
		trust := fullTrust(t)
		change(trust)
		if trust.Check() == nil {
			t.Errorf("%s: passed", what)
		}
	}
}
