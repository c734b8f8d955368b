// Package typescript is a client of the daemon in TypeScript. It is Go only in its
// tests, which run it against a daemon: README.md.
package typescript
