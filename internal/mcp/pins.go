package mcp

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/internal/filelock"
	"ledgerd/internal/wholefile"
)

// Pins are what tools were when they were first seen, in a file that several gateways
// share. A tool that is another one now is held back until somebody accepts it.
type Pins struct{ path string }

// NewPins returns the pins in a file, which need not exist.
func NewPins(path string) *Pins { return &Pins{path} }

// A Pin is what is known of a tool.
type Pin struct {
	Accepted string `json:"accepted,omitempty"` // SHA-256 of its definition, in hex; "": nobody has accepted it
	Shadows  string `json:"shadows,omitempty"`  // the tool of another server's whose name it has
	Now      string `json:"now,omitempty"`      // what the server says that it is, where that differs
	About    string `json:"about,omitempty"`    // its description now, for who decides
}

type pinsFile struct {
	Version string          `json:"tools"` // "v1"
	Pins    map[string]*Pin `json:"pins"`  // by SERVER/TOOL
}

// meet compares the tools of a server with what they were, notes what is new, and
// returns why some are held back.
func (p *Pins) meet(server string, tools map[string]*tool) (held map[string]string, err error) {
	held = make(map[string]string)
	err = p.change(func(f *pinsFile) bool {
		changed := false
		for name, t := range tools {
			full := server + "/" + name
			pin := f.Pins[full]
			if pin == nil {
				pin, changed = &Pin{Accepted: t.digest}, true
				if other := f.shadowed(server, t); other != "" {
					pin.Accepted, pin.Shadows = "", other
				}
				f.Pins[full] = pin
			}
			switch {
			case pin.Accepted == "":
				held[name] = fmt.Sprintf("the tool %s has the name of %s and is another one, so an agent may take it for that; ledgerd mcp tools accept %s, once you have looked at it", full, pin.Shadows, full)
				if pin.Now != t.digest {
					pin.Now, pin.About, changed = t.digest, t.description, true
				}
			case pin.Accepted != t.digest:
				held[name] = fmt.Sprintf("the tool %s is not what it was when it was first seen; ledgerd mcp tools accept %s, once you have looked at it", full, full)
				if pin.Now != t.digest {
					pin.Now, pin.About, changed = t.digest, t.description, true
				}
			case pin.Now != "":
				pin.Now, pin.About, changed = "", "", true
			}
		}
		return changed
	})
	return held, err
}

// shadowed returns the tool of another server whose name a tool has, and which is another
// one; "": none. Two servers of one program have the same tools, and shadow nothing.
func (f *pinsFile) shadowed(server string, t *tool) string {
	for _, full := range slices.Sorted(maps.Keys(f.Pins)) {
		of, name, _ := strings.Cut(full, "/")
		if pin := f.Pins[full]; of != server && strings.EqualFold(name, t.name) && pin.Accepted != "" && pin.Accepted != t.digest {
			return full
		}
	}
	return ""
}

// Accept takes a tool, or with SERVER/ all of a server, as it is now.
func (p *Pins) Accept(name string) (accepted []string, err error) {
	err = p.change(func(f *pinsFile) bool {
		for _, full := range slices.Sorted(maps.Keys(f.Pins)) {
			pin := f.Pins[full]
			if pin.Now != "" && (full == name || strings.HasSuffix(name, "/") && strings.HasPrefix(full, name)) {
				pin.Accepted, pin.Shadows, pin.Now, pin.About = pin.Now, "", "", ""
				accepted = append(accepted, full)
			}
		}
		return len(accepted) > 0
	})
	return accepted, err
}

// List returns what is known, by SERVER/TOOL.
func (p *Pins) List() (map[string]*Pin, error) {
	f, err := p.read()
	if err != nil {
		return nil, err
	}
	return f.Pins, nil
}

func (p *Pins) read() (*pinsFile, error) {
	f := &pinsFile{Version: "v1", Pins: make(map[string]*Pin)}
	b, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, f, json.RejectUnknownMembers(true)); err != nil || f.Version != "v1" || f.Pins == nil {
		return nil, fmt.Errorf("%s: want the tools that were seen, which begins with {\"tools\": \"v1\"", p.path)
	}
	return f, nil
}

// change has f change the file, by itself.
func (p *Pins) change(f func(*pinsFile) bool) error {
	unlock, err := filelock.Lock(p.path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	file, err := p.read()
	if err != nil {
		return err
	}
	if !f(file) {
		return nil
	}
	b, err := json.Marshal(file, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return wholefile.Write(p.path, append(b, '\n'), true)
}
