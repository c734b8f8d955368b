package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// HTML writes the page as one HTML document that fetches and runs nothing: its
// policy forbids both, whatever stands in it. It is well-formed XML too.
//
// Text is made visible first, as on a terminal, and then escaped: a browser obeys
// bidirectional overrides as a terminal does.
func (p *Page) HTML(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := page.Execute(b, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return b.Flush()
}

// Fragment writes what [Page.HTML] writes below the answer, the reasons and the
// sections, as part of another page, in which their names begin with path.
func (p *Page) Fragment(w io.Writer, path string) error {
	if err := page.ExecuteTemplate(w, "story", part{p, path}); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// part is a page, and what the names of its sections begin with.
type part struct {
	Page *Page
	Path string
}

// Style is the style sheet of a page.
func Style() string { return pageStyle }

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// styleHash has the page's policy allow this one style sheet, and no other.
func styleHash() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"visible":   Visible,
	"style":     func() template.CSS { return template.CSS(pageStyle) },
	"styleHash": styleHash,
	"lines":     func(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") },
	"word":      Outcome.Word,
	"part":      func(p *Page) part { return part{p, ""} },
	"about":     func(q Quote) string { return q.About() },
	"where":     func(it Item) string { return it.Where() },
	"sign": func(m Mark) string {
		return map[Mark]string{MarkGood: "✓", MarkBad: "✗", MarkDoubt: "?"}[m]
	},
	"means": func(m Mark) string {
		return map[Mark]string{MarkGood: "holds", MarkBad: "wrong", MarkDoubt: "in doubt"}[m]
	},
}).Parse(pageText))
