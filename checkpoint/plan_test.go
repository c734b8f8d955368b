package checkpoint_test

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
)

// expect is what a human's answers come to, said once more: the first that counts
// by a human of the team that was asked.
func (w *teller) expect(asked evidence.ID, team string, now evidence.Time) checkpoint.Next {
	for _, x := range w.told {
		b, ok := x.placed.Record.Body.(*evidence.Approval)
		if !ok || x.placed.Record.About != asked || x.by.Role != evidence.RoleHuman || !slices.Contains(x.by.Teams, team) {
			continue
		}
		if b.Answer == evidence.Refuse {
			return checkpoint.Refused
		}
		if b.Until >= now {
			return checkpoint.Use
		}
	}
	return checkpoint.Ask
}

// TestPlanIsPure: whatever was recorded, in whatever order, sound or not, there
// is a plan for each step at any time; it is the same for all who read the same
// prefix, however often they ask; and a step is done again only where the records
// say that it may.
func TestPlanIsPure(t *testing.T) {
	seen := make(map[checkpoint.Next]int)
	steps := []string{"a", "b", "c"}
	check := func(t *rapid.T) {
		w := newTeller()
		if rapid.IntRange(0, 9).Draw(t, "opened") > 0 {
			w.open()
		}
		var auths, questions, answers, attempts, claims []evidence.ID
		counts := make(map[evidence.ID]int64)
		pick := func(ids []evidence.ID, what string) evidence.ID {
			if len(ids) == 0 || rapid.IntRange(0, 19).Draw(t, "nowhere") == 10 {
				return evidence.IDOf([]byte("nowhere"))
			}
			return rapid.SampledFrom(ids).Draw(t, what)
		}
		for range rapid.IntRange(1, 25).Draw(t, "records") {
			step := rapid.SampledFrom(steps).Draw(t, "step")
			switch rapid.IntRange(0, 13).Draw(t, "what") {
			case 0, 1:
				effect := rapid.SampledFrom([]evidence.Effect{evidence.Allow, evidence.Allow, evidence.Deny}).Draw(t, "effect")
				mode := rapid.SampledFrom([]evidence.Mode{evidence.Enforce, evidence.Enforce, evidence.Observe}).Draw(t, "mode")
				auths = append(auths, w.ask(step, effect, func(b *evidence.Authorization) { b.Mode = mode }))
			case 2, 3:
				id := w.ask(step, evidence.Escalate, nil)
				auths, questions = append(auths, id), append(questions, id)
			case 4, 5:
				by := rapid.SampledFrom([]audit.Signer{human, human, stranger, machine, writer}).Draw(t, "by")
				answer := approve(evidence.Time(rapid.IntRange(1, 40).Draw(t, "until")))
				if rapid.IntRange(0, 3).Draw(t, "answer") == 2 {
					answer = &evidence.Approval{Answer: evidence.Refuse}
				}
				answers = append(answers, w.beside(by, pick(questions, "about"), answer))
			case 6:
				asked := pick(questions, "asked")
				auths = append(auths, w.use(step, asked, pick(answers, "approval")))
			case 7, 8, 9:
				auth := pick(auths, "auth")
				counts[auth]++
				n := counts[auth]
				if rapid.IntRange(0, 19).Draw(t, "number") == 10 {
					n++
				}
				status := rapid.SampledFrom([]evidence.Status{
					evidence.StatusSuccess, evidence.StatusFailure, evidence.StatusUnknown, evidence.StatusAccepted, evidence.StatusNotRun,
				}).Draw(t, "status")
				attempts = append(attempts, w.attempt(auth, n, status))
			case 10:
				finding := rapid.SampledFrom([]evidence.Status{evidence.StatusSuccess, evidence.StatusFailure, evidence.StatusNotRun}).Draw(t, "finding")
				w.line(writer, &evidence.Settlement{Settles: pick(append(auths[:len(auths):len(auths)], attempts...), "settles"), By: evidence.ByProbe, Finding: finding})
			case 11:
				w.line(writer, w.states[0].Next("point"))
			case 12:
				claims = append(claims, w.line(writer, &evidence.Claim{}))
				w.line(writer, &evidence.Verdict{Claim: pick(claims, "claim"), Result: evidence.Supported})
			case 13:
				if rapid.IntRange(0, 9).Draw(t, "end") == 5 {
					w.line(writer, &evidence.RunClosed{End: evidence.Completed})
				} else {
					w.line(audit.Signer{Name: "other", Role: evidence.RoleRuntime}, &evidence.RunResumed{Reason: "r"})
				}
			}
			now := evidence.Time(rapid.IntRange(0, 45).Draw(t, "now"))
			for _, name := range steps {
				p := w.states[0].Plan(name, now)
				if p.Next.String() == "" {
					t.Fatalf("step %q: no plan", name)
				}
				for range 2 {
					if again := w.states[1].Plan(name, now); !reflect.DeepEqual(p, again) {
						t.Fatalf("step %q: %+v, and then %+v", name, p, again)
					}
				}
				seen[p.Next]++
				b := p.Action.Record
				switch p.Next {
				case checkpoint.Begin:
					if slices.Contains(w.states[0].Steps(), name) {
						t.Fatalf("step %q began, and is to begin", name)
					}
				case checkpoint.Ask, checkpoint.Use:
					if want := w.expect(p.Action.Authorization, b.Team, now); want != p.Next {
						t.Fatalf("step %q: %s, and the answers say %s", name, p.Next, want)
					}
				case checkpoint.Return, checkpoint.Attempt, checkpoint.Settle, checkpoint.Await:
					if b.Effect != evidence.Allow && b.Mode == evidence.Enforce {
						t.Fatalf("step %q: %s under %s", name, p.Next, b.Effect)
					}
					if !p.Action.Executable && p.Action.Last.IsZero() && p.Action.Status == "" {
						t.Fatalf("step %q: %s under an authorization that nothing may be executed under", name, p.Next)
					}
				}
			}
		}
		// Who reads a prefix later sees what was to be seen then.
		late := checkpoint.New(nil)
		for _, x := range w.told {
			late.Apply(x.placed, x.by)
		}
		for _, name := range steps {
			if a, b := w.states[0].Plan(name, 20), late.Plan(name, 20); !reflect.DeepEqual(a, b) {
				t.Fatalf("step %q: %+v, and read later %+v", name, a, b)
			}
		}
	}
	for range 10 {
		rapid.Check(t, check)
	}
	t.Log(seen)
	for n := checkpoint.Begin; n <= checkpoint.Await; n++ {
		if seen[n] == 0 {
			t.Errorf("%s never came next: the test tests less than it says", n)
		}
	}
}
