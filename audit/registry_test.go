package audit_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/evidence"
)

// replay applies the registry records of a world and returns the first refusal.
func replay(t testing.TB, w *audittest.World) (*audit.Registry, error) {
	t.Helper()
	g := audit.NewRegistry(w.Origin, w.Placed[0].ID)
	for _, p := range w.Placed {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			t.Fatal(err)
		}
		rec, _, err := g.Check(p.Index, u)
		if err != nil {
			return g, err
		}
		if rec.Kind.Place() != evidence.Registry {
			continue
		}
		if a := g.Admissible(p.Index, p.ID, rec); (a == nil) != (g.Apply(p.Index, p.ID, rec) == nil) {
			t.Fatalf("Admissible says %v, Apply something else", a)
		} else if a != nil {
			return g, a
		}
	}
	return g, nil
}

func reasonOf(err error) audit.Reason {
	var r *audit.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func TestRegistryRefuses(t *testing.T) {
	jwk := func(w *audittest.World, name string) *evidence.JWK {
		k := w.Key(name).Public().JWK()
		return &k
	}
	tests := map[string]struct {
		write func(w *audittest.World)
		want  audit.Reason
	}{
		"nothing wrong": {func(w *audittest.World) { w.Revoke(audittest.Tool, -1) }, ""},
		"a second key": {func(w *audittest.World) {
			w.Registry(&evidence.ActorRegistered{Name: audittest.Tool, Role: evidence.RoleTool, Key: jwk(w, "second")})
		}, ""},
		"a key of another": {func(w *audittest.World) {
			w.Registry(&evidence.ActorRegistered{Name: "x", Role: evidence.RoleTool, Key: jwk(w, audittest.Tool)})
		}, audit.ReasonKeyTaken},
		"a root key": {func(w *audittest.World) {
			w.Registry(&evidence.ActorRegistered{Name: "x", Role: evidence.RoleTool, Key: jwk(w, audittest.Root)})
		}, audit.ReasonKeyTaken},
		"a revoked key again": {func(w *audittest.World) { w.Revoke(audittest.Tool, -1); w.Register(audittest.Tool, evidence.RoleTool) }, audit.ReasonKeyTaken},
		"another role": {func(w *audittest.World) {
			w.Registry(&evidence.ActorRegistered{Name: audittest.Tool, Role: evidence.RoleHuman, Key: jwk(w, "x")})
		}, audit.ReasonName},
		"the root's name": {func(w *audittest.World) {
			w.Registry(&evidence.ActorRegistered{Name: audittest.Root, Role: evidence.RoleTool, Key: jwk(w, "x")})
		}, audit.ReasonName},
		"an instance's name": {func(w *audittest.World) {
			w.Registry(&evidence.ActorRegistered{Name: "support/7", Role: evidence.RoleAgent, Key: jwk(w, "x")})
		}, audit.ReasonName},
		"a key for the hosted": {func(w *audittest.World) {
			w.Registry(&evidence.ActorRegistered{Name: audittest.Agent, Role: evidence.RoleAgent, Key: jwk(w, "x")})
		}, audit.ReasonHost},
		"a host for the keyed": {func(w *audittest.World) { w.RegisterHosted(audittest.Loner, audittest.Runtime) }, audit.ReasonHost},
		"a second host":        {func(w *audittest.World) { w.RegisterHosted(audittest.Agent, audittest.Runtime) }, audit.ReasonHost},
		"a key once unhosted": {func(w *audittest.World) {
			w.Revoke(audittest.Agent, -1)
			w.Registry(&evidence.ActorRegistered{Name: audittest.Agent, Role: evidence.RoleAgent, Key: jwk(w, "x")})
		}, ""},
		"a tool as host":        {func(w *audittest.World) { w.RegisterHosted("x", audittest.Tool) }, audit.ReasonHost},
		"a revoked host":        {func(w *audittest.World) { w.Revoke(audittest.Runtime, -1); w.RegisterHosted("x", audittest.Runtime) }, audit.ReasonHost},
		"nothing to revoke":     {func(w *audittest.World) { w.Revoke("nobody", -1) }, audit.ReasonNothing},
		"revoked twice":         {func(w *audittest.World) { w.Revoke(audittest.Tool, -1); w.Revoke(audittest.Tool, -1) }, audit.ReasonNothing},
		"suspect in the future": {func(w *audittest.World) { w.Revoke(audittest.Tool, 1000) }, audit.ReasonNothing},
		"a second entry 0": {func(w *audittest.World) {
			n := int64(0)
			w.Append(&evidence.Record{Registry: &n, Actor: audittest.Root, Body: w.Placed[0].Record.Body}, audittest.Root)
		}, audit.ReasonNumber},
		"a number skipped": {func(w *audittest.World) {
			n := w.Number() + 2
			w.Append(&evidence.Record{Registry: &n, Prev: w.Tail(), Actor: audittest.Root, Body: &evidence.ActorRevoked{Name: audittest.Tool, Reason: "x"}}, audittest.Root)
		}, audit.ReasonNumber},
		"another prev": {func(w *audittest.World) {
			n := w.Number() + 1
			w.Append(&evidence.Record{Registry: &n, Prev: w.Placed[0].ID, Actor: audittest.Root, Body: &evidence.ActorRevoked{Name: audittest.Tool, Reason: "x"}}, audittest.Root)
		}, audit.ReasonRegistryPrev},
		"a human in the name of an agent": {func(w *audittest.World) {
			r := w.Open(nil)
			asked := r.Authorize("refund", `{}`, func(b *evidence.Authorization) { b.Effect, b.Team = evidence.Escalate, audittest.Team })
			w.Append(&evidence.Record{Run: r.ID, About: asked.ID, Actor: audittest.Loner, Body: &evidence.Approval{Answer: evidence.Approve, Until: w.Clock + 600_000}}, audittest.Human)
		}, audit.ReasonActor},
		"in the name of an agent that is no more": {func(w *audittest.World) {
			r := w.Open(nil)
			w.Revoke(audittest.Agent, -1)
			r.Line(&evidence.Escalation{Reason: "x", To: audittest.Team})
		}, audit.ReasonUnknownActor},
		"a signature that was changed": {func(w *audittest.World) {
			r := w.Open(nil)
			last := len(w.Placed) - 1
			entry := slices.Clone(r.Opened.Entry)
			at := len(entry) - 40
			if entry[at]++; entry[at] > 'y' || entry[at] < 'a' && entry[at] > 'Y' || entry[at] < 'A' {
				entry[at] = 'B'
			}
			w.Placed = w.Placed[:last]
			w.AppendEntry(entry)
		}, audit.ReasonSignature},
		"not the root": {func(w *audittest.World) {
			n := w.Number() + 1
			w.Append(&evidence.Record{Registry: &n, Prev: w.Tail(), Actor: audittest.Runtime, Body: &evidence.ActorRevoked{Name: audittest.Tool, Reason: "x"}}, audittest.Runtime)
		}, audit.ReasonRole},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := audittest.New(t)
			tt.write(w)
			if _, err := replay(t, w); reasonOf(err) != tt.want || tt.want == "" && err != nil {
				t.Errorf("expected %q, found %v", tt.want, err)
			}
		})
	}
}

