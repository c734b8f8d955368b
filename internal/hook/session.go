package hook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Config says how a hook is called.
type Config struct {
	Agent *Agent
	// Send reaches the daemon.
	Send Transport
	// Key is the run's key; "": made of the agent's name and the session.
	Key string
	// Task is the type of task as which runs are opened: by it the operator chooses
	// the contract.
	Task string
	// Observe never blocks anything.
	Observe bool
	// Wait is how long a call is held for a human's answer.
	Wait time.Duration
	// SendBack is how often in a row an agent that says that it is done, and is not, is
	// sent back to work.
	SendBack int
	// Patience is how long a daemon that does not answer is asked again.
	Patience time.Duration
	// Memory is a directory of the user's for what one call leaves for the next; "":
	// there is none.
	Memory string
	// Process names the agent's, for gateways that say of which they are; "": it is not
	// known.
	Process string
}

const (
	// maxOutput is the largest output, in bytes, that is recorded as it is; of a larger
	// one its digest and size are. It is that of gateways.
	maxOutput = 1 << 20
	maxError  = 16 << 10
	maxText   = 32 << 10
	maxWhy    = 2 << 10 // for the agent's model
	// maxWait is how long the daemon holds a question.
	maxWait = 5 * time.Minute
	// maxRuns is how many runs a session may be: one, and another each time that it is
	// resumed after its end.
	maxRuns = 100
)

// session is what one event is worked on with.
type session struct {
	Config
	e      *Event
	daemon *daemon
	key    string // of the run that is open
	memory memory
}

// Handle does what there is to do about an event.
func Handle(ctx context.Context, cfg Config, e *Event) Answer {
	key := cmp.Or(cfg.Key, RunKey(cfg.Agent.Name, e.Session))
	s := &session{Config: cfg, e: e, daemon: &daemon{send: cfg.Send, patience: cfg.Patience}, key: key, memory: remember(cfg.Memory, key)}
	var a Answer
	switch e.Kind {
	case Before:
		a = s.before(ctx)
	case After:
		a = s.after(ctx)
	case Start, SubagentStop:
		a = note(s.onOpenRun(func() error {
			_, err := s.reconcile(ctx, false)
			return err
		}))
	case Stop:
		a = s.stop(ctx)
	case End:
		a = note(s.end(ctx))
	case Other:
	}
	if cfg.Observe && a.Block {
		a = Answer{Note: "not enforced: " + a.Why}
	}
	return a
}

// note is the answer to what the agent cannot change.
func note(err error) Answer {
	if err == nil || reasonOf(err) == reasonNotFound { // nothing was done in the session
		return Answer{}
	}
	return Answer{Note: err.Error()}
}

func (s *session) path(more ...string) string { return "/v1/runs/" + s.key + strings.Join(more, "") }

// onOpenRun calls f with the session's run. A session that goes on after its end is
// another run.
func (s *session) onOpenRun(f func() error) error {
	if !fits(s.key) || len(s.key) > 196 || strings.HasPrefix(s.key, "run_") {
		return fmt.Errorf("want the key of a run, found %s", quote(s.key))
	}
	first := s.key
	for n := 2; ; n++ {
		err := f()
		if reasonOf(err) != reasonEnded || n > maxRuns {
			return err
		}
		s.key = fmt.Sprintf("%s.%d", first, n)
	}
}

// stepOf names the step that a call is, by the agent's ID of it.
func (s *session) stepOf(call string) string { return cmp.Or(s.memory.stepOf(call), fit("", call)) }

// before asks for a call.
func (s *session) before(ctx context.Context) Answer {
	if s.governed() {
		return Answer{}
	}
	var got *step
	var name string
	err := s.onOpenRun(func() (err error) {
		got, name, err = s.ask(ctx)
		if reasonOf(err) == reasonNotFound {
			if err = s.open(ctx); err == nil {
				got, name, err = s.ask(ctx)
			}
		}
		return err
	})
	if err != nil {
		return Answer{Block: true, Why: fmt.Sprintf("Not run: permission to use %s could not be asked for: %v.", s.e.Tool, err)}
	}
	return s.permitted(got, name)
}

func (s *session) open(ctx context.Context) error {
	input := map[string]string{"agent": s.Agent.Name}
	if s.e.Cwd != "" {
		input["cwd"] = s.e.Cwd
	}
	err := s.daemon.call(ctx, "PUT", s.path(), openRun{Task: s.Task, Input: input}, nil)
	if reasonOf(err) == reasonChanged { // another hook of the session was first
		return nil
	}
	return err
}

