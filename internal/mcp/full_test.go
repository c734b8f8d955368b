//lint:file-ignore SA1019 what the newest version of the protocol advises against is tried, too: servers and clients have it

package mcp

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// fullCalls are calls of full's tools.
const fullCalls = `[["echo",{"text":"h\u00e9llo\u2028<&>"}],["echo",{"text":"again","n":12345678901234567890}],["progress",{"text":"3"}],["ask",{"text":"p"}],["fails",{"text":"x"}],
	["wide",{"text":"y"}],["changes",{}],["echo",{"text":7}]]`

// full is a server of the Go SDK's that offers all that the protocol has: what it says
// while it works, what it asks the client, and that its resources changed.
func full() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "full", Version: "1"}, &sdk.ServerOptions{
		Instructions:       "Use it with care.",
		PageSize:           4,
		SubscribeHandler:   func(context.Context, *sdk.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil },
		CompletionHandler: func(context.Context, *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{"1"}}}, nil
		},
	})
	type in struct {
		Text string `json:"text,omitempty"`
		N    uint64 `json:"n,omitempty"`
	}
	said := func(format string, args ...any) *sdk.CallToolResult {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf(format, args...)}}}
	}
	tool := func(name string, f func(ctx context.Context, r *sdk.CallToolRequest, a in) (*sdk.CallToolResult, error)) {
		sdk.AddTool(s, &sdk.Tool{Name: name, Description: "does " + name}, func(ctx context.Context, r *sdk.CallToolRequest, a in) (*sdk.CallToolResult, any, error) {
			result, err := f(ctx, r, a)
			return result, nil, err
		})
	}
	tool("echo", func(_ context.Context, _ *sdk.CallToolRequest, a in) (*sdk.CallToolResult, error) {
		return said("%s %d", a.Text, a.N), nil
	})
	tool("fails", func(context.Context, *sdk.CallToolRequest, in) (*sdk.CallToolResult, error) {
		return nil, fmt.Errorf("no such thing")
	})
	tool("progress", func(ctx context.Context, r *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, error) {
		for i := range 3 {
			_ = r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i), Total: 3})
			_ = r.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "error", Data: fmt.Sprintf("part %d", i)})
		}
		return said("done"), nil
	})
	tool("ask", func(ctx context.Context, r *sdk.CallToolRequest, a in) (*sdk.CallToolResult, error) {
		sampled, err := r.Session.CreateMessage(ctx, &sdk.CreateMessageParams{MaxTokens: 10, Messages: []*sdk.SamplingMessage{{Role: "user", Content: &sdk.TextContent{Text: a.Text}}}})
		if err != nil {
			return nil, err
		}
		elicited, err := r.Session.Elicit(ctx, &sdk.ElicitParams{Message: "may I?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"ok": map[string]any{"type": "boolean"}}}})
		if err != nil {
			return nil, err
		}
		roots, err := r.Session.ListRoots(ctx, nil)
		if err != nil {
			return nil, err
		}
		return said("%s %s %d", sampled.Model, elicited.Action, len(roots.Roots)), nil
	})
	tool("wide", func(context.Context, *sdk.CallToolRequest, in) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{
			Meta:              sdk.Meta{"example.com/own": map[string]any{"a": 1}},
			Content:           []sdk.Content{&sdk.ImageContent{Data: []byte("image"), MIMEType: "image/png"}, &sdk.ResourceLink{URI: "test://1", Name: "one"}, &sdk.TextContent{Text: strings.Repeat("wide ", 1000)}},
			StructuredContent: map[string]any{"n": 1.5, "s": "\u2028"},
		}, nil
	})
	tool("changes", func(ctx context.Context, _ *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, error) {
		_ = s.ResourceUpdated(ctx, &sdk.ResourceUpdatedNotificationParams{URI: "test://1"})
		return said("changed"), nil
	})
	read := func(_ context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: r.Params.URI, Text: "the text of " + r.Params.URI}}}, nil
	}
	for i := range 6 {
		s.AddResource(&sdk.Resource{URI: fmt.Sprintf("test://%d", i), Name: fmt.Sprint(i)}, read)
	}
	s.AddResourceTemplate(&sdk.ResourceTemplate{URITemplate: "test://many/{n}", Name: "many"}, read)
	s.AddPrompt(&sdk.Prompt{Name: "greet", Arguments: []*sdk.PromptArgument{{Name: "whom", Required: true}}}, func(_ context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "greet " + r.Params.Arguments["whom"]}}}}, nil
	})
	return s
}
