package userdaemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// lookPS returns a process as ps(1) of POSIX tells it, where there is no proc(5). lstart
// is not in POSIX, and in every BSD, macOS and procps: five words, such as
// "Thu Nov 26 17:22:59 2026".
func lookPS(pid int) (*process, error) {
	c := exec.Command("ps", "-o", "ppid=", "-o", "stat=", "-o", "lstart=", "-o", "command=", "-p", strconv.Itoa(pid))
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("want ps to tell of processes: %w", err)
	}
	words := strings.Fields(string(out))
	if len(words) < 8 {
		return nil, fmt.Errorf("want ps to tell parent, state, start and command of process %d, found %q", pid, out)
	}
	if strings.HasPrefix(words[1], "Z") {
		return nil, errGone
	}
	parent, err := strconv.Atoi(words[0])
	if err != nil {
		return nil, fmt.Errorf("want ps to tell the parent of process %d, found %q", pid, out)
	}
	p := &process{pid: pid, parent: parent, start: strings.Join(words[2:7], " ")}
	p.describe(words[7:])
	return p, nil
}
