package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// commandPath is all of the environment that a command gets.
const commandPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const commandTimeout = 30 * time.Second

// command runs a program for each message.
type command struct {
	argv    []string
	timeout time.Duration
}

// NewCommand returns a sender that runs a command, one process a message: no shell
// is asked. It gets the message on its standard input, and its outcome is its exit
// code; what it says is dropped, for it may repeat the message. Its environment is a
// PATH, its directory the root. It has that long: 30 s if 0. Then it is killed, with
// its children where they stay in its process group.
func NewCommand(argv []string, timeout time.Duration) (Sender, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("want a command, found none")
	}
	path, err := exec.LookPath(argv[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("the command: %w", err)
	}
	if timeout <= 0 {
		timeout = commandTimeout
	}
	return &command{append([]string{path}, argv[1:]...), timeout}, nil
}

// String implements [Sender]. Arguments may be secrets.
func (c *command) String() string { return c.argv[0] }

// Send implements [Sender]. It is tried once.
func (c *command) Send(ctx context.Context, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = []string{commandPath}, "/", bytes.NewReader(append(body, '\n'))
	cmd.WaitDelay = time.Second
	group(cmd)
	err := cmd.Run()
	switch {
	case err != nil && ctx.Err() == context.DeadlineExceeded:
		return fmt.Errorf("it was killed after %s", c.timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it ended with 0, and a child of its lives on
	}
	return err
}
