package tools

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sys/unix"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// CommandConfig says what a command tool runs.
type CommandConfig struct {
	// Spec is the tool's; its description is completed, and its schema, where nil,
	// made of the members that the arguments name.
	Spec runtime.Spec
	// Path is the executable: an absolute path, or a name that is looked up once.
	Path string
	// Args are its arguments. One that is "{name}" is a member of the input: a
	// whole argument, always. Where that begins with "-" it is refused, unless an
	// argument "--" stands before it.
	Args  []string
	Dir   string   // absolute; "/" if ""
	Env   []string // "NAME=value": nothing else of the environment is handed on
	Stdin string   // the member of the input that is its standard input; "": none
	// MaxOutput is how much of each output is kept: 1 MiB if 0.
	MaxOutput int
}

// CommandInput is the input of a command tool: the members that its arguments and
// its standard input name.
type CommandInput map[string]jsontext.Value

// CommandOutput is what a command left, having ended with 0.
type CommandOutput struct {
	Stdout       string `json:"stdout,omitzero"`
	StdoutBase64 string `json:"stdout_base64,omitzero"` // where it is no text
	Truncated    bool   `json:"truncated,omitzero"`     // there was more than the tool keeps
}

// identity is what an executable is known by.
type identity struct {
	dev, ino uint64
	size     int64
	mtime    time.Time
	sum      [sha256.Size]byte
}

type commandTool struct {
	cfg  CommandConfig
	path string
	is   identity
}

// NewCommand returns a tool that runs a command: no shell is asked.
//
// The executable is looked at now, and its identity (device, inode, size, time
// and SHA-256) stands in the tool's description. Before each run the path is
// opened and what it leads to compared: another file is not run. What runs is the
// open file and not the path, so that a link which is swapped meanwhile leads
// nowhere; it has that file open as descriptor 3. Not covered: who may write into
// the file itself, between the look and the start, and what a script or a
// dynamic executable loads.
//
// It runs in a process group of its own, all of which is killed at the deadline
// and when the command ends. A process that leaves its group (setsid) is not.
func NewCommand(cfg CommandConfig) (*runtime.Func[CommandInput, CommandOutput], error) {
	t := &commandTool{cfg: cfg}
	fail := func(err error) (*runtime.Func[CommandInput, CommandOutput], error) {
		return nil, fmt.Errorf("command tool %q: %w", cfg.Spec.Name, err)
	}
	var err error
	if t.path, err = exec.LookPath(cfg.Path); err != nil {
		return fail(err)
	}
	if t.path, err = filepath.Abs(t.path); err != nil {
		return fail(err)
	}
	if t.cfg.Dir == "" {
		t.cfg.Dir = "/"
	}
	if !filepath.IsAbs(t.cfg.Dir) {
		return fail(fmt.Errorf("want an absolute working directory, found %q", cfg.Dir))
	}
	if t.cfg.MaxOutput <= 0 {
		t.cfg.MaxOutput = defaultMaxOutput
	}
	var names []string
	for _, a := range cfg.Args {
		if name, ok := placeholder(a); ok {
			names = append(names, name)
		} else if strings.ContainsAny(a, "{}\x00") {
			return fail(fmt.Errorf("want {name} as a whole argument, found %q", a))
		}
	}
	if cfg.Stdin != "" {
		names = append(names, cfg.Stdin)
	}
	f, is, err := identify(t.path)
	if err != nil {
		return fail(err)
	}
	_ = f.Close()
	t.is = is
	spec := cfg.Spec
	if spec.Schema == nil {
		spec.Schema = objectSchema(names)
	}
	var env []string
	for _, e := range cfg.Env { // a value may be a secret
		name, _, _ := strings.Cut(e, "=")
		env = append(env, name)
	}
	describe(&spec, fmt.Sprintf("command %q in %s; environment: %s; stdin: %q; file: dev %d, inode %d, %d bytes, %s, sha256 %s",
		append([]string{t.path}, cfg.Args...), t.cfg.Dir, strings.Join(env, " "), cfg.Stdin,
		is.dev, is.ino, is.size, is.mtime.UTC().Format(time.RFC3339Nano), hex.EncodeToString(is.sum[:])))
	return runtime.NewFunc(spec, t.run), nil
}

func placeholder(arg string) (name string, ok bool) {
	if len(arg) > 2 && arg[0] == '{' && arg[len(arg)-1] == '}' && !strings.ContainsAny(arg[1:len(arg)-1], "{}") {
		return arg[1 : len(arg)-1], true
	}
	return "", false
}

// identify opens an executable and says which it is. Opening does not wait for a
// pipe that somebody put there.
func identify(path string) (*os.File, identity, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, identity{}, err
	}
	is, err := identityOf(f)
	if err != nil {
		_ = f.Close()
		return nil, identity{}, err
	}
	return f, is, nil
}

