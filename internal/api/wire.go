package api

import (
	"encoding/json"

	"ledgerd/evidence"
)

// Placed answers one record: where it stands. Status is 201 where the record is
// new and 200 where the same bytes stood there before.
type Placed struct {
	Status int         `json:"status" doc:"201 new, 200 the same bytes stood there before"`
	Index  uint64      `json:"index"  doc:"Index in the log"`
	ID     evidence.ID `json:"id"     doc:"Evidence ID: ev_ and the base64url of the leaf hash"`
}

// Line answers one of many records: Placed, or the problem with it.
type Line struct {
	Status  int          `json:"status"            doc:"201 new, 200 known, or that of the problem"`
	Index   *uint64      `json:"index,omitempty"   doc:"Index in the log"`
	ID      *evidence.ID `json:"id,omitempty"      doc:"Evidence ID"`
	Problem *Problem     `json:"problem,omitempty" doc:"Why the record was refused"`
}

// Record is a record as it is read. Entry is the evidence; Record and View are
// derived from it for readers who do not check.
type Record struct {
	Index  uint64          `json:"index"            doc:"Index in the log"`
	ID     evidence.ID     `json:"id"               doc:"Evidence ID"`
	Entry  string          `json:"entry"            doc:"The entry: a compact JWS, exactly as signed"`
	Record json.RawMessage `json:"record,omitempty" doc:"The payload of the JWS"`
	View   *View           `json:"view,omitempty"   doc:"The flat shape that people want to read"`
}

// View is the flat shape of what happened: for an execution or authorization
// its action, permission, tool and status; for a handoff who gave what to whom.
type View struct {
	Actor      string `json:"actor"`
	Action     string `json:"action,omitempty"`
	Permission string `json:"permission,omitempty"`
	Tool       string `json:"tool,omitempty"`
	Status     string `json:"status,omitempty"`
	MessageID  string `json:"messageId,omitempty"`
	Timestamp  string `json:"timestamp"`
	AuditID    string `json:"auditId"`

	From       string   `json:"from,omitempty"`
	To         string   `json:"to,omitempty"`
	Task       string   `json:"task,omitempty"`
	ArtifactID string   `json:"artifactId,omitempty"`
	EvidenceID []string `json:"evidenceId,omitempty"`
	Scope      []string `json:"scope,omitempty"`
}

// Page is one page of records, in log order. Next is the value of after for the
// page that follows, absent on the last one.
type Page struct {
	Records []Record `json:"records"        doc:"In log order"`
	Next    *uint64  `json:"next,omitempty" doc:"Value of after for the next page; absent on the last"`
	Size    uint64   `json:"size"           doc:"Size of the tree that the page was read under"`
}

// Run is what the index knows of a run.
type Run struct {
	Run      evidence.RunID  `json:"run"`
	Index    uint64          `json:"index"             doc:"Index of its run.opened"`
	Opened   evidence.ID     `json:"opened"            doc:"Evidence ID of its run.opened"`
	Actor    string          `json:"actor"             doc:"The agent"`
	Runtime  string          `json:"runtime"           doc:"The actor that alone extends the run's line"`
	Task     string          `json:"task"              doc:"Task type"`
	Subject  string          `json:"subject,omitempty" doc:"What it is about"`
	Time     string          `json:"time"              doc:"When it was opened, by the runtime's clock"`
	Imported string          `json:"imported,omitempty" doc:"The transcript's own name for the run"`
	Closed   bool            `json:"closed"            doc:"Whether run.closed stands in the log"`
	End      evidence.End    `json:"end,omitempty"     doc:"How it ended"`
	Claim    *evidence.ID    `json:"claim,omitempty"   doc:"The last claim on its line"`
	Verdict  evidence.Result `json:"verdict,omitempty" doc:"The last verdict on its line"`
	Tail     evidence.ID     `json:"tail"              doc:"The last record on its line"`
	Records  uint64          `json:"records,omitempty" doc:"Records of the run, those beside its line included; where one run was asked for"`
}

// Runs is one page of runs, in the order in which they were opened.
type Runs struct {
	Runs []Run   `json:"runs"`
	Next *uint64 `json:"next,omitempty" doc:"Value of after for the next page; absent on the last"`
	Size uint64  `json:"size"           doc:"Size of the tree that the page was read under"`
}

// Lease asks for the lease of a run.
type Lease struct {
	Holder   string `json:"holder"              doc:"Name of the driver: an identifier that no other driver has"`
	TTL      int64  `json:"ttl_ms"              doc:"Milliseconds from now, at most 24 hours. 0 gives the lease back"`
	TakeOver bool   `json:"take_over,omitempty" doc:"Take it whoever has it"`
}

