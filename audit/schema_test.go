package audit

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

func contractSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("../docs/contract.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("contract.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("contract.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// drawContract draws the text of a contract, right or wrong in a place or two.
func drawContract(t *rapid.T) string {
	one := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	var value func(depth int) string
	matcher := func(depth int) string {
		bound := func() string {
			return one("bound", `1`, `-2.5`, `"1"`, `{"$input":"/a"}`, `{"$output":"/a","$of":"n"}`, `{"$output":"/a"}`, `{"$in":[1]}`, `null`)
		}
		var said []string
		for range rapid.IntRange(1, 2).Draw(t, "says") {
			s := one("says", `$least`, `$most`, `$above`, `$below`, `$in`, `$not`, `$prefix`, `$exists`, `$value`, `$input`, `$output`, `$of`, `$gte`)
			switch s {
			case `$in`:
				said = append(said, `"$in":[`+one("set", ``, value(depth+1), `1,`+value(depth+1))+`]`)
			case `$not`, `$value`:
				said = append(said, `"`+s+`":`+value(depth+1))
			case `$prefix`:
				said = append(said, `"$prefix":`+one("prefix", `"a"`, `""`, `1`, `{"$input":""}`))
			case `$exists`:
				said = append(said, `"$exists":`+one("exists", `true`, `false`, `1`))
			case `$input`:
				said = append(said, `"$input":`+one("pointer", `"/a"`, `""`, `"a"`, `"/a~0"`, `"/a~"`, `7`))
			case `$output`:
				said = append(said, `"$output":"/a","$of":"n"`)
			case `$of`:
				said = append(said, `"$of":"n"`)
			default:
				said = append(said, `"`+s+`":`+bound())
			}
		}
		return `{` + strings.Join(said, ",") + `}`
	}
	value = func(depth int) string {
		kinds := []string{`1`, `"a"`, `null`, `true`, `[]`, `{}`, `{"$ref":1,"a":2}`}
		if depth < 3 {
			kinds = append(kinds, "matcher", "matcher", "object", "array")
		}
		switch k := one("value", kinds...); k {
		case "matcher":
			return matcher(depth)
		case "object":
			return `{"a":` + value(depth+1) + `,"b/c":` + value(depth+1) + `}`
		case "array":
			return `[` + value(depth+1) + `]`
		default:
			return k
		}
	}
	maybe := func(members *[]string, name string, of func() string) {
		if rapid.IntRange(0, 3).Draw(t, name) == 0 {
			*members = append(*members, `"`+name+`":`+of())
		}
	}
	payload := func(members *[]string) {
		maybe(members, "resource", func() string {
			return one("resource", `"r"`, `"r s"`, `""`, `{"$in":["a"]}`, `{"$exists":false}`, `{"a":1}`, `7`, `null`)
		})
		for _, name := range []string{"input", "input_has", "output", "output_has"} {
			maybe(members, name, func() string { return value(0) })
		}
	}
	condition := func() string {
		var members []string
		maybe(&members, "input", func() string { return value(1) })
		maybe(&members, "input_has", func() string { return value(1) })
		maybe(&members, "succeeded", func() string {
			inner := []string{`"action":"a"`}
			payload(&inner)
			maybe(&inner, "times", func() string { return `1` })
			return `{` + strings.Join(inner, ",") + `}`
		})
		return `{` + strings.Join(members, ",") + `}`
	}
	item := func(expects bool) string {
		members := []string{`"action":` + one("action", `"a"`, `"a"`, `"a"`, `"b"`, `""`, `"a b"`, `1`)}
		payload(&members)
		maybe(&members, "when", condition)
		maybe(&members, "unless", condition)
		if expects {
			maybe(&members, "as", func() string { return one("as", `"n"`, `"n"`, `"m"`, `""`, `null`) })
			maybe(&members, "times", func() string {
				return one("times", `1`, `0`, `1000`, `1001`, `1.5`, `2.0`, `{"least":1}`, `{"least":0}`, `{"most":2}`, `{"least":2,"most":1}`, `{}`, `{"min":1}`, `"1"`, `null`)
			})
			maybe(&members, "after", func() string { return one("after", `["b"]`, `[]`, `"b"`, `[1]`, `["a b"]`) })
			maybe(&members, "after_last", func() string { return one("after_last", `["b"]`, `["c"]`, `[""]`, `null`) })
		}
		return `{` + strings.Join(members, ",") + `}`
	}
	members := []string{`"contract":` + one("version", `"v1"`, `"v1"`, `"v1"`, `"v2"`), `"task":` + one("task", `"t"`, `"t"`, `"t"`, `""`)}
	maybe(&members, "weakest_source", func() string { return one("source", `"imported"`, `"rumour"`, `""`, `null`) })
	maybe(&members, "only", func() string { return one("only", `["a"]`, `["a","a"]`, `[]`, `null`, `["a b"]`) })
	var expects []string
	for range rapid.IntRange(0, 2).Draw(t, "items") {
		expects = append(expects, item(true))
	}
	members = append(members, `"expects":[`+strings.Join(expects, ",")+`]`)
	maybe(&members, "forbids", func() string { return `[` + item(false) + `]` })
	maybe(&members, "ext", func() string { return `{}` })
	return `{` + strings.Join(members, ",") + `}`
}

// onlyParser are the reasons for which a parser refuses what the schema accepts:
// those that the schema's description names.
var onlyParser = regexp.MustCompile(`in only: else|by its as, found|each name once|one name in an item|action of another item|no circle|expected [0-9]+ to 1000|at most|JSON number 2.0 into Go int|duplicate object member|no reference to an output here`)

// TestContractSchema: what the schema refuses, the parser refuses; and what the
// parser refuses besides is what the schema says that it cannot see.
func TestContractSchema(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, which the race detector knows from other tests")
	}
	schema := contractSchema(t)
	var both, good, parser int
	check := func(fatal func(string, ...any), doc string) {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
		if err != nil {
			fatal("%s: %v", doc, err)
		}
		wrong := schema.Validate(v)
		_, err = ParseContract([]byte(doc))
		switch {
		case wrong == nil && err == nil:
			good++
		case wrong == nil && !onlyParser.MatchString(err.Error()):
			fatal("%s\nthe schema has nothing against it, the parser: %v", doc, err)
		case wrong == nil:
			parser++
		case err == nil:
			fatal("%s\nthe parser has nothing against it, the schema: %v", doc, wrong)
		default:
			both++
		}
	}
	rounds := 100
	for range rounds {
		rapid.Check(t, func(t *rapid.T) { check(t.Fatalf, drawContract(t)) })
	}
	t.Logf("%d good, %d refused by both, %d by the parser alone", good, both, parser)
	if good < 100 || both < 100 || parser < 5 {
		t.Error("want enough of each")
	}
}
