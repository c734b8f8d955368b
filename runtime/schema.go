package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"ledgerd/evidence"
)

// register looks at a tool.
func register(t Tool) (*registered, error) {
	if t == nil || t.Spec() == nil {
		return nil, errors.New("a tool without a Spec")
	}
	spec := *t.Spec()
	reg := &registered{tool: t, spec: &spec}
	for what, id := range map[string]string{"name": spec.Name, "action": spec.Action} {
		if err := evidence.CheckIdentifier(id); err != nil {
			return nil, fmt.Errorf("tool %q: its %s: %w", spec.Name, what, err)
		}
	}
	if spec.Schema != nil {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(spec.Schema))
		if err != nil {
			return nil, fmt.Errorf("tool %q: its schema is no JSON: %w", spec.Name, err)
		}
		c := jsonschema.NewCompiler()
		c.UseLoader(noLoader{})
		const url = "tool:schema"
		if err := c.AddResource(url, doc); err != nil {
			return nil, fmt.Errorf("tool %q: its schema: %w", spec.Name, err)
		}
		if reg.schema, err = c.Compile(url); err != nil {
			return nil, fmt.Errorf("tool %q: its schema: %w", spec.Name, err)
		}
	}
	doc, err := describe(&spec, jsontext.Value(spec.Schema))
	if err != nil {
		return nil, fmt.Errorf("tool %q: %w", spec.Name, err)
	}
	reg.doc = doc
	return reg, nil
}

// describe writes down what an authorization commits to of a tool.
func describe(spec *Spec, schema jsontext.Value) (*Document, error) {
	doc, err := marshal(struct {
		Name        string         `json:"name"`
		Action      string         `json:"action"`
		Description string         `json:"description,omitzero"`
		Schema      jsontext.Value `json:"schema,omitzero"`
		Resource    string         `json:"resource,omitzero"`
		Idempotent  bool           `json:"idempotent,omitzero"`
		Params      []string       `json:"params,omitzero"`
		Refs        []string       `json:"refs,omitzero"`
	}{spec.Name, spec.Action, spec.Description, schema, spec.Resource, spec.Idempotent, spec.Params, spec.Refs})
	if err != nil {
		return nil, err
	}
	return NewDocument(mediaJSON, doc), nil
}

// noLoader keeps a schema from fetching anything.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not part of the schema, and nothing is fetched", url)
}

// validate reports why the tool cannot take an input.
func (r *registered) validate(input []byte) error {
	if err := strictJSON(input); err != nil {
		return err
	}
	if r.schema == nil {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(input))
	if err == nil {
		err = r.schema.Validate(v)
	}
	if err != nil {
		text := strings.ReplaceAll(err.Error(), "tool:schema", r.spec.Name)
		return fmt.Errorf("the input does not fit the schema of %s: %s", r.spec.Name, text)
	}
	return nil
}

// strictJSON wants one JSON value without duplicate members or invalid UTF-8: a
// value that every program reads in the same way.
func strictJSON(b []byte) error {
	if len(b) == 0 {
		return errors.New("the input is empty: want a JSON value")
	}
	if !jsontext.Value(b).IsValid() {
		return errors.New("the input is no JSON value, or names a member twice")
	}
	return nil
}

// resourceOf reads the resource out of an input; "" where there is none, or it is
// no identifier.
func (r *registered) resourceOf(input []byte) string {
	if r.spec.Resource == "" {
		return ""
	}
	v := jsontext.Value(input)
	for token := range jsontext.Pointer(r.spec.Resource).Tokens() {
		var object map[string]jsontext.Value
		if json.Unmarshal(v, &object) != nil {
			return ""
		}
		v = object[token]
	}
	var text string
	if json.Unmarshal(v, &text) != nil || evidence.CheckIdentifier(text) != nil {
		return ""
	}
	return text
}

// maxPublic is how many bytes of an input or output stand in a record, of the
// 65,535 that an entry may have.
const maxPublic = 16 << 10

// members returns the named members of a JSON object that stand in a record in
// the clear, nil where there are none. What a record cannot hold is left out.
func members(data []byte, names []string) evidence.Object {
	if len(names) == 0 {
		return nil
	}
	var object map[string]jsontext.Value
	if json.Unmarshal(data, &object) != nil {
		return nil
	}
	var out bytes.Buffer
	for _, name := range names {
		v, ok := object[name]
		if !ok {
			continue
		}
		sep := byte(',')
		if out.Len() == 0 {
			sep = '{'
		}
		quoted, err := jsontext.AppendQuote(nil, name)
		if err != nil {
			continue
		}
		out.WriteByte(sep)
		out.Write(quoted)
		out.WriteByte(':')
		out.Write(v)
	}
	if out.Len() == 0 || out.Len() > maxPublic {
		return nil
	}
	out.WriteByte('}')
	if o := evidence.Object(out.Bytes()); evidence.CheckPublic(o) == nil {
		return o
	}
	return nil
}

// marshal writes a value as JSON, the same value always as the same bytes.
func marshal(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

func isJSON(media string) bool {
	t, _, err := mime.ParseMediaType(media)
	return media == "" || err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}
