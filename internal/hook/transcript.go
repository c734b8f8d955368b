package hook

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxLine is the longest line of a transcript that is read; a longer one is passed
// over, and what it tells stays unknown.
const maxLine = 32 << 20

// eachLine calls f with the lines of a file.
func eachLine(path string, f func(line []byte)) error {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		path = filepath.Join(home, rest)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // a pipe would not end
		return fmt.Errorf("%s: want a file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 64<<10)
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			long = true
		}
		if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if !long && len(line) > 0 {
			f(line)
		}
		if err != nil {
			return nil
		}
		line, long = line[:0], false
	}
}

// readEntry reads a line of a transcript, in which a text may be cut as in what a hook is
// given.
func readEntry(line []byte, entry any) error {
	err := json.Unmarshal(line, entry)
	if err != nil {
		err = json.Unmarshal(whole(line), entry)
	}
	return err
}

func asSyntactic(err error, at **jsontext.SyntacticError) bool { return errors.As(err, at) }
