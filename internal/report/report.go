package report

// Version is the version of the JSON report.
const Version = "v1"

// Outcome is the answer of an audit.
type Outcome string

// The outcomes, in the order in which one outweighs another where several files
// were audited.
const (
	Wrong       Outcome = "wrong"       // something is proven wrong
	Malformed   Outcome = "malformed"   // the input is not in the form that it means to have
	Undecidable Outcome = "undecidable" // trust or evidence is missing
	Verified    Outcome = "verified"    // every rule that applies holds
)

// Worst returns the outcome that outweighs the others; [Verified] for none.
func Worst(outcomes ...Outcome) Outcome {
	for _, o := range []Outcome{Wrong, Malformed, Undecidable} {
		for _, found := range outcomes {
			if found == o {
				return o
			}
		}
	}
	return Verified
}

// Report is what an audit of one file, or of one log, found. Its JSON form is
// specified in docs/verify.md.
type Report struct {
	Version string  `json:"report"` // "v1"
	Input   string  `json:"input"`  // the file or log as it was named; "-": standard input
	Form    string  `json:"form"`   // receipt, bundle, log, tree head(s), …
	Outcome Outcome `json:"outcome"`
	Summary string  `json:"summary"` // the answer in one sentence
	Origin  string  `json:"origin,omitempty"`
	About   string  `json:"about,omitempty"`
	Scope   *Scope  `json:"scope,omitempty"`
	Rules   []Rule  `json:"rules,omitempty"`
	Claims  []Claim `json:"claims,omitempty"`
	Error   string  `json:"error,omitempty"` // why the input is malformed
	// Given is what acceptances of handoffs rest on: the other ledger's bundle,
	// which lies in this one.
	Given []Given `json:"given,omitempty"`
	// Equivocation holds pairs of signed tree heads, whole notes, that cannot
	// both be true.
	Equivocation [][2]string `json:"equivocation,omitempty"`
	Proof        string      `json:"proof,omitempty"` // the file that proves it without the log
	Kept         string      `json:"kept,omitempty"`  // the file that keeps tree heads which are no proof by themselves
}

// Scope says what was looked at.
type Scope struct {
	Size      uint64   `json:"size"`           // of the largest tree head that was accepted
	Root      string   `json:"root,omitempty"` // base64
	Witnesses []string `json:"witnesses,omitempty"`
	Heads     int      `json:"heads"` // tree heads seen
	Records   uint64   `json:"records"`
	Since     uint64   `json:"since,omitempty"` // the entries before it were audited before
	Runs      int      `json:"runs"`
	Open      int      `json:"open"`     // runs that are not closed
	InDoubt   int      `json:"in_doubt"` // outcomes that open runs still owe
	From      string   `json:"from,omitempty"`
	To        string   `json:"to,omitempty"`
	Disclosed int      `json:"disclosed"` // payloads
	Withheld  int      `json:"withheld"`
	Erased    int      `json:"erased"`
	// Commitments of payloads that were withheld or erased, the first 1,000.
	WithheldCommits []string `json:"withheld_commits,omitempty"`
	ErasedCommits   []string `json:"erased_commits,omitempty"`
}

// Status is what became of a rule.
type Status string

// The statuses.
const (
	Held          Status = "held"
	Broken        Status = "broken"
	NotApplicable Status = "not_applicable"
	NotDecided    Status = "undecidable"
)

// Rule is a rule and what became of it.
type Rule struct {
	Rule       string    `json:"rule"`
	Status     Status    `json:"status"`
	Note       string    `json:"note,omitempty"`        // what the status rests on
	AsEnforced bool      `json:"as_enforced,omitempty"` // a part that only the whole log decides is taken as the operator enforced it
	Findings   []Finding `json:"findings,omitempty"`
	Omitted    int       `json:"omitted,omitempty"` // findings beyond those listed
}

// Finding is one thing that was found.
type Finding struct {
	Status   Status   `json:"status"` // broken or undecidable
	Reason   string   `json:"reason"`
	Expected string   `json:"expected,omitempty"`
	Found    string   `json:"found,omitempty"`
	Decides  string   `json:"decides,omitempty"`
	Run      string   `json:"run,omitempty"`
	Records  []Record `json:"records,omitempty"`
}

// Record names a record and where it stands.
type Record struct {
	ID    string  `json:"id"`
	Index *uint64 `json:"index,omitempty"` // absent: not known
}

// Given is the report on a bundle that lies in another.
type Given struct {
	Acceptance string  `json:"acceptance"` // evidence ID
	Report     *Report `json:"report"`
}

// Ground is a handoff on which a claim rests.
type Ground struct {
	Acceptance string `json:"acceptance"` // evidence ID
	Result     string `json:"result"`     // as of a claim; no_contract: its giver claimed nothing
	Why        string `json:"why,omitempty"`
}

// Claim is the result of checking one claim, or a run as a whole.
type Claim struct {
	Run     string   `json:"run"`
	Claim   string   `json:"claim,omitempty"`  // evidence ID; absent: the run at its end
	Result  string   `json:"result"`           // supported, contradicted, …
	Source  string   `json:"source,omitempty"` // the weakest that it rests on
	Why     string   `json:"why,omitempty"`
	RestsOn []Ground `json:"rests_on,omitempty"` // what was handed over to the run, and what that is worth
	// Bare are the statements that assert or cite nothing, in words.
	Bare []string `json:"bare,omitempty"`
}
