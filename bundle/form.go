package bundle

import (
	"bytes"
	"fmt"
	"strings"
)

// A FormatError says that a file is not in the one form that there is. To a
// verifier it is malformed input, which proves nothing.
type FormatError struct {
	Line int // of a bundle, from 1; 0: unknown
	Err  error
}

func (e *FormatError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return e.Err.Error()
}

// Unwrap returns the reason.
func (e *FormatError) Unwrap() error { return e.Err }

// A ProofError says that a well-formed bundle contradicts itself: a record has
// an index that its tree does not have.
type ProofError struct {
	Line int
	Err  error
}

func (e *ProofError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the reason.
func (e *ProofError) Unwrap() error { return e.Err }

func formErr(format string, args ...any) *FormatError {
	return &FormatError{Err: fmt.Errorf(format, args...)}
}

// A Form is a kind of file that an auditor can be handed.
type Form int

// The forms.
const (
	FormUnknown Form = iota
	FormReceipt
	FormBundle
	FormTrust
)

// SniffLen is how many first bytes of a file [Sniff] looks at.
const SniffLen = 64

// Sniff tells from the first bytes of a file what it means to be.
func Sniff(first []byte) Form {
	switch text := bytes.TrimLeft(first, " \t\r\n"); {
	case bytes.HasPrefix(first, []byte("c2sp.org/tlog-proof@")):
		return FormReceipt
	case bytes.HasPrefix(first, []byte(`{"bundle":`)):
		return FormBundle
	case bytes.HasPrefix(text, []byte(`{`)) && bytes.Contains(text, []byte(`"trust"`)):
		return FormTrust
	}
	return FormUnknown
}

// clip bounds what an error quotes of input from outside.
func clip(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
