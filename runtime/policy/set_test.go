package policy

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ledgerd/evidence"
)

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

// TestRefused: what is wrong with a directory, and where.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		fs   fstest.MapFS
		want string
	}{
		"no policies":         {files("a.txt", "x"), `want at least one policy`},
		"only comments":       {files("a.cedar", "// nothing\n"), `want at least one policy`},
		"syntax":              {files("a.cedar", "@id(\"x\")\npermit (principal action, resource);"), `^a\.cedar: .*a\.cedar:2:\d+`},
		"no id":               {files("a.cedar", permitAll+"\n  permit (principal, action, resource);"), `^a\.cedar:3:3: policy 2 of the file has no @id`},
		"empty id":            {files("a.cedar", `@id permit (principal, action, resource);`), `^a\.cedar:1:1: its @id`},
		"id with a space":     {files("a.cedar", `@id("a b") permit (principal, action, resource);`), `^a\.cedar:1:1: its @id`},
		"id twice in a file":  {files("a.cedar", permitAll+permitAll), `^a\.cedar:2:1: @id\("all"\) is that of the policy at a\.cedar:1:1`},
		"id twice":            {files("a.cedar", permitAll, "b.cedar", permitAll), `^b\.cedar:1:1: @id\("all"\) is that of the policy at a\.cedar:1:1`},
		"two ids":             {files("a.cedar", `@id("a") @id("b") permit (principal, action, resource);`), `duplicate annotation`},
		"escalate on permit":  {files("a.cedar", `@id("a") @escalate("x") permit (principal, action, resource);`), `^a\.cedar:1:1: @escalate stands on a permit`},
		"escalate to nobody":  {files("a.cedar", `@id("a") @escalate forbid (principal, action, resource);`), `^a\.cedar:1:1: the team of its @escalate`},
		"template":            {files("a.cedar", `@id("a") permit (principal == ?principal, action, resource);`), `^a\.cedar: `},
		"all of it":           {files("a.cedar", "permit", "b.cedar", `permit (principal, action, resource);`), `(?s)a\.cedar: .*\nb\.cedar:1:1`},
		"entities: syntax":    {files("a.cedar", permitAll, "entities.json", "[{]"), `^entities\.json: `},
		"entities: typo":      {files("a.cedar", permitAll, "entities.json", `[{"uid":{"type":"A","id":"a"},"attrs":{},"parents":[],"tag":{}}]`), `^entities\.json: .*unknown.*"tag"`},
		"entities: no uid":    {files("a.cedar", permitAll, "entities.json", `[{"parents":[]}]`), `^entities\.json: entity 1 has no uid`},
		"entities: twice":     {files("a.cedar", permitAll, "entities.json", `[{"uid":{"type":"A","id":"a"},"attrs":{},"parents":[]},{"uid":{"type":"A","id":"a"},"attrs":{},"parents":[]}]`), `^entities\.json: .*duplicate`},
		"entities: big":       {files("a.cedar", permitAll, "entities.json", `[{"uid":{"type":"A","id":"a"},"attrs":{"n":1.5},"parents":[]}]`), `^entities\.json: `},
		"entities: not a set": {files("a.cedar", permitAll, "entities.json", `{}`), `^entities\.json: `},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.fs)
			if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("want %s, found %v", c.want, err)
			}
		})
	}
}

const hard = `// A comment.
@id("z") @note("with \"quotes\" and \n lines // entities.json")
forbid (principal is Agent in Group::"a\u{1F600}\"b", action in [Action::"x", Action::"y"], resource)
when { context.input has "a b" && context.input["a b"] like "x\**\"y" && -5 < context.input.n - 3 * (2 + 1) }
unless { [1, "two", Group::"c"].containsAny([context.input.v]) || (if 1 == 2 then true else {"k": ip("10.0.0.0/8")}["k"].isLoopback()) };
@id("a") permit (principal, action, resource == Resource::"r");
`

const entities = `[{"uid":{"type":"Group","id":"g2"},"attrs":{"s":[3,1,2],"n":9223372036854775807,"d":{"__extn":{"fn":"decimal","arg":"1.50"}}},"parents":[]},
 {"uid":{"__entity":{"type":"Agent","id":"a\"\n// entities.json\n"}},"parents":[{"type":"Group","id":"g2"},{"type":"Group","id":"g1"}],"attrs":{},"tags":{"t":"x"}}]`

