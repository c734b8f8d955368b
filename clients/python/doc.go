// Package python holds the client for Python to its tests: it is Go only here and in
// them. README.md says what the client is.
package python