// TestWhoMaySign: every kind, by every signer, for every actor.
func TestWhoMaySign(t *testing.T) {
	note := func(w *audittest.World) *evidence.Commitment {
		c := w.Commit(`{}`)
		return &c
	}
	claim := func(w *audittest.World) evidence.Body {
		return &evidence.Claim{Statements: []evidence.Statement{{Text: *note(w)}}}
	}
	tests := map[string]struct {
		signer, actor string
		beside        bool
		body          func(*audittest.World) evidence.Body
		want          audit.Reason
	}{
		"runtime for itself":               {audittest.Runtime, audittest.Runtime, false, func(*audittest.World) evidence.Body { return &evidence.RunClosed{End: evidence.Failed} }, ""},
		"runtime for its agent":            {audittest.Runtime, audittest.Agent, false, claim, ""},
		"runtime for an instance":          {audittest.Runtime, "support/12", false, claim, ""},
		"an instance 007":                  {audittest.Runtime, "support/007", false, claim, audit.ReasonUnknownActor},
		"an instance of the unhosted":      {audittest.Runtime, audittest.Loner + "/1", false, claim, audit.ReasonActor},
		"runtime claims for itself":        {audittest.Runtime, audittest.Runtime, false, claim, audit.ReasonRole},
		"runtime claims for the unhosted":  {audittest.Runtime, audittest.Loner, false, claim, audit.ReasonRole},
		"runtime acts for the unhosted":    {audittest.Runtime, audittest.Loner, false, func(*audittest.World) evidence.Body { return &evidence.RunClosed{End: evidence.Failed} }, ""},
		"another runtime for the hosted":   {"runtime-02", audittest.Agent, false, func(*audittest.World) evidence.Body { return &evidence.RunClosed{End: evidence.Failed} }, audit.ReasonActor},
		"agent beside the line":            {audittest.Loner, audittest.Loner, true, claim, ""},
		"agent on the line":                {audittest.Loner, audittest.Loner, false, claim, audit.ReasonRole},
		"runtime beside the line":          {audittest.Runtime, audittest.Agent, true, claim, audit.ReasonRole},
		"agent for another":                {audittest.Loner, audittest.Agent, true, claim, audit.ReasonActor},
		"human approves":                   {audittest.Human, audittest.Human, true, func(w *audittest.World) evidence.Body { return &evidence.Approval{Answer: evidence.Refuse} }, ""},
		"runtime approves":                 {audittest.Runtime, audittest.Runtime, true, func(w *audittest.World) evidence.Body { return &evidence.Approval{Answer: evidence.Refuse} }, audit.ReasonRole},
		"tool confirms":                    {audittest.Tool, audittest.Tool, true, func(w *audittest.World) evidence.Body { return &evidence.Confirmation{Status: evidence.StatusSuccess} }, ""},
		"human confirms":                   {audittest.Human, audittest.Human, true, func(w *audittest.World) evidence.Body { return &evidence.Confirmation{Status: evidence.StatusSuccess} }, audit.ReasonRole},
		"a stranger":                       {"stranger", "stranger", true, claim, audit.ReasonUnknownKey},
		"runtime for a stranger":           {audittest.Runtime, "stranger", false, claim, audit.ReasonUnknownActor},
		"tool for the runtime, on its key": {audittest.Tool, audittest.Runtime, true, claim, audit.ReasonActor},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := audittest.New(t)
			w.Register("runtime-02", evidence.RoleRuntime)
			r := w.Open(nil)
			rec := &evidence.Record{Run: r.ID, Actor: tt.actor, Body: tt.body(w)}
			if tt.beside {
				rec.About = r.Opened.ID
			} else {
				rec.Prev = r.Opened.ID
			}
			w.Append(rec, tt.signer)
			if _, err := replay(t, w); reasonOf(err) != tt.want || tt.want == "" && err != nil {
				t.Errorf("expected %q, found %v", tt.want, err)
			}
		})
	}
}