// ask asks for the step that a call is: the one that waits for a human, where the same
// call does; else a new one.
func (s *session) ask(ctx context.Context) (*step, string, error) {
	e := s.e
	call := callDigest(e.Tool, e.Input)
	if name := s.memory.waits(call); name != "" && !s.Observe {
		got, err := s.askAs(ctx, name, cmp.Or(e.Call, process()))
		if err != nil || got.State == stateAllowed || got.State == stateWaiting || got.State == stateDenied {
			return got, name, err
		}
		s.memory.setWaits(call, "") // it went on without this process
	}
	if e.Call != "" {
		name := fit("", e.Call)
		got, err := s.askAs(ctx, name, e.Call)
		return got, name, err
	}
	// The agent gives calls no IDs: this is the next with this tool and input. Another
	// process may be counting, too: then the step is that one's, and this is the next.
	asker := process()
	for range 20 {
		n, err := s.count(ctx, call)
		if err != nil {
			return nil, "", err
		}
		name := numbered(e.Tool, call, n+1)
		got, err := s.askAs(ctx, name, asker)
		if err != nil || got.State != stateInDoubt && got.State != stateSucceeded {
			return got, name, err
		}
	}
	return nil, "", errors.New("too many hooks ask for the same at once")
}

func (s *session) askAs(ctx context.Context, name, asker string) (*step, error) {
	query := ""
	if s.Wait > 0 {
		query = "?wait=" + min(s.Wait, maxWait).String()
	}
	got := new(step)
	a := askStep{
		Tool: s.e.Tool, Action: s.e.Tool, Resource: s.e.Resource, Input: s.e.Input, Asker: fit("", asker),
		Description: "a tool of " + s.Agent.Name, Observe: s.Observe,
	}
	err := s.daemon.call(ctx, "PUT", s.path("/steps/", name, query), a, got)
	if a.Observe && reasonOf(err) == reasonRight { // then it is on record as denied, and not what came of it
		a.Observe = false
		err = s.daemon.call(ctx, "PUT", s.path("/steps/", name, query), a, got)
	}
	return got, err
}

// numbered is the name of the n-th call of a tool with an input, of an agent that gives
// calls no IDs.
func numbered(tool, call string, n int) string {
	return fmt.Sprintf("%s:%d", fit("", strings.ReplaceAll(tool, "/", "~"))+":"+call, n)
}

// count counts the calls of this tool with this input.
func (s *session) count(ctx context.Context, call string) (n int, err error) {
	state, err := s.state(ctx)
	if err != nil {
		return 0, err
	}
	prefix := strings.TrimSuffix(numbered(s.e.Tool, call, 0), "0")
	for _, one := range state.Steps {
		if rest, ok := strings.CutPrefix(one.Step, prefix); ok {
			if i, err := strconv.Atoi(rest); err == nil {
				n = max(n, i)
			}
		}
	}
	return n, nil
}

// permitted says what the agent is told of a step.
func (s *session) permitted(got *step, name string) Answer {
	e := s.e
	call := callDigest(e.Tool, e.Input)
	by := "No policy permits it."
	if len(got.Policies) > 0 {
		by = "Decided by the policy " + strings.Join(got.Policies, ", ") + "."
	}
	why := ""
	switch got.State {
	case stateAllowed:
		if s.memory.waits(call) == name {
			s.memory.setWaits(call, "")
		}
		if e.Call != "" && name != fit("", e.Call) {
			s.memory.setStepOf(e.Call, name)
		}
		if s.Observe && got.Effect != effectAllow {
			return Answer{Note: fmt.Sprintf("not enforced: the policies say %s to %s. %s Evidence: %s.", got.Effect, e.Tool, by, got.Authorization)}
		}
		return Answer{}
	case stateDenied:
		s.memory.setWaits(call, "")
		why = fmt.Sprintf("Denied: %s is not permitted. %s", e.Tool, by)
		if got.Refusal != "" {
			why = fmt.Sprintf("Denied: a human refused %s.", e.Tool)
		}
	case stateWaiting:
		s.memory.setWaits(call, name)
		why = fmt.Sprintf("Pending: %s waits for the approval of team %s. It was not run. %s Call it again with the same input to find out.", e.Tool, got.Team, by)
	case stateInDoubt:
		why = fmt.Sprintf("In doubt: %s was permitted before under this call's ID, and nobody knows whether it ran. It was not run again; find out what happened.", e.Tool)
	case stateSucceeded:
		why = fmt.Sprintf("Not run: %s ran already under this call's ID.", e.Tool)
	default:
		why = fmt.Sprintf("Not run: %s is %s.", e.Tool, got.State)
	}
	return Answer{Block: true, Why: why + " Evidence: " + got.Authorization + "."}
}

