package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/internal/wholefile"
)

// An agent's settings: where they are, and how a hook stands in them.
type layout struct {
	home    string // environment variable that names the directory of the user's settings, "" for none
	dir     string // in the home directory, or in the project
	file    string
	events  []string
	grouped bool   // a hook stands in a list beside a matcher
	first   string // a member that the file needs, as JSON
	second  int    // in the unit in which the agent's timeouts are
	kind    string // of the entry, "" where it needs none
	before  string // the event before a call
	end     string // that of a session, which does not wait for long; "" where there is none
	atEnd   int    // how many seconds it waits at most
	closed  string // members that have the agent block a call where the hook fails, "" where it cannot
}

// entry is the hook for an event, as JSON.
func (l *layout) entry(event, command string, o Options) string {
	seconds := 60
	switch event {
	case l.before:
		seconds += int(o.Wait.Seconds())
	case l.end:
		seconds = l.atEnd
	}
	text := fmt.Sprintf(`"command": %s, "timeout": %d`, quoted(command), seconds*l.second)
	if l.kind != "" {
		text = `"type": ` + quoted(l.kind) + ", " + text
	}
	if event == l.before && l.closed != "" && !o.Observe {
		text += ", " + l.closed
	}
	if l.grouped {
		return `{"hooks": [{` + text + `}]}`
	}
	return "{" + text + "}"
}

var layouts = map[string]*layout{
	"claude-code": {
		home: "CLAUDE_CONFIG_DIR", dir: ".claude", file: "settings.json", grouped: true,
		events: []string{"SessionStart", "PreToolUse", "PostToolUse", "PostToolUseFailure", "PermissionDenied", "Stop", "SubagentStop", "SessionEnd"},
		kind:   "command", second: 1, before: "PreToolUse", end: "SessionEnd", atEnd: 10, closed: `"onFailure": "block"`,
	},
	"codex": {
		home: "CODEX_HOME", dir: ".codex", file: "hooks.json", grouped: true,
		events: []string{"SessionStart", "PreToolUse", "PostToolUse", "Stop", "SubagentStop", "SessionEnd"},
		kind:   "command", second: 1, before: "PreToolUse", end: "SessionEnd", atEnd: 3,
	},
	"cursor": {
		dir: ".cursor", file: "hooks.json", first: `"version": 1`,
		events: []string{"sessionStart", "preToolUse", "postToolUse", "postToolUseFailure", "stop", "sessionEnd"},
		second: 1, before: "preToolUse", end: "sessionEnd", atEnd: 10, closed: `"failClosed": true`,
	},
	"gemini-cli": {
		dir: ".gemini", file: "settings.json", grouped: true,
		events: []string{"SessionStart", "BeforeTool", "AfterTool", "AfterAgent", "SessionEnd"},
		kind:   "command", second: 1000, before: "BeforeTool", end: "SessionEnd", atEnd: 10,
	},
}

// Since says from which version on an agent blocks where a hook fails.
func Since(agent string) string {
	if agent == "claude-code" {
		return ", from version 2.1.295 on; older ones let it go on"
	}
	return ""
}

// A File is an agent's file of settings.
type File struct {
	agent string
	*layout
	path string
	data []byte // nil: there is none
	root *node
}

// Open reads the settings of an agent: the user's, or those of the project in dir, where
// that is not "".
func Open(agent, home, dir string, env func(string) string) (*File, error) {
	l := layouts[agent]
	if l == nil {
		return nil, fmt.Errorf("want the name of an agent, found %q", agent)
	}
	f := &File{agent: agent, layout: l, path: filepath.Join(home, l.dir, l.file)}
	switch {
	case dir != "":
		f.path = filepath.Join(dir, l.dir, l.file)
	case l.home != "" && env(l.home) != "":
		f.path = filepath.Join(env(l.home), l.file)
	}
	var err error
	if real, err := filepath.EvalSymlinks(f.path); err == nil {
		f.path = real // a link to where people keep their settings stays one
	} else if to, err := os.Readlink(f.path); err == nil {
		return nil, fmt.Errorf("%s is left alone: want settings of %s, found a link to what is not there, %s", f.path, agent, to)
	}
	if f.data, err = os.ReadFile(f.path); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	} else if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(f.data)) == 0 {
		return nil, f.wrong("it is empty")
	}
	if f.root, err = parse(f.data); err != nil {
		return nil, f.wrong(err.Error())
	}
	return f, f.check()
}

