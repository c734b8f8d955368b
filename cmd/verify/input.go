package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
)

// readTrust reads the trust files that the user named.
func readTrust(c *cli.Context) (*bundle.Trust, error) {
	names := c.StringSlice("trust")
	if len(names) == 0 {
		return nil, missingError{errors.New("nothing decided: expected --trust FILE, without which nobody's word counts (the ledger's operator prints one with: ledgerd trust)")}
	}
	return joinTrust(names, func(name string) ([]byte, error) { return readSmall(name, bundle.MaxTrust) })
}

// joinTrust reads trust files, which are trusted together.
func joinTrust(names []string, read func(name string) ([]byte, error)) (*bundle.Trust, error) {
	files := make([]*bundle.Trust, 0, len(names))
	for _, name := range names {
		b, err := read(name)
		if err != nil {
			return nil, err
		}
		t, err := bundle.ParseTrust(b)
		if err != nil {
			return nil, inputError{fmt.Errorf("%s: %w", name, err)}
		}
		files = append(files, t)
	}
	t, err := bundle.JoinTrust(files...)
	if err != nil {
		return nil, inputError{err}
	}
	return t, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(name string, limit int64) ([]byte, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, inputError{fmt.Errorf("%s: expected at most %d bytes, found more", name, limit)}
	}
	return b, nil
}

// openInput opens what the user named, - for standard input.
func openInput(name string, std stdio) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(std.in), nil
	}
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openFile opens what the user named; that it cannot be opened is for the user
// to put right.
func openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usageError{err}
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		f.Close()
		return nil, usageError{errors.Join(err, fmt.Errorf("%s: expected a file, found a directory (a log is audited with: verify log DIR)", name))}
	}
	return f, nil
}
