// Package forms writes reports as people at a terminal and CI systems want them:
// text, SARIF, JUnit. The forms that need no other module, JSON and HTML, are in
// package [ledgerd/internal/report] itself, which a browser has to carry too.
package forms
