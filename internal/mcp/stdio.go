package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	// maxMessage is the largest message in bytes.
	maxMessage = 128 << 20
	// serverGrace is how long a server has to end once its input has.
	serverGrace = 5 * time.Second
	// terminateGrace is how long it has once it is told to end. Clients give as much to a
	// gateway, or little more, and kill it then: what it has started would live on.
	terminateGrace = time.Second
)

// Stdio starts a server and stands between it and a client, whose messages come from in
// and go to out, one a line, until one of the two ends. What the server says on its
// standard error is the caller's to take, as cmd has it. Where ctx ends, so does the server.
func Stdio(ctx context.Context, cfg Config, in io.Reader, out io.Writer, cmd *exec.Cmd) error {
	serverIn, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	serverOut, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the server %s: %w", cfg.Server, err)
	}
	kill := func() { _ = cmd.Process.Kill() }
	defer context.AfterFunc(ctx, func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil { // it has ended, or no signals are here
			kill()
		}
		time.AfterFunc(terminateGrace, kill)
	})()
	err = relay(ctx, cfg, in, out, serverIn, serverOut, func() {
		kill()
		// What it has started may hold its output open, and is not heard any more.
		time.AfterFunc(terminateGrace, func() { _ = serverOut.Close() })
	})
	if errors.Is(err, fs.ErrClosed) {
		err = fmt.Errorf("the server %s was ended, and something that it had started still holds its output open", cfg.Server)
	}
	// A server that is not heard any more may not know that it has to end.
	_ = serverIn.Close()
	give := time.AfterFunc(serverGrace, kill)
	defer give.Stop()
	return errors.Join(err, exitOf(cfg.Server, cmd.Wait()))
}

// relay stands between a client and a server until one of the two ends; kill ends a
// server that does not by itself.
func relay(ctx context.Context, cfg Config, in io.Reader, out io.Writer, serverIn io.WriteCloser, serverOut io.Reader, kill func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	toServer, toClient := &lines{w: serverIn}, &lines{w: out}
	g := newGateway(ctx, cfg, toServer.write, toClient.write)
	read := make(chan error, 1)
	go func() {
		err := eachLine(in, g.fromClient)
		if errors.Is(err, errServerGone) {
			err = nil
		}
		read <- err
	}()
	served := make(chan error, 1)
	go func() {
		err := eachLine(serverOut, g.fromServer)
		g.serverGone()
		served <- err
	}()
	var err error
	select {
	case err = <-served:
		g.work.Wait()
		return err
	case err = <-read: // the client has no more to say; what it asked for may still be answered
		g.settled(serverGrace)
	case <-ctx.Done():
	}
	_ = toServer.close(serverIn)
	select {
	case e := <-served:
		err = errors.Join(err, e)
	case <-time.After(serverGrace):
		kill()
		err = errors.Join(err, <-served)
	}
	g.work.Wait()
	return err
}

// settled waits until every call is answered, or for a while.
func (g *gateway) settled(most time.Duration) {
	until := time.Now().Add(most)
	give := time.AfterFunc(most, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c := range g.calls { // nobody waits for a human any more
			c.cancel()
		}
	})
	defer give.Stop()
	g.work.Wait() // every call is asked for, and the server has what it may have
	for time.Now().Before(until) {
		g.mu.Lock()
		open := 0
		for _, c := range g.calls {
			if !c.ended { // else nobody knows what came of it, which is said
				open++
			}
		}
		g.mu.Unlock()
		if open == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	g.work.Wait()
}

// exitOf says how the server ended, where that was not as it should.
func exitOf(server string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the server %s ended: %w", server, err)
}

var errServerGone = errors.New("the server has ended")

// lines writes messages, each on a line of its own.
type lines struct {
	mu     sync.Mutex
	w      io.Writer
	closed bool
}

func (l *lines) write(message []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errServerGone
	}
	_, err := l.w.Write(append(message[:len(message):len(message)], '\n'))
	return err
}

// close closes what is written to, once the message that is being written is; a reader
// that has stopped reading is not waited for for long.
func (l *lines) close(c io.Closer) error {
	give := time.AfterFunc(serverGrace, func() { _ = c.Close() })
	defer give.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return c.Close()
}

// eachLine calls f with each line that is not empty, in bytes that are its own.
func eachLine(r io.Reader, f func([]byte) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(b)
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := f(line); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func readLine(b *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := b.ReadSlice('\n')
		if len(line)+len(part) > maxMessage {
			return nil, fmt.Errorf("want messages of at most %d MiB", maxMessage>>20)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
