// Package place says where the daemon of a user and what belongs to it are. It imports
// next to nothing: hooks of coding agents, which have to be quick, look there before the
// rest of the program is there.
package place

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxSocket is how long the path of a socket may be, in bytes: 104 with a zero byte at
// its end, on the strictest of the systems that have them.
const maxSocket = 103

// Home returns where a user's daemon lives by the environment.
func Home(getenv func(string) string) (string, error) {
	if path := getenv("LEDGERD_HOME"); path != "" {
		return filepath.Abs(path)
	}
	if data := getenv("XDG_DATA_HOME"); filepath.IsAbs(data) { // the specification has others ignored
		return filepath.Join(data, "ledgerd"), nil
	}
	user := getenv("HOME")
	if user == "" {
		return "", errors.New("want LEDGERD_HOME, XDG_DATA_HOME or HOME in the environment to find this user's daemon, found none of them")
	}
	return filepath.Join(user, ".local", "share", "ledgerd"), nil
}

// Socket returns where the daemon of a home listens.
func Socket(home, runtimeDir string) (string, error) {
	path := filepath.Join(home, "daemon.sock")
	if len(path) <= maxSocket {
		return path, nil
	}
	sum := sha256.Sum256([]byte(home))
	short := filepath.Join(runtimeDir, "ledgerd-"+hex.EncodeToString(sum[:8])+".sock")
	if !filepath.IsAbs(runtimeDir) || len(short) > maxSocket {
		return "", fmt.Errorf("the path of a socket has at most %d bytes, and %s has %d: want LEDGERD_HOME to be shorter, or XDG_RUNTIME_DIR", maxSocket, path, len(path))
	}
	if err := Private(runtimeDir); err != nil {
		return "", fmt.Errorf("XDG_RUNTIME_DIR: %w", err)
	}
	return short, nil
}

// Private reports why a directory is not this user's alone.
func Private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s: want a directory, found a file", dir)
	case !Ours(info):
		return fmt.Errorf("%s: want a directory of the user who runs this program, found another's: set LEDGERD_HOME", dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s: want mode 0700, found %04o: others may have read or changed what is in it. If nobody has, chmod 700 it", dir, info.Mode().Perm())
	}
	return nil
}

// AgentToken and GatewayToken end the names of the files of tokens.
const (
	AgentToken   = ".agent.token"
	GatewayToken = ".gateway.token"
)

// Token returns where an agent's token is kept. Names of actors are printable ASCII
// without spaces; a slash in one is no directory.
func Token(home, agent string, gateway bool) string {
	kind := AgentToken
	if gateway {
		kind = GatewayToken
	}
	return filepath.Join(home, "tokens", escape(agent)+kind)
}

// Session returns the file that a session has by what it is of, whatever characters that
// has: "process" and which one, or "id" and the agent's own name of it.
func Session(home, kind string, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return filepath.Join(home, "sessions", kind+"-"+hex.EncodeToString(sum[:16])+".json")
}

// escape keeps what is no part of a file's name out of it.
func escape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
