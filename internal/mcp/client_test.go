//lint:file-ignore SA1019 what the newest version of the protocol advises against is tried, too: servers and clients have it

package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// A goCall is a tool and its arguments, as session.mjs has them, too.
type goCall struct {
	name string
	args map[string]any
}

func (c *goCall) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&c.name, &c.args})
}

// goSession goes through everything that a server offers, as a client of the Go SDK: what
// session.mjs does as one of the TypeScript SDK's. What fails is part of it: the same
// fails in the same way.
func goSession(t testing.TB, transport sdk.Transport, version, root, calls string) (spoken string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var todo []goCall
	if err := json.Unmarshal([]byte(calls), &todo); err != nil {
		t.Fatal(err)
	}
	client := sdk.NewClient(&sdk.Implementation{Name: "session", Version: "1"}, &sdk.ClientOptions{
		CreateMessageHandler: func(context.Context, *sdk.CreateMessageRequest) (*sdk.CreateMessageResult, error) {
			return &sdk.CreateMessageResult{Model: "m", Role: "assistant", Content: &sdk.TextContent{Text: "sampled"}}, nil
		},
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "decline"}, nil
		},
		ProgressNotificationHandler: func(context.Context, *sdk.ProgressNotificationClientRequest) {},
		LoggingMessageHandler:       func(context.Context, *sdk.LoggingMessageRequest) {},
	})
	client.AddRoots(&sdk.Root{URI: "file://" + root})
	cs, err := client.Connect(ctx, transport, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer cs.Close()
	caps := cs.InitializeResult().Capabilities
	if caps.Logging != nil {
		_ = cs.SetLoggingLevel(ctx, &sdk.SetLoggingLevelParams{Level: "error"})
	}
	_, err = cs.ListTools(ctx, nil)
	if caps.Resources != nil {
		resources, failed := cs.ListResources(ctx, nil)
		err = errors.Join(err, failed)
		_, _ = cs.ListResourceTemplates(ctx, nil)
		if failed == nil {
			for _, r := range resources.Resources[:min(3, len(resources.Resources))] {
				_, _ = cs.ReadResource(ctx, &sdk.ReadResourceParams{URI: r.URI})
			}
		}
		if caps.Resources.Subscribe && failed == nil && len(resources.Resources) > 0 {
			_ = cs.Subscribe(ctx, &sdk.SubscribeParams{URI: resources.Resources[0].URI})
		}
	}
	if caps.Prompts != nil {
		prompts, failed := cs.ListPrompts(ctx, nil)
		err = errors.Join(err, failed)
		if failed == nil {
			for _, p := range prompts.Prompts {
				args := make(map[string]string)
				for _, a := range p.Arguments {
					args[a.Name] = "1"
				}
				_, _ = cs.GetPrompt(ctx, &sdk.GetPromptParams{Name: p.Name, Arguments: args})
			}
		}
	}
	for i, c := range todo {
		p := &sdk.CallToolParams{Name: c.name, Arguments: c.args}
		p.SetProgressToken(i + 1)
		_, _ = cs.CallTool(ctx, p)
	}
	_ = cs.Ping(ctx, nil)
	if err != nil {
		t.Errorf("the session: %v", err)
	}
	return cs.InitializeResult().ProtocolVersion
}
