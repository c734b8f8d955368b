package mcp

import (
	"fmt"
	"strings"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// rpcError is a JSON-RPC error; id is raw JSON.
func rpcError(id string, code int, what string) []byte {
	b := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":`, id, code)
	return append(appendText(b, what), "}}"...)
}

// toolError is a result by which a model hears why its call was not made, or what is
// not known of it.
func toolError(id, what string, ev evidence.ID) []byte {
	b := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":`, id)
	if !ev.IsZero() {
		what += " Evidence: " + ev.String() + "."
	}
	b = append(appendText(b, what), `}],"isError":true`...)
	if !ev.IsZero() {
		b = append(append(b, `,"_meta":{`...), appendEntry(nil, MetaEvidence, ev.String())...)
		b = append(b, '}')
	}
	return append(b, "}}"...)
}

// explain says why a step is not to be done now.
func explain(s *api.Step) string {
	by := "No policy permits it."
	if len(s.Policies) > 0 {
		by = "Decided by the policy " + strings.Join(s.Policies, ", ") + "."
	}
	switch s.State {
	case api.StepDenied:
		if s.Refusal != nil {
			return fmt.Sprintf("Denied: a human refused %s.", s.Action)
		}
		return fmt.Sprintf("Denied: %s is not permitted. %s", s.Action, by)
	case api.StepWaiting:
		return fmt.Sprintf("Pending: %s waits for the approval of team %s. It was not called. %s Call again with the same arguments to find out.", s.Action, s.Team, by)
	case api.StepInDoubt:
		return fmt.Sprintf("In doubt: %s was permitted before with the same arguments, and nobody knows whether it happened. It was not called again; find out what happened.", s.Action)
	case api.StepSucceeded:
		return fmt.Sprintf("Not called: %s was in doubt, and it is known now that it happened. Call again with the same arguments to have it done once more.", s.Action)
	case api.StepFailed:
		return fmt.Sprintf("Not called: %s failed for good (%s). %s", s.Action, s.Class, strings.Join(s.Errors, " "))
	}
	return fmt.Sprintf("Not called: %s is %s.", s.Action, s.State)
}
