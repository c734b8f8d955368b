package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ledgerd/internal/manual"
)

// Each configuration of docs/integrations/mcp-clients.md can be read, and its command is
// one that there is: with every flag that it has, in front of a server's command.
func TestClientConfigurations(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "integrations", "mcp-clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	var commands [][]string
	type server struct {
		Command, URL string
		Args         []string
	}
	for _, block := range regexp.MustCompile("(?s)```(json|toml)\n(.*?)```").FindAllSubmatch(text, -1) {
		switch string(block[1]) {
		case "json":
			var config map[string]map[string]server
			if err := json.Unmarshal(block[2], &config); err != nil {
				t.Errorf("%v\n%s", err, block[2])
			}
			for _, servers := range config {
				for _, s := range servers {
					if s.URL == "" {
						commands = append(commands, append([]string{s.Command}, s.Args...))
					}
				}
			}
		case "toml":
			var args []string
			m := regexp.MustCompile(`(?m)^command = "(\w+)"\nargs = (\[.*\])$`).FindSubmatch(block[2])
			if m == nil {
				t.Fatalf("%s", block[2])
			}
			if err := json.Unmarshal(m[2], &args); err != nil { // an array of strings is the same in both
				t.Error(err)
			}
			commands = append(commands, append([]string{string(m[1])}, args...))
		}
	}
	for _, m := range regexp.MustCompile("`(ledgerd mcp --[^`]*)`").FindAllSubmatch(text, -1) {
		commands = append(commands, strings.Fields(string(m[1])))
	}
	if len(commands) != 4 {
		t.Fatalf("%d commands: %q", len(commands), commands)
	}
	page := pages().Find("ledgerd mcp")
	for _, argv := range commands {
		if argv[0] != "ledgerd" || argv[1] != "mcp" {
			t.Errorf("%q", argv)
			continue
		}
		end := slices.Index(argv, "--")
		if end < 0 {
			end = len(argv)
		} else if argv[end+1] != "npx" {
			t.Errorf("%q: no server's command", argv)
		}
		for _, arg := range argv[2:end] {
			if strings.HasPrefix(arg, "--") && !slices.ContainsFunc(page.Options, func(o manual.Option) bool { return slices.Contains(o.Names, strings.TrimPrefix(arg, "--")) }) {
				t.Errorf("%q: there is no %s", argv, arg)
			}
		}
	}
}
