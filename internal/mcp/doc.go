// Package mcp stands between a client and a server of the Model Context Protocol
// (https://modelcontextprotocol.io): every tools/call asks for permission before the
// server sees it, and what came of it is durable before the client does. Everything
// else passes through, byte for byte.
//
// A Gateway has a [Run], by which it asks and reports, and knows nothing of ledgers. It
// fails closed: where it cannot ask, nothing is called; where it cannot report, the
// client hears that the outcome is in doubt, and not the outcome.
//
// Who can make two readers understand one message in two ways gets past the one of
// them: what is not I-JSON, or has a member of JSON-RPC in another case, is refused
// from a client, and dropped from a server.
package mcp
