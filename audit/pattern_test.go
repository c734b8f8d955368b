package audit

import (
	"errors"
	"strings"
	"testing"

	"ledgerd/evidence"
)

// TestPatterns: what a matcher says of a value, as input and as input_has, with
// what it refers to disclosed and withheld.
func TestPatterns(t *testing.T) {
	const (
		runInput = `{"order":"A-7","limit":100,"deep":{"x":[1,{"y":2}]},"word":"A-"}`
		output   = `{"paid":49.90,"id":"A-7"}`
	)
	for _, tt := range []struct {
		pattern, value string
		part           truth
		whole          truth
		withheld       truth // as a part, where neither the run's input nor the output is disclosed
	}{
		{`{"a":1}`, `{"a":1.0,"b":2}`, yes, no, yes},
		{`{"a":{"$exists":true}}`, `{"a":null}`, yes, yes, yes},
		{`{"a":{"$exists":true}}`, `{"b":1}`, no, no, no},
		{`{"a":{"$exists":false}}`, `{"b":1}`, yes, no, yes},
		{`{"a":{"$exists":false}}`, `{"a":null}`, no, no, no},
		{`{"a":{"$exists":false}}`, `[]`, no, no, no},
		{`{"n":{"$least":10,"$most":20}}`, `{"n":10}`, yes, yes, yes},
		{`{"n":{"$least":10,"$most":20}}`, `{"n":20.000}`, yes, yes, yes},
		{`{"n":{"$least":10,"$most":20}}`, `{"n":20.0000000000000000000001}`, no, no, no},
		{`{"n":{"$least":10,"$most":20}}`, `{"n":"15"}`, no, no, no},
		{`{"n":{"$above":-1.5}}`, `{"n":-1.5}`, no, no, no},
		{`{"n":{"$above":-1.5}}`, `{"n":-1.49}`, yes, yes, yes},
		{`{"n":{"$below":5}}`, `{"n":5.0}`, no, no, no},
		{`{"n":{"$below":1e300}}`, `{"n":1e299}`, yes, yes, yes},
		{`{"n":{"$below":0}}`, `{"n":-1e-999999999}`, yes, yes, yes},
		{`{"n":{"$in":[1,"b",{"c":{"$least":2}}]}}`, `{"n":"b"}`, yes, yes, yes},
		{`{"n":{"$in":[1,"b",{"c":{"$least":2}}]}}`, `{"n":{"c":3,"d":1}}`, yes, no, yes},
		{`{"n":{"$in":[1,"b",{"c":{"$least":2}}]}}`, `{"n":2}`, no, no, no},
		{`{"n":{"$not":{"$in":["x","y"]}}}`, `{"n":"z"}`, yes, yes, yes},
		{`{"n":{"$not":"x"}}`, `{"n":"x"}`, no, no, no},
		{`{"n":{"$not":"x"}}`, `{}`, no, no, no},
		{`{"n":{"$prefix":"docs/"}}`, `{"n":"docs/a"}`, yes, yes, yes},
		{`{"n":{"$prefix":"docs/"}}`, `{"n":"doc"}`, no, no, no},
		{`{"n":{"$prefix":{"$input":"/word"}}}`, `{"n":"A-7"}`, yes, yes, perhaps},
		{`{"n":{"$input":"/order"}}`, `{"n":"A-7"}`, yes, yes, perhaps},
		{`{"n":{"$input":"/order"}}`, `{"n":"A-8"}`, no, no, perhaps},
		{`{"n":{"$input":"/none"}}`, `{"n":null}`, no, no, perhaps},
		{`{"n":{"$not":{"$input":"/none"}}}`, `{"n":null}`, yes, yes, perhaps},
		{`{"n":{"$input":"/deep/x/1/y"}}`, `{"n":2}`, yes, yes, perhaps},
		{`{"n":{"$input":"/deep/x/01/y"}}`, `{"n":2}`, no, no, perhaps},
		{`{"n":{"$input":"/deep"}}`, `{"n":{"x":[1,{"y":2}],"z":1}}`, no, no, perhaps},
		{`{"n":{"$most":{"$input":"/limit"},"$above":0}}`, `{"n":0}`, no, no, no},
		{`{"n":{"$most":{"$input":"/limit"},"$above":0}}`, `{"n":100}`, yes, yes, perhaps},
		{`{"n":{"$most":{"$output":"/paid","$of":"o"}}}`, `{"n":49.9}`, yes, yes, perhaps},
		{`{"n":{"$most":{"$output":"/paid","$of":"o"}}}`, `{"n":49.91}`, no, no, perhaps},
		{`{"n":{"$most":{"$output":"/id","$of":"o"}}}`, `{"n":1}`, no, no, perhaps},
		{`{"n":{"$output":"/id","$of":"o"}}`, `{"n":"A-7"}`, yes, yes, perhaps},
		{`{"n":[{"$least":1},{"a":1}]}`, `{"n":[2,{"a":1}]}`, yes, yes, yes},
		{`{"n":[{"$least":1},{"a":{"$exists":true}}]}`, `{"n":[2,{"a":1,"b":2}]}`, no, no, no},
		{`{"n":[{"$least":1}]}`, `{"n":[2,3]}`, no, no, no},
		{`{"n":{"$value":{"$least":1}}}`, `{"n":{"$least":1}}`, yes, yes, yes},
		{`{"n":{"$value":{"$least":1}}}`, `{"n":2}`, no, no, no},
		{`{"n":{"$ref":1,"b":2}}`, `{"n":{"$ref":1,"b":2}}`, yes, yes, yes},
		{`{"n":{}}`, `{"n":{"a":1}}`, yes, no, yes},
	} {
		v, err := parseValue([]byte(tt.pattern))
		if err != nil {
			t.Fatal(err)
		}
		r := patternReader{outputs: true}
		p, err := r.read("", v, false)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		in, out := known{ok: true}, known{ok: true}
		in.v, _ = parseValue([]byte(runInput))
		out.v, _ = parseValue([]byte(output))
		x, err := parseValue([]byte(tt.value))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.fits(x, false, &references{in, out}); got != tt.part {
			t.Errorf("%s, a part of %s: %d, expected %d", tt.pattern, tt.value, got, tt.part)
		}
		if got := p.fits(x, true, &references{in, out}); got != tt.whole {
			t.Errorf("%s, all of %s: %d, expected %d", tt.pattern, tt.value, got, tt.whole)
		}
		if got := p.fits(x, false, &references{}); got != tt.withheld {
			t.Errorf("%s, a part of %s, the rest withheld: %d, expected %d", tt.pattern, tt.value, got, tt.withheld)
		}
	}
}

