package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"strings"
	"text/template"

	"ledgerd/internal/report"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageScript string

//go:embed worker.js
var workerScript string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// assemble makes one HTML file of the program and what starts it (wasm_exec.js).
// The policy names the one script and the one style sheet by their digests; the
// worker and the program lie in it as data.
func assemble(program, start []byte) ([]byte, error) {
	packed, err := pack(program)
	if err != nil {
		return nil, err
	}
	parts := struct{ Policy, Style, Script, Worker, Program string }{
		Style:   report.Style() + pageCSS,
		Script:  pageScript,
		Worker:  string(start) + workerScript,
		Program: base64.StdEncoding.EncodeToString(packed),
	}
	for _, s := range []string{parts.Style, parts.Script, parts.Worker} {
		if lower := strings.ToLower(s); strings.Contains(lower, "</s") || strings.Contains(lower, "<!--") || strings.Contains(lower, "<script") {
			return nil, errors.New("page: expected scripts and styles that do not end their element")
		}
	}
	parts.Policy = Policy(parts.Script, parts.Style)
	var b bytes.Buffer
	err = pageTemplate.Execute(&b, &parts)
	return b.Bytes(), err
}

// Policy is the content security policy of a page with that script and that style
// sheet. It runs them, WebAssembly, and a worker that the page made itself, and
// allows no request to anywhere and no text to become an element or a script.
func Policy(script, style string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src " + digest(script) + " 'wasm-unsafe-eval'",
		"style-src " + digest(style),
		"worker-src blob:",
		"connect-src 'none'",
		"base-uri 'none'",
		"form-action 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types verifier",
	}, "; ")
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