// Consistency is a consistency proof (RFC 6962, section 2.1.2): hashes in
// standard base64.
type Consistency struct {
	From   uint64   `json:"from"`
	To     uint64   `json:"to"`
	Hashes []string `json:"hashes"`
}

// Payload answers a payload that was stored: its commitment.
type Payload = evidence.Commitment

// Registry is the actors and their keys, as the ledger's own records say.
type Registry struct {
	Origin string      `json:"origin"`
	Number int64       `json:"number" doc:"Number of the latest registry record"`
	Tip    evidence.ID `json:"tip"    doc:"Evidence ID of the latest registry record: the prev of the next"`
	Actors []Actor     `json:"actors"`
}

// Actor is one actor of the registry.
type Actor struct {
	Name   string        `json:"name"`
	Role   evidence.Role `json:"role"`
	Host   string        `json:"host,omitempty"  doc:"The runtime that signs for it"`
	Teams  []string      `json:"teams,omitempty" doc:"A human's teams"`
	Keys   []Key         `json:"keys,omitempty"`
	Active bool          `json:"active" doc:"Whether it has a key or a host that holds"`
}

// Key is one key of an actor.
type Key struct {
	Kid     evidence.Digest `json:"kid"               doc:"RFC 7638 thumbprint"`
	Key     evidence.JWK    `json:"key"`
	From    uint64          `json:"from"              doc:"Index of its registration: it holds for later entries"`
	Revoked *uint64         `json:"revoked,omitempty" doc:"The last index at which it holds, where it was revoked"`
	Suspect *uint64         `json:"suspect,omitempty" doc:"From this index on its records are in doubt"`
}

// Right is what a token may do.
type Right string

// The rights.
const (
	RightRecord     Right = "record"     // submit records and their payloads
	RightRead       Right = "read"       // read records, receipts, proofs, runs
	RightPayloads   Right = "payloads"   // read payloads
	RightApprove    Right = "approve"    // submit approvals
	RightAct        Right = "act"        // open and drive runs as the token's agent
	RightGateway    Right = "gateway"    // say of calls that it made them itself, as part of the runtime
	RightAdminister Right = "administer" // registry, tokens, erasure, backup, check
)

// Rights returns every right.
func Rights() []Right {
	return []Right{RightRecord, RightRead, RightPayloads, RightApprove, RightAct, RightGateway, RightAdminister}
}

// Token is a token without its secret.
type Token struct {
	ID      string  `json:"id"      doc:"Name of the token: not the secret"`
	Actor   string  `json:"actor"   doc:"The actor that it belongs to"`
	Rights  []Right `json:"rights"`
	Created string  `json:"created" doc:"RFC 3339"`
	Expires string  `json:"expires,omitempty" doc:"RFC 3339"`
	Note    string  `json:"note,omitempty"`
}

// NewToken asks for a token.
type NewToken struct {
	Actor   string  `json:"actor"`
	Rights  []Right `json:"rights"`
	Expires string  `json:"expires,omitempty" doc:"RFC 3339; absent: never"`
	Note    string  `json:"note,omitempty"`
}

// IssuedToken is a new token with its secret, which is shown this once.
type IssuedToken struct {
	Token
	Secret string `json:"secret" doc:"What goes after Bearer. Shown this once: the daemon keeps a hash"`
}

// Tokens lists tokens.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// Backup answers a backup that was written on the daemon's machine.
type Backup struct {
	Directory string `json:"directory"`
	Size      uint64 `json:"size" doc:"Entries that it holds at least"`
}

// Checked is the result of recomputing the whole store.
type Checked struct {
	Size        uint64   `json:"size"        doc:"Entries in the tree head"`
	Entries     uint64   `json:"entries"     doc:"Entries rehashed"`
	Tiles       uint64   `json:"tiles"       doc:"Tiles compared"`
	Signatures  uint64   `json:"signatures"  doc:"Signatures of records verified"`
	Rows        uint64   `json:"rows"        doc:"Index rows compared with the log"`
	Payloads    uint64   `json:"payloads"    doc:"Payloads rehashed"`
	Erased      uint64   `json:"erased"      doc:"Commitments whose payload was erased"`
	Absent      uint64   `json:"absent"      doc:"Commitments whose payload is not here"`
	Differences []string `json:"differences" doc:"What does not belong; empty: everything does"`
}

// Health answers the probes.
type Health struct {
	Status string `json:"status"`
	Size   uint64 `json:"size,omitempty"   doc:"Size of the durable tree"`
	Origin string `json:"origin,omitempty"`
}

// PayloadLine is one of many payloads that are stored at once.
type PayloadLine struct {
	Salt  evidence.Digest `json:"salt"  doc:"32 bytes as base64url without padding"`
	Media string          `json:"media" doc:"Media type"`
	Data  []byte          `json:"data"  doc:"The payload in standard base64"`
}
