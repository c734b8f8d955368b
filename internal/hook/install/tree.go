package install

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// A node is a JSON value in a file, with the bytes that it takes there.
type node struct {
	from, to int
	kind     jsontext.Kind
	members  []member // of an object
	elements []*node  // of an array
}

type member struct {
	name  string
	from  int // where the name begins
	value *node
}

// parse reads a file that is one JSON value.
func parse(b []byte) (*node, error) {
	d := jsontext.NewDecoder(bytes.NewReader(b))
	n, err := readNode(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, fmt.Errorf("want one value, found more at byte %d", d.InputOffset())
	}
	return n, nil
}

func readNode(d *jsontext.Decoder) (*node, error) {
	n := &node{kind: d.PeekKind()}
	if n.kind != '{' && n.kind != '[' {
		v, err := d.ReadValue()
		n.to = int(d.InputOffset())
		n.from = n.to - len(v)
		return n, err
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	n.from = int(d.InputOffset()) - 1
	for d.PeekKind() != '}' && d.PeekKind() != ']' {
		var m member
		if n.kind == '{' {
			raw, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			m.from = int(d.InputOffset()) - len(raw)
			name, err := jsontext.AppendUnquote(nil, raw)
			if err != nil {
				return nil, err
			}
			m.name = string(name)
		}
		value, err := readNode(d)
		if err != nil {
			return nil, err
		}
		m.value = value
		if n.kind == '{' {
			n.members = append(n.members, m)
		} else {
			n.elements = append(n.elements, value)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	n.to = int(d.InputOffset())
	return n, nil
}

// get returns a member of an object, nil where there is none.
func (n *node) get(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// spans are those of what stands in a container.
func (n *node) spans() (spans [][2]int) {
	for _, m := range n.members {
		spans = append(spans, [2]int{m.from, m.value.to})
	}
	for _, e := range n.elements {
		spans = append(spans, [2]int{e.from, e.to})
	}
	return spans
}

// insert adds text at the end of a container, whose content is indented by indent and
// whose end by outer.
func (n *node) insert(b []byte, text, indent, outer string) []byte {
	all := n.spans()
	if len(all) == 0 {
		return splice(b, n.from+1, n.to-1, "\n"+indent+text+"\n"+outer)
	}
	last := all[len(all)-1][1]
	return splice(b, last, last, ",\n"+indent+text)
}

// remove takes what stands at i out of a container, with its comma and the white space
// that goes with it.
func (n *node) remove(b []byte, i int) []byte {
	all := n.spans()
	switch {
	case len(all) == 1:
		return splice(b, n.from+1, n.to-1, "")
	case i == len(all)-1:
		return splice(b, all[i-1][1], all[i][1], "")
	}
	return splice(b, all[i][0], all[i+1][0], "")
}

func splice(b []byte, from, to int, text string) []byte {
	return append(append(append([]byte(nil), b[:from]...), text...), b[to:]...)
}

// indentOf returns what a file is indented by.
func indentOf(b []byte, root *node) string {
	if all := root.spans(); len(all) > 0 {
		line := bytes.LastIndexByte(b[:all[0][0]], '\n')
		if lead := b[line+1 : all[0][0]]; line >= 0 && len(lead) > 0 && len(bytes.Trim(lead, " \t")) == 0 {
			return string(lead)
		}
	}
	return "  "
}
