package userdaemon

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// A process is one that runs, named so that no other ever has the same name.
type process struct {
	pid, parent int
	// start is when it was started, in the system's own words.
	start string
	// name is what it calls itself: the first word of its command line, without directory.
	name string
	// script is the first of its arguments that is no option, likewise.
	script string
}

// errGone: there is no such process any more.
var errGone = errors.New("the process has ended")

// launchers start other programs and are none of their own: shells, and what has a
// program run in another way.
var launchers = []string{
	"sh", "bash", "dash", "zsh", "fish", "ksh", "ash", "busybox", "csh", "tcsh",
	"env", "timeout", "nohup", "nice", "ionice", "stdbuf", "setsid", "xargs", "time", "script",
	"npx", "npm", "pnpm", "yarn", "bunx", "uv", "uvx", "pipx", "mise", "asdf", "direnv",
	"ledgerd",
}

// interpreters run the program that their first argument names.
var interpreters = []string{"node", "nodejs", "python", "python3", "bun", "deno", "ruby"}

// sessions are what users' shells run in, beyond any agent.
var sessions = []string{
	"init", "systemd", "launchd", "login", "sshd", "sshd-session", "su", "sudo", "tmux", "screen", "SCREEN", "tini", "docker-init", "dumb-init",
	"containerd-shim-runc-v2", "conmon",
}

// launches reports whether a process only starts others.
func (p *process) launches() bool {
	if slices.Contains(launchers, p.name) {
		return true
	}
	if !slices.Contains(interpreters, p.name) {
		return false
	}
	script := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(p.script, ".js"), ".cjs"), "-cli") // npx-cli.js
	return slices.Contains(launchers, script)
}

// describe sets name and script from a command line.
func (p *process) describe(argv []string) {
	base := func(s string) string {
		s, _, _ = strings.Cut(s, " ")  // a title that the process gave itself: "npm exec server"
		s = strings.TrimPrefix(s, "-") // a login shell
		return strings.TrimSuffix(path.Base(s), ":")
	}
	if len(argv) == 0 {
		return
	}
	p.name = base(argv[0])
	for _, arg := range argv[1:] {
		if !strings.HasPrefix(arg, "-") {
			p.script = base(arg)
			return
		}
	}
}

// agentOf returns the process that started one as an agent does: the nearest ancestor
// that is no launcher. Where there is none up to what users' shells run in, it is the
// outermost launcher, and where there is not even that, the process itself.
func agentOf(pid int, look func(pid int) (*process, error)) (*process, error) {
	own, err := look(pid)
	if err != nil {
		return nil, err
	}
	last := own
	for depth := 0; depth < 64 && last.parent > 1; depth++ {
		p, err := look(last.parent)
		if errors.Is(err, errGone) || errors.Is(err, os.ErrPermission) {
			break // another user's, or it ended just now
		}
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", last.parent, err)
		}
		if slices.Contains(sessions, p.name) {
			break
		}
		if last = p; !p.launches() {
			break
		}
	}
	return last, nil
}
