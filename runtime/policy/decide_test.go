package policy

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cedar-policy/cedar-go/types"
	"pgregory.net/rapid"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

func set(t testing.TB, text string) *Set {
	t.Helper()
	s, err := Parse(fstest.MapFS{"p.cedar": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func refund(input string) *runtime.PermissionRequest {
	return &runtime.PermissionRequest{
		Principal: "support", Action: "issue_refund", Resource: "order/4711", Tool: "refunds", Step: "refund", Input: []byte(input),
		Run: runtime.RunFacts{
			ID: "run_1", Key: "complaint-1", Task: "complaint", Subject: "ticket/1", Principal: "alice",
			Budget: evidence.Amounts{"usd_micro": 1000},
		},
		Spent:    evidence.Amounts{"tokens": 7},
		Estimate: evidence.Amounts{"usd_micro": 40, "calls": 1},
	}
}

const permitAll = "@id(\"all\") permit (principal, action, resource);\n"

// TestRow65PolicyThatErrors: a policy that cannot be evaluated denies, where
// Cedar skips it, and whatever the others say.
func TestRow65PolicyThatErrors(t *testing.T) {
	for name, broken := range map[string]string{
		"forbid, no such attribute": `@id("broken") forbid (principal, action, resource) when { context.input.absent == 1 };`,
		"forbid that asks":          `@id("broken") @escalate("leads") forbid (principal, action, resource) when { context.input.absent == 1 };`,
		"permit":                    `@id("broken") permit (principal, action, resource) when { context.input.absent == 1 };`,
		"unless":                    `@id("broken") forbid (principal, action, resource) unless { context.input.to like "*" };`,
		"types":                     `@id("broken") forbid (principal, action, resource) when { context.input.amount > "ten" };`,
		"overflow":                  `@id("broken") forbid (principal, action, resource) when { context.input.amount * 9223372036854775807 > 1 };`,
		"entity that is not there":  `@id("broken") forbid (principal, action, resource) when { principal.level > 3 };`,
		"extension":                 `@id("broken") forbid (principal, action, resource) when { decimal(context.input.text).lessThan(decimal("1.0")) };`,
		"not a boolean":             `@id("broken") forbid (principal, action, resource) when { context.input.amount };`,
	} {
		t.Run(name, func(t *testing.T) {
			s := set(t, permitAll+broken)
			r := refund(`{"amount": 12, "to": 1, "text": "many"}`)
			for _, r.Approved = range []bool{false, true} {
				d := s.Decide(r)
				if d.Effect != evidence.Deny || d.Team != "" || len(d.Errors) != 1 || !slices.Equal(d.Policies, []string{"broken"}) {
					t.Errorf("approved %v: %+v", r.Approved, d)
				}
				if len(d.Errors) == 1 && !strings.HasPrefix(d.Errors[0], "policy broken (p.cedar:2:1): ") {
					t.Errorf("the error does not say where: %s", d.Errors[0])
				}
			}
			if f := plainly(t, s, r); len(f.errors) != 1 {
				t.Errorf("the test's policy does not err in Cedar: %+v", f)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	const (
		plain  = `@id("plain") forbid (principal, action, resource) when { context.input has plain };` + "\n"
		leads  = `@id("b-leads") @escalate("leads") forbid (principal, action, resource) when { context.input has leads };` + "\n"
		leads2 = `@id("c-leads") @escalate("leads") forbid (principal, action, resource) when { context.input has leads2 };` + "\n"
		legal  = `@id("a-legal") @escalate("legal") forbid (principal, action, resource) when { context.input has legal };` + "\n"
		permit = `@id("some") permit (principal == Agent::"support", action, resource) unless { context.input has other };` + "\n" +
			`@id("also") permit (principal, action, resource) when { context.input has also };` + "\n"
	)
	s := set(t, plain+leads+leads2+legal+permit)
	for _, c := range []struct {
		input    string
		approved bool
		want     evidence.Effect
		team     string
		policies string
	}{
		{`{}`, false, evidence.Allow, "", "some"},
		{`{}`, true, evidence.Allow, "", "some"},
		{`{"also":1}`, false, evidence.Allow, "", "also some"},
		{`{"other":1}`, false, evidence.Deny, "", ""},
		{`{"other":1}`, true, evidence.Deny, "", ""},
		{`{"plain":1}`, false, evidence.Deny, "", "plain"},
		{`{"plain":1}`, true, evidence.Deny, "", "plain"},
		{`{"leads":1}`, false, evidence.Escalate, "leads", "b-leads"},
		{`{"leads":1}`, true, evidence.Allow, "", "some"},
		{`{"leads":1,"leads2":1}`, false, evidence.Escalate, "leads", "b-leads c-leads"},
		{`{"leads":1,"legal":1}`, false, evidence.Escalate, "legal", "a-legal b-leads"},
		{`{"leads":1,"plain":1}`, false, evidence.Deny, "", "plain"},
		{`{"leads":1,"plain":1}`, true, evidence.Deny, "", "plain"},
		{`{"leads":1,"other":1}`, false, evidence.Deny, "", "b-leads"},
		{`{"leads":1,"other":1}`, true, evidence.Deny, "", ""},
	} {
		r := refund(c.input)
		r.Approved = c.approved
		d := s.Decide(r)
		if d.Effect != c.want || d.Team != c.team || strings.Join(d.Policies, " ") != c.policies || d.Errors != nil {
			t.Errorf("%s, approved %v: want %s %q by %q, found %+v", c.input, c.approved, c.want, c.team, c.policies, d)
		}
	}
}

// TestDecideAgainstModel: any mixture of policies decides as the sentence in the
// package doc says.
func TestDecideAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var want Decision
		want.Effect = evidence.Deny
		approved := rapid.Bool().Draw(t, "approved")
		permitted, forbidden, erred, asks := false, false, false, ""
		for i := range rapid.IntRange(1, 8).Draw(t, "policies") {
			applies := rapid.SampledFrom([]string{"true", "false", "context.input.absent"}).Draw(t, "applies")
			kind := rapid.SampledFrom([]string{"permit", "forbid", "leads", "legal"}).Draw(t, "kind")
			fmt.Fprintf(&text, "@id(\"p%d\") ", i)
			switch kind {
			case "leads", "legal":
				fmt.Fprintf(&text, "@escalate(%q) forbid", kind)
			default:
				text.WriteString(kind)
			}
			fmt.Fprintf(&text, " (principal, action, resource) when { %s };\n", applies)
			switch {
			case applies == "context.input.absent":
				erred = true
			case applies == "false":
			case kind == "permit":
				permitted = true
			case kind == "forbid":
				forbidden = true
			case !approved && asks == "":
				asks = kind
			}
		}
		if permitted && !forbidden && !erred {
			want.Effect, want.Team = evidence.Allow, asks
			if asks != "" {
				want.Effect = evidence.Escalate
			}
		}
		s, err := Parse(fstest.MapFS{"p.cedar": {Data: []byte(text.String())}})
		if err != nil {
			t.Fatal(err)
		}
		r := refund(`{}`)
		r.Approved = approved
		d := s.Decide(r)
		if d.Effect != want.Effect || d.Team != want.Team || (len(d.Errors) > 0) != erred || !slices.IsSorted(d.Policies) {
			t.Fatalf("want %s %q, found %+v for\n%s", want.Effect, want.Team, d, text.String())
		}
	})
}

// TestContext: what policies are told.
func TestContext(t *testing.T) {
	for _, truth := range []string{
		`principal == Agent::"support"`,
		`action == Action::"issue_refund"`,
		`resource == Resource::"order/4711" && context.resource like "order/*"`,
		`context.tool == "refunds" && context.step == "refund" && !context.approved`,
		`context.run.id == "run_1" && context.run.key == "complaint-1" && context.run.task == "complaint"`,
		`context.run.subject == "ticket/1" && context.run.principal == "alice"`,
		`context.spent.usd_micro + context.estimate.usd_micro <= context.run.budget.usd_micro`,
		`context.spent.tokens == 7 && context.spent.calls == 0 && !(context.spent has eur_micro)`,
		`context.input.a == [1, "x", true, {"b": 2}] && context.input.n == JSON::"null"`,
		`context.input.whole == 5 && context.input.part == decimal("5.25") && context.input.minus == -3`,
		`context.numbers["/whole"] == decimal("5.0") && context.numbers["/o/deep~1er"] == decimal("1.5")`,
		`context.numbers has "/part" && !(context.numbers has "/a/0")`,
		`context.numbers["/minus"] == decimal("-3.0")`,
		`context.input.o["deep/er"].greaterThan(decimal("1.0"))`,
		`context.input.entity == {"__entity": {"type": "Group", "id": "admins"}}`,
		`context.input.extn has "__extn"`,
	} {
		s := set(t, `@id("p") permit (principal, action, resource) when { `+truth+" };")
		d := s.Decide(refund(`{"a":[1,"x",true,{"b":2},1],"n":null,"whole":5.00,"part":52.5e-1,"minus":-3,"o":{"deep/er":1.5},
			"entity":{"__entity":{"type":"Group","id":"admins"}},"extn":{"__extn":{"fn":"decimal","arg":"1.0"}}}`))
		if d.Effect != evidence.Allow {
			t.Errorf("%s: %+v", truth, d)
		}
	}
	s := set(t, `@id("p") permit (principal, action, resource is None) when { context.resource == "" };`)
	r := refund(`{}`)
	if r.Resource = ""; s.Decide(r).Effect != evidence.Allow {
		t.Error("no resource is not None")
	}
	if r.Resource = "none"; s.Decide(r).Effect != evidence.Deny {
		t.Error("a resource called none is None")
	}
}

// TestInputsThatCannotBeJudged are denied, though everything is permitted.
func TestInputsThatCannotBeJudged(t *testing.T) {
	s := set(t, permitAll)
	for _, input := range []string{
		``, ` `, `{`, `{}{}`, `nul`, `{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`,
		`0.12345`, `{"a":[1e-5]}`, `1e19`, `9223372036854775808`, `-9223372036854775809`, `1e400`, `1e-400`, `1e99999999999999999999`,
		`922337203685477.5808`, `-922337203685477.5809`,
		strings.Repeat("[", maxDepth+2) + strings.Repeat("]", maxDepth+2),
		"[" + strings.Repeat("0,", maxElements) + "0]",
	} {
		if d := s.Decide(refund(input)); d.Effect != evidence.Deny || len(d.Errors) != 1 {
			t.Errorf("%.60q: %+v", input, d)
		}
	}
	for _, input := range []string{`null`, `1`, `"x"`, `[]`, `{"a":0e99999999999999999999}`, `-0`, `9223372036854775807`, `-9223372036854775808`, `-922337203685477.5808`} {
		if d := s.Decide(refund(input)); d.Effect != evidence.Allow {
			t.Errorf("%q: %+v", input, d)
		}
	}
}

// TestNumbersKeepTheirValue holds every number against exact rationals: it is
// the same, or refused, and refused only if Cedar cannot hold it.
func TestNumbersKeepTheirValue(t *testing.T) {
	literal := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		text := literal.Draw(t, "number")
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatal(text)
		}
		v, d, err := number(text)
		thousandths := new(big.Rat).Mul(want, big.NewRat(10000, 1))
		fits := thousandths.IsInt() && thousandths.Num().IsInt64()
		long := want.IsInt() && want.Num().IsInt64()
		if (err == nil) != (long || fits) || (d != nil) != fits {
			t.Fatalf("%s: long %v, decimal %v: found %v, %v, %v", text, long, fits, v, d, err)
		}
		if err != nil {
			return
		}
		if l, isLong := v.(types.Long); isLong != long || isLong && int64(l) != want.Num().Int64() {
			t.Fatalf("%s: found %v", text, v)
		}
		if d != nil {
			if found, _ := new(big.Rat).SetString(d.String()); found.Cmp(want) != 0 {
				t.Fatalf("%s: found %s", text, d)
			}
		}
	})
	if v, d, err := number(fmt.Sprint(math.MaxInt64)); v != types.Long(math.MaxInt64) || d != nil || err != nil {
		t.Error(v, d, err)
	}
}

// TestARuleIsAboutTheNumber: another way of writing a number does not get past a
// rule about it.
func TestARuleIsAboutTheNumber(t *testing.T) {
	s := set(t, permitAll+`@id("not-500") forbid (principal, action, resource) when { context.input.amount == 500 };`)
	for _, amount := range []string{"500", "500.0", "5e2", "5000e-1", "0.5E+3"} {
		if d := s.Decide(refund(`{"amount":` + amount + `}`)); d.Effect != evidence.Deny {
			t.Errorf("%s: %+v", amount, d)
		}
	}
}

func BenchmarkDecide100(b *testing.B) {
	var text strings.Builder
	for i := range 100 {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&text, "@id(\"p%d\") permit (principal == Agent::\"support\", action == Action::\"issue_refund\", resource) when { context.run.task == \"complaint\" };\n", i)
		case 1:
			fmt.Fprintf(&text, "@id(\"p%d\") forbid (principal, action == Action::\"issue_refund\", resource) when { context.input has amount && context.input.amount > %d };\n", i, 1000+i)
		case 2:
			fmt.Fprintf(&text, "@id(\"p%d\") @escalate(\"leads\") forbid (principal, action, resource) when { context.resource like \"secret-%d/*\" };\n", i, i)
		default:
			fmt.Fprintf(&text, "@id(\"p%d\") permit (principal == Agent::\"agent-%d\", action == Action::\"action-%d\", resource);\n", i, i, i)
		}
	}
	s := set(b, text.String())
	r := refund(`{"amount": 49, "currency": "EUR", "to": "a@customers.example", "reason": "charged twice", "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}]}`)
	if d := s.Decide(r); d.Effect != evidence.Allow || len(d.Policies) != 20 {
		b.Fatalf("%+v", d)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Decide(r)
	}
}