// TestPatternsRefused: what is no pattern is refused, where it is wrong.
func TestPatternsRefused(t *testing.T) {
	item := func(s string) string {
		return `{"contract":"v1","task":"x","expects":[{"action":"a","as":"a"},{"action":"b",` + s + `}],"only":["b"]}`
	}
	for name, tt := range map[string]struct{ doc, where string }{
		"unknown matcher":            {item(`"input_has":{"n":{"$gte":1}}`), "/expects/1/input_has/n/$gte"},
		"range of strings":           {item(`"input_has":{"n":{"$least":"1"}}`), "/expects/1/input_has/n/$least"},
		"prefix of a number":         {item(`"input_has":{"n":{"$prefix":1}}`), "/expects/1/input_has/n/$prefix"},
		"range of a matcher":         {item(`"input_has":{"n":{"$least":{"$in":[1]}}}`), "/expects/1/input_has/n/$least/$in"},
		"one of none":                {item(`"input_has":{"n":{"$in":[]}}`), "/expects/1/input_has/n/$in"},
		"one of too many":            {item(`"input_has":{"n":{"$in":[` + strings.Repeat("1,", 1000) + `1]}}`), "/expects/1/input_has/n/$in"},
		"output of no identifier":    {item(`"input_has":{"n":{"$output":"/x","$of":"a b"}}`), "/expects/1/input_has/n/$of"},
		"one of what is no list":     {item(`"input_has":{"n":{"$in":1}}`), "/expects/1/input_has/n/$in"},
		"exists perhaps":             {item(`"input_has":{"n":{"$exists":1}}`), "/expects/1/input_has/n/$exists"},
		"absent with a value":        {item(`"input_has":{"n":{"$exists":false,"$least":1}}`), "/expects/1/input_has/n/$exists"},
		"an input that exists":       {item(`"input":{"$exists":true}`), "/expects/1/input/$exists"},
		"an element that exists":     {item(`"input_has":{"n":[{"$exists":true}]}`), "/expects/1/input_has/n/0/$exists"},
		"not absent":                 {item(`"input_has":{"n":{"$not":{"$exists":false}}}`), "/expects/1/input_has/n/$not/$exists"},
		"deep inside":                {item(`"input_has":{"a/b":[{"c":{"$in":[1,{"$x":1}]}}]}`), "/expects/1/input_has/a~1b/0/c/$in/1/$x"},
		"no pointer":                 {item(`"input_has":{"n":{"$input":"order"}}`), "/expects/1/input_has/n/$input"},
		"a pointer with a bad tilde": {item(`"input_has":{"n":{"$input":"/a~2"}}`), "/expects/1/input_has/n/$input"},
		"output of nobody":           {item(`"input_has":{"n":{"$output":"/x"}}`), "/expects/1/input_has/n/$output"},
		"of without output":          {item(`"input_has":{"n":{"$of":"a"}}`), "/expects/1/input_has/n/$of"},
		"input and output":           {item(`"input_has":{"n":{"$input":"/a","$output":"/x","$of":"a"}}`), "/expects/1/input_has/n"},
		"output of an unknown name":  {item(`"input_has":{"n":{"$output":"/x","$of":"c"}}`), "/expects/1"},
		"outputs of two":             {item(`"as":"b","input_has":{"n":{"$output":"/x","$of":"a"},"m":{"$output":"/x","$of":"b"}}`), "/expects/1/input_has/n/$of"},
		"output of itself":           {item(`"as":"b","input_has":{"n":{"$output":"/x","$of":"b"}}`), "/expects/1"},
		"names twice":                {item(`"as":"a"`), "/expects/1/as"},
		"output whole and part":      {item(`"output":{},"output_has":{}`), "/expects/1/output_has"},
		"resource a number":          {item(`"resource":7`), "/expects/1/resource"},
		"resource an object":         {item(`"resource":{"a":1}`), "/expects/1/resource"},
		"resource null":              {item(`"resource":null`), "/expects/1/resource"},
		"resource empty":             {item(`"resource":""`), "/expects/1/resource"},
		"times of nothing":           {item(`"times":{}`), "/expects/1/times"},
		"times upside down":          {item(`"times":{"least":3,"most":2}`), "/expects/1/times/most"},
		"times below none":           {item(`"times":{"least":-1}`), "/expects/1/times/least"},
		"times unknown":              {item(`"times":{"min":1}`), "/expects/1/times/min"},
		"a limit that limits none":   {`{"contract":"v1","task":"x","expects":[{"action":"b","times":{"most":2}}]}`, "/expects/0/times/most"},
		"after the last of nothing":  {item(`"after_last":["a b"]`), "/expects/1/after_last/0"},
		"an empty condition":         {item(`"when":{}`), "/expects/1/when"},
		"least beyond a thousand":    {item(`"times":{"least":1001}`), "/expects/1/times/least"},
		"most beyond a thousand":     {item(`"times":{"most":1001}`), "/expects/1/times/most"},
		"a limit on other runs":      {item(`"runs":"given","times":{"most":2}`), "/expects/1/times/most"},
		"resource a list":            {item(`"resource":["a"]`), "/expects/1/resource"},
		"resource with a matcher":    {item(`"resource":{"a":{"$in":[1]}}`), "/expects/1/resource"},
		"a condition so often":       {item(`"when":{"succeeded":{"action":"a","times":2}}`), "/expects/1/when/succeeded"},
		"a condition after the last": {item(`"when":{"succeeded":{"action":"a","after_last":["a"]}}`), "/expects/1/when/succeeded"},
		"a condition by name":        {item(`"when":{"succeeded":{"action":"a","as":"c"}}`), "/expects/1/when/succeeded"},
		"a condition on one":         {item(`"when":{"succeeded":{"action":"a","when":{"input_has":{}}}}`), "/expects/1/when/succeeded"},
		"a condition unless one":     {item(`"when":{"succeeded":{"action":"a","unless":{"input_has":{}}}}`), "/expects/1/when/succeeded"},
		"a condition in order":       {item(`"when":{"succeeded":{"action":"a","after":["a"]}}`), "/expects/1/when/succeeded"},
		"a condition on an output":   {item(`"unless":{"succeeded":{"action":"a","input_has":{"n":{"$output":"","$of":"a"}}}}`), "/expects/1/unless/succeeded/input_has/n/$output"},
		"a condition on nothing":     {item(`"when":{"succeeded":{}}`), "/expects/1/when/succeeded/action"},
		"a condition, misspelt":      {item(`"when":{"succeded":{"action":"a"}}`), "/expects/1/when/succeded"},
		"null conditions":            {item(`"when":null`), "/expects/1/when"},
		"forbidden in order":         {`{"contract":"v1","task":"x","forbids":[{"action":"a","after_last":["a"]}]}`, "/forbids/0"},
		"forbidden by name":          {`{"contract":"v1","task":"x","forbids":[{"action":"a","as":"a"}]}`, "/forbids/0"},
		"expects null":               {`{"contract":"v1","task":"x","expects":null}`, "/expects"},
		"no source":                  {`{"contract":"v1","task":"x","weakest_source":""}`, "/weakest_source"},
		"nine conditions": {`{"contract":"v1","task":"x","forbids":[` + func() (s string) {
			for i := range 9 {
				s += `,{"action":"a","when":{"input_has":{"n":` + string(rune('0'+i)) + `}}}`
			}
			return s[1:]
		}() + `]}`, "/forbids/8/when"},
		"too many in all":      {`{"contract":"v1","task":"x","expects":[` + strings.Repeat(`{"action":"a","times":1000},`, 10) + `{"action":"b","times":{"least":1}}]}`, "/expects/10/times"},
		"circle by references": {`{"contract":"v1","task":"x","expects":[{"action":"a","as":"a","after":["b"]},{"action":"b","input_has":{"n":{"$output":"/x","$of":"a"}}}]}`, "/expects/0/after"},
	} {
		_, err := ParseContract([]byte(tt.doc))
		var where *ContractError
		if !errors.As(err, &where) || where.Where != tt.where {
			t.Errorf("%s: expected an error at %q, found %v", name, tt.where, err)
		}
	}
	for _, doc := range []string{`{"action":"a","after_last":["b"]}`, `{"action":"a","as":"b"}`, `{"action":"a","when":{"input_has":{}}}`, `{"action":"a","input_has":{"n":{"$output":"","$of":"a"}}}`} {
		if _, err := ParseExpectation([]byte(doc)); err == nil {
			t.Errorf("%s: an assertion stands alone", doc)
		}
	}
}