// after reports what came of a call.
func (s *session) after(ctx context.Context) Answer {
	if s.governed() {
		return Answer{}
	}
	o := outcome{s.e.Status, s.e.Output, s.e.Error}
	if o.status == "" {
		if o = s.recorded(); o.status == unknown {
			return Answer{} // the transcript may say so when the agent stops
		}
	}
	var unasked error
	err := s.onOpenRun(func() error {
		name := s.stepOf(s.e.Call)
		if s.e.Call == "" {
			var err error
			if name, err = s.openCall(ctx); err != nil || name == "" {
				return err
			}
		}
		err := s.report(ctx, name, 1, o, s.e.Took)
		if reasonOf(err) == reasonInvalid { // not in this run; perhaps in one that followed it
			unasked = err
			return &problem{Reason: reasonEnded}
		}
		return err
	})
	if unasked != nil && reasonOf(err) == reasonNotFound {
		err = unasked
	}
	return note(err)
}

// recorded is what the transcript says of the call, of which the event does not tell what
// came of it; with the output that the event tells.
func (s *session) recorded() outcome {
	said, _ := s.Agent.outcomes(s.e.Transcript) // what cannot be read is not known
	o, ok := said[s.e.Call]
	if !ok {
		return outcome{status: unknown}
	}
	o.output = s.e.Output
	return o
}

// openCall returns the last call with this tool and input that has no outcome yet, "" if
// there is none. Of several under way one outcome is as good as the other: nobody can
// tell them apart. One before them may never have been made.
func (s *session) openCall(ctx context.Context) (string, error) {
	state, err := s.state(ctx)
	if err != nil {
		return "", err
	}
	if state.State != "open" {
		return "", &problem{Reason: reasonEnded}
	}
	prefix := strings.TrimSuffix(numbered(s.e.Tool, callDigest(s.e.Tool, s.e.Input), 0), "0")
	for _, d := range slices.Backward(state.InDoubt) {
		if strings.HasPrefix(d.Step, prefix) {
			return d.Step, nil
		}
	}
	return "", nil
}

// report says what came of a step. What stands already, or was never permitted, is left.
func (s *session) report(ctx context.Context, name string, attempt int, o outcome, took *int64) error {
	r := reportStep{Attempt: attempt, Status: o.status, Error: clip(strings.ToValidUTF8(o.err, "?"), maxError), TookMS: took}
	if len(o.output) > 0 {
		r.Output = output(o.output)
	}
	if o.status == notRun {
		r.Output, r.TookMS = nil, nil
	}
	if o.status == success {
		r.Error = ""
	}
	err := s.daemon.call(ctx, "PUT", s.path("/steps/", name, "/outcome"), r, nil)
	switch reasonOf(err) {
	case reasonReported, reasonDenied:
		return nil
	}
	return err
}

// output is what is recorded of an output, as package mcp has it.
func output(v jsontext.Value) jsontext.Value {
	if len(v) <= maxOutput {
		return v
	}
	sum := sha256.Sum256(v)
	return fmt.Appendf(nil, `{"dev.ledgerd/too_large":{"sha256":%q,"size":%d}}`, base64.RawURLEncoding.EncodeToString(sum[:]), len(v))
}

// reconcile reports what the transcript says of calls without an outcome, and in the
// end that nothing is known of the others.
func (s *session) reconcile(ctx context.Context, last bool) (*runState, error) {
	state, err := s.state(ctx)
	if err != nil {
		return nil, err
	}
	if state.State != "open" {
		return nil, &problem{Reason: reasonEnded}
	}
	return state, s.settle(ctx, state, last)
}

func (s *session) state(ctx context.Context) (*runState, error) {
	state := new(runState)
	return state, s.daemon.call(ctx, "GET", s.path("/state"), nil, state)
}

func (s *session) settle(ctx context.Context, state *runState, last bool) error {
	if len(state.InDoubt) == 0 {
		return nil
	}
	said := make(map[string]outcome)
	if s.Agent.outcomes != nil && s.e.Transcript != "" {
		byCall, _ := s.Agent.outcomes(s.e.Transcript) // what cannot be read is not known
		for call, o := range byCall {
			said[s.stepOf(call)] = o
		}
	}
	var errs []error
	for _, d := range state.InDoubt {
		o, ok := said[d.Step]
		switch {
		case ok && (o.status != unknown || last):
		case last:
			o = outcome{status: unknown, err: "the session ended, and nothing says what came of the call"}
		default:
			continue // it may be under way
		}
		errs = append(errs, s.report(ctx, d.Step, d.Attempt, o, nil))
	}
	return errors.Join(errs...)
}

