package report

import (
	"fmt"
	"strings"
)

// MaxShown is how many findings of a rule are written out.
const MaxShown = 10

// Word is the answer in one or two words.
func (o Outcome) Word() string {
	return map[Outcome]string{Verified: "VERIFIED", Wrong: "PROVEN WRONG", Undecidable: "NOT DECIDABLE", Malformed: "MALFORMED"}[o]
}

// Grouped is a finding and the rules that all have it.
type Grouped struct {
	Rules   []string
	Finding Finding
}

// Group puts findings together that differ in their rule alone, such as that
// the trust file does not know the ledger, which leaves every rule undecided.
func Group(rules []Rule) []Grouped {
	var out []Grouped
	at := make(map[string]int)
	for _, r := range rules {
		for i, f := range r.Findings {
			if i == MaxShown {
				break
			}
			key := fmt.Sprintf("%q", []string{string(f.Status), f.Reason, f.Expected, f.Found, f.Decides, f.Run, fmt.Sprint(f.Records)})
			if k, ok := at[key]; ok && len(f.Records) == 0 {
				out[k].Rules = append(out[k].Rules, r.Rule)
				continue
			}
			at[key] = len(out)
			out = append(out, Grouped{[]string{r.Rule}, f})
		}
	}
	return out
}

// OneLine shows a signed note: origin, size, root and signatures.
func OneLine(note string) string {
	return strings.Join(strings.Fields(note), " ")
}

// String says what became of a claim.
func (c Claim) String() string {
	s := c.Result
	if c.Source != "" {
		s += " (weakest source: " + c.Source + ")"
	}
	if c.Why != "" {
		s += ": " + c.Why
	}
	if c.Claim == "" {
		s += ", the run as such"
	} else {
		s += ", " + c.Claim
	}
	if n := len(c.RestsOn); n > 0 {
		s += "; rests on " + Count(n, "handoff")
	}
	if len(c.Bare) > 0 {
		s += "; " + strings.Join(c.Bare, "; ")
	}
	return s
}

// Says is what there is to say of a rule beside its status.
func (r *Rule) Says() string {
	var parts []string
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	if r.AsEnforced && r.Status == Held {
		parts = append(parts, "as the operator enforced it")
	}
	if n := len(r.Findings) + r.Omitted; n > 0 {
		parts = append(parts, Count(n, "finding"))
	}
	if d := r.DecidedBy(); d != "" {
		parts = append(parts, "decided by "+d)
	}
	return strings.Join(parts, "; ")
}

// DecidedBy says what would decide a rule first of all; "": it is decided.
func (r *Rule) DecidedBy() string {
	if r.Status != NotDecided || len(r.Findings) == 0 {
		return ""
	}
	return r.Findings[0].Decides
}

// Count says how many there are of what is named in the singular.
func Count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// String names the record and where it stands.
func (r Record) String() string {
	if r.Index == nil {
		return r.ID
	}
	return fmt.Sprintf("%s (index %d)", r.ID, *r.Index)
}
