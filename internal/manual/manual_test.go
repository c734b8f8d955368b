package manual

import (
	"errors"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func app() *cli.App {
	return &cli.App{
		Name: "tool", Usage: "do things", HideVersion: true,
		Description: "One paragraph\nin two lines.\n\nAnother.\n\n" +
			"Examples:\n  # It is done\n  tool do a.json \\\n    --force\n  # It is not, which\n  # is exit code 3\n  tool do b.json\n  tool do c.json",
		Commands: []*cli.Command{
			{Name: "do", Usage: "do it", ArgsUsage: "FILE", Flags: []cli.Flag{
				&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "whatever happens"},
				&cli.StringFlag{Name: "output", Value: "text", Usage: "form of it: `text|json`", Required: true},
				&cli.StringSliceFlag{Name: "with", Usage: "`FILE` beside it", EnvVars: []string{"TOOL_WITH"}},
				&cli.StringFlag{Name: "inner", Hidden: true},
			}},
			{Name: "secret", Hidden: true},
		},
	}
}

func TestPage(t *testing.T) {
	p := New(app())
	if got := strings.Join(p.Prose, "|"); got != "One paragraph in two lines.|Another." {
		t.Errorf("prose: %q", got)
	}
	want := []Example{
		{"It is done", "tool do a.json \\\n  --force", 0},
		{"It is not, which is exit code 3", "tool do b.json\ntool do c.json", 3},
	}
	if len(p.Examples) != 2 || p.Examples[0] != want[0] || p.Examples[1] != want[1] {
		t.Errorf("examples: %+v", p.Examples)
	}
	if len(p.Commands) != 1 {
		t.Errorf("want one command, found %d", len(p.Commands))
	}
	do := p.Find("tool do")
	if got := do.Usage[0]; got != "tool do --output text|json [options] FILE" {
		t.Errorf("usage: %q", got)
	}
	var terms []string
	for _, o := range do.Options {
		terms = append(terms, o.term()+": "+o.text())
	}
	if got := strings.Join(terms, "\n"); got != "-f, --force: whatever happens\n--output text|json: form of it (default: text)\n"+
		"--with FILE: FILE beside it (repeatable) ($TOOL_WITH)\n-h, --help: print this" {
		t.Errorf("options:\n%s", got)
	}
}

// What is said stands in the page as it was said, whatever roff makes of it.
func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		`a\n-b 'c' "d"`: `a\en\-b \(aqc\(aq "d"`,
		"~/x `y` ^ µ":   `\(ti/x \(gay\(ga \(ha \[u00B5]`,
	} {
		if got := escape(text); got != want {
			t.Errorf("%s: expected %s, found %s", text, want, got)
		}
	}
	var b strings.Builder
	g := Program{}
	a := app()
	a.Description = ".so /etc/passwd\n\n'br"
	if err := g.Man(&b, New(a)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\n\\&.so /etc/passwd\n") || !strings.Contains(b.String(), "\n\\(aqbr\n") {
		t.Errorf("a line of text became a request:\n%s", b.String())
	}
}

// A shell's question comes before everything else; others are none.
func TestAsked(t *testing.T) {
	g := Program{}
	var b strings.Builder
	if !g.Asked(app(), []string{"tool", asked, "do", "--output", ""}, &b) || b.String() != ":none\ntext\t\njson\t\n" {
		t.Errorf("found %q", b.String())
	}
	for _, line := range [][]string{{"tool"}, {"tool", asked}, {"tool", "do", asked}} {
		if g.Asked(app(), line, &b) {
			t.Errorf("%q is no question", line)
		}
	}
}

func TestMisused(t *testing.T) {
	wrong := errors.New("wrong")
	g := Program{Misused: func(string, ...any) error { return wrong }}
	for _, line := range []string{"completion", "completion csh", "completion bash zsh", "completion ../completion.bash", "man tool", "man --nonsense"} {
		a := app()
		a.Commands, a.ExitErrHandler = g.Commands("tool"), func(*cli.Context, error) {}
		a.Writer = new(strings.Builder)
		if err := a.Run(append([]string{"tool"}, strings.Fields(line)...)); !errors.Is(err, wrong) {
			t.Errorf("tool %s: found %v", line, err)
		}
	}
}
