package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	policyast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// EntitiesFile is the file of a directory that holds its entities, in Cedar's
// JSON format. It may be absent.
const EntitiesFile = "entities.json"

// Policy is one policy of a set.
type Policy struct {
	ID       string `json:"id"` // its @id
	Effect   string `json:"effect"`
	Escalate string `json:"escalate,omitempty"` // the team that a forbid asks
	Position string `json:"position"`           // file:line:column of its source
	Text     string `json:"text"`               // in canonical form

	cedar *cedar.Policy // parsed from Text
	// What its scope names by ==; zero: nothing. The rest of it is a condition of
	// the set.
	principal, action, resource types.EntityUID
	condition                   int
}

// fits reports whether a request can have the policy's scope, apart from the
// action.
func (p *Policy) fits(req *cedar.Request) bool {
	return (p.principal.Type == "" || p.principal == req.Principal) && (p.resource.Type == "" || p.resource == req.Resource)
}

// Set is a set of policies and entities. It never changes.
type Set struct {
	byID     map[string]*Policy
	byAction map[types.EntityUID][]*Policy // whose scope names the action by ==, by ID
	any      []*Policy                     // the others, by ID
	// conditions are what is left of policies without what their scope names by
	// ==: each once, as a permit under the ID of one policy that it is left of.
	conditions []condition
	need       need // of the context
	entities   types.EntityMap
	doc        *runtime.Document
	digest     string
}

type condition struct {
	id    cedar.PolicyID
	cedar *cedar.Policy
}

// source is a file as it was read.
type source struct {
	name string
	data []byte
}

// Parse reads all *.cedar files and entities.json at the top of a file system. It
// returns everything that is wrong with them, with its place.
func Parse(fsys fs.FS) (*Set, error) {
	files, err := read(fsys)
	if err != nil {
		return nil, err
	}
	return parse(files)
}

// read returns the files of a set by name. Hidden ones, such as an editor's, are
// none of it.
func read(fsys fs.FS) ([]source, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	var files []source
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || path.Ext(name) != ".cedar" && name != EntitiesFile {
			continue
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("policies: %w", err)
		}
		files = append(files, source{name, data})
	}
	return files, nil
}

