// Package api is what goes over the wire between a daemon and whoever talks to
// it: paths, media types, headers, JSON forms and problems. The daemon's
// handlers and the Go client share it, so that the two cannot drift apart;
// docs/http-api.md describes it for everybody else, and the daemon serves it as
// an OpenAPI document.
//
// There is no behaviour here. Records travel as what they are, compact JWS, and
// never as JSON that somebody would have to sign again.
package api

import "ledgerd/bundle"

// Paths of version 1. What stands in braces is replaced.
const (
	PathRecords     = "/v1/records"
	PathRecord      = "/v1/records/{id}"
	PathRuns        = "/v1/runs"
	PathRun         = "/v1/runs/{run}"
	PathRunRecords  = "/v1/runs/{run}/records"
	PathLease       = "/v1/runs/{run}/lease"
	PathReceipt     = "/v1/receipts/{id}"
	PathConsistency = "/v1/consistency"
	PathPayloads    = "/v1/payloads"
	PathPayload     = "/v1/payloads/{commit}"
	PathBundles     = "/v1/bundles"
	PathEvents      = "/v1/events"
	PathTraces      = "/v1/traces" // the path that OTLP has
	PathTrust       = "/v1/trust"
	PathRegistry    = "/v1/registry"
	PathTokens      = "/v1/tokens"
	PathToken       = "/v1/tokens/{token}"
	PathBackups     = "/v1/backups"
	PathCheck       = "/v1/check"
	PathHead        = "/checkpoint" // the C2SP name of a signed tree head
	PathTiles       = "/tile/{path...}"
	PathOpenAPI     = "/openapi.json"
	PathHealth      = "/healthz"
	PathReady       = "/readyz"
	PathMetrics     = "/metrics"
)

// Media types.
const (
	// MediaJOSE is one compact JWS (RFC 7515, section 9.2.1).
	MediaJOSE = "application/jose"
	// MediaLines is many of them, one a line, each line ended by LF.
	MediaLines = "application/jose-seq"
	// MediaJSONLines is one JSON object a line.
	MediaJSONLines = "application/jsonl"
	MediaJSON      = "application/json"
	MediaProtobuf  = "application/x-protobuf"   // as OTLP calls it
	MediaProblem   = "application/problem+json" // RFC 9457
	MediaEvents    = "text/event-stream"
	// MediaBundle is a bundle: one JSON object a line, docs/bundle-format.md.
	MediaBundle = bundle.Media
	// MediaText is what C2SP wants for tree heads, and what receipts are.
	MediaText  = "text/plain; charset=utf-8"
	MediaBytes = "application/octet-stream"
)

// Headers of payloads. The salt is 32 bytes as 43 characters of base64url.
const (
	HeaderSalt  = "Ledgerd-Salt"
	HeaderMedia = "Ledgerd-Media" // the media type that the commitment names
	// HeaderSize tells on every page and stream the size of the tree that it
	// was read under.
	HeaderSize = "Ledgerd-Tree-Size"
)

// Limits of one request.
const (
	MaxLines     = 1000    // records in one POST
	MaxBatchSize = 8 << 20 // bytes in one POST of many records
	MaxPage      = 1000    // records in one page
	DefaultPage  = 100
	MaxRange     = 1_000_000 // entries that one bundle of a range may span
)
