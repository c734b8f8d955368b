package action

import (
	"fmt"
	"strings"
)

// readYAML reads the part of YAML that the files of this directory keep to: block mappings and sequences, plain, quoted and
// literal (|) scalars, comments on lines of their own. Whatever else is in a file
// is an error, so that nothing is read in another way than the CI systems read it.
//
// A mapping is a map[string]any, a sequence a []any, a scalar a string.
func readYAML(text string) (any, error) {
	r := &yamlReader{}
	for line := range strings.Lines(text) {
		r.lines = append(r.lines, strings.TrimRight(line, "\n"))
	}
	v, err := r.value(0)
	if r.skip(); err == nil && r.at < len(r.lines) {
		err = fmt.Errorf("expected the end, found %q", r.lines[r.at])
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", r.at+1, err)
	}
	return v, nil
}

type yamlReader struct {
	lines []string
	at    int
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// skip passes over blank lines and comments.
func (r *yamlReader) skip() {
	for r.at < len(r.lines) {
		if s := strings.TrimSpace(r.lines[r.at]); s != "" && s[0] != '#' {
			return
		}
		r.at++
	}
}

// value reads the block at an indentation.
func (r *yamlReader) value(indent int) (any, error) {
	r.skip()
	if r.at == len(r.lines) || indentOf(r.lines[r.at]) != indent {
		return nil, fmt.Errorf("expected a value indented by %d", indent)
	}
	if item(r.lines[r.at][indent:]) {
		return r.sequence(indent)
	}
	return r.mapping(indent)
}

func item(s string) bool { return s == "-" || strings.HasPrefix(s, "- ") }

func (r *yamlReader) sequence(indent int) (any, error) {
	var all []any
	for r.skip(); r.at < len(r.lines) && indentOf(r.lines[r.at]) == indent && item(r.lines[r.at][indent:]); r.skip() {
		rest := strings.TrimPrefix(r.lines[r.at][indent+1:], " ")
		var v any
		var err error
		if _, _, ok := entry(rest); ok {
			// A mapping begins on the line of its item, two columns on.
			r.lines[r.at] = strings.Repeat(" ", indent+2) + rest
			v, err = r.mapping(indent + 2)
		} else {
			v, err = r.scalar(rest, indent)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// entry splits a line of a mapping.
func entry(s string) (key, rest string, ok bool) {
	key, rest, ok = strings.Cut(s, ":")
	plain := key != "" && strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/") == ""
	return key, strings.TrimPrefix(rest, " "), ok && plain && (rest == "" || rest[0] == ' ')
}

func (r *yamlReader) mapping(indent int) (any, error) {
	all := make(map[string]any)
	for r.skip(); r.at < len(r.lines) && indentOf(r.lines[r.at]) == indent; r.skip() {
		key, rest, ok := entry(r.lines[r.at][indent:])
		if !ok {
			return nil, fmt.Errorf("expected \"key: value\", found %q", r.lines[r.at])
		}
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("expected %s once", key)
		}
		var err error
		if rest != "" {
			all[key], err = r.scalar(rest, indent)
		} else {
			r.at++
			r.skip()
			inner := indent
			if r.at < len(r.lines) {
				inner = indentOf(r.lines[r.at])
			}
			if inner > indent || inner == indent && r.at < len(r.lines) && item(r.lines[r.at][indent:]) {
				all[key], err = r.value(inner)
			} else {
				all[key] = "" // null
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if r.at < len(r.lines) && indentOf(r.lines[r.at]) > indent {
		return nil, fmt.Errorf("expected an indentation of %d, found %q", indent, r.lines[r.at])
	}
	return all, nil
}

// scalar reads what stands behind a key or a dash, and below it where it is "|".
func (r *yamlReader) scalar(s string, indent int) (string, error) {
	r.at++
	switch {
	case s == "|":
		var b strings.Builder
		inner := -1
		for ; r.at < len(r.lines); r.at++ {
			line := r.lines[r.at]
			if strings.TrimSpace(line) == "" {
				b.WriteByte('\n')
				continue
			}
			if indentOf(line) <= indent {
				break
			}
			if inner < 0 {
				inner = indentOf(line)
			}
			if indentOf(line) < inner {
				return "", fmt.Errorf("expected an indentation of %d, found %q", inner, line)
			}
			b.WriteString(line[inner:] + "\n")
		}
		return strings.TrimRight(b.String(), "\n") + "\n", nil
	case strings.HasPrefix(s, "'") && strings.HasSuffix(s, "'") && len(s) > 1 && !strings.Contains(s[1:len(s)-1], "'"):
		return s[1 : len(s)-1], nil
	case strings.HasPrefix(s, `"`) && strings.HasSuffix(s, `"`) && len(s) > 1 && !strings.ContainsAny(s[1:len(s)-1], `"\`):
		return s[1 : len(s)-1], nil
	case s == "" || strings.ContainsAny(s[:1], "|>'\"&*!%@`[]{},?#-") || strings.Contains(s, ": ") || strings.Contains(s, " #") || strings.HasSuffix(s, ":") || s != strings.TrimSpace(s):
		return "", fmt.Errorf("expected a plain, quoted or literal scalar, found %q", s)
	}
	return s, nil
}
