package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// said is an error of package ledger as the daemon told it: errors.Is and
// errors.As find both the error and the problem.
type said struct {
	error
	problem *Problem
}

func (s said) Unwrap() []error { return []error{s.error, s.problem} }

// asLedger returns the error that package ledger would have given, where there
// is one that the problem stands for.
func asLedger(err error) error {
	var p *Problem
	if !errors.As(err, &p) {
		return err
	}
	switch p.Reason {
	case api.ReasonBusy:
		return said{fmt.Errorf("%w: %s", tlog.ErrBusy, p.Detail), p}
	case api.ReasonStopping:
		return said{tlog.ErrNotAppended, p}
	case api.ReasonUnknown:
		return said{tlog.ErrUnknown, p}
	case api.ReasonDiskFull:
		return said{tlog.ErrDiskFull, p}
	case api.ReasonReadOnly:
		return said{ledger.ErrReadOnly, p}
	case api.ReasonErased:
		return said{ledger.ErrErased, p}
	case api.ReasonCommitment:
		return said{ledger.ErrCommitment, p}
	case string(ledger.ReasonSize):
		return said{tlog.ErrEntrySize, p}
	case api.ReasonLeased:
		return p // of a run: see Lease
	case api.ReasonNoToken, api.ReasonRight, api.ReasonOtherActor, api.ReasonCrossOrigin, api.ReasonHost, api.ReasonMalformed,
		api.ReasonNotFound, api.ReasonMethod, api.ReasonSlow, api.ReasonTooLarge, api.ReasonMediaType, api.ReasonInternal, api.ReasonNotConfigured:
		return p // of the request, and not of a record
	}
	if strings.HasPrefix(p.Reason, api.ReasonHandoff) {
		return p
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusUnprocessableEntity:
		r := ledger.Refusal{Class: ledger.Class(p.Status), Reason: ledger.Reason(p.Reason), Err: errors.New(p.Detail)}
		if p.Stands != nil && p.Index != nil {
			return said{&ledger.ConflictError{Refusal: r, Stands: *p.Stands, Index: *p.Index}, p}
		}
		return said{&r, p}
	}
	return p
}

// sent tells, of a request that got no answer, what may have become of its
// records: nothing where no connection was made, and otherwise nobody knows.
func sent(ctx context.Context, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %w", tlog.ErrNotAppended, err)
	}
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", tlog.ErrUnknown, err)
}
