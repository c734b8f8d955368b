package hook

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An Agent is one that has hooks.
type Agent struct {
	Name string
	// Closed says that the agent blocks a call whose hook fails (cannot start, is
	// killed, takes too long), as it is installed.
	Closed bool

	parse  func(raw []byte) (*Event, error)
	answer func(k Kind, a Answer) Out
	// outcomes reads what came of calls from a transcript, by the agent's IDs of
	// them; nil: it is not read.
	outcomes func(path string) (map[string]outcome, error)
}

// outcome is what a transcript says of a call.
type outcome struct {
	status string
	output jsontext.Value
	err    string
}

var agents = []*Agent{&claudeCode, &codex, &cursor, &gemini}

// Names are those of the agents that there are adapters for.
func Names() (names []string) {
	for _, a := range agents {
		names = append(names, a.Name)
	}
	return names
}

// For returns an agent by its name, or an error that lists them.
func For(name string) (*Agent, error) {
	if i := slices.IndexFunc(agents, func(a *Agent) bool { return a.Name == name }); i >= 0 {
		return agents[i], nil
	}
	return nil, fmt.Errorf("want the name of an agent, %s, found %q", strings.Join(Names(), ", "), name)
}

// Parse reads what the agent gave. What is no I-JSON, such as a member that stands
// twice, is refused: the agent and its hook would read two things in it. But of what has
// happened the texts may have been cut by the agent, and a character with them.
func (g *Agent) Parse(raw []byte) (*Event, error) {
	e, err := g.parse(raw)
	if err != nil {
		if told, bad := g.parse(whole(raw)); bad == nil && told.Kind != Before && told.Kind != Other {
			e, err = told, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if e.Kind == Other {
		return e, nil
	}
	if e.Session == "" {
		return nil, errors.New("want the ID of a session, found none")
	}
	if e.Kind != Before && e.Kind != After {
		return e, nil
	}
	// A tool whose name no record can have is refused by the daemon.
	if len(e.Input) == 0 {
		e.Input = jsontext.Value("{}")
	}
	if !identifier(e.Resource) {
		e.Resource = ""
	}
	if server, _, ok := mcpTool(e.Tool); ok && e.Server == "" {
		e.Server = server
	}
	return e, nil
}

// Answer writes an answer for the agent. What goes to it is one line of visible
// characters: some of it came from elsewhere.
func (g *Agent) Answer(k Kind, a Answer) Out {
	a.Why, a.Note = visible(a.Why), visible(a.Note)
	return g.answer(k, a)
}

// mcpTool takes the name of an MCP server's tool apart, as several agents write it.
func mcpTool(tool string) (server, name string, ok bool) {
	rest, ok := strings.CutPrefix(tool, "mcp__")
	if !ok {
		return "", "", false
	}
	server, name, ok = strings.Cut(rest, "__")
	return server, name, ok && server != "" && name != ""
}

// toolInput is what tools say of what they are done to.
type toolInput struct {
	File       jsontext.Value `json:"file_path"`
	Notebook   jsontext.Value `json:"notebook_path"`
	Background jsontext.Value `json:"run_in_background"`
}

// Tools of which the resource is the file that their input names. Of a shell's command
// it is not the first word: a policy that trusts it would be told whatever it likes.
var fileTools = []string{"Edit", "MultiEdit", "Write", "Read", "NotebookEdit", "Delete", "read_file", "write_file", "replace"}

// file returns the file that a tool is done to.
func file(tool string, input jsontext.Value) string {
	if !slices.Contains(fileTools, tool) {
		return ""
	}
	var in toolInput
	if json.Unmarshal(input, &in) != nil {
		return ""
	}
	return cmp.Or(str(in.File), str(in.Notebook))
}

// str returns a JSON string, "" for anything else.
func str(v jsontext.Value) (s string) {
	_ = json.Unmarshal(v, &s)
	return s
}

// millis returns a number of milliseconds, nil for anything that is none.
func millis(v jsontext.Value) *int64 {
	var f float64
	if json.Unmarshal(v, &f) != nil || v.Kind() != '0' || f < 0 || f > 1e12 {
		return nil
	}
	n := int64(f)
	return &n
}

// document returns a string that holds JSON as that JSON, and all else as it is.
func document(v jsontext.Value) jsontext.Value {
	if v.Kind() == '"' {
		if inner := jsontext.Value(str(v)); inner.IsValid() {
			return inner
		}
	}
	return v
}

// marshal writes a value that can be written.
func marshal(v any) []byte {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err) // only strings, which are visible
	}
	return b
}
