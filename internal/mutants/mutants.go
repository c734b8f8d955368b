package mutants

import (
	"bytes"
	"cmp"
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
	holds                 bool // the check always holds without it, and does not never hold
}

// name is how testdata calls it; n tells those apart that read alike.
func (m *mutant) name(n int) string {
	check := m.check
	if m.holds {
		check = "and " + check
	}
	s := fmt.Sprintf("%s\t%s\t%s", m.file, m.function, check)
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
// calls one of reports, and every condition in the files called decide.
func read(dir string, reports, decide []string) (*source, error) {
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
		r := &reader{fset: fset, file: filepath.Base(path), reports: reports, found: make(map[extent]mutant)}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if !slices.Contains(reports, fn.Name.Name) {
				r.function(fn)
			}
			if slices.Contains(decide, r.file) {
				r.conditions(fn)
			}
		}
		if len(r.found) > 0 {
			s.files[path] = text
		}
		s.mutants = append(s.mutants, slices.SortedFunc(maps.Values(r.found), func(a, b mutant) int {
			return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
		})...)
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
	found   map[extent]mutant // by where it stands
}

// extent is where a node stands: offsets in the file.
type extent struct{ from, to int }

func (r *reader) nameOf(fn *ast.FuncDecl) string {
	if fn.Recv != nil {
		return r.text(fn.Recv.List[0].Type) + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// conditions notes every condition of a function, and each part of what is joined by
// || and &&: the first does not hold without it, the second holds anyway. Conditions of
// loops are left alone, for without them a loop does not end.
func (r *reader) conditions(fn *ast.FuncDecl) {
	name := r.nameOf(fn)
	joined := func(e ast.Expr, op token.Token) {
		b, ok := ast.Unparen(e).(*ast.BinaryExpr)
		if !ok || b.Op != op {
			return
		}
		for _, part := range []ast.Expr{b.X, b.Y} {
			if p, ok := ast.Unparen(part).(*ast.BinaryExpr); !ok || p.Op != op {
				r.note(mutant{file: r.file, function: name, check: r.text(part), from: r.at(part.Pos()), to: r.at(part.End()), holds: op == token.LAND})
			}
		}
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			r.condition(name, n.Cond)
		case *ast.SwitchStmt:
			if n.Tag != nil {
				return true
			}
			for _, c := range n.Body.List {
				for _, e := range c.(*ast.CaseClause).List {
					r.condition(name, e)
				}
			}
		case *ast.BinaryExpr:
			joined(n, token.LOR)
			joined(n, token.LAND)
		}
		return true
	})
}

// function looks for reports in a function, with the nodes around each.
func (r *reader) function(fn *ast.FuncDecl) {
	name := r.nameOf(fn)
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

func (r *reader) note(m mutant) { r.found[extent{m.from, m.to}] = m }

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

// An edit puts text before or after what stands between two offsets: at the first that
// is named.
type edit struct {
	at, other int
	text      string
}

// compare nests the edits: at one place ends come before beginnings, the end of what is
// within before that of what is around it, and its beginning after.
func (e edit) compare(f edit) int {
	ends := func(e edit) int {
		if e.other < e.at {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(e.at, f.at), cmp.Compare(ends(e), ends(f)), cmp.Compare(f.other, e.other))
}

// write writes the package with all mutants in it into a directory, and returns what
// `go build -overlay` takes.
func (s *source) write(dir string) (overlay map[string]string, err error) {
	overlay = make(map[string]string)
	for path, text := range s.files {
		var edits []edit
		for n, m := range s.mutants {
			if m.file != filepath.Base(path) {
				continue
			}
			before, after := fmt.Sprintf("live(%d) && (", n), ")"
			switch {
			case m.wraps:
				before, after = fmt.Sprintf("if live(%d) { ", n), " }"
			case m.holds:
				before, after = fmt.Sprintf("(!live(%d) || (", n), "))"
			}
			edits = append(edits, edit{m.from, m.to, before}, edit{m.to, m.from, after})
		}
		slices.SortStableFunc(edits, edit.compare)
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