func (f *File) wrong(why string) error {
	return fmt.Errorf("%s is left alone: want settings of %s as JSON without comments, found something else: %s", f.path, f.agent, why)
}

// check reports what stands where hooks should be and is none.
func (f *File) check() error {
	if f.root.kind != '{' {
		return f.wrong("it is no object")
	}
	hooks := f.root.get("hooks")
	switch {
	case hooks == nil:
		return nil
	case hooks.kind != '{':
		return f.wrong("hooks is no object")
	}
	for _, event := range f.events {
		if list := hooks.get(event); list != nil && list.kind != '[' {
			return f.wrong("hooks." + event + " is no array")
		}
	}
	return nil
}

// A Change is what is to be written.
type Change struct {
	path     string
	old, new []byte
}

// Options are what the agent has to know of the command that it calls.
type Options struct {
	Wait    time.Duration // how long a call is held for a human
	Observe bool          // it blocks nothing, and so does its failure
}

// Install returns the change that adds a hook which calls a command, nil where it stands
// there already. Another one of ledgerd's is replaced.
func (f *File) Install(command []string, o Options) (*Change, error) {
	data := f.data
	if data == nil {
		first := "{}"
		if f.first != "" {
			first = "{\n  " + f.first + "\n}"
		}
		data = []byte(first + "\n")
	}
	entry := func(event string) string { return f.entry(event, shell(command), o) }
	data, err := f.without(data, entry)
	if err != nil {
		return nil, err
	}
	for _, event := range f.events {
		root, err := parse(data)
		if err != nil {
			return nil, err
		}
		in := indentOf(data, root)
		hooks := root.get("hooks")
		if hooks == nil {
			data = root.insert(data, `"hooks": {}`, in, "")
			if root, err = parse(data); err != nil {
				return nil, err
			}
			hooks = root.get("hooks")
		}
		text := entry(event)
		list := hooks.get(event)
		switch {
		case list == nil:
			data = hooks.insert(data, quoted(event)+": [\n"+in+in+in+text+"\n"+in+in+"]", in+in, in)
		case !slices.ContainsFunc(list.elements, func(e *node) bool { return f.same(data, e, text) }):
			data = list.insert(data, text, in+in+in, in+in)
		}
	}
	return f.change(data)
}

// Uninstall returns the change that takes ledgerd's hooks out, nil where there are none.
func (f *File) Uninstall() (*Change, error) {
	if f.data == nil {
		return nil, nil
	}
	data, err := f.without(f.data, nil)
	if err != nil {
		return nil, err
	}
	return f.change(data)
}

func (f *File) change(data []byte) (*Change, error) {
	if bytes.Equal(data, f.data) {
		return nil, nil
	}
	if _, err := parse(data); err != nil {
		return nil, fmt.Errorf("%s: the change would not be JSON: %w", f.path, err)
	}
	return &Change{f.path, f.data, data}, nil
}

// without takes the hooks of ledgerd's out, but for those that are what keep says, where
// that is not nil; and what is empty then.
func (f *File) without(data []byte, keep func(event string) string) ([]byte, error) {
	for {
		root, err := parse(data)
		if err != nil {
			return nil, err
		}
		next := f.removeOne(data, root, keep)
		if next == nil {
			return data, nil
		}
		data = next
	}
}

