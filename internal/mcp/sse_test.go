package mcp

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

// TestLinesOfUnicode: to readers that end lines where Unicode does, too, the text in a
// message is no event. What is none to them is passed on as it came.
func TestLinesOfUnicode(t *testing.T) {
	t.Parallel()
	const lie = `{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}`
	ends := strings.NewReplacer("\u0085", "\n", "\u2028", "\n", "\u2029", "\n")
	for in, same := range map[string]bool{
		"data: {\"said\":\"a\u2028b\u0085\u2029 data\"}\n\n":                                  true,
		"id: 1\ndata: {\"said\":\"\u2028\u2028data: " + lie + "\u2028\u2028\"}\n\n":           false,
		"data: {\"said\":\ndata: \"\u0085\u0085data:" + lie + "\u2029\u2029\",\"x\":1.0}\n\n": false,
		"data: {\"said\":\"\u2028data\u2028\"}\n\n":                                           false,
	} {
		var out strings.Builder
		s := &eventStream{b: bufio.NewReader(strings.NewReader(in))}
		if err := s.copy(func(b []byte) ([]byte, error) { return b, nil }, &out); err != nil {
			t.Fatal(err)
		}
		if same && out.String() != in {
			t.Errorf("%q became %q", in, out.String())
		}
		if lines := ends.Replace(out.String()); strings.Count(lines, "\ndata") > strings.Count(in, "\ndata") {
			t.Errorf("%q became, to some,\n%s", in, lines)
		}
	}
}

// TestManyLines: an event of lines with nothing in them is bounded, too.
func TestManyLines(t *testing.T) {
	t.Parallel()
	s := &eventStream{b: bufio.NewReader(strings.NewReader(strings.Repeat(":\n", maxMessage/lineCost)))}
	if err := s.copy(func(b []byte) ([]byte, error) { return b, nil }, io.Discard); err == nil {
		t.Error("want it refused")
	}
}
