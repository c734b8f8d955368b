package audit

import (
	"slices"
	"testing"

	"ledgerd/evidence"
)

// TestUnmet: each item that is not met is named, with what it is about and why not; what
// is met is not, and what is done again in the right order meets it.
func TestUnmet(t *testing.T) {
	const (
		ok     = evidence.StatusSuccess
		failed = evidence.StatusFailure
		items  = `{"contract":"v1","task":"x","expects":[{"action":"test","input_has":{"run":"all"},"times":{"least":1},"after_last":["edit"]},{"action":"review","resource":"main","times":{"least":2,"most":3},"after":["test"]}],` +
			`"only":["review"],"forbids":[{"action":"push"}]}`
		test   = `/expects/0 (test, input_has {"run":"all"}, at least 1, after_last edit): `
		review = `/expects/1 (review, resource "main", 2 to 3, after test): `
	)
	type did struct {
		action string
		status evidence.Status
	}
	onMain := func(a *evidence.Authorization, x *evidence.Execution) { a.Resource, x.Resource = "main", "main" }
	for name, c := range map[string]struct {
		did  []did
		want []string
	}{
		"nothing is done":       {nil, []string{test + "there is no evidence of what it asks for: test", review + "there is no evidence of what it asks for: review"}},
		"it failed":             {[]did{{"edit", ok}, {"test", failed}}, []string{test + "what it asks for was tried, and failed or was denied", review + "there is no evidence of what it asks for: review"}},
		"edited since":          {[]did{{"test", ok}, {"edit", ok}}, []string{test + "it was done, and edit was done after it", review + "there is no evidence of what it asks for: review"}},
		"reviewed once":         {[]did{{"edit", ok}, {"test", ok}, {"review", ok}}, []string{review + "there is no evidence of what it asks for: review"}},
		"pushed":                {[]did{{"test", ok}, {"review", ok}, {"review", ok}, {"push", ok}}, []string{`/forbids/0 (push): something forbidden succeeded`}},
		"all that is asked for": {[]did{{"test", ok}, {"edit", ok}, {"test", ok}, {"review", ok}, {"review", ok}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeRun(t, items)
			for _, d := range c.did {
				f.do(d.action, `{"run":"all"}`, d.status, onMain)
			}
			got, err := Unmet(f.run, f.payloads)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("want %q, found %q, %v", c.want, got, err)
			}
		})
	}
}

// TestUnmetUndecided: a run without a contract has nothing to meet, and of one whose
// contract is not disclosed nothing can be said.
func TestUnmetUndecided(t *testing.T) {
	f := newFakeRunWithout(t)
	if got, err := Unmet(f.run, f.payloads); got != nil || err != nil {
		t.Errorf("without a contract: %q, %v", got, err)
	}
	f = newFakeRun(t, `{"contract":"v1","task":"x","expects":[{"action":"a"}]}`)
	if got, err := Unmet(f.run, make(PayloadMap)); got != nil || err != nil {
		t.Errorf("with one that is withheld: %q, %v", got, err)
	}
	f = newFakeRun(t, `{"contract":"v1"}`)
	if got, err := Unmet(f.run, f.payloads); got != nil || err == nil {
		t.Errorf("with one that is none: %q, %v", got, err)
	}
}
