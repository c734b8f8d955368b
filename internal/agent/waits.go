package agent

import (
	"context"
	"sync"
	"time"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

// watch tells who waits for a human that one has answered. One goroutine follows
// the log for all of them, while there are any.
type watch struct {
	mu      sync.Mutex
	waiting map[evidence.ID]map[chan struct{}]bool // by what the answer is about; guarded by mu
	stop    context.CancelFunc                     // of the goroutine; nil: there is none; guarded by mu
}

// on returns a channel that is closed when somebody answers about an
// authorization from here on.
func (h *Host) on(about evidence.ID) (answered <-chan struct{}, cancel func()) {
	w := &h.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan struct{})
	if w.waiting == nil {
		w.waiting = make(map[evidence.ID]map[chan struct{}]bool)
	}
	if w.waiting[about] == nil {
		w.waiting[about] = make(map[chan struct{}]bool)
	}
	w.waiting[about][ch] = true
	if w.stop == nil {
		var ctx context.Context
		ctx, w.stop = context.WithCancel(h.stopping)
		from := h.cfg.Ledger.Head().Size
		h.done.Go(func() { h.follow(ctx, from) })
	}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting[about], ch)
		if len(w.waiting[about]) == 0 {
			delete(w.waiting, about)
		}
		if len(w.waiting) == 0 && w.stop != nil {
			w.stop()
			w.stop = nil
		}
	}
}

// follow reads the log as it grows.
func (h *Host) follow(ctx context.Context, next uint64) {
	for {
		if h.cfg.Ledger.Log().Wait(ctx, next+1) != nil {
			return
		}
		size := h.cfg.Ledger.Head().Size
		for p, err := range h.cfg.Ledger.Records(ctx, next, size) {
			if err != nil {
				return // the log has ended, or nobody waits: those who do ask again at their time's end
			}
			if p.Record.Kind == evidence.KindApproval {
				h.watch.tell(p.Record.About)
			}
		}
		next = size
	}
}

func (w *watch) tell(about evidence.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.waiting[about] {
		close(ch)
		delete(w.waiting[about], ch)
	}
}

// untilAnswered asks until the answer is another one than to wait, or the time is
// over. Answers of other teams, and expired ones, are none.
func (h *Host) untilAnswered(ctx context.Context, wait time.Duration, ask func() (*api.Step, error)) (*api.Step, error) {
	answer, err := ask()
	if wait <= 0 || err != nil || answer.State != api.StepWaiting {
		return answer, err
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		// Watched first, and then asked again: no answer comes in between.
		answered, cancel := h.on(answer.Authorization)
		if answer, err = ask(); err != nil || answer.State != api.StepWaiting {
			cancel()
			return answer, err
		}
		select {
		case <-answered:
			cancel()
			if answer, err = ask(); err != nil || answer.State != api.StepWaiting {
				return answer, err
			}
		case <-over.C:
			cancel()
			return answer, nil
		case <-h.stopping.Done():
			cancel()
			return answer, nil
		case <-ctx.Done():
			cancel()
			return answer, nil
		}
	}
}

// Approvals lists what waits for a human in open runs, in the order in which they
// were opened: of this runtime and of others.
func (h *Host) Approvals(ctx context.Context) (*api.Approvals, error) {
	list := &api.Approvals{Approvals: []api.Approval{}}
	teams := actorsOf(h.cfg.Ledger)
	for opened, err := range h.cfg.Ledger.Find(ctx, ledger.Filter{Kind: evidence.KindRunOpened}) {
		if err != nil {
			return nil, err
		}
		if opened.Record.Body.(*evidence.RunOpened).Source != "" {
			continue // imported: nobody waits any more
		}
		if err := h.waitingIn(ctx, opened.Record.Run, teams, list); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// folded is a run with what humans were asked in it.
type folded struct {
	state *checkpoint.State
	asked map[evidence.ID]evidence.Placed // escalated authorizations
	about map[evidence.ID]*evidence.Escalation
}

// fold reads a run.
func fold(ctx context.Context, l *ledger.Ledger, run evidence.RunID, actors map[string]audit.Signer) (*folded, error) {
	f := &folded{asked: make(map[evidence.ID]evidence.Placed), about: make(map[evidence.ID]*evidence.Escalation)}
	var err error
	f.state, err = checkpoint.Fold(l.Run(ctx, run), func(name string) audit.Signer { return actors[name] }, func(p evidence.Placed) {
		switch b := p.Record.Body.(type) {
		case *evidence.Authorization:
			if b.Effect == evidence.Escalate {
				f.asked[p.ID] = p
			}
		case *evidence.Escalation:
			for _, id := range b.Concerns {
				f.about[id] = b
			}
		}
	})
	return f, err
}

// actorsOf are who could have signed a record beside a line.
func actorsOf(l *ledger.Ledger) map[string]audit.Signer {
	teams := make(map[string]audit.Signer)
	for _, a := range l.Registry().Actors() {
		teams[a.Name] = audit.Signer{Name: a.Name, Role: a.Role, Teams: a.Teams}
	}
	return teams
}

// waitingIn adds what waits in one run.
func (h *Host) waitingIn(ctx context.Context, run evidence.RunID, actors map[string]audit.Signer, list *api.Approvals) error {
	f, err := fold(ctx, h.cfg.Ledger, run, actors)
	if err != nil || f.state.Closed() != nil || len(f.asked) == 0 {
		return err
	}
	for _, w := range f.state.Waiting(evidence.TimeOf(time.Now())) {
		p := f.asked[w.Action.Authorization]
		b := w.Action.Record
		one := api.Approval{
			Authorization: p.ID, Run: run, Step: w.Step, Agent: p.Record.Actor, Action: b.Action, Resource: b.Resource, Tool: b.Tool,
			Team: b.Team, Since: p.Record.Time.String(), Policies: b.Policies, Input: b.Input,
		}
		if one.Policies == nil {
			one.Policies = []string{}
		}
		list.Approvals = append(list.Approvals, one)
	}
	return nil
}
