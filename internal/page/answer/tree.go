package answer

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// A Node is an element, or a text. As JSON a text is a string, and an element
// [name, {attribute: value}, node, …].
type Node struct {
	Text string // of a node that has no Name
	Name string
	Attr map[string]string
	Kids []*Node
}

// MarshalJSON writes the form that the page's script reads.
func (n *Node) MarshalJSON() ([]byte, error) {
	if n.Name == "" {
		return json.Marshal(n.Text)
	}
	list := []any{n.Name, n.Attr}
	for _, k := range n.Kids {
		list = append(list, k)
	}
	return json.Marshal(list)
}

// parse takes HTML apart that is XML too. Space that only lays out the template
// is left out.
func parse(html string) (*Node, error) {
	d := xml.NewDecoder(strings.NewReader(html))
	root := &Node{Name: "div", Attr: map[string]string{}}
	open := []*Node{root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		top := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			n := &Node{Name: t.Name.Local, Attr: make(map[string]string, len(t.Attr))}
			for _, a := range t.Attr {
				n.Attr[a.Name.Local] = a.Value
			}
			top.Kids = append(top.Kids, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if text := string(t); strings.TrimSpace(text) != "" || !strings.Contains(text, "\n") {
				top.Kids = append(top.Kids, &Node{Text: text})
			}
		}
	}
}
