package userdaemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// look returns a process, by proc(5).
func look(pid int) (*process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	p, err := parseStat(pid, string(stat))
	if err != nil {
		return nil, fmt.Errorf("%s/stat: %w", dir, err)
	}
	line, err := os.ReadFile(dir + "/cmdline")
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, errGone
	}
	if argv := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"); argv[0] != "" {
		p.describe(argv)
	}
	return p, nil
}

// parseStat reads what /proc/PID/stat says: "PID (NAME) STATE PARENT …", where NAME may
// have parentheses and spaces, and the 22nd field is the start in ticks since the boot.
func parseStat(pid int, stat string) (*process, error) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return nil, fmt.Errorf("want a name in parentheses, found %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 20 {
		return nil, fmt.Errorf("want 22 fields, found %q", stat)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return nil, errGone // it waits for its parent to take notice
	}
	parent, err := strconv.Atoi(fields[1])
	return &process{pid: pid, parent: parent, start: fields[19], name: stat[open+1 : end]}, err
}

// world names what process IDs count in: this boot of the machine, and the namespace.
func world() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = nil
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		space = ""
	}
	return strings.TrimSpace(string(boot)) + " " + space
}