func identityOf(f *os.File) (is identity, err error) {
	info, err := f.Stat()
	if err != nil {
		return is, err
	}
	if !info.Mode().IsRegular() {
		return is, fmt.Errorf("%s is no file: %s", f.Name(), info.Mode())
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return is, fmt.Errorf("%s: its inode is not known", f.Name())
	}
	is = identity{dev: st.Dev, ino: st.Ino, size: info.Size(), mtime: info.ModTime().Round(0)}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return is, err
	}
	is.sum = [sha256.Size]byte(h.Sum(nil))
	return is, nil
}

// arguments fills the input in.
func (t *commandTool) arguments(in CommandInput) ([]string, error) {
	args := []string{t.path}
	for i, a := range t.cfg.Args {
		name, ok := placeholder(a)
		if !ok {
			args = append(args, a)
			continue
		}
		v, err := scalar(in, name)
		switch {
		case err != nil:
			return nil, err
		case strings.HasPrefix(v, "-") && !slices.Contains(t.cfg.Args[:i], "--"):
			return nil, notRun(evidence.InvalidToolPayload, "%q as %q would be taken for an option", v, name)
		case strings.Contains(v, "\x00"):
			return nil, notRun(evidence.InvalidToolPayload, "the input's member %q has a NUL", name)
		}
		args = append(args, v)
	}
	return args, nil
}

func (t *commandTool) run(ctx context.Context, c *runtime.Call, in CommandInput) (CommandOutput, error) {
	args, err := t.arguments(in)
	if err != nil {
		return CommandOutput{}, err
	}
	var stdin io.Reader
	if t.cfg.Stdin != "" {
		text, err := scalar(in, t.cfg.Stdin)
		if err != nil {
			return CommandOutput{}, err
		}
		stdin = strings.NewReader(text)
	}
	f, is, err := identify(t.path)
	if err != nil {
		return CommandOutput{}, notRun(evidence.ToolUnavailable, "%w", err)
	}
	defer func() { _ = f.Close() }()
	if is != t.is {
		return CommandOutput{}, notRun(evidence.ToolUnavailable, "%s is not the file that the tool was made with (sha256 %s): it was not run", t.path, hex.EncodeToString(t.is.sum[:]))
	}
	stdout, stderr := &head{max: t.cfg.MaxOutput, tell: c.Progress}, &tail{max: errorTail}
	cmd := &exec.Cmd{
		// The child has the file as descriptor 3, its own /proc names it, and a
		// script's interpreter can open it there.
		Path: "/proc/self/fd/3", ExtraFiles: []*os.File{f},
		Args: args, Dir: t.cfg.Dir, Env: append([]string{}, t.cfg.Env...), Stdin: stdin, Stdout: stdout, Stderr: stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, WaitDelay: 5 * time.Second,
	}
	if err := ctx.Err(); err != nil {
		return CommandOutput{}, notRun(evidence.ToolTimeout, "%w", err)
	}
	if err := cmd.Start(); err != nil {
		return CommandOutput{}, notRun(evidence.ToolUnavailable, "%s: %w", t.path, err)
	}
	err = wait(ctx, cmd)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended with 0; somebody who left its group has its output open
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return CommandOutput{}, &runtime.Failure{Class: evidence.ToolTimeout, Err: t.said(ctx.Err(), stderr)}
	case err != nil:
		return CommandOutput{}, t.failure(err, stderr)
	}
	out := CommandOutput{Truncated: stdout.more}
	out.Stdout, out.StdoutBase64 = keep(stdout.b)
	return out, nil
}

// wait waits for the command, and kills its process group when it or its time is
// over. The group is killed while the command is not reaped: until then nobody
// else can have its number.
func wait(ctx context.Context, cmd *exec.Cmd) error {
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	ended := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		select {
		case <-ctx.Done():
			kill()
		case <-ended:
		}
	}()
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	close(ended)
	<-killed
	kill()
	return cmd.Wait()
}

// failure classifies how the command ended. By a signal is not by itself: how far
// it came is not known.
func (t *commandTool) failure(err error, stderr *tail) *runtime.Failure {
	f := *runtime.Classify(t.said(err, stderr))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			f.Class = evidence.ToolTimeout
		}
	}
	return &f
}

// said adds what the command said to an error. It is the command's text: quoted.
func (t *commandTool) said(err error, stderr *tail) error {
	if text := bytes.TrimSpace(stderr.b); len(text) > 0 {
		return fmt.Errorf("%s: %w: %q", t.path, err, text)
	}
	return fmt.Errorf("%s: %w", t.path, err)
}

// head keeps the beginning of what is written. It is no bytes.Buffer, whose
// ReadFrom would keep all of it.
type head struct {
	b    []byte
	max  int
	more bool
	tell func([]byte) // of each part as it comes, also what is not kept; nil: nobody
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.max-len(h.b))
	h.more = h.more || n < len(p)
	h.b = append(h.b, p[:n]...)
	if h.tell != nil {
		h.tell(bytes.Clone(p))
	}
	return len(p), nil
}

// tail keeps its end.
type tail struct {
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - t.max; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}