// TestJudgeContracts: each construct, on runs that have it, miss it, and leave it
// open.
func TestJudgeContracts(t *testing.T) {
	const ok = evidence.StatusSuccess
	type change = func(*evidence.Authorization, *evidence.Execution)
	on := func(resource string) change {
		return func(a *evidence.Authorization, x *evidence.Execution) { a.Resource, x.Resource = resource, resource }
	}
	gives := func(f *fakeRun, output string) change {
		return func(_ *evidence.Authorization, x *evidence.Execution) {
			c := f.commit(output)
			x.Output = &c
		}
	}
	reported := func(_ *evidence.Authorization, x *evidence.Execution) { x.Source = evidence.SourceReported }
	const (
		edits   = `"expects":[{"action":"edit","times":{"least":1}},{"action":"test","output_has":{"failed":0},"after_last":["edit"]}]`
		refunds = `"expects":[{"action":"lookup","as":"order","input_has":{"order":{"$input":"/order"}}},
			{"action":"refund","input_has":{"order":{"$input":"/order"},"amount":{"$above":0,"$most":{"$output":"/paid","$of":"order"}}}}],"only":["refund"]`
		warns   = `"expects":[{"action":"warn","when":{"succeeded":{"action":"drop"}}}],"forbids":[{"action":"mail","unless":{"succeeded":{"action":"ask","output_has":{"yes":true}}}}]`
		country = `"expects":[{"action":"vat","when":{"input_has":{"country":{"$in":["AT","DE"]}}},"times":{"least":1}}],"only":["vat"]`
	)
	tests := []struct {
		name, contract, input string
		play                  func(f *fakeRun)
		result                evidence.Result
	}{
		{"tested after the last edit", edits, ``, func(f *fakeRun) { f.do("edit", `{}`, ok, nil); f.do("test", `{}`, ok, gives(f, `{"failed":0}`)) }, evidence.Supported},
		{"edited after the test", edits, ``, func(f *fakeRun) {
			f.do("edit", `{}`, ok, nil)
			f.do("test", `{}`, ok, gives(f, `{"failed":0}`))
			f.do("edit", `{}`, ok, nil)
		}, evidence.Unsupported},
		{"edited after the test, by hearsay", edits, ``, func(f *fakeRun) {
			f.do("edit", `{}`, ok, nil)
			f.do("test", `{}`, ok, gives(f, `{"failed":0}`))
			f.do("edit", `{}`, ok, reported)
		}, evidence.Unsupported},
		{"an edit that failed after the test", edits, ``, func(f *fakeRun) {
			f.do("edit", `{}`, ok, nil)
			f.do("test", `{}`, ok, gives(f, `{"failed":0}`))
			f.do("edit", `{}`, evidence.StatusFailure, nil)
		}, evidence.Supported},
		{"an edit in doubt before the test may come later", edits, ``, func(f *fakeRun) {
			f.do("edit", `{}`, ok, nil)
			f.do("edit", `{}`, evidence.StatusAccepted, nil)
			f.do("test", `{}`, ok, gives(f, `{"failed":0}`))
		}, evidence.InDoubt},
		{"more edits in doubt than are told apart", edits, ``, func(f *fakeRun) {
			f.do("edit", `{}`, ok, nil)
			for range 7 {
				f.do("edit", `{}`, evidence.StatusAccepted, nil)
			}
			f.do("test", `{}`, ok, gives(f, `{"failed":0}`))
		}, evidence.InDoubt},
		{"tested again", edits, ``, func(f *fakeRun) {
			f.do("edit", `{}`, ok, nil)
			f.do("test", `{}`, ok, gives(f, `{"failed":3}`))
			f.do("edit", `{}`, ok, nil)
			f.do("test", `{}`, ok, gives(f, `{"failed":0}`))
		}, evidence.Supported},

		{"refunded what was paid", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			f.do("lookup", `{"order":"A-7"}`, ok, gives(f, `{"paid":49.9}`))
			f.do("refund", `{"order":"A-7","amount":49.90}`, ok, nil)
		}, evidence.Supported},
		{"refunded more than was paid", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			f.do("lookup", `{"order":"A-7"}`, ok, gives(f, `{"paid":49.9}`))
			f.do("refund", `{"order":"A-7","amount":49.91}`, ok, nil)
		}, evidence.Contradicted},
		{"refunded what another order cost", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			f.do("lookup", `{"order":"A-8"}`, ok, gives(f, `{"paid":100}`))
			f.do("lookup", `{"order":"A-7"}`, ok, gives(f, `{"paid":49.9}`))
			f.do("refund", `{"order":"A-7","amount":60}`, ok, nil)
		}, evidence.Contradicted},
		{"looked up after the refund", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			f.do("refund", `{"order":"A-7","amount":1}`, ok, nil)
			f.do("lookup", `{"order":"A-7"}`, ok, gives(f, `{"paid":49.9}`))
		}, evidence.Contradicted},
		{"refunded another order", refunds, `{"order":"A-9"}`, func(f *fakeRun) {
			f.do("lookup", `{"order":"A-7"}`, ok, gives(f, `{"paid":49.9}`))
			f.do("refund", `{"order":"A-7","amount":1}`, ok, nil)
		}, evidence.Contradicted},
		{"an order of nobody", refunds, ``, func(f *fakeRun) {
			f.do("lookup", `{"order":null}`, ok, gives(f, `{"paid":49.9}`))
		}, evidence.Unsupported},
		{"a lookup in doubt", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			f.do("lookup", `{"order":"A-7"}`, evidence.StatusAccepted, nil)
			f.do("refund", `{"order":"A-7","amount":1}`, ok, nil)
		}, evidence.InDoubt},
		{"what was paid, withheld", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			_, x := f.do("lookup", `{"order":"A-7"}`, ok, gives(f, `{"paid":49.9}`))
			delete(f.payloads, f.run.attempts[x].act.attempts[0].output.Commit)
			f.do("refund", `{"order":"A-7","amount":1}`, ok, nil)
		}, evidence.Undisclosed},
		{"what was paid, withheld but in the clear", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			f.do("lookup", `{"order":"A-7"}`, ok, func(_ *evidence.Authorization, x *evidence.Execution) {
				out := f.commit(`{"paid":49.9}`)
				delete(f.payloads, out.Commit)
				x.Output, x.Refs = &out, evidence.Object(`{"paid":49.9}`)
			})
			f.do("refund", `{"order":"A-7","amount":1}`, ok, nil)
		}, evidence.Supported},
		{"the run's input withheld", refunds, `{"order":"A-7"}`, func(f *fakeRun) {
			f.do("lookup", `{"order":"A-7","all":true}`, ok, gives(f, `{"paid":49.9}`))
			f.do("refund", `{"order":"A-7","amount":1}`, ok, nil)
			delete(f.payloads, f.run.Body.Input.Commit)
		}, evidence.Undisclosed},

		{"nothing to warn of", warns, ``, func(f *fakeRun) { f.do("drop", `{}`, evidence.StatusFailure, nil) }, evidence.Supported},
		{"dropped, not warned", warns, ``, func(f *fakeRun) { f.do("drop", `{}`, ok, reported) }, evidence.Unsupported},
		{"dropped, and warned", warns, ``, func(f *fakeRun) { f.do("drop", `{}`, ok, nil); f.do("warn", `{}`, ok, nil) }, evidence.Supported},
		{"perhaps dropped, not warned", warns, ``, func(f *fakeRun) { f.do("drop", `{}`, evidence.StatusUnknown, nil) }, evidence.InDoubt},
		{"perhaps dropped, and warned", warns, ``, func(f *fakeRun) { f.do("drop", `{}`, evidence.StatusUnknown, nil); f.do("warn", `{}`, ok, nil) }, evidence.Supported},
		{"mailed without asking", warns, ``, func(f *fakeRun) { f.do("mail", `{}`, ok, nil) }, evidence.Contradicted},
		{"mailed, and asked", warns, ``, func(f *fakeRun) { f.do("ask", `{}`, ok, gives(f, `{"yes":true}`)); f.do("mail", `{}`, ok, nil) }, evidence.Supported},
		{"mailed, and told no", warns, ``, func(f *fakeRun) { f.do("ask", `{}`, ok, gives(f, `{"yes":false}`)); f.do("mail", `{}`, ok, nil) }, evidence.Contradicted},
		{"mailed, asked by hearsay", warns, ``, func(f *fakeRun) {
			f.do("ask", `{}`, ok, func(a *evidence.Authorization, x *evidence.Execution) {
				gives(f, `{"yes":true}`)(a, x)
				reported(a, x)
			})
			f.do("mail", `{}`, ok, nil)
		}, evidence.Contradicted},

		{"no VAT abroad", country, `{"country":"US"}`, func(*fakeRun) {}, evidence.Supported},
		{"VAT abroad is in only and expected by nothing", country, `{"country":"US"}`, func(f *fakeRun) { f.do("vat", `{}`, ok, nil) }, evidence.Contradicted},
		{"VAT at home", country, `{"country":"AT"}`, func(f *fakeRun) { f.do("vat", `{}`, ok, nil); f.do("vat", `{}`, ok, nil) }, evidence.Supported},
		{"no VAT at home", country, `{"country":"AT"}`, func(*fakeRun) {}, evidence.Unsupported},
		{"nobody knows where", country, `{"country":"AT"}`, func(f *fakeRun) { delete(f.payloads, f.run.Body.Input.Commit) }, evidence.Undisclosed},

		{"a resource of a set", `"expects":[{"action":"a","resource":{"$in":["x","y"]}}]`, ``, func(f *fakeRun) { f.do("a", `{}`, ok, on("y")) }, evidence.Supported},
		{"a resource with a prefix", `"expects":[{"action":"a","resource":{"$prefix":"docs/"}}]`, ``, func(f *fakeRun) { f.do("a", `{}`, ok, on("src/x")) }, evidence.Unsupported},
		{"a resource of the run", `"expects":[{"action":"a","resource":{"$input":"/file"}}]`, `{"file":"docs/x"}`, func(f *fakeRun) { f.do("a", `{}`, ok, on("docs/x")) }, evidence.Supported},
		{"no resource", `"expects":[{"action":"a","resource":{"$exists":false}}]`, ``, func(f *fakeRun) { f.do("a", `{}`, ok, on("x")) }, evidence.Unsupported},
		{"any but one resource", `"forbids":[{"action":"a","resource":{"$not":{"$prefix":"docs/"}}}]`, ``, func(f *fakeRun) { f.do("a", `{}`, ok, on("src/x")) }, evidence.Contradicted},
		{"at most two", `"expects":[{"action":"a","times":{"most":2}}],"only":["a"]`, ``, func(f *fakeRun) { f.do("a", `{}`, ok, nil); f.do("a", `{}`, ok, nil) }, evidence.Supported},
		{"at most two of three", `"expects":[{"action":"a","times":{"most":2}}],"only":["a"]`, ``, func(f *fakeRun) {
			for range 3 {
				f.do("a", `{}`, ok, nil)
			}
		}, evidence.Contradicted},
		{"at least two of one", `"expects":[{"action":"a","times":{"least":2}}]`, ``, func(f *fakeRun) { f.do("a", `{}`, ok, nil) }, evidence.Unsupported},
		{"all of the output", `"expects":[{"action":"a","output":{"n":1}}]`, ``, func(f *fakeRun) { f.do("a", `{}`, ok, gives(f, `{"n":1,"m":2}`)) }, evidence.Unsupported},
		{"in order through three", `"expects":[{"action":"a"},{"action":"b","after":["a"]},{"action":"c","after":["b"]}]`, ``, func(f *fakeRun) {
			for _, action := range []string{"b", "c", "a", "b"} {
				f.do(action, `{}`, ok, nil) // the first b was too early, and so was c
			}
		}, evidence.Unsupported},
		{"after what was settled later", `"expects":[{"action":"a"},{"action":"b","after":["a"]}]`, ``, func(f *fakeRun) {
			_, x := f.do("a", `{}`, evidence.StatusUnknown, nil)
			f.do("b", `{}`, ok, nil)
			f.add(&evidence.Settlement{Settles: x, By: evidence.ByProbe, Finding: ok})
		}, evidence.Unsupported},
		{"after the last of what nothing expects", `"expects":[{"action":"test","after_last":["edit"]}]`, ``, func(f *fakeRun) { f.do("test", `{}`, ok, nil); f.do("edit", `{}`, ok, nil) }, evidence.Unsupported},
		{"alike but for the last edit", `"expects":[{"action":"test"},{"action":"test","after_last":["edit"]}]`, ``, func(f *fakeRun) {
			f.do("test", `{}`, ok, nil)
			f.do("test", `{}`, ok, nil)
			f.do("edit", `{}`, ok, nil)
		}, evidence.Unsupported},
		{"alike but for their names", `"expects":[{"action":"x"},{"action":"look","as":"a"},{"action":"look","as":"b"},{"action":"pay","input_has":{"n":{"$output":"/n","$of":"b"}}}]`, ``, func(f *fakeRun) {
			f.do("x", `{}`, ok, nil)
			f.do("look", `{}`, ok, gives(f, `{"n":1}`))
			f.do("look", `{"again":1}`, ok, gives(f, `{"n":2}`))
			f.do("pay", `{"n":2}`, ok, nil)
		}, evidence.Supported},
		{"an output in doubt may be another", `"expects":[{"action":"a","output_has":{"id":7},"times":{"most":1}}],"only":["a"]`, ``, func(f *fakeRun) { f.do("a", `{}`, evidence.StatusAccepted, nil) }, evidence.InDoubt},
		{"hearsay neither lets off, nor excuses", `"expects":[{"action":"a","when":{"succeeded":{"action":"c"}}},{"action":"b","unless":{"succeeded":{"action":"c"}}}]`, ``, func(f *fakeRun) {
			f.do("c", `{}`, ok, reported)
			f.do("a", `{}`, ok, nil)
		}, evidence.Unsupported},
		{"both ways", `"expects":[{"action":"a","when":{"succeeded":{"action":"c"}}},{"action":"b","unless":{"succeeded":{"action":"c"}}}]`, ``, func(f *fakeRun) {
			f.do("c", `{}`, evidence.StatusUnknown, nil)
			f.do("a", `{}`, ok, nil)
			f.do("b", `{}`, ok, nil)
		}, evidence.Supported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeRun{t: t, run: NewRun(nil), payloads: make(PayloadMap)}
			opened := &evidence.RunOpened{Runtime: "rt", Contract: &evidence.ContractRef{Document: f.commit(`{"contract":"v1","task":"x",` + tt.contract + `}`), DeclaredBy: "op"}}
			if tt.input != "" {
				c := f.commit(tt.input)
				opened.Input = &c
			}
			f.add(opened)
			tt.play(f)
			v, err := Judge(f.run, f.claim(), "", f.payloads)
			if err != nil {
				t.Fatal(err)
			}
			if v.Result != tt.result {
				t.Errorf("%s, expected %s: %s", v.Result, tt.result, v.Contract.Why)
			}
		})
	}
}

