package checkpoint

import (
	"iter"

	"ledgerd/audit"
	"ledgerd/evidence"
)

// Fold returns the State that a run's records come to, in log order. A ledger
// admitted them, so that who they say signed them did. beside tells who somebody is
// that speaks beside the line, whose teams are then those of today; each, if not
// nil, sees every record.
func Fold(records iter.Seq2[evidence.Placed, error], beside func(name string) audit.Signer, each func(evidence.Placed)) (*State, error) {
	s := New(nil)
	writer := ""
	for p, err := range records {
		if err != nil {
			return nil, err
		}
		if b, ok := p.Record.Body.(*evidence.RunOpened); ok {
			writer = b.Runtime
		}
		by := audit.Signer{Name: writer, Role: evidence.RoleRuntime, Hosted: p.Record.Actor != writer}
		if !p.Record.OnLine() {
			by = beside(p.Record.Actor)
		}
		s.Apply(p, by)
		if each != nil {
			each(p)
		}
	}
	return s, nil
}
