package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"ledgerd/evidence"
)

// The first byte of a use: what is used up.
const (
	useKey        = 'k' // an idempotency key, in its run
	useExecution  = 'x' // an attempt, of its authorization, in its run
	useApproval   = 'a' // an approval
	useEscalation = 'e' // an escalated authorization's answer
	useOffer      = 'o' // an offer's acceptance
	useAcceptance = 'c' // an acceptance's run
	useRun        = 'r' // a run ID
	useNumber     = 'n' // a registry number
)

// Uses returns what rec uses up: opaque keys, each of which may stand in one
// record of a ledger. Admission stores them as rows, and the audit of a whole
// log keeps them as a set; both refuse the second record with a key of the
// first.
//
//	idempotency key  of an authorization, in its run; not again where it uses an approval
//	approval         by the authorization that uses it
//	escalation       an escalated authorization is answered by one authorization,
//	                 however many humans approved it
//	attempt          an execution for an authorization and attempt, in its run
//	                 (one that names another run's breaks the rule authorized)
//	offer            an acceptance of it
//	acceptance       a run that continues it
//	run              its run.opened
//	number           of the registry
func Uses(rec *evidence.Record) []string {
	switch b := rec.Body.(type) {
	case *evidence.RunOpened:
		uses := []string{use(useRun, packRun(rec.Run))}
		if !b.Acceptance.IsZero() {
			uses = append(uses, use(useAcceptance, b.Acceptance[:]))
		}
		return uses
	case *evidence.Authorization:
		if !b.Approval.IsZero() {
			return []string{use(useApproval, b.Approval[:]), use(useEscalation, b.Escalated[:])}
		}
		return []string{use(useKey, append(packRun(rec.Run), b.IdempotencyKey...))}
	case *evidence.Execution:
		return []string{use(useExecution, binary.BigEndian.AppendUint64(append(packRun(rec.Run), b.Authorization[:]...), uint64(b.Attempt)))}
	case *evidence.HandoffAccepted:
		return []string{use(useOffer, b.Offer[:])}
	case *evidence.LedgerCreated, *evidence.ActorRegistered, *evidence.ActorRevoked:
		return []string{use(useNumber, binary.BigEndian.AppendUint64(nil, uint64(*rec.Registry)))}
	}
	return nil
}

func use(what byte, key []byte) string {
	b := make([]byte, 1, 1+len(key))
	b[0] = what
	return string(append(b, key...))
}

// InRun reports whether a use can only be repeated by a record of the same run,
// for the run is part of it: who knows all uses of a run knows whether it was
// used.
func InRun(use string) bool {
	switch use[0] {
	case useKey, useExecution, useRun:
		return true
	}
	return false
}

// packRun returns the 16 bytes of the UUID in a valid run ID.
func packRun(run evidence.RunID) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(string(run), "run_"), "-", ""))
	if err != nil {
		return []byte(run) // not a valid run ID: no record has one
	}
	return b
}

// useDigest is what a set of uses keeps: the full 256 bits decide.
func useDigest(use string) evidence.Digest { return sha256.Sum256([]byte(use)) }

// useName says in words what is used.
func useName(use string) string {
	switch use[0] {
	case useKey:
		return "an idempotency key"
	case useExecution:
		return "an attempt"
	case useApproval:
		return "an approval"
	case useEscalation:
		return "an escalated authorization"
	case useOffer:
		return "an offer"
	case useAcceptance:
		return "an acceptance"
	case useRun:
		return "a run ID"
	}
	return "a registry number"
}
