package server

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

var pathParam = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

// document describes routes as OpenAPI 3.1. Schemas are derived from the Go
// types that are encoded.
func (s *Server) document(routes []route) ([]byte, error) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	// What is encoded as text is a string, and not the bytes that Go holds.
	registry.RegisterTypeAlias(reflect.TypeFor[evidence.ID](), reflect.TypeFor[string]())
	registry.RegisterTypeAlias(reflect.TypeFor[evidence.Digest](), reflect.TypeFor[string]())
	version := s.cfg.Version
	if version == "" {
		version = "devel"
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "ledgerd", Version: version,
			Description: "The evidence ledger " + s.ledger.Origin() + ". Errors are problems (RFC 9457).",
		},
		Components: &huma.Components{
			Schemas: registry,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token": {Type: "http", Scheme: "bearer", Description: "A token belongs to an actor and has rights"},
			},
		},
	}
	for _, r := range routes {
		doc.AddOperation(s.operation(registry, r))
	}
	return json.Marshal(doc)
}

func (s *Server) operation(registry huma.Registry, r route) *huma.Operation {
	op := &huma.Operation{
		Method: r.method, Path: strings.ReplaceAll(r.path, "...", ""), Summary: r.summary,
		OperationID: operationID(r), Responses: make(map[string]*huma.Response),
	}
	open := r.right == "" || r.log && s.cfg.PublicLog
	problems := append([]int{404, 421}, r.problems...)
	if !open {
		problems = append(problems, 401, 403)
		op.Security = []map[string][]string{{"token": {}}}
		if r.right != rightAny {
			op.Description = "Needs the right " + string(r.right) + "."
		}
	}
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
	}
	for _, p := range r.params {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: p.name, In: p.in, Required: p.required, Description: p.doc, Schema: &huma.Schema{Type: p.kind},
		})
	}
	if len(r.body) > 0 {
		op.RequestBody = &huma.RequestBody{Required: true, Content: content(registry, r.body)}
	}
	op.Responses[strconv.Itoa(r.ok)] = &huma.Response{Description: http.StatusText(r.ok), Content: content(registry, r.answer)}
	if r.unchanged {
		op.Responses["304"] = &huma.Response{Description: http.StatusText(http.StatusNotModified)}
	}
	for _, status := range problems {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status), Content: content(registry, []media{{api.MediaProblem, api.Problem{}}}),
		}
	}
	return op
}

func content(registry huma.Registry, kinds []media) map[string]*huma.MediaType {
	all := make(map[string]*huma.MediaType)
	for _, m := range kinds {
		schema := &huma.Schema{Type: "string"}
		if m.kind == api.MediaJSON && m.value == nil {
			schema = &huma.Schema{Type: "object"}
		} else if m.value != nil {
			schema = registry.Schema(reflect.TypeOf(m.value), true, "")
		}
		all[m.kind] = &huma.MediaType{Schema: schema}
	}
	return all
}

// operationID is the method and the words of the path: get-v1-records-id.
func operationID(r route) string {
	words := strings.FieldsFunc(r.method+r.path, func(c rune) bool { return strings.ContainsRune("/{}.", c) })
	return strings.ToLower(strings.Join(words, "-"))
}
