package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// A turn is what a model answers once: it calls a tool, or says something.
type turn struct {
	tool  string
	input any // a string is given as it is
	says  string
}

// A scriptedModel stands where an agent expects its model, answers turn by turn, and keeps
// what it is asked: what the agent's real model would be told.
type scriptedModel struct {
	dialect
	mu     sync.Mutex
	script []turn
	asked  []string
}

// A dialect is the protocol by which an agent speaks to its model.
type dialect interface {
	// isTurn tells what the agent asks in the session from what it asks besides: titles,
	// which model to take.
	isTurn(r *http.Request, body []byte) bool
	answer(w http.ResponseWriter, n int, t turn)
	besides(w http.ResponseWriter, r *http.Request)
}

func (m *scriptedModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the agent has gone
	}
	if !m.isTurn(r, body) {
		m.besides(w, r)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.asked)
	m.asked = append(m.asked, string(body))
	t := turn{says: "Nothing is left to say."}
	if n < len(m.script) {
		t = m.script[n]
	}
	w.Header().Set("Content-Type", "text/event-stream")
	m.answer(w, n, t)
}

type object = map[string]any

// sent writes a server-sent event.
func sent(w http.ResponseWriter, name string, data any) {
	if name != "" {
		fmt.Fprintf(w, "event: %s\n", name)
	}
	fmt.Fprintf(w, "data: %s\n\n", written(data))
}

func written(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// messages is the Messages API of Anthropic.
type messages struct{}

func (messages) isTurn(r *http.Request, body []byte) bool {
	return r.URL.Path == "/v1/messages" && bytes.Contains(body, []byte(`"name":"Bash"`))
}

func (messages) answer(w http.ResponseWriter, n int, t turn) {
	sent(w, "message_start", object{"type": "message_start", "message": object{
		"id": fmt.Sprintf("msg_%d", n), "type": "message", "role": "assistant", "model": "scripted", "content": []any{}, "stop_reason": nil, "stop_sequence": nil,
		"usage": object{"input_tokens": 1, "output_tokens": 1},
	}})
	block, delta, stop := object{"type": "text", "text": ""}, object{"type": "text_delta", "text": t.says}, "end_turn"
	if t.tool != "" {
		block, stop = object{"type": "tool_use", "id": fmt.Sprintf("toolu_%02d", n), "name": t.tool, "input": object{}}, "tool_use"
		delta = object{"type": "input_json_delta", "partial_json": string(written(t.input))}
	}
	sent(w, "content_block_start", object{"type": "content_block_start", "index": 0, "content_block": block})
	sent(w, "content_block_delta", object{"type": "content_block_delta", "index": 0, "delta": delta})
	sent(w, "content_block_stop", object{"type": "content_block_stop", "index": 0})
	sent(w, "message_delta", object{"type": "message_delta", "delta": object{"stop_reason": stop, "stop_sequence": nil}, "usage": object{"output_tokens": 1}})
	sent(w, "message_stop", object{"type": "message_stop"})
}

func (messages) besides(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

// responses is the Responses API of OpenAI.
type responses struct{}

func (responses) isTurn(r *http.Request, _ []byte) bool { return r.URL.Path == "/v1/responses" }

func (responses) answer(w http.ResponseWriter, n int, t turn) {
	id, call := fmt.Sprintf("resp_%d", n), fmt.Sprintf("call_%d", n)
	sent(w, "response.created", object{"type": "response.created", "response": object{"id": id}})
	var item object
	switch in := t.input.(type) {
	case nil:
		item = object{"type": "message", "role": "assistant", "id": fmt.Sprintf("msg_%d", n), "content": []any{object{"type": "output_text", "text": t.says}}}
	case string:
		item = object{"type": "custom_tool_call", "call_id": call, "name": t.tool, "input": in}
	default:
		item = object{"type": "function_call", "call_id": call, "name": t.tool, "arguments": string(written(in))}
		if space, name, ok := strings.Cut(t.tool, "/"); ok {
			item["namespace"], item["name"] = space, name
		}
	}
	sent(w, "response.output_item.done", object{"type": "response.output_item.done", "item": item})
	sent(w, "response.completed", object{"type": "response.completed", "response": object{"id": id, "usage": object{
		"input_tokens": 1, "input_tokens_details": nil, "output_tokens": 1, "output_tokens_details": nil, "total_tokens": 2,
	}}})
}

func (responses) besides(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

// generateContent is the Gemini API.
type generateContent struct{}

func (generateContent) isTurn(r *http.Request, body []byte) bool {
	return strings.HasSuffix(r.URL.Path, ":streamGenerateContent") && bytes.Contains(body, []byte(`"run_shell_command"`))
}

func (generateContent) answer(w http.ResponseWriter, _ int, t turn) {
	part := object{"text": t.says}
	if t.tool != "" {
		part = object{"functionCall": object{"name": t.tool, "args": t.input}}
	}
	sent(w, "", object{
		"candidates":    []any{object{"content": object{"role": "model", "parts": []any{part}}, "finishReason": "STOP", "index": 0}},
		"usageMetadata": object{"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
	})
}

func (generateContent) besides(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNotFound)
}
