package mcp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// listFor is how long a server has to list its tools.
	listFor = 30 * time.Second
	// maxPages bounds a server's list.
	maxPages = 1000
	maxTools = 10_000
)

// list has the server list its tools, unless it has and did not say that they changed.
// meta is that of the request for which they are wanted: where a client speaks without a
// session, it has what the server has to know of it.
func (g *gateway) list(ctx context.Context, meta jsontext.Value) error {
	for {
		g.mu.Lock()
		listed, first := g.listed, g.listed == nil
		if first {
			listed = make(chan struct{})
			g.listed = listed
		}
		g.mu.Unlock()
		if first {
			err := g.listNow(ctx, meta)
			g.mu.Lock()
			if err != nil && g.listed == listed {
				g.listed = nil
			}
			g.mu.Unlock()
			close(listed)
			return err
		}
		select {
		case <-listed:
		case <-ctx.Done():
			return ctx.Err()
		}
		g.mu.Lock()
		done := g.listed == listed
		g.mu.Unlock()
		if done {
			return nil
		}
	}
}

func (g *gateway) listNow(ctx context.Context, meta jsontext.Value) error {
	ctx, cancel := context.WithTimeout(ctx, listFor)
	defer cancel()
	tools, bad, cursor := make(map[string]*tool), make(map[string]string), ""
	for range maxPages {
		var params []string
		if cursor != "" {
			params = append(params, `"cursor":`+string(appendText(nil, cursor)))
		}
		if own := withoutProgress(meta); own != nil {
			params = append(params, `"_meta":`+string(own))
		}
		answer, err := g.page(ctx, "{"+strings.Join(params, ",")+"}")
		if err != nil {
			return err
		}
		raw, next, err := readList(answer)
		if err != nil {
			return err
		}
		for _, def := range raw {
			t, err := readTool(def)
			if err != nil {
				g.Log.Warn("a tool of the server's is left out", "error", err)
				continue
			}
			if tools[t.name] != nil {
				bad[t.name] = "the server has two tools of the name " + t.name
			}
			tools[t.name] = t
		}
		if len(tools) > maxTools {
			return fmt.Errorf("want at most %d tools", maxTools)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	held, err := g.Pins.meet(g.Server, tools)
	if err != nil {
		return err
	}
	for name, why := range held {
		if bad[name] == "" {
			bad[name] = why
		}
	}
	g.mu.Lock()
	g.tools, g.bad, g.at = tools, bad, time.Now()
	shared := g.shared
	g.mu.Unlock()
	if shared != nil {
		listed := make(chan struct{})
		close(listed)
		shared.mu.Lock()
		shared.tools, shared.bad, shared.listed, shared.at = tools, bad, listed, time.Now()
		shared.mu.Unlock()
	}
	return nil
}

// page asks the server for a page of its tools.
func (g *gateway) page(ctx context.Context, params string) (*message, error) {
	g.mu.Lock()
	other := g.pages
	g.mu.Unlock()
	if other != nil {
		return other(ctx, params)
	}
	return g.request(ctx, "tools/list", params)
}

// readList reads a page of tools.
func readList(m *message) (tools []jsontext.Value, next string, err error) {
	if m.failed {
		return nil, "", errors.New("the server answered tools/list with an error")
	}
	at, ok := member(m.raw, m.result, "tools")
	if !ok || at.of(m.raw).Kind() != '[' {
		return nil, "", errors.New("want tools in the answer to tools/list")
	}
	all, err := elements(at.of(m.raw))
	for _, one := range all {
		tools = append(tools, one)
	}
	if cursor, ok := member(m.raw, m.result, "nextCursor"); ok && cursor.of(m.raw).Kind() == '"' {
		next, _ = text(cursor.of(m.raw))
	}
	return tools, next, err
}

// request sends a request of the gateway's own to the server.
func (g *gateway) request(ctx context.Context, method, params string) (*message, error) {
	g.mu.Lock()
	g.number++
	id := fmt.Sprintf(`"%s%d"`, ownID, g.number)
	answered := make(chan *message, 1)
	g.asked[id] = func(m *message) []byte { answered <- m; return nil }
	g.mu.Unlock()
	if err := g.toServer(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params)); err != nil {
		return nil, err
	}
	select {
	case m := <-answered:
		if m == nil {
			return nil, errors.New("the server has ended")
		}
		return m, nil
	case <-ctx.Done():
		g.mu.Lock()
		delete(g.asked, id)
		g.mu.Unlock()
		return nil, fmt.Errorf("no answer to %s: %w", method, ctx.Err())
	}
}

// clientList passes on a page of tools without those that are held back.
func (g *gateway) clientList(m *message, meta jsontext.Value) []byte {
	if m == nil {
		return nil
	}
	if m.failed {
		return m.raw
	}
	err := g.list(g.ctx, meta)
	if g.Observe {
		return m.raw
	}
	if err != nil {
		g.Log.Warn("the server's tools could not be read, and none is shown", "error", err)
	}
	at, ok := member(m.raw, m.result, "tools")
	defs, _, err := readList(m)
	if !ok || err != nil {
		return m.raw
	}
	g.mu.Lock()
	shown := slices.DeleteFunc(slices.Clone(defs), func(def jsontext.Value) bool {
		t, err := readTool(def)
		return err != nil || g.bad[t.name] != "" || g.tools[t.name] == nil || g.tools[t.name].digest != t.digest
	})
	g.mu.Unlock()
	if len(shown) == len(defs) {
		return m.raw
	}
	out := append([]byte(nil), m.raw[:at.from]...)
	out = append(out, '[')
	for i, def := range shown {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, def...)
	}
	out = append(out, ']')
	return append(out, m.raw[at.to:]...)
}

// withoutProgress returns a _meta without the token by which a client hears of the
// progress of its own request; nil where nothing else is in it.
func withoutProgress(meta jsontext.Value) jsontext.Value {
	if meta.Kind() != '{' {
		return nil
	}
	var all map[string]jsontext.Value
	if err := json.Unmarshal(meta, &all); err != nil {
		return nil
	}
	delete(all, "progressToken")
	if len(all) == 0 {
		return nil
	}
	b, err := json.Marshal(all, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return b
}
