package importer

import (
	"fmt"

	"ledgerd/audit"
	"ledgerd/evidence"
)

// judge decides the claim as every verifier will: over the records as they
// stand in the log, with every payload disclosed, asking for no stronger source
// than the contract does.
func (b *builder) judge() (evidence.Result, []byte, error) {
	// The registry tells which keys are in doubt; the only one here signed a
	// moment ago.
	run := audit.NewRun(nil)
	by := audit.Signer{Name: b.im.Runtime, Role: evidence.RoleRuntime, Key: b.im.Key.Public().Thumbprint()}
	for _, p := range b.placed {
		by.Hosted = p.Record.Actor != b.im.Runtime
		run.Apply(p.Index, p.ID, p.Record, by)
	}
	payloads := make(audit.PayloadMap, len(b.payloads))
	for commit, p := range b.payloads {
		payloads[commit] = p.Data
	}
	v, err := audit.Judge(run, b.line.ids[len(b.line.ids)-1], "", payloads)
	if err != nil {
		return "", nil, err
	}
	document, err := v.Bytes()
	if err != nil {
		return "", nil, fmt.Errorf("verdict: %w", err)
	}
	return v.Result, document, nil
}