// TestRegistryByIndex: a key holds from the entry after its registration to that
// of its revocation, whenever it is asked about.
func TestRegistryByIndex(t *testing.T) {
	w := audittest.New(t)
	early := w.Key("late")
	registered := w.Register("late", evidence.RoleTool)
	w.Open(nil)
	revoked := w.Revoke("late", -1)
	g, err := replay(t, w)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := evidence.Sign(&evidence.Record{
		Origin: w.Origin, Kind: evidence.KindConfirmation, Run: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11", About: evidence.ID{1}, Actor: "late", Time: w.Clock,
		Body: &evidence.Confirmation{Status: evidence.StatusSuccess},
	}, early)
	if err != nil {
		t.Fatal(err)
	}
	u, err := evidence.Parse(entry)
	if err != nil {
		t.Fatal(err)
	}
	for index := uint64(1); index < revoked.Index+5; index++ {
		want := audit.Reason("")
		switch {
		case index <= registered.Index:
			want = audit.ReasonUnknownKey
		case index > revoked.Index:
			want = audit.ReasonRevoked
		}
		_, _, err := g.Check(index, u)
		if _, permitted := g.Permit(index, u); reasonOf(err) != want || (err == nil) != (permitted == nil) {
			t.Errorf("at %d: expected %q, found %v", index, want, err)
		}
	}
	actors := g.Actors()
	i := slices.IndexFunc(actors, func(a audit.ActorState) bool { return a.Name == "late" })
	if i < 0 || actors[i].Active() || actors[i].Keys[0].Until != revoked.Index || g.Number() != w.Number() {
		t.Errorf("%+v", actors)
	}
}

// TestRegistryReaders: keys are looked up while records are applied.
func TestRegistryReaders(t *testing.T) {
	w := audittest.New(t)
	for range 20 {
		w.Open(nil)
	}
	g := audit.NewRegistry(w.Origin, w.Placed[0].ID)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					g.Key(w.Key(audittest.Runtime).Public().Thumbprint())
					g.Number()
					g.Actors()
				}
			}
		})
	}
	w.Key(audittest.Runtime)
	for _, p := range w.Placed {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			t.Fatal(err)
		}
		rec, _, err := g.Check(p.Index, u)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind.Place() == evidence.Registry {
			if err := g.Apply(p.Index, p.ID, rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func TestUses(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	x := r.Do("a", `{}`)
	auth := w.Placed[x.Index-1]
	same := *auth.Record
	b := *auth.Record.Body.(*evidence.Authorization)
	b.Action = "other"
	same.Body = &b
	if !slices.Equal(audit.Uses(auth.Record), audit.Uses(&same)) {
		t.Error("one idempotency key, two uses")
	}
	other := same
	other.Run = "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"
	if slices.Equal(audit.Uses(auth.Record), audit.Uses(&other)) {
		t.Error("an idempotency key is used in its run only")
	}
	var all []string
	for _, p := range w.Placed {
		for _, u := range audit.Uses(p.Record) {
			if slices.Contains(all, u) {
				t.Errorf("index %d uses %q again", p.Index, u)
			}
			all = append(all, u)
		}
	}
	if len(all) != 6+1+1+1 {
		t.Errorf("%d uses", len(all))
	}
}
