package audit

import (
	"slices"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// Options says what a bundle has to prove. A zero member asks for nothing.
type Options struct {
	Run      evidence.RunID // the run that it has to be about
	Subject  string         // what that run has to be about
	Contract []byte         // the contract that run has to have: the document
	// ContractDigest is [Contract.Digest], where the auditor has only that.
	ContractDigest evidence.Digest
	// Parallel is how many goroutines verify signatures in [VerifyLog]; 0: as
	// many as there are cores.
	Parallel int
	// Progress is told how many records of a log are done; it must not block.
	Progress func(done, size uint64)
	// State is what an earlier [VerifyLog] of the same log saw; nil: none.
	State *LogState
	// HashesOnly has [VerifyLog] recompute the tree from the entries, and parse none
	// of them: no rule but inclusion and consistency is decided.
	HashesOnly bool
	// KeepState has [VerifyLog] keep what it takes to follow the log from its state.
	KeepState bool
}

// Report says for every rule whether it held, and what was looked at.
type Report struct {
	Rules    []RuleResult // every rule, in the order of [Rules]
	Asked    []Answer     // one for each thing that the options ask for
	Scope    Scope
	Verdicts []Judged // what this audit itself decided about claims and contracts
	Given    []*Given // what acceptances of handoffs rest on, where it was disclosed
	// Heads are the tree heads that logs of the trust file signed, whoever cosigned them:
	// one of each ledger and size, here and in the bundles that lie here.
	Heads [][]byte
	// Equivocation holds pairs of signed tree heads that cannot both be true.
	Equivocation [][2][]byte
}

// RuleResult is what is said of one rule.
type RuleResult struct {
	Rule     Rule
	Status   Status
	Note     string // what the status rests on, where that needs saying
	Findings []Finding
	Omitted  int // findings beyond the first 100
	// AsEnforced: a part of the rule that only the whole log decides is taken
	// as the operator enforced it.
	AsEnforced bool
}

// Answer tells whether what was audited is about what was asked.
type Answer struct {
	Asked    string // "run", "subject", "contract", "about"
	Status   Status // Held, Broken or Undecidable
	Expected string
	Found    string
}

// Judged is a verdict that the audit reached, on its own trust.
type Judged struct {
	Run     evidence.RunID
	Index   uint64 // of the claim; of run.closed where the run as such was judged
	Verdict *Verdict
}

// Scope says what a report is about.
type Scope struct {
	Kind       string // "receipt", "bundle" or "log"
	Origin     string
	About      *bundle.About // of a bundle
	Size       uint64        // of the largest tree head that was accepted
	Root       tlog.Hash
	Witnesses  []string      // who cosigned it
	Heads      int           // tree heads seen
	Cosigned   evidence.Time // oldest cosignature on the largest; 0: none
	From, To   evidence.Time // of the first and last record
	Records    uint64
	Since      uint64 // the entries before this one were audited before, and are none of Records
	Runs       int    // that it holds records of
	Open       int    // of these, not closed
	InDoubt    int    // outcomes that open runs still owe
	Disclosed  int    // payloads
	Withheld   int
	Erased     int
	WithheldBy []evidence.Digest // commitments, the first 1000
	ErasedBy   []evidence.Digest
	// NotEnforced: some permission checks were only observed. Where it is set,
	// the rule authorized says "not enforced".
	NotEnforced bool
	// Recorded counts the verdicts that the records themselves hold.
	Recorded map[evidence.Result]int
}

// Rule returns the result of one rule.
func (r *Report) Rule(rule Rule) *RuleResult {
	i := slices.IndexFunc(r.Rules, func(x RuleResult) bool { return x.Rule == rule })
	if i < 0 {
		return nil
	}
	return &r.Rules[i]
}

// Status is that of the whole: broken where anything is, else undecidable where
// anything is, else held.
func (r *Report) Status() Status {
	status := Held
	for _, x := range r.Rules {
		status = worse(status, x.Status)
	}
	for _, a := range r.Asked {
		status = worse(status, a.Status)
	}
	return status
}

func worse(a, b Status) Status {
	switch {
	case a == Broken || b == Broken:
		return Broken
	case a == Undecidable || b == Undecidable:
		return Undecidable
	}
	return Held
}

// Exit codes of a verifier (docs/rules.md). Malformed input, usage and internal
// errors have codes of their own, and no report.
const (
	ExitVerified    = 0
	ExitBroken      = 1
	ExitUndecidable = 2
)

// ExitCode returns the exit code that the report stands for.
func (r *Report) ExitCode() int {
	switch r.Status() {
	case Broken:
		return ExitBroken
	case Undecidable:
		return ExitUndecidable
	}
	return ExitVerified
}

// maxFindings is how many findings of one rule a report lists.
const maxFindings = 100

// maxNamed is how many commitments of one kind a report names.
const maxNamed = 1000

// tally gathers what is found of each rule.
type tally struct {
	applies map[Rule]bool
	found   map[Rule][]Finding
	omitted map[Rule]int
	note    map[Rule]string
	worst   map[Rule]Status
}

func newTally() *tally {
	return &tally{make(map[Rule]bool), make(map[Rule][]Finding), make(map[Rule]int), make(map[Rule]string), make(map[Rule]Status)}
}

func (t *tally) add(found ...Finding) {
	for _, f := range found {
		t.applies[f.Rule] = true
		t.worst[f.Rule] = worse(t.worst[f.Rule], f.Status)
		if len(t.found[f.Rule]) == maxFindings {
			t.omitted[f.Rule]++
			continue
		}
		t.found[f.Rule] = append(t.found[f.Rule], f)
	}
}

func (t *tally) results(asEnforced func(Rule) bool) []RuleResult {
	var all []RuleResult
	for _, rule := range Rules() {
		r := RuleResult{Rule: rule, Status: NotApplicable, Note: t.note[rule], Findings: t.found[rule], Omitted: t.omitted[rule]}
		if t.applies[rule] {
			r.Status = worse(Held, t.worst[rule])
			r.AsEnforced = asEnforced(rule)
		}
		all = append(all, r)
	}
	return all
}
