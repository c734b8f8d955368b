package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// notesServer is an MCP server, as a program: notes-server --dir DIR.
func notesServer() {
	dir := os.Args[len(os.Args)-1]
	s := mcp.NewServer(&mcp.Implementation{Name: "notes", Version: "1"}, nil)
	type note struct {
		Name string `json:"name"`
		Text string `json:"text"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "write_note", Description: "writes a note"}, func(_ context.Context, _ *mcp.CallToolRequest, n note) (*mcp.CallToolResult, any, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, err
		}
		return nil, nil, os.WriteFile(filepath.Join(dir, filepath.Base(n.Name)), []byte(n.Text), 0o600)
	})
	if os.Getenv("LEDGERD_TOKEN_FILE") != "" {
		os.Exit(3) // it is no place for that
	}
	mcp.AddTool(s, &mcp.Tool{Name: "delete_notes", Description: "deletes every note"}, func(context.Context, *mcp.CallToolRequest, any) (*mcp.CallToolResult, any, error) {
		return nil, nil, os.RemoveAll(dir)
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		os.Exit(1)
	}
}
