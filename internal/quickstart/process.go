package quickstart

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strings"

	"ledgerd/internal/quickstart/support"
	"ledgerd/runtime"
)

// errand is what an agent's process is told on its standard input. Secrets are in
// the files that it names.
type errand struct {
	Settings  support.Settings  `json:"settings"`
	Complaint support.Complaint `json:"complaint"`
	// TakeOver: whoever worked on it before is known to be dead.
	TakeOver bool `json:"take_over"`
}

// Agent is the whole of an agent's process: it works through the complaint that it
// reads from in, and writes what may be said about it to out.
func Agent(ctx context.Context, in io.Reader, out io.Writer, log *slog.Logger) error {
	var e errand
	if err := json.NewDecoder(in).Decode(&e); err != nil {
		return fmt.Errorf("want an errand on standard input: %w", err)
	}
	desk, err := support.Open(e.Settings, log)
	if err != nil {
		return err
	}
	var options []runtime.Option
	if e.TakeOver {
		options = append(options, runtime.Killed())
	}
	summary, err := desk.Work(ctx, e.Complaint, options...)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, summary.Text)
	return err
}

// process is an agent's process.
type process struct {
	cmd         *exec.Cmd
	in          io.WriteCloser
	out, errout bytes.Buffer
	ended       chan struct{} // closed once it is dead, and err says how it went
	err         error
}

// start starts a process that waits for its errand.
func (t *tour) start(ctx context.Context) (*process, error) {
	cmd, err := t.agent(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.errout
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an agent as another process: %w", err)
	}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends it as nothing can prevent (SIGKILL), and returns once it is dead.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails where it is dead already
	<-p.ended
}

// run gives it its errand, and returns what it wrote once it has ended.
func (p *process) run(e errand) (string, error) {
	err := json.NewEncoder(p.in).Encode(e)
	err = errors.Join(err, p.in.Close())
	if err != nil {
		p.kill()
	}
	<-p.ended
	if p.err != nil {
		err = fmt.Errorf("%w %s", p.err, strings.TrimSpace(p.errout.String()))
	}
	return strings.TrimSpace(p.out.String()), err
}
