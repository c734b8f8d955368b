package hook

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// memory is what one call of a hook leaves for the next, in files. All that counts is
// in the ledger: a memory that is lost has a human asked once more, and no more.
type memory struct{ dir string } // of one run; "": there is none

// remember returns the memory of a run in a directory of the user's.
func remember(dir, key string) memory {
	if dir == "" {
		return memory{}
	}
	return memory{filepath.Join(dir, digest([]byte(key)))}
}

// A call that waits for a human is made again under another ID. So it is remembered
// which step waits for a call with this tool and input, and then which step a call is.

func (m memory) waits(call string) string { return m.get("waits-" + call) }

func (m memory) setWaits(call, step string) { m.set("waits-"+call, step) }

func (m memory) stepOf(id string) string { return m.get("is-" + digest([]byte(id))) }

func (m memory) setStepOf(id, step string) { m.set("is-"+digest([]byte(id)), step) }

// An agent that tells all that it said since the user spoke is remembered by how much that
// was when it was sent back.

func (m memory) setSaid(text string) {
	m.set("said", fmt.Sprintf("%d-%s", len(text), digest([]byte(text))))
}

// said returns how much of a text was said before the agent was sent back; 0: nothing.
func (m memory) said(text string) int {
	size, sum, _ := strings.Cut(m.get("said"), "-")
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || n > len(text) || digest([]byte(text[:n])) != sum {
		return 0
	}
	return n
}

func (m memory) get(name string) string {
	if m.dir == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil || !fits(string(b)) {
		return ""
	}
	return string(b)
}

func (m memory) set(name, step string) {
	if m.dir == "" {
		return
	}
	path := filepath.Join(m.dir, name)
	if step == "" {
		_ = os.Remove(path)
		return
	}
	if os.MkdirAll(m.dir, 0o700) != nil {
		return
	}
	// Whole or not at all; what a crash takes is asked again.
	beside := path + "." + digest([]byte(step))
	if os.WriteFile(beside, []byte(step), 0o600) == nil {
		_ = os.Rename(beside, path)
	}
}

func (m memory) forget() {
	if m.dir != "" {
		_ = os.RemoveAll(m.dir)
	}
}

// digest is a name for bytes.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// callDigest is a name for a tool with an input, however that is written.
func callDigest(tool string, input jsontext.Value) string {
	v := append(jsontext.Value(nil), input...)
	_ = v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)) // it was read already
	return digest(append([]byte(tool+"\x00"), v...))
}

// fits reports whether a run or step can have a name, as internal/agent.CheckName does.
func fits(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 200 && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~!$&'()*+,;=:@", c)
	})
}

// fit makes a name of s, which is s itself where that can be one.
func fit(prefix, s string) string {
	if fits(prefix + s) {
		return prefix + s
	}
	return prefix + "x-" + digest([]byte(s))
}

// RunKey is the key of the run that a session of an agent is.
func RunKey(agent, session string) string {
	if len(session) > 128 { // a number may follow
		session = "x-" + digest([]byte(session))
	}
	return fit(agent+".", session)
}
