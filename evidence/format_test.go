package evidence

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const formatDoc = "../docs/record-format.md"

// section returns the text under a heading of the document, up to the next one.
func section(t *testing.T, doc, heading string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^#{2,4} ` + regexp.QuoteMeta(heading) + `\n((?:[^#\n].*\n|\n)*)`).FindStringSubmatch(doc)
	if m == nil {
		t.Fatalf("%s has no section %q", formatDoc, heading)
	}
	return m[1]
}

// table returns the cells of a section's table rows that begin with code.
func table(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| `") {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			for i := range cells {
				cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// docTypes are the names of types in the document. A struct stands in the
// section of its name.
var docTypes = map[string]string{
	"Digest": "digest", "ID": "evidence ID", "Time": "time", "RunID": "run ID", "Object": "free-form object", "Value": "free-form object",
	"Amounts": "amounts", "int64": "integer", "string": "identifier", "Commitment": "commitment", "JWK": "key", "HeadRef": "tree head",
	"ContractRef": "contract reference", "ContextSource": "context source", "Statement": "statement", "Assertion": "assertion",
	"Recipient": "recipient", "ScopeEntry": "scope entry", "Successor": "successor",
}

func docType(t reflect.Type) string {
	if name, ok := docTypes[t.Name()]; ok {
		return name
	}
	switch t.Kind() {
	case reflect.Pointer:
		return docType(t.Elem())
	case reflect.Slice:
		if of := docType(t.Elem()); of != "scope entry" {
			return "list of " + of + "s"
		}
		return "list of scope entries"
	case reflect.String:
		return "word"
	}
	return "?"
}

// TestDocumentHasEveryMember: name, type and necessity of every member of every
// struct, in the order in which they are written, and nothing else.
func TestDocumentHasEveryMember(t *testing.T) {
	b, err := os.ReadFile(formatDoc)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	checked := make(map[string]bool)
	var check func(heading string, typ reflect.Type)
	check = func(heading string, typ reflect.Type) {
		if checked[heading] {
			return
		}
		checked[heading] = true
		rows := table(section(t, doc, heading))
		if len(rows) != typ.NumField() {
			t.Errorf("%q has %d rows, %s %d members", heading, len(rows), typ, typ.NumField())
			return
		}
		for i, row := range rows {
			f := typ.Field(i)
			name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			of := docType(f.Type)
			if name == "origin" {
				of = "origin"
			}
			if typ == reflect.TypeFor[JWK]() {
				of = "word"
			}
			required := map[bool]string{true: "yes", false: "no"}[option == ""]
			if row[0] != name || row[1] != of || row[2] != required || row[3] == "" {
				t.Errorf("%q, row %d is %v, want %s, %s, %s and a meaning", heading, i+1, row, name, of, required)
			}
			elem := f.Type
			for elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Slice && elem != reflect.TypeFor[Object]() {
				elem = elem.Elem()
			}
			if elem.Kind() == reflect.Struct {
				check(docTypes[elem.Name()], elem)
			}
		}
	}
	check("The envelope", reflect.TypeFor[envelope]())
	for _, kind := range Kinds() {
		check(string(kind), reflect.TypeOf(kinds[kind].body()).Elem())
	}
	if got, want := len(checked), 1+len(Kinds())+10; got != want {
		t.Errorf("%d tables checked, want %d", got, want)
	}

	var listed []Kind
	for _, row := range table(section(t, doc, "Kinds")) {
		kind := Kind(row[0])
		listed = append(listed, kind)
		rule := kinds[kind]
		if row[2] != placeNames[rule.place] || row[3] != string(rule.signer) || (row[4] == "yes") != rule.registry {
			t.Errorf("row %v of the kinds, in code %s, %s, %v", row, placeNames[rule.place], rule.signer, rule.registry)
		}
	}
	if !slices.Equal(listed, Kinds()) {
		t.Errorf("the document lists %v", listed)
	}
}

// TestDocumentHasEveryWord: each string constant of the format's word types.
func TestDocumentHasEveryWord(t *testing.T) {
	b, err := os.ReadFile(formatDoc)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	words := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil || len(spec.Values) != 1 {
				return true
			}
			lit, ok := spec.Values[0].(*ast.BasicLit)
			if _, named := spec.Type.(*ast.Ident); !ok || !named || lit.Kind != token.STRING {
				return true
			}
			word, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			words++
			if !bytes.Contains(b, []byte("`"+word+"`")) {
				t.Errorf("%s does not have %s, the word %q", formatDoc, spec.Names[0], word)
			}
			return true
		})
	}
	if words < 60 {
		t.Errorf("found %d words in the code, which has more", words)
	}
}

// TestDocumentExample: the example is a vector, and the bounds are the code's.
func TestDocumentExample(t *testing.T) {
	b, err := os.ReadFile(formatDoc)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range readVectors[recordVector](t, "records.json") {
		if v.Name != "execution/full" {
			continue
		}
		for _, text := range []string{"\n" + v.Payload + "\n", "\n" + v.Entry + "\n", "\n" + v.ID + "\n"} {
			if !bytes.Contains(b, []byte(text)) {
				t.Errorf("%s does not have %s", formatDoc, text)
			}
		}
	}
	if MaxEntry != 65535 || maxIdentifier != 256 || maxDepth != 32 || maxInteger != 1<<53-1 || maxNumber != 64 || maxRootKeys != 16 || headerSize != 88 || Version != 1 {
		t.Errorf("a bound is not the document's")
	}
	if !bytes.Contains(b, []byte(headerBefore+"<kid>"+headerAfter)) {
		t.Error("the header is not the document's")
	}
}