func parse(files []source) (*Set, error) {
	s := &Set{byID: map[string]*Policy{}}
	var wrong []error
	for _, f := range files {
		if f.name == EntitiesFile {
			var err error
			if s.entities, err = parseEntities(f.data); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", f.name, err))
			}
			continue
		}
		list, err := cedar.NewPolicyListFromBytes(f.name, f.data)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %s", f.name, strings.TrimPrefix(strings.ReplaceAll(err.Error(), "<input>", f.name), "parser error: ")))
			continue
		}
		for i, p := range list {
			if err := s.add(p, i); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	if len(wrong) == 0 && len(s.byID) == 0 {
		wrong = append(wrong, errors.New("policies: want at least one policy in a *.cedar file, found none: everything would be denied; who means that writes a forbid"))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	if err := s.index(); err != nil {
		return nil, err
	}
	return s, s.seal()
}

// add takes in the policy at a position of its file.
func (s *Set) add(p *cedar.Policy, index int) error {
	pos := p.Position()
	at := fmt.Sprintf("%s:%d:%d", pos.Filename, pos.Line, pos.Column)
	notes := p.Annotations()
	id, ok := notes["id"]
	if !ok {
		return fmt.Errorf("%s: policy %d of the file has no @id(\"…\"): records name policies by it", at, index+1)
	}
	if err := evidence.CheckIdentifier(string(id)); err != nil {
		return fmt.Errorf("%s: its @id: %w", at, err)
	}
	if other := s.byID[string(id)]; other != nil {
		return fmt.Errorf("%s: @id(%q) is that of the policy at %s: give it another", at, id, other.Position)
	}
	team, escalates := notes["escalate"]
	if escalates {
		if p.Effect() != cedar.Forbid {
			return fmt.Errorf("%s: @escalate stands on a permit: it turns the denial of a forbid into a question", at)
		}
		if err := evidence.CheckIdentifier(string(team)); err != nil {
			return fmt.Errorf("%s: the team of its @escalate: %w", at, err)
		}
	}
	// What is in force is what the document says.
	text := p.MarshalCedar()
	again := new(cedar.Policy)
	if err := again.UnmarshalCedar(text); err != nil {
		return fmt.Errorf("%s: it has no canonical form: %w", at, err)
	}
	was, err := p.MarshalJSON()
	if err != nil {
		return fmt.Errorf("%s: it has no canonical form: %w", at, err)
	}
	if is, err := again.MarshalJSON(); err != nil || !bytes.Equal(was, is) {
		return fmt.Errorf("%s: it has no canonical form: what is written down is not what was read", at)
	}
	effect := "permit"
	if p.Effect() == cedar.Forbid {
		effect = "forbid"
	}
	s.byID[string(id)] = &Policy{
		ID: string(id), Effect: effect, Escalate: string(team), Position: at, Text: string(text), cedar: again,
	}
	return nil
}

// index sorts the policies by what they ask.
func (s *Set) index() error {
	s.byAction = make(map[types.EntityUID][]*Policy)
	known := make(map[string]int) // conditions, by their text
	for p := range s.Policies() {
		s.need.look((*ast.Policy)(p.cedar.AST()))
		c := p.split()
		text, err := c.MarshalJSON()
		if err != nil {
			return fmt.Errorf("%s: its condition: %w", p.Position, err)
		}
		at, ok := known[string(text)]
		if !ok {
			at = len(s.conditions)
			known[string(text)] = at
			s.conditions = append(s.conditions, condition{cedar.PolicyID(p.ID), c})
		}
		p.condition = at
		if p.action.Type == "" {
			s.any = append(s.any, p)
		} else {
			s.byAction[p.action] = append(s.byAction[p.action], p)
		}
	}
	return nil
}

// split returns what is left of a policy without what its scope names by ==, and
// without what it comes to where it holds.
func (p *Policy) split() *cedar.Policy {
	rest := *(*ast.Policy)(p.cedar.AST())
	rest.Effect, rest.Annotations = ast.EffectPermit, nil
	if eq, ok := rest.Principal.(ast.ScopeTypeEq); ok {
		p.principal, rest.Principal = eq.Entity, ast.ScopeTypeAll{}
	}
	if eq, ok := rest.Action.(ast.ScopeTypeEq); ok {
		p.action, rest.Action = eq.Entity, ast.ScopeTypeAll{}
	}
	if eq, ok := rest.Resource.(ast.ScopeTypeEq); ok {
		p.resource, rest.Resource = eq.Entity, ast.ScopeTypeAll{}
	}
	return cedar.NewPolicyFromAST((*policyast.Policy)(&rest))
}

// parseEntities reads entities strictly: a member that Cedar would skip, such as
// "parent", would be a group that somebody is not in.
func parseEntities(data []byte) (types.EntityMap, error) {
	var shape []struct {
		UID     jsontext.Value `json:"uid"`
		Parents jsontext.Value `json:"parents"`
		Attrs   jsontext.Value `json:"attrs"`
		Tags    jsontext.Value `json:"tags"`
	}
	if err := json.Unmarshal(data, &shape, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	for i, e := range shape {
		if e.UID == nil {
			return nil, fmt.Errorf("entity %d has no uid", i+1)
		}
	}
	var entities types.EntityMap
	if err := json.Unmarshal(data, &entities); err != nil {
		return nil, err
	}
	return entities, nil
}

const (
	documentHead     = "// A ledgerd policy set: its policies by @id, then its entities.\n"
	documentEntities = "\n// entities.json\n"
)

// seal writes the set's document.
func (s *Set) seal() error {
	var b bytes.Buffer
	b.WriteString(documentHead)
	for p := range s.Policies() {
		fmt.Fprintf(&b, "\n%s\n", p.Text)
	}
	b.WriteString(documentEntities)
	uids := make([]types.EntityUID, 0, len(s.entities))
	for uid := range s.entities {
		uids = append(uids, uid)
	}
	slices.SortFunc(uids, func(a, b types.EntityUID) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
	b.WriteString("[")
	for i, uid := range uids {
		text, err := json.Marshal(s.entities[uid], json.Deterministic(true))
		if err != nil {
			return fmt.Errorf("%s: %s: %w", EntitiesFile, uid, err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n%s", text)
	}
	b.WriteString("\n]\n")
	s.doc = runtime.NewDocument("text/plain", b.Bytes())
	sum := sha256.Sum256(s.doc.Data)
	s.digest = hex.EncodeToString(sum[:])
	return nil
}

// ParseDocument reads the canonical text of a set back, such as a record's
// policy_set names. It wants exactly that text.
func ParseDocument(data []byte) (*Set, error) {
	text, entities, ok := strings.Cut(string(data), documentEntities)
	if !ok || !strings.HasPrefix(text, documentHead) {
		return nil, errors.New("policies: want the canonical text of a policy set, with its first line and its entities")
	}
	// The head is left in place, so that positions are those of the document.
	s, err := parse([]source{{"document.cedar", []byte(text)}, {EntitiesFile, []byte(entities)}})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(s.doc.Data, data) {
		return nil, errors.New("policies: the text of the policy set is not in its canonical form: it was changed")
	}
	return s, nil
}

// Document returns the set's canonical text. It is the same value each time.
func (s *Set) Document() *runtime.Document { return s.doc }

// Digest returns the SHA-256 of the canonical text in hexadecimal.
func (s *Set) Digest() string { return s.digest }

// Entities returns how many entities there are.
func (s *Set) Entities() int { return len(s.entities) }

// Policy returns the policy of an @id, nil where there is none.
func (s *Set) Policy(id string) *Policy { return s.byID[id] }

// Policies yields the policies by @id.
func (s *Set) Policies() iter.Seq[*Policy] {
	all := slices.Collect(maps.Values(s.byID))
	slices.SortFunc(all, func(a, b *Policy) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Values(all)
}