// TestConsulted: the contract decides which payloads bear on a verdict, the run's
// input and outputs referred to among them, whatever a verifier had to look at.
func TestConsulted(t *testing.T) {
	for contract, want := range map[string]int{
		`"expects":[{"action":"a"}]`:                                                                           1,
		`"expects":[{"action":"a","input_has":{"x":1}}]`:                                                       2,
		`"expects":[{"action":"a","input_has":{"x":{"$input":"/x"}}}]`:                                         3,
		`"expects":[{"action":"b","as":"b"},{"action":"a","input_has":{"x":{"$output":"/x","$of":"b"}}}]`:      3,
		`"expects":[{"action":"b","as":"b"}],"forbids":[{"action":"a","resource":{"$output":"/x","$of":"b"}}]`: 2,
		`"expects":[{"action":"c","when":{"input_has":{"x":1}}}]`:                                              2,
		`"expects":[{"action":"c","when":{"succeeded":{"action":"b","output":1}}}]`:                            2,
		`"expects":[{"action":"c","unless":{"succeeded":{"action":"a","input":1}}}]`:                           2,
		`"expects":[{"action":"c","after_last":["a"]}]`:                                                        1,
		`"forbids":[{"action":"a","resource":{"$input":"/x"}}]`:                                                2,
		`"forbids":[{"action":"a","when":{"succeeded":{"action":"d","input":{"$input":""}}}}]`:                 2,
		// What one asks for, another does not take back; what nothing refers to is not asked for.
		`"expects":[{"action":"a","input_has":{"x":{"$input":"/x"}}},{"action":"b"}]`:                                    3,
		`"expects":[{"action":"a","when":{"input":{"x":1}}},{"action":"b","when":{"succeeded":{"action":"a"}}}]`:         2,
		`"expects":[{"action":"b","as":"b"},{"action":"a","as":"a","input_has":{"x":{"$output":"/x","$of":"b"}}}]`:       3,
		`"expects":[{"action":"a","runs":"given","input_has":{"x":1}}]`:                                                  1,
		`"expects":[{"action":"b","as":"b","runs":"given"},{"action":"a","input_has":{"x":{"$output":"/x","$of":"b"}}}]`: 2,
	} {
		f := &fakeRun{t: t, run: NewRun(nil), payloads: make(PayloadMap)}
		in := f.commit(`{"x":1}`)
		f.add(&evidence.RunOpened{Runtime: "rt", Input: &in, Contract: &evidence.ContractRef{Document: f.commit(`{"contract":"v1","task":"x",` + contract + `}`), DeclaredBy: "op"}})
		for _, action := range []string{"b", "a"} {
			f.do(action, `{"x":1,"by":"`+action+`"}`, evidence.StatusSuccess, func(_ *evidence.Authorization, x *evidence.Execution) {
				out := f.commit(`{"x":1,"from":"` + action + `"}`)
				x.Output = &out
			})
		}
		v, err := Judge(f.run, evidence.ID{}, "", f.payloads)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Disclosed) != want {
			t.Errorf("%s: %d payloads, expected %d", contract, len(v.Disclosed), want)
		}
		only := f.payloads[f.run.Body.Contract.Document.Commit]
		withheld, err := Judge(f.run, evidence.ID{}, "", PayloadMap{f.run.Body.Contract.Document.Commit: only})
		if err != nil || len(withheld.Withheld)+1 != want {
			t.Errorf("%s: %d withheld, expected %d %v", contract, len(withheld.Withheld), want-1, err)
		}
	}
}
