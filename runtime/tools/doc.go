// Package tools has three tools for package runtime: HTTP requests ([NewHTTP]),
// commands ([NewCommand], on Linux) and email ([NewSMTP]).
//
//	ticket, err := tools.NewHTTP(tools.HTTPConfig{
//		Spec:    runtime.Spec{Name: "ticket", Action: "create_ticket", Idempotent: true, Params: []string{"queue"}},
//		URL:     "https://tickets.example/v1/queues/{queue}/tickets",
//		Hosts:   []tools.Host{{Name: "tickets.example"}},
//		Secrets: map[string]string{"Authorization": "Bearer " + token},
//	})
//
// What a tool reaches is the operator's to say, in its configuration: the hosts,
// the executable, the mail server. An input fills in values, and cannot widen
// that. The configuration, but for its secrets, becomes part of the tool's
// description, to which every authorization commits: a tool that was configured
// anew is another one, and an approval of the old one is not used for it.
//
// A call is one attempt, always: nothing here tries again by itself, since an
// attempt without a record is one that nobody can audit. An attempt that never
// reached the tool's work says so, and one that may have says that nobody knows
// (class tool_timeout, which the runtime takes for outcome_unknown where the tool
// is not idempotent).
package tools

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// Bounds of what a tool keeps, unless its configuration says otherwise.
const (
	defaultMaxOutput = 1 << 20
	errorTail        = 2 << 10 // of what a failed call had to say
)

// notRun is a failure before anything happened.
func notRun(class evidence.Class, format string, args ...any) *runtime.Failure {
	return &runtime.Failure{Class: class, Err: fmt.Errorf(format, args...), NotRun: true}
}

// describe adds to a tool's description what it was configured to do.
func describe(spec *runtime.Spec, what string) {
	spec.Description = strings.TrimSpace(spec.Description + "\n[" + what + "]")
}

// inputMembers reads an input that has to be an object.
func inputMembers(input []byte) (map[string]jsontext.Value, error) {
	var object map[string]jsontext.Value
	if err := json.Unmarshal(input, &object); err != nil {
		return nil, notRun(evidence.InvalidToolPayload, "want a JSON object as input: %w", err)
	}
	return object, nil
}

// scalar returns a member of an input as text: a string's, or a number's or
// boolean's JSON.
func scalar(object map[string]jsontext.Value, name string) (string, error) {
	v, ok := object[name]
	if !ok {
		return "", notRun(evidence.InvalidToolPayload, "want the member %q in the input", name)
	}
	switch v.Kind() {
	case '"':
		var text string
		if err := json.Unmarshal(v, &text); err != nil {
			return "", notRun(evidence.InvalidToolPayload, "the input's member %q: %w", name, err)
		}
		return text, nil
	case '0', 't', 'f':
		return string(v), nil
	}
	return "", notRun(evidence.InvalidToolPayload, "want a string, number or boolean as the input's member %q", name)
}

// template is a text with {name} where a member of the input goes.
type template struct {
	text  []string // one more than names
	names []string
}

func parseTemplate(s string) (t template, err error) {
	for {
		before, rest, found := strings.Cut(s, "{")
		if strings.Contains(before, "}") {
			return t, fmt.Errorf("%q closes what it did not open", s)
		}
		t.text = append(t.text, before)
		if !found {
			return t, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return t, fmt.Errorf("want {name} in %q", s)
		}
		t.names = append(t.names, name)
		s = after
	}
}

// keep returns bytes as JSON members can hold them: text, or base64.
func keep(b []byte) (text, base string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return "", base64.StdEncoding.EncodeToString(b)
}

// objectSchema is the schema of an input that has just these members, each a
// string, number or boolean.
func objectSchema(names []string) []byte {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	properties := make(map[string]any, len(names))
	for _, n := range names {
		properties[n] = map[string]any{"type": []string{"string", "number", "boolean"}}
	}
	if names == nil {
		names = []string{}
	}
	b, err := json.Marshal(map[string]any{"type": "object", "properties": properties, "required": names, "additionalProperties": false}, json.Deterministic(true))
	if err != nil {
		panic("tools: a schema of strings cannot be written: " + err.Error())
	}
	return b
}
