package mcp

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzParse: a message that is one is one to encoding/json, too, with the same method and
// id; and with a _meta added it is the same message.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1}}}`,
		`{"jsonrpc":"2.0","id":"a\u0062","result":{"content":[],"_meta":{"x":1}}}`,
		`{"jsonrpc":"2.0","id":12345678901234567890,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{"_meta":{"dev.ledgerd/x":1}}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`,
		`{"jsonrpc":"2.0","method":"ping","Method":"tools/call"}`, `[{"jsonrpc":"2.0","method":"ping"}]`, ` {"jsonrpc" : "2.0" ,"method":"a/b"} `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parse(raw)
		if err != nil {
			return
		}
		var lenient struct {
			Method string
			ID     json.RawMessage
		}
		if err := json.Unmarshal(raw, &lenient); err != nil {
			t.Fatalf("a message that encoding/json does not read: %v", err)
		}
		if lenient.Method != m.method {
			t.Errorf("method %q, and to encoding/json %q", m.method, lenient.Method)
		}
		if (m.id == "") != (len(lenient.ID) == 0) {
			t.Errorf("id %s, and to encoding/json %s", m.id, lenient.ID)
		}
		if m.result.none() {
			return
		}
		with, err := parse(m.withMeta("dev.ledgerd/x", "y"))
		if err != nil {
			t.Fatalf("with a _meta it is none: %v", err)
		}
		if with.id != m.id || !strings.HasPrefix(string(with.raw), string(raw[:m.result.from])) || !strings.HasSuffix(string(with.raw), string(raw[m.result.to:])) {
			t.Errorf("%s became %s", raw, with.raw)
		}
	})
}
