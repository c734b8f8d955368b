package ledger

import (
	"errors"
	"fmt"

	"ledgerd/audit"
	"ledgerd/evidence"
)

// A Class groups the reasons of refusals by what the writer can do. An HTTP
// server answers with the status of the same number.
type Class int

// The classes.
const (
	// Malformed: no record in the one form that there is.
	Malformed Class = 400
	// Forbidden: the key may not say this.
	Forbidden Class = 403
	// Conflict: another record stands where this one wants to; read what
	// stands, and decide anew.
	Conflict Class = 409
	// Unacceptable: well-formed, but not for this ledger or not now.
	Unacceptable Class = 422
)

// A Reason says in one stable word why a record was refused: one of those below
// or one of package audit's. docs/log-format.md lists all of them.
type Reason string

// The reasons of form and clock. The others are an [audit.Reason].
const (
	ReasonSize    Reason = "size"    // 400: empty, or longer than 65,535 bytes
	ReasonJWS     Reason = "jws"     // 400: no compact JWS in canonical base64url, or a kid that is no thumbprint
	ReasonHeader  Reason = "header"  // 422: another protected header than the one that there is
	ReasonPayload Reason = "payload" // 400: not an I-JSON record of version 1
	ReasonVersion Reason = "version" // 422: of a newer version
	ReasonKey     Reason = "key"     // 422: registers what is no usable key
	ReasonTime    Reason = "time"    // 422: more than 5 minutes from the ledger's clock
)

// A Refusal says why a record was not admitted. Nothing of it is in the log.
type Refusal struct {
	Class  Class
	Reason Reason
	Err    error // what was expected and what was found
}

func (r *Refusal) Error() string { return fmt.Sprintf("record refused (%s): %v", r.Reason, r.Err) }

// Unwrap returns what was expected and found.
func (r *Refusal) Unwrap() error { return r.Err }

// A ConflictError is a Refusal of class Conflict where a record stands in the
// way: the run's last record where one is out of order, the first use where one
// is the second.
type ConflictError struct {
	Refusal
	Stands evidence.ID // the record that stands
	Index  uint64      // where
}

func (c *ConflictError) Error() string {
	return fmt.Sprintf("%s; what stands is %s at index %d", c.Refusal.Error(), c.Stands, c.Index)
}

// Unwrap makes errors.As find the Refusal.
func (c *ConflictError) Unwrap() error { return &c.Refusal }

func refuse(class Class, reason Reason, format string, args ...any) *Refusal {
	return &Refusal{class, reason, fmt.Errorf(format, args...)}
}

// AsRefusal returns the Refusal in an error's chain, nil if it is another error:
// of the store, of the context, or that of a log that has stopped.
func AsRefusal(err error) *Refusal {
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return r
	}
	return nil
}

// classOf maps what the audit answers to what the ledger does.
func classOf(c audit.Class) Class {
	switch c {
	case audit.Forbidden:
		return Forbidden
	case audit.Conflict:
		return Conflict
	}
	return Unacceptable
}