// sentBack is the name of the checkpoint that the n-th sending back leaves, the row-th in
// a row: so that the count is in the ledger, and outlives every process.
func sentBack(n, row int) string { return fmt.Sprintf("sent-back-%d-%d", n, row) }

func parseSentBack(name string) (n, row int) {
	if _, err := fmt.Sscanf(name, "sent-back-%d-%d", &n, &row); err != nil {
		return 0, 0
	}
	return n, row
}

// stop holds an agent that says that it is done to its contract.
func (s *session) stop(ctx context.Context) Answer {
	var a Answer
	err := s.onOpenRun(func() (err error) {
		a, err = s.judge(ctx)
		return err
	})
	switch {
	case err == nil:
		return a
	case reasonOf(err) == reasonNotFound:
		return Answer{}
	case s.e.Again || s.e.Aborted:
		return Answer{Note: "whether the work is done could not be checked: " + err.Error()}
	}
	return Answer{Block: true, Why: fmt.Sprintf("Whether the work is done could not be checked: %v. Stop again to go on without.", err)}
}

func (s *session) judge(ctx context.Context) (Answer, error) {
	state, err := s.reconcile(ctx, false)
	if err != nil || s.e.Aborted {
		return Answer{}, err
	}
	whole := s.e.Text
	if s.e.Grows {
		s.sinceSentBack()
	}
	text := strings.ToValidUTF8(strings.TrimSpace(clip(s.e.Text, maxText)), "?")
	var said claim
	if err := s.daemon.call(ctx, "POST", s.path("/claims"), makeClaim{cmp.Or(text, "The agent says that it is done.")}, &said); err != nil {
		return Answer{}, err
	}
	v := said.Verdict
	if v.Holds || v.Result == "no_contract" { // without a contract there is nothing that the agent could do
		return Answer{}, nil
	}
	n, row := parseSentBack(state.Checkpoint)
	if !s.e.Again || state.Verdict == supported { // who was done, and went on all the same, was not sent back by this hook
		row = 0
	}
	why := fmt.Sprintf("%s: %s", v.Result, strings.Join(v.Why, "; "))
	if len(v.Unmet) > 0 { // which says more
		why = fmt.Sprintf("%s: %s", v.Result, clip(strings.Join(v.Unmet, "; "), maxWhy))
	}
	if row >= s.SendBack {
		return Answer{Note: fmt.Sprintf("the agent stops, and its work is not done: %s. Evidence: %s", why, v.ID)}, nil
	}
	err = s.daemon.call(ctx, "PUT", s.path("/checkpoints/", sentBack(n+1, row+1)), map[string]string{"verdict": v.ID}, nil)
	if s.e.Grows {
		s.memory.setSaid(whole)
	}
	return Answer{Block: true, Why: fmt.Sprintf(
		"Not done, by the contract of task %s. %s. Evidence: %s. Do what is missing, or say plainly that it is not done. (%d of %d)",
		s.Task, why, v.ID, row+1, s.SendBack)}, err
}

// sinceSentBack leaves of what the agent said the part that it said since it was sent
// back, if it was. Whether it was is not left to the agent: Gemini CLI says so only where
// it stops again at once, without a tool in between.
func (s *session) sinceSentBack() {
	if n := s.memory.said(s.e.Text); n > 0 {
		s.e.Text, s.e.Again = s.e.Text[n:], true
	}
}

// end closes the session's run.
func (s *session) end(ctx context.Context) error {
	defer s.memory.forget()
	return s.onOpenRun(func() error {
		if _, err := s.reconcile(ctx, true); err != nil {
			return err
		}
		err := s.daemon.call(ctx, "POST", s.path("/close"), closeRun{}, nil)
		switch reasonOf(err) {
		case reasonClaim:
			return s.daemon.call(ctx, "POST", s.path("/close"), closeRun{End: "failed", Reason: reasonClaim}, nil)
		case reasonNoClaim:
			return s.daemon.call(ctx, "POST", s.path("/close"), closeRun{End: "stopped", Reason: "session_ended"}, nil)
		}
		return err
	})
}

// process is a name for this process that no other one has.
func process() string {
	return fmt.Sprintf("pid-%d-%d", os.Getpid(), time.Now().UnixNano())
}
