package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// RulesVersion is the version of the rules by which a verdict is reached. A
// verdict is recomputed under the version that it names.
const RulesVersion = 1

// Verdict is the result of checking a claim against the evidence, or a contract
// at the end of a run.
type Verdict struct {
	Origin     string
	Run        evidence.RunID
	Opened     evidence.ID     // the run.opened, by which the contract is fixed
	Claim      evidence.ID     // zero: the run as such was judged
	Weakest    evidence.Source // that the trust file lets count; absent: none asked for
	Contract   *ContractResult // nil: the run has none
	Assertions []AssertionResult
	Given      []GivenResult     // what the handoffs are worth that the run took up before, in their order
	Disclosed  []evidence.Digest // payloads that were looked at, sorted
	Withheld   []evidence.Digest // and those that should have been; no part of the bytes
	Bare       []Bare            // statements that are words alone; no part of the bytes
	Result     evidence.Result
}

// Bare is a statement of a claim that asserts nothing, so that no evidence could
// ever speak against it, or that cites nothing, so that nobody says on what it
// rests. It decides nothing; whoever shows the claim shows it as what it is.
type Bare struct {
	Statement      int // position, from 0
	Asserts, Cites bool
}

func (b Bare) String() string {
	switch {
	case b.Asserts:
		return fmt.Sprintf("statement %d cites nothing", b.Statement)
	case b.Cites:
		return fmt.Sprintf("statement %d asserts nothing", b.Statement)
	}
	return fmt.Sprintf("statement %d asserts nothing and cites nothing", b.Statement)
}

// BareStatements returns the statements of a claim that assert or cite nothing.
// A statement cites where it names a record or a step.
func BareStatements(c *evidence.Claim) []Bare {
	var all []Bare
	for i := range c.Statements {
		s := &c.Statements[i]
		b := Bare{i, len(s.Assertions) > 0, len(s.Cites)+len(s.Steps) > 0}
		if !b.Asserts || !b.Cites {
			all = append(all, b)
		}
	}
	return all
}

// ContractResult is what was decided about the run's contract.
type ContractResult struct {
	Commit evidence.Digest  // the commitment in run.opened
	Digest *evidence.Digest // [Contract.Digest]; nil where withheld or unreadable
	Decision
}

// AssertionResult is what was decided about one assertion of the claim.
type AssertionResult struct {
	Statement, Assertion int // positions, from 0
	Decision
}

// rank orders results from the worst.
func rank(r evidence.Result) int {
	return slices.Index([]evidence.Result{
		evidence.Contradicted, evidence.Unsupported, evidence.InDoubt, evidence.Undisclosed, evidence.NoContract, evidence.Supported,
	}, r)
}

// overall: the worst of the claim's assertions and of what was handed over; where the
// run has no contract, never better than no_contract. A claim that asserts nothing is
// as good as no contract. Without a claim, the contract's in place of the assertions'.
func (v *Verdict) overall() evidence.Result {
	worst := evidence.Supported
	if v.Contract == nil || !v.Claim.IsZero() && len(v.Assertions) == 0 {
		worst = evidence.NoContract
	}
	also := func(r evidence.Result) {
		if rank(r) < rank(worst) {
			worst = r
		}
	}
	if v.Claim.IsZero() && v.Contract != nil {
		also(v.Contract.Result)
	}
	for _, a := range v.Assertions {
		also(a.Result)
	}
	for _, g := range v.Given {
		if g.Result != evidence.NoContract { // its giver's word was not asked for
			also(g.Result)
		}
	}
	return worst
}

type verdictWire struct {
	Rules      int               `json:"rules"`
	Origin     string            `json:"origin"`
	Run        evidence.RunID    `json:"run"`
	Opened     evidence.ID       `json:"opened"`
	Claim      evidence.ID       `json:"claim,omitzero"`
	Trust      trustPart         `json:"trust"`
	Contract   *contractPart     `json:"contract,omitzero"`
	Assertions []assertionPart   `json:"assertions,omitempty"`
	Given      []givenPart       `json:"given,omitempty"`
	Disclosed  []evidence.Digest `json:"disclosed,omitempty"`
	Result     evidence.Result   `json:"result"`
}

// trustPart is the part of a trust file that a verdict depends on, and its
// digest: SHA-256 of {"weakest_source":"…"} or, where none is asked for, {}.
type trustPart struct {
	Digest        evidence.Digest `json:"digest"`
	WeakestSource evidence.Source `json:"weakest_source,omitzero"`
}

type contractPart struct {
	Commit  evidence.Digest  `json:"commit"`
	Digest  *evidence.Digest `json:"digest,omitzero"`
	Result  evidence.Result  `json:"result"`
	Source  evidence.Source  `json:"source,omitzero"`
	Records []evidence.ID    `json:"records,omitempty"`
}

type assertionPart struct {
	Statement int             `json:"statement"`
	Assertion int             `json:"assertion"`
	Result    evidence.Result `json:"result"`
	Source    evidence.Source `json:"source,omitzero"`
	Records   []evidence.ID   `json:"records,omitempty"`
}

type givenPart struct {
	Acceptance evidence.ID     `json:"acceptance"`
	Result     evidence.Result `json:"result"`
	Records    []evidence.ID   `json:"records,omitempty"`
}

// Bytes returns the verdict as canonical JSON (RFC 8785): what a verdict record
// commits to.
func (v *Verdict) Bytes() ([]byte, error) {
	w := verdictWire{
		Rules: RulesVersion, Origin: v.Origin, Run: v.Run, Opened: v.Opened, Claim: v.Claim,
		Trust: trustPart{trustDigest(v.Weakest), v.Weakest}, Disclosed: v.Disclosed, Result: v.Result,
	}
	if c := v.Contract; c != nil {
		w.Contract = &contractPart{c.Commit, c.Digest, c.Result, c.Source, c.Records}
	}
	for _, a := range v.Assertions {
		w.Assertions = append(w.Assertions, assertionPart{a.Statement, a.Assertion, a.Result, a.Source, a.Records})
	}
	for _, g := range v.Given {
		w.Given = append(w.Given, givenPart{g.Acceptance, g.Result, g.Records})
	}
	b, err := json.Marshal(&w)
	if err != nil {
		return nil, fmt.Errorf("verdict: %w", err)
	}
	canonical := jsontext.Value(b)
	if err := canonical.Canonicalize(); err != nil {
		return nil, fmt.Errorf("verdict: %w", err)
	}
	return canonical, nil
}

func trustDigest(weakest evidence.Source) evidence.Digest {
	if weakest == "" {
		return sha256.Sum256([]byte("{}"))
	}
	return sha256.Sum256([]byte(`{"weakest_source":"` + string(weakest) + `"}`))
}

// parseVerdict reads a recorded verdict as far as it says under which inputs it
// was reached.
func parseVerdict(b []byte) (*verdictWire, error) {
	var w verdictWire
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("verdict: %w", err)
	}
	return &w, nil
}

func sortDigests(ds []evidence.Digest) {
	slices.SortFunc(ds, func(a, b evidence.Digest) int { return bytes.Compare(a[:], b[:]) })
}