// TestDocument: the canonical text does not depend on files, order or layout, and
// reads back as the same set.
func TestDocument(t *testing.T) {
	one, err := Parse(files("p.cedar", hard, "entities.json", entities))
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(hard, "@id(\"a\")")
	two, err := Parse(files("1.cedar", "\n\n"+hard[i:], "2.cedar", strings.ReplaceAll(hard[:i], "\nwhen", "   when"), "entities.json", strings.ReplaceAll(entities, "[3,1,2]", "[1,2,3,3]"), ".hidden.cedar", "nonsense", "dir/x.cedar", "nonsense"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Document().Data, two.Document().Data) || one.Digest() != two.Digest() {
		t.Errorf("two texts of one set:\n%s\n%s", one.Document().Data, two.Document().Data)
	}
	back, err := ParseDocument(one.Document().Data)
	if err != nil {
		t.Fatalf("%v\n%s", err, one.Document().Data)
	}
	if !bytes.Equal(back.Document().Data, one.Document().Data) || len(back.entities) != 2 || back.Policy("z") == nil {
		t.Error("the document reads back as another set")
	}
	for _, changed := range [][]byte{
		nil,
		bytes.Replace(one.Document().Data, []byte("permit"), []byte("permit "), 1),
		append(slices.Clone(one.Document().Data), '\n'),
		[]byte(hard),
	} {
		if _, err := ParseDocument(changed); err == nil {
			t.Errorf("accepted:\n%s", changed)
		}
	}
	three, err := Parse(files("p.cedar", hard, "entities.json", strings.ReplaceAll(entities, "g1", "g3")))
	if err != nil || three.Digest() == one.Digest() {
		t.Error("other entities are the same set", err)
	}
}

// TestGroups: entities.json says who is in which group.
func TestGroups(t *testing.T) {
	s, err := Parse(files("p.cedar", `@id("g") permit (principal in Group::"top", action in Action::"write", resource) when { principal.level > 2 };`,
		"entities.json", `[{"uid":{"type":"Agent","id":"support"},"parents":[{"type":"Group","id":"low"}],"attrs":{"level":3}},
		{"uid":{"type":"Group","id":"low"},"attrs":{},"parents":[{"type":"Group","id":"top"}]},
		{"uid":{"type":"Action","id":"issue_refund"},"attrs":{},"parents":[{"type":"Action","id":"write"}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	r := refund(`{}`)
	if d := s.Decide(r); d.Effect != evidence.Allow {
		t.Errorf("%+v", d)
	}
	r.Principal = "other"
	if d := s.Decide(r); d.Effect != evidence.Deny || d.Errors != nil {
		t.Errorf("%+v", d)
	}
}

// TestStarter: what the starter policies are said to do.
func TestStarter(t *testing.T) {
	s, err := Parse(Starter())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		principal, action, input string
		want                     evidence.Effect
		policies                 string
	}{
		{"support-agent", "lookup_order", `{}`, evidence.Allow, "support-reads"},
		{"another", "lookup_order", `{}`, evidence.Deny, ""},
		{"support-agent", "drop_table", `{}`, evidence.Deny, ""},
		{"support-agent", "issue_refund", `{"amount_cents":4990}`, evidence.Allow, "support-refunds"},
		{"support-agent", "issue_refund", `{"amount_cents":10000.5}`, evidence.Escalate, "refund-above-limit"},
		{"support-agent", "issue_refund", `{}`, evidence.Escalate, "refund-above-limit"},
		{"support-agent", "issue_refund", `{"amount_cents":"1"}`, evidence.Escalate, "refund-above-limit"},
		{"support-agent", "issue_refund", `{"amount_cents":-1}`, evidence.Deny, "refund-not-negative"},
		{"support-agent", "send_email", `{"to":["alice"]}`, evidence.Allow, "support-answers"},
		{"support-agent", "send_email", `{"to":["alice","eve@elsewhere.example"]}`, evidence.Escalate, "mail-stays-with-the-customer"},
		{"support-agent", "send_email", `{}`, evidence.Escalate, "mail-stays-with-the-customer"},
		{"support-agent", "send_email", `{"to":[]}`, evidence.Allow, "support-answers"},
	} {
		r := refund(c.input)
		r.Principal, r.Action = c.principal, c.action
		if d := s.Decide(r); d.Effect != c.want || strings.Join(d.Policies, " ") != c.policies {
			t.Errorf("%s %s %s: %+v", c.principal, c.action, c.input, d)
		}
	}
}

// TestDocs: every policy that docs/policies.md shows is one.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```cedar\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(blocks) < 5 {
		t.Fatalf("want the examples of docs/policies.md, found %d", len(blocks))
	}
	all := fstest.MapFS{}
	for i, b := range blocks {
		all[string(rune('a'+i))+".cedar"] = &fstest.MapFile{Data: b[1]}
	}
	for _, b := range regexp.MustCompile("(?s)```json entities\n(.*?)```").FindAllSubmatch(doc, -1) {
		all[EntitiesFile] = &fstest.MapFile{Data: b[1]}
	}
	s, err := Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	if s.Entities() == 0 {
		t.Error("the example of entities was not found")
	}
}

// TestSuggest: drafts are policies, permit what was done, and nothing else.
func TestSuggest(t *testing.T) {
	did := []Did{
		{"a", "b-c", ""},
		{"a-b", "c", "x"},
		{"a", "b-c", ""},
		{`q"uote\`, `*`, `r"\*`},
		{"a-b", "c", ""},
		{strings.Repeat("l", 256), strings.Repeat("l", 256), strings.Repeat("l", 256)},
	}
	drafts := Suggest(did)
	if len(drafts) != 4 {
		t.Fatalf("want one for each pair, found %d", len(drafts))
	}
	var text strings.Builder
	for _, d := range drafts {
		text.WriteString(d.Text + "\n")
	}
	s := set(t, text.String())
	for _, d := range did {
		r := refund(`{}`)
		r.Principal, r.Action, r.Resource = d.Principal, d.Action, d.Resource
		if got := s.Decide(r); got.Effect != evidence.Allow || len(got.Policies) != 1 {
			t.Errorf("%+v: %+v", d, got)
		}
		r.Resource = "another"
		if got := s.Decide(r); got.Effect != evidence.Deny {
			t.Errorf("%+v on another resource: %+v", d, got)
		}
	}
}