// removeOne takes one hook out; nil: there is none.
func (f *File) removeOne(data []byte, root *node, keep func(event string) string) []byte {
	hooks := root.get("hooks")
	if hooks == nil {
		return nil
	}
	for i, m := range hooks.members {
		if !slices.Contains(f.events, m.name) {
			continue
		}
		for j, e := range m.value.elements {
			if list, at := f.beside(data, e); list != nil {
				return list.remove(data, at)
			}
			if !f.ours(data, e) || keep != nil && f.same(data, e, keep(m.name)) {
				continue
			}
			switch {
			case len(m.value.elements) > 1:
				return m.value.remove(data, j)
			case len(hooks.members) > 1:
				return hooks.remove(data, i)
			}
			for k, top := range root.members {
				if top.value == hooks {
					return root.remove(data, k)
				}
			}
		}
	}
	return nil
}

// same reports whether an entry says the same as a text.
func (f *File) same(data []byte, e *node, text string) bool {
	a, b := jsontext.Value(data[e.from:e.to]).Clone(), jsontext.Value(text)
	return a.Canonicalize() == nil && b.Canonicalize() == nil && bytes.Equal(a, b)
}

// ours reports whether an entry is a hook of ledgerd's for this agent, and nothing else.
func (f *File) ours(data []byte, e *node) bool {
	if !f.grouped {
		return f.calls(data, e)
	}
	list := e.get("hooks")
	return list != nil && len(list.elements) == 1 && f.calls(data, list.elements[0])
}

// beside returns where a hook of ledgerd's stands in a group that has others, too, nil
// where there is none.
func (f *File) beside(data []byte, e *node) (list *node, at int) {
	list = e.get("hooks")
	if !f.grouped || list == nil || len(list.elements) < 2 {
		return nil, 0
	}
	at = slices.IndexFunc(list.elements, func(h *node) bool { return f.calls(data, h) })
	if at < 0 {
		return nil, 0
	}
	return list, at
}

// calls reports whether a hook calls ledgerd's for this agent.
func (f *File) calls(data []byte, h *node) bool {
	var one struct {
		Command string `json:"command"`
	}
	if json.Unmarshal(data[h.from:h.to], &one) != nil {
		return false
	}
	program, rest, ok := strings.Cut(one.Command, " hook --agent "+f.agent)
	return ok && (rest == "" || rest[0] == ' ') && strings.Contains(filepath.Base(strings.Trim(program, `'`)), "ledgerd")
}

// Write makes the change, unless the file is another one by now.
func (c *Change) Write() error {
	now, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		now, err = nil, nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(now, c.old) || (now == nil) != (c.old == nil) {
		return fmt.Errorf("%s was changed in the meantime: nothing was written", c.path)
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(c.path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return err
	}
	if err := wholefile.Write(c.path, c.new, true); err != nil {
		return err
	}
	return os.Chmod(c.path, mode)
}

// Diff shows the change, a line each: " " stays, "-" goes, "+" comes.
func (c *Change) Diff() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", c.path)
	old, new := lines(c.old), lines(c.new)
	common := longestCommon(old, new)
	i, j := 0, 0
	for _, at := range append(common, [2]int{len(old), len(new)}) {
		for ; i < at[0]; i++ {
			b.WriteString("- " + old[i] + "\n")
		}
		for ; j < at[1]; j++ {
			b.WriteString("+ " + new[j] + "\n")
		}
		if i < len(old) {
			b.WriteString("  " + old[i] + "\n")
		}
		i, j = i+1, j+1
	}
	return strings.TrimRight(b.String(), "\n")
}

func lines(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// longestCommon returns the indexes of a longest common subsequence. Settings are short.
func longestCommon(a, b []string) (pairs [][2]int) {
	length := make([][]int32, len(a)+1)
	for i := range length {
		length[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// shell writes words as a shell reads them.
func shell(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsFunc(w, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._/:=@%+,", c)
		}) {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func quoted(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		b, _ = jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "\uFFFD"))
	}
	return string(b)
}
