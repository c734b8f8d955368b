// Package manualtest holds a program's manual to what it says: that every command
// has examples, that they run, that the page is sound, and that shells complete.
package manualtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"ledgerd/internal/manual"
)

// Need skips a test where a program is not installed, and fails it in CI, where
// .ci/install sees to it.
func Need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("want %s, which .ci/install should have seen to", name)
			}
			t.Skipf("want %s, which is not here", name)
		}
	}
}

// Long skips, in short tests, what starts a program hundreds of times: they are
// those with the race detector, which makes each start slow and finds nothing in it.
func Long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts programs hundreds of times, each by itself; runs without -short")
	}
}

// Pages holds every page of a program to what a reader needs of it. The program is
// found in PATH.
func Pages(t *testing.T, root *manual.Page) {
	Long(t)
	count := 0
	root.Walk(func(p *manual.Page) {
		count++
		if n := len(p.Examples); n < 1 || n > 3 {
			t.Errorf("%s has %d examples: want one to three at the end of its Description, after a line Examples:, each with a comment and a command line", p.Name, n)
		}
		own := regexp.MustCompile(`(^|\s)` + regexp.QuoteMeta(p.Name) + `( |$)`)
		shown := false
		for _, e := range p.Examples {
			if e.Comment == "" || e.Script == "" {
				t.Errorf("%s: want an example to be a comment and a command line, found %q %q", p.Name, e.Comment, e.Script)
			}
			shown = shown || own.MatchString(e.Script)
		}
		if !shown {
			t.Errorf("%s: none of its examples shows it", p.Name)
		}
		for _, o := range p.Options {
			if o.Value == "VALUE" {
				t.Errorf("%s: want a word in backquotes that stands for the value of --%s", p.Name, o.Names[0])
			}
		}
		words := strings.Fields(p.Name)
		out, err := exec.Command(words[0], append(words[1:], "--help")...).CombinedOutput()
		if err != nil {
			t.Errorf("%s --help: %v", p.Name, err)
		}
		for line := range strings.Lines(string(out)) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%s --help: a line of more than 80 characters: %s", p.Name, line)
			}
		}
		for _, e := range p.Examples {
			if !strings.Contains(string(out), "  "+strings.ReplaceAll(e.Script, "\n", "\n  ")+"\n") {
				t.Errorf("%s --help does not show %s", p.Name, e.Script)
			}
		}
	})
	if count < 5 {
		t.Errorf("only %d pages", count)
	}
}

// Run runs an example in a directory, and demands that it exits as it says. One
// that does not end by itself prints what ready matches, and is interrupted then.
func Run(t *testing.T, e manual.Example, dir string, env []string, ready *regexp.Regexp) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// The shell lives on, and says how the program ended.
	sh := exec.CommandContext(ctx, "sh", "-c", "trap : INT\nset -e\n"+e.Script)
	sh.Dir, sh.Env = dir, env
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	sh.Cancel = func() error { return syscall.Kill(-sh.Process.Pid, syscall.SIGKILL) }
	sh.WaitDelay = time.Second
	out := &until{ready: ready}
	out.then = func() { _ = syscall.Kill(-sh.Process.Pid, syscall.SIGINT) }
	sh.Stdout, sh.Stderr = out, out
	err := sh.Run()
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	if code != e.Exit {
		t.Errorf("# %s\n%s\nexpected exit code %d, found %d:\n%s", e.Comment, e.Script, e.Exit, code, out.all)
	}
}

// until is what was printed. Once that matches ready, then is called.
type until struct {
	all   []byte
	ready *regexp.Regexp
	then  func()
}

func (u *until) Write(p []byte) (int, error) {
	u.all = append(u.all, p...)
	if u.ready != nil && u.ready.Match(u.all) {
		u.ready = nil
		u.then()
	}
	return len(p), nil
}

// Man has the program's manual page checked and set: it is sound, and has all of
// its sections and examples.
func Man(t *testing.T, root *manual.Page, sections ...string) {
	Need(t, "mandoc", "groff")
	page, err := exec.Command(root.Name, "man").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), root.Name+".1")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	lint, _ := exec.Command("mandoc", "-T", "lint", file).CombinedOutput()
	for line := range strings.Lines(string(lint)) {
		if !strings.Contains(line, "missing date") { // a test is built of no commit
			t.Errorf("mandoc: %s", line)
		}
	}
	var warnings bytes.Buffer
	groff := exec.Command("groff", "-man", "-ww", "-Tutf8", "-P-cbou", file)
	groff.Stderr = &warnings
	set, err := groff.Output()
	if err != nil || warnings.Len() > 0 {
		t.Errorf("groff: %v %s", err, warnings.Bytes())
	}
	text := "\n" + string(set)
	for _, s := range sections {
		if !strings.Contains(text, "\n"+s+"\n") {
			t.Errorf("the page has no section %s", s)
		}
	}
	root.Walk(func(p *manual.Page) {
		for _, e := range p.Examples {
			for line := range strings.SplitSeq(e.Script, "\n") {
				if !strings.Contains(text, line+"\n") {
					t.Errorf("the page does not show %s", line)
				}
			}
		}
	})
	if t.Failed() {
		t.Logf("%s", set)
	}
}

