package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// Did is one thing that a run did.
type Did struct {
	Principal string
	Action    string
	Resource  string // "": nothing in particular
}

// Draft is a policy that would permit what was done, for a human to review: what
// happened is not what should be permitted.
type Draft struct {
	ID        string   `json:"id"`
	Principal string   `json:"principal"`
	Action    string   `json:"action"`
	Resources []string `json:"resources"` // "" stands for none
	Text      string   `json:"text"`
}

// Suggest drafts a policy for each pair of principal and action, with exactly the
// resources that it was done to.
func Suggest(did []Did) []Draft {
	var drafts []Draft
	ids := map[string]bool{}
	for _, d := range did {
		i := slices.IndexFunc(drafts, func(x Draft) bool { return x.Principal == d.Principal && x.Action == d.Action })
		if i < 0 {
			i = len(drafts)
			id := draftID(d)
			for n := 2; ids[id]; n++ {
				id = fmt.Sprintf("%s~%d", draftID(d), n)
			}
			ids[id] = true
			drafts = append(drafts, Draft{ID: id, Principal: d.Principal, Action: d.Action})
		}
		if !slices.Contains(drafts[i].Resources, d.Resource) {
			drafts[i].Resources = append(drafts[i].Resources, d.Resource)
		}
	}
	for i := range drafts {
		slices.Sort(drafts[i].Resources)
		drafts[i].Text = drafts[i].text()
	}
	return drafts
}

// draftID is short enough to be an identifier, with a suffix.
func draftID(d Did) string {
	id := "draft-" + d.Principal + "-" + d.Action
	return id[:min(len(id), 240)]
}

func (d *Draft) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "@id(%s)\npermit (\n  principal == %s,\n  action == %s,\n", types.String(d.ID).MarshalCedar(),
		types.NewEntityUID("Agent", types.String(d.Principal)), types.NewEntityUID("Action", types.String(d.Action)))
	if len(d.Resources) == 1 {
		fmt.Fprintf(&b, "  resource == %s\n);", resourceUID(d.Resources[0]))
		return b.String()
	}
	b.WriteString("  resource\n)\nwhen {\n  [\n")
	for i, r := range d.Resources {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "    %s", resourceUID(r))
	}
	b.WriteString("\n  ].contains(resource)\n};")
	return b.String()
}
