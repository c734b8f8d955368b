package hook

import (
	"os"
	"path/filepath"

	"ledgerd/internal/filelock"
)

// A gateway that stands before an MCP server sees the calls of its tools itself, which
// is worth more than what an agent reports. So that a call is recorded once, a gateway
// says for which run it works, for as long as it does: by a lock on a file, which ends
// with its process. The hook leaves the calls of that server's tools in that run to it.

// Where an agent begins a session anew, a gateway that it goes on with hears of the new
// run with its first call, and of that the hook is asked before. So a gateway which goes
// where the agent's session is says of which process of an agent's it is, too.

// Announce says that a gateway governs the tools of a server in a run. dir is that of
// the hook's memory. The caller ends it; the end of the process does so, too.
func Announce(dir, key, server string) (end func(), err error) {
	of := gatewaysOf(dir, key, server)
	if err := os.MkdirAll(of, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(of, "")
	if err != nil {
		return nil, err
	}
	unlock, err := filelock.Lock(f.Name())
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(f.Name()); unlock() }, nil
}

// AnnounceIn says that a gateway governs the tools of a server for the process of an
// agent, in whichever run its session is.
func AnnounceIn(dir, process, server string) (end func(), err error) {
	one, err := Announce(dir, inProcess(process), server)
	if err != nil {
		return nil, err
	}
	any, err := Announce(dir, inProcess(""), server)
	if err != nil {
		one()
		return nil, err
	}
	return func() { any(); one() }, nil
}

// inProcess stands where the key of a run does, which has no spaces. Of any process, it
// is "": who does not know the agent's sees whether that matters.
func inProcess(process string) string { return "process " + process }

// governed reports whether a gateway records what the event is about.
func (s *session) governed() bool {
	return governed(s.Memory, s.key, s.e.Server) || s.Process != "" && governed(s.Memory, inProcess(s.Process), s.e.Server)
}

// governed reports whether a gateway is at work before a server in a run.
func governed(dir, key, server string) bool {
	if dir == "" || server == "" {
		return false
	}
	of := gatewaysOf(dir, key, server)
	files, err := os.ReadDir(of)
	if err != nil {
		return false
	}
	for _, f := range files {
		if held, err := filelock.Held(filepath.Join(of, f.Name())); err == nil && held {
			return true
		}
	}
	return false
}

func gatewaysOf(dir, key, server string) string {
	return filepath.Join(dir, "gateways", digest([]byte(key+"\x00"+server)))
}
