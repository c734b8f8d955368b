package audit

import (
	"fmt"

	"ledgerd/evidence"
)

// Line is what has to be known of a run to decide whether a record extends it:
// the state that admission keeps for each run, and that a [Run] begins with.
// The zero Line is that of a run that nobody opened.
type Line struct {
	Run       evidence.RunID
	Opened    evidence.ID   // the run.opened
	Runtime   string        // the actor that alone extends the line
	Tail      evidence.ID   // the last record of the line
	TailIndex uint64        //
	TailTime  evidence.Time //
	Closed    bool          // the tail is run.closed
}

// Next reports whether rec, signed with a key of the actor signer, is the next
// record of the run: on the line, or beside it. It changes nothing; the caller
// that admits the record calls [Line.Extend].
//
// Every error is a *[Refusal] of the rule chain. It does not compare times with
// a clock, and knows nothing of a record beside the line but that the run is
// open.
func (l *Line) Next(rec *evidence.Record, signer string) error {
	if rec.Kind == evidence.KindRunOpened {
		return l.nextOpens(rec, signer)
	}
	if l.Opened.IsZero() {
		return refuse(RuleChain, ReasonNotOpened, "the run to be open", "%s has no run.opened", rec.Run)
	}
	if rec.Run != l.Run {
		return refuse(RuleChain, ReasonOtherRun, "a record of "+string(l.Run), "one of %s", rec.Run)
	}
	if l.Closed {
		return l.stands(refuse(RuleChain, ReasonClosed, "nothing after run.closed", "a %s", rec.Kind))
	}
	if !rec.OnLine() {
		return nil
	}
	// The writer comes first: what a stranger says of prev is of no interest.
	if signer != l.Runtime {
		return refuse(RuleChain, ReasonWriter, "a record of the run's runtime "+l.Runtime, "one signed by %q", signer)
	}
	if rec.Prev != l.Tail {
		return l.stands(refuse(RuleChain, ReasonPrev, "prev to be the run's last record "+l.Tail.String(), "%s", rec.Prev))
	}
	if rec.Time < l.TailTime {
		return refuse(RuleChain, ReasonTimeBefore, fmt.Sprintf("a time not before that of prev, %s", l.TailTime), "%s", rec.Time)
	}
	return nil
}

func (l *Line) nextOpens(rec *evidence.Record, signer string) error {
	if !l.Opened.IsZero() {
		r := refuse(RuleChain, ReasonOpened, "a run that is not open yet", "%s was opened before", rec.Run)
		r.Stands = l.Opened
		return r
	}
	if runtime := rec.Body.(*evidence.RunOpened).Runtime; runtime != signer {
		return refuse(RuleChain, ReasonWriter, "the signer to be the runtime that run.opened names, "+runtime, "%q", signer)
	}
	return nil
}

func (l *Line) stands(r *Refusal) *Refusal {
	r.Stands = l.Tail
	return r
}

// Extend moves the line on to rec, which [Line.Next] accepted and which stands
// at index. A record beside the line leaves it as it is.
func (l *Line) Extend(index uint64, id evidence.ID, rec *evidence.Record) {
	if !rec.OnLine() {
		return
	}
	if b, ok := rec.Body.(*evidence.RunOpened); ok {
		*l = Line{Run: rec.Run, Opened: id, Runtime: b.Runtime}
	}
	l.Tail, l.TailIndex, l.TailTime = id, index, rec.Time
	l.Closed = rec.Kind == evidence.KindRunClosed
}
