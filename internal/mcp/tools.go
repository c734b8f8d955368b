package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A tool is what a server says that one of its tools is.
type tool struct {
	name        string
	description string
	schema      jsontext.Value
	// again: the server says that a second call does nothing that the first did not.
	again  bool
	digest string // of the whole definition, but for _meta
}

// readTool reads a tool's definition.
func readTool(raw jsontext.Value) (*tool, error) {
	var def struct {
		Name        string         `json:"name"`
		Description string         `json:"description"`
		InputSchema jsontext.Value `json:"inputSchema"`
		Annotations struct {
			ReadOnly   bool `json:"readOnlyHint"`
			Idempotent bool `json:"idempotentHint"`
		} `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &def); err != nil {
		return nil, err
	}
	if err := checkToolName(def.Name); err != nil {
		return nil, err
	}
	var all map[string]jsontext.Value
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	delete(all, "_meta")
	b, err := json.Marshal(all, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	canonical := jsontext.Value(b)
	if err := canonical.Canonicalize(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	return &tool{def.Name, def.Description, def.InputSchema, def.Annotations.ReadOnly || def.Annotations.Idempotent, hex.EncodeToString(sum[:])}, nil
}

// maxToolName is how long a name may be to the protocol. With a server's before it, and
// what makes it the name of a step behind, it is still an identifier.
const maxToolName = 128

// checkToolName: an identifier that a policy, a contract and a path can name.
func checkToolName(name string) error {
	if name == "" || len(name) > maxToolName || strings.ContainsFunc(name, func(c rune) bool { return !inName(c) }) {
		return fmt.Errorf("want a tool's name of 1 to %d letters, digits and any of _-./, found %s", maxToolName, clip([]byte(name)))
	}
	return nil
}

func inName(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_-./", c)
}

// CheckServerName reports why a server cannot have a name: it begins the names of its
// tools, and of steps.
func CheckServerName(name string) error {
	if name == "" || len(name) > 40 || strings.ContainsFunc(name, func(c rune) bool { return c == '/' || !inName(c) }) {
		return fmt.Errorf("want a server's name of 1 to 40 letters, digits and any of _-., found %s", clip([]byte(name)))
	}
	return nil
}
