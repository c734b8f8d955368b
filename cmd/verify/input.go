package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
	"ledgerd/internal/inspect"
)

// filled refuses flags that are given and empty, as by a variable that is not set:
// without them less would be checked than was asked for.
func filled(c *cli.Context, flags ...string) error {
	for _, name := range flags {
		if c.IsSet(name) && c.String(name) == "" {
			return usagef("expected --%s with a value, found it empty: leave it out where none is meant", name)
		}
	}
	return nil
}

// readTrust reads the trust files that the user named.
func readTrust(c *cli.Context) (*bundle.Trust, error) {
	names := c.StringSlice("trust")
	if len(names) == 0 {
		return nil, missingError{errors.New("nothing decided: expected --trust FILE, without which nobody's word counts (the ledger's operator prints one with: ledgerd trust)")}
	}
	if err := readOnce(append(append(c.Args().Slice(), names...), c.String("contract"))); err != nil {
		return nil, err
	}
	return joinTrust(names, func(name string) ([]byte, error) { return readInput(c, name, bundle.MaxTrust) })
}

// readOnce refuses names of which more than one is standard input.
func readOnce(names []string) error {
	if n := len(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name != "-" })); n > 1 {
		return usagef("expected - for one thing at most, found it %d times: standard input is read once", n)
	}
	return nil
}

// readInput reads what the user named, - for standard input, of at most limit bytes.
func readInput(c *cli.Context, name string, limit int64) ([]byte, error) {
	if name == "-" {
		return readLimited(name, c.App.Reader, limit)
	}
	return readSmall(name, limit)
}

// joinTrust reads trust files, which are trusted together.
func joinTrust(names []string, read func(name string) ([]byte, error)) (*bundle.Trust, error) {
	files := make([][]byte, 0, len(names))
	for _, name := range names {
		b, err := read(name)
		if err != nil {
			return nil, err
		}
		files = append(files, b)
	}
	t, err := inspect.Trust(names, files)
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
	return readLimited(name, f, limit)
}

func readLimited(name string, r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
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
