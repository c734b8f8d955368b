package mutants

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A mutant is one check without which the package is to be tested.
type mutant struct {
	file, function, check string
	from, to              int  // where the check stands: offsets in the file
	wraps                 bool // a whole statement, and no condition
}

// name is how testdata calls it; n tells those apart that read alike.
func (m *mutant) name(n int) string {
	s := fmt.Sprintf("%s\t%s\t%s", m.file, m.function, m.check)
	if n > 0 {
		s += fmt.Sprintf(" (%d)", n+1)
	}
	return s
}

// source is a package in which each mutant can be turned on.
type source struct {
	dir     string
	name    string // of the package
	mutants []mutant
	files   map[string][]byte // as they are
}

// read finds the mutants of the package in a directory: the conditions under which it
// calls one of reports.
func read(dir string, reports ...string) (*source, error) {
	s := &source{dir: dir, files: make(map[string][]byte)}
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, text, 0)
		if err != nil {
			return nil, err
		}
		s.name = f.Name.Name
		r := &reader{fset: fset, file: filepath.Base(path), reports: reports, found: make(map[int]mutant)}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil && !slices.Contains(reports, fn.Name.Name) {
				r.function(fn)
			}
		}
		if len(r.found) > 0 {
			s.files[path] = text
		}
		for _, at := range slices.Sorted(maps.Keys(r.found)) {
			s.mutants = append(s.mutants, r.found[at])
		}
	}
	return s, nil
}

// names returns the names of the mutants, in their order.
func (s *source) names() []string {
	seen := make(map[string]int)
	names := make([]string, len(s.mutants))
	for i := range s.mutants {
		plain := s.mutants[i].name(0)
		names[i] = s.mutants[i].name(seen[plain])
		seen[plain]++
	}
	return names
}

type reader struct {
	fset    *token.FileSet
	file    string
	reports []string
	found   map[int]mutant // by where it begins
}

// function looks for reports in a function, with the nodes around each.
func (r *reader) function(fn *ast.FuncDecl) {
	name := fn.Name.Name
	if fn.Recv != nil {
		name = r.text(fn.Recv.List[0].Type) + "." + name
	}
	var around []ast.Node
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		if r.isReport(n) {
			r.report(name, append(slices.Clone(around), n))
		}
		around = append(around, n)
		return true
	})
}

func (r *reader) isReport(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		lit, ok := n.(*ast.CompositeLit)
		return ok && lit.Type != nil && slices.Contains(r.reports, r.text(lit.Type)+"{}")
	}
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return slices.Contains(r.reports, f.Name)
	case *ast.SelectorExpr:
		return slices.Contains(r.reports, f.Sel.Name)
	}
	return false
}

// report notes the condition under which a node is come to: that of the innermost if or
// case around it; else, where it stands in a statement of its own, that statement.
func (r *reader) report(function string, around []ast.Node) {
	for i := len(around) - 1; i > 0; i-- {
		switch n := around[i-1].(type) {
		case *ast.IfStmt:
			if around[i] == ast.Node(n.Body) {
				r.condition(function, n.Cond)
				return
			}
			if around[i] == n.Else {
				r.statement(function, around[i:])
				return
			}
		case *ast.CaseClause:
			sw, ok := around[max(0, i-3)].(*ast.SwitchStmt)
			if ok && sw.Tag == nil && len(n.List) > 0 && slices.Contains(n.Body, stmt(around[i])) {
				for _, e := range n.List {
					r.condition(function, e)
				}
				return
			}
			r.statement(function, around[i-1:])
			return
		}
	}
	r.statement(function, around)
}

func stmt(n ast.Node) ast.Stmt {
	s, _ := n.(ast.Stmt)
	return s
}

// condition notes a condition, or each part of a disjunction.
func (r *reader) condition(function string, e ast.Expr) {
	if b, ok := ast.Unparen(e).(*ast.BinaryExpr); ok && b.Op == token.LOR {
		r.condition(function, b.X)
		r.condition(function, b.Y)
		return
	}
	r.note(mutant{file: r.file, function: function, check: r.text(e), from: r.at(e.Pos()), to: r.at(e.End())})
}

// statement notes the innermost statement that can be left out whole. What returns
// cannot be: nothing else would be returned.
func (r *reader) statement(function string, around []ast.Node) {
	for _, n := range slices.Backward(around) {
		switch s := n.(type) {
		case *ast.ExprStmt:
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				return
			}
		case *ast.ReturnStmt, *ast.FuncLit:
			return
		default:
			continue
		}
		r.note(mutant{file: r.file, function: function, check: r.text(n), from: r.at(n.Pos()), to: r.at(n.End()), wraps: true})
		return
	}
}

func (r *reader) note(m mutant) { r.found[m.from] = m }

func (r *reader) at(p token.Pos) int { return r.fset.Position(p).Offset }

// text is a node on one line.
func (r *reader) text(n ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, r.fset, n); err != nil {
		return err.Error()
	}
	s := strings.Join(strings.Fields(b.String()), " ")
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return s
}

// Turned on by the environment: the number of the mutant, from 0.
const variable = "LEDGERD_MUTANT"

// write writes the package with all mutants in it into a directory, and returns what
// `go build -overlay` takes.
func (s *source) write(dir string) (overlay map[string]string, err error) {
	overlay = make(map[string]string)
	for path, text := range s.files {
		type edit struct {
			at   int
			text string
		}
		var edits []edit
		for n, m := range s.mutants {
			switch {
			case m.file != filepath.Base(path):
			case m.wraps:
				edits = append(edits, edit{m.from, fmt.Sprintf("if live(%d) { ", n)}, edit{m.to, " }"})
			default:
				edits = append(edits, edit{m.from, fmt.Sprintf("live(%d) && (", n)}, edit{m.to, ")"})
			}
		}
		slices.SortStableFunc(edits, func(a, b edit) int { return a.at - b.at })
		var out bytes.Buffer
		last := 0
		for _, e := range edits {
			out.Write(text[last:e.at])
			out.WriteString(e.text)
			last = e.at
		}
		out.Write(text[last:])
		to := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(to, out.Bytes(), 0o600); err != nil {
			return nil, err
		}
		overlay[path] = to
	}
	live := filepath.Join(dir, "live_mutants.go")
	text := fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar mutantOn = os.Getenv(%q)\n\nvar mutantNumber = func() int {\n\tn := 0\n\tif mutantOn == \"\" {\n\t\treturn -1\n\t}\n\tfor _, c := range mutantOn {\n\t\tn = n*10 + int(c-'0')\n\t}\n\treturn n\n}()\n\nfunc live(n int) bool { return n != mutantNumber }\n", s.name, variable)
	if err := os.WriteFile(live, []byte(text), 0o600); err != nil {
		return nil, err
	}
	overlay[filepath.Join(s.dir, "live_mutants.go")] = live
	return overlay, nil
}
