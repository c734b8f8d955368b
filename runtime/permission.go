package runtime

import (
	"context"
	"crypto/sha256"
	"fmt"

	"ledgerd/evidence"
)

// Permitter decides whether an action is permitted. It sees the exact bytes that
// the tool will get, and calls nothing. Package runtime/policy has one that
// evaluates Cedar policies.
type Permitter interface {
	// Permit decides. An error means that nothing could be decided: the action
	// is denied, and the error recorded.
	Permit(ctx context.Context, r *PermissionRequest) (Permission, error)
}

// PermissionRequest is what a permission check sees.
type PermissionRequest struct {
	Principal string // the agent: an actor's name
	Action    string // what the tool does: its Spec's Action
	Resource  string // what it does it to; "": nothing in particular
	Tool      string
	Step      string
	Input     []byte // JSON: exactly what the tool gets
	Run       RunFacts
	Spent     evidence.Amounts // by the run and its children so far
	Estimate  evidence.Amounts // what one attempt may cost
	Approved  bool             // a human approved this very authorization
}

// RunFacts is what a permission check sees of a run.
type RunFacts struct {
	ID        evidence.RunID
	Key       string // the caller's
	Task      string
	Subject   string
	Principal string // on whose behalf
	Budget    evidence.Amounts
}

// Permission is the outcome of a permission check.
type Permission struct {
	Effect   evidence.Effect
	Mode     evidence.Mode
	Policies []string // those that decided, by @id, sorted
	// Set is the policy set in force, in its canonical form: it is kept as a
	// payload, so that an auditor can read the policy of that day.
	Set *Document
	// Errors is what went wrong in the evaluation: any error denies.
	Errors []string
	// Team is, with effect escalate, who is asked.
	Team string
}

// Document is a payload that many records commit to, such as a policy set. It is
// stored once for as long as its bytes stay the same.
type Document struct {
	Media string
	Data  []byte

	digest *[32]byte // of what [NewDocument] was given; nil: it is computed for each record
}

// NewDocument returns a document that is told from others without reading it
// again. Neither it nor data may be changed from then on.
func NewDocument(media string, data []byte) *Document {
	d := &Document{Media: media, Data: data}
	digest := d.sum()
	d.digest = &digest
	return d
}

// sum tells documents apart.
func (d *Document) sum() [32]byte {
	if d.digest != nil {
		return *d.digest
	}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d\n%s", len(d.Media), d.Media)
	_, _ = h.Write(d.Data)
	return [32]byte(h.Sum(nil))
}

// PermitterFunc is a function as Permitter.
type PermitterFunc func(ctx context.Context, r *PermissionRequest) (Permission, error)

// Permit implements [Permitter].
func (f PermitterFunc) Permit(ctx context.Context, r *PermissionRequest) (Permission, error) {
	return f(ctx, r)
}
