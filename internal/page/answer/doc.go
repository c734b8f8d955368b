// Package answer is what the page in a browser says of the files that it was
// given. It runs in the browser, compiled to WebAssembly, and as Go in tests; the
// audit is that of [ledgerd/internal/inspect], as in the command verify.
//
// What it says is a tree of elements, and no HTML text: whoever shows it makes
// each element and each text by itself, so that nothing in a file can become an
// element. Text is made visible first, as on a terminal.
package answer