// Completion is a command line, and all that a shell has to offer for its last word.
type Completion struct {
	Line string
	Want []string
}

// Complete has bash, zsh and fish complete command lines, in a directory that has
// the file trust.json, the file "my file.json" and the directory bundles, with
// what the program prints for them.
func Complete(t *testing.T, program string, cases []Completion) {
	Long(t)
	for shell, script := range map[string]string{"bash": inBash, "zsh": inZsh, "fish": inFish} {
		t.Run(shell, func(t *testing.T) {
			Need(t, shell)
			t.Parallel()
			dir := t.TempDir()
			for _, name := range []string{"trust.json", "my file.json"} {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(filepath.Join(dir, "bundles"), 0o700); err != nil {
				t.Fatal(err)
			}
			home := t.TempDir()
			printed, err := exec.Command(program, "completion", shell).Output()
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"completion": string(printed), "drive": script} {
				if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{filepath.Join(home, "drive"), program}
			for _, c := range cases {
				args = append(args, c.Line)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, shell, args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "ZDOTDIR="+home, "TERM=xterm", "LC_ALL=C.UTF-8")
			cmd.WaitDelay = time.Second
			var diagnostics bytes.Buffer
			cmd.Stderr = &diagnostics
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, diagnostics.Bytes())
			}
			answers := strings.Split(string(out), "<end>\n")
			if len(answers) != len(cases)+1 {
				t.Fatalf("%d answers to %d questions:\n%s\n%s", len(answers)-1, len(cases), out, diagnostics.Bytes())
			}
			for i, c := range cases {
				got := []string{}
				for line := range strings.Lines(answers[i]) {
					word, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
					word = strings.TrimRight(word, "/ ")
					if _, value, ok := strings.Cut(word, "="); ok {
						word = value
					}
					if word != "" {
						got = append(got, word)
					}
				}
				slices.Sort(got)
				want := slices.Sorted(slices.Values(c.Want))
				if !slices.Equal(slices.Compact(got), want) {
					t.Errorf("%s\nexpected %q\nfound    %q", c.Line, want, got)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
				t.Error("what was only typed has been run")
			}
			if diagnostics.Len() > 0 {
				t.Errorf("%s", diagnostics.Bytes())
			}
		})
	}
}

// inBash splits a line as Readline does, which breaks words at = and : too.
const inBash = `
source "${BASH_SOURCE%/*}/completion"
program=$1
shift
for line; do
  read -ra words <<<"$line"
  [[ $line == *' ' ]] && words+=('')
  COMP_WORDS=()
  for word in "${words[@]}"; do
    while [[ $word == *[=:]* ]]; do
      piece=${word%%[=:]*}
      [[ -n $piece ]] && COMP_WORDS+=("$piece")
      word=${word#"$piece"}
      COMP_WORDS+=("${word:0:1}")
      word=${word:1}
      [[ -z $word ]] && continue 2
    done
    COMP_WORDS+=("$word")
  done
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  "_$program" 2> >(grep -v 'compopt: not currently executing' >&2)
  ((${#COMPREPLY[@]})) && printf '%s\n' "${COMPREPLY[@]}"
  echo '<end>'
done
`

// inZsh types lines into a shell on a terminal of its own, in which what would be
// offered is written to a file.
const inZsh = `
program=$1
shift
zmodload zsh/zpty
hits=$HOME/hits
cat > $HOME/rc <<'RC'
PS1= PS2= LISTMAX=-1
unsetopt beep prompt_cr
autoload -Uz compinit
compinit -u -D
bindkey -e
source $HOME/completion
compadd() {
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
    builtin compadd "$@"
    return
  fi
  local -a __hits
  builtin compadd -A __hits "$@"
  (( $#__hits )) && print -rl -- ${(Q)__hits} >> $HOME/hits
  builtin compadd "$@"
}
finished() { print -r -- '<end>' >> $HOME/hits }
ask() { comppostfuncs=(finished); zle complete-word }
zle -N ask
bindkey '^I' ask
print ready > $HOME/ready
RC
zpty inner zsh -f -i
zpty -w inner "source $HOME/rc"
until [[ -s $HOME/ready ]]; do sleep 0.05; done
for line; do
  : > $hits
  zpty -w -n inner $'\x15'"$line"$'\t'
  for i in {1..400}; do
    [[ "$(tail -n 1 $hits)" == '<end>' ]] && break
    sleep 0.02
  done
  cat $hits
  while zpty -r -t inner shown; do :; done
done
zpty -d inner
`

const inFish = `
source $HOME/completion
for line in $argv[2..-1]
    complete -C "$line"
    echo '<end>'
end
`
