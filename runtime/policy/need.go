package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A need is what the policies of a set can see of a value. What they cannot see
// is not made: a context costs more to build than to evaluate.
//
// A value whose members alone are asked for, by . and has, may lack its other
// members, and nobody can tell: that they are asked for one by one is read off
// the policies. Whatever is done with a value besides needs it whole. nil: the
// value is not asked for.
type need struct {
	name  types.String // of the value, in the one around it
	whole bool
	of    map[types.String]*need // its members; nothing where it is needed whole
}

// look adds what a policy can see of the context. Its scope sees nothing of it.
func (n *need) look(p *ast.Policy) {
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), n.visit)
	}
}

// visit adds what an expression sees of the context, and reports whether its
// parts are to be visited too.
func (n *need) visit(e ast.IsNode) bool {
	switch e := e.(type) {
	case ast.NodeTypeVariable:
		if m := n.named(e); m != nil {
			m.whole = true
		}
	case ast.NodeTypeAccess:
		if m := n.named(e); m != nil {
			m.whole = true
			return false
		}
	case ast.NodeTypeHas:
		if m := n.named(e.Arg); m != nil {
			m.member(e.Value) // that it is there is all that is asked
			return false
		}
	}
	return true
}

// named returns the need of what an expression names that is the context, or a
// member of it by a chain of dots; nil: it is another expression.
func (n *need) named(e ast.IsNode) *need {
	switch e := e.(type) {
	case ast.NodeTypeVariable:
		if e.Name == "context" {
			return n
		}
	case ast.NodeTypeAccess:
		if m := n.named(e.Arg); m != nil {
			return m.member(e.Value)
		}
	}
	return nil
}

func (n *need) member(name types.String) *need {
	m := n.of[name]
	if m == nil {
		m = &need{name: name}
		if n.of == nil {
			n.of = make(map[types.String]*need)
		}
		n.of[name] = m
	}
	return m
}

// whole is the need of a value that is needed whole.
var whole = &need{whole: true}

// get returns the need of a member, nil where nobody asks for it.
func (n *need) get(name types.String) *need {
	switch {
	case n == nil:
		return nil
	case n.whole:
		return whole
	}
	return n.of[name]
}
