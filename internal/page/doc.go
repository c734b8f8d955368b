// Package page makes the verifier that runs in a browser: one HTML file that holds
// all it needs, the verifier itself compiled to WebAssembly among it. Opened from a
// disk or served, it fetches nothing and sends nothing; its policy forbids both.
//
// The same source and the same version of Go make the same bytes, so that whoever
// was given a page can make it again and compare.
//
// A release embeds the page: go generate ./internal/page writes it to
// internal/page/built, and the build tag page has it embedded. Without the tag,
// [Make] has the go command compile it from the source that the running program was
// built from, if that still lies there.
package page

//go:generate go run ./generate
