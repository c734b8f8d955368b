package answer

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
	"ledgerd/internal/story"
)

// A File is one that the auditor chose. It is read more than once.
type File struct {
	Name string
	Open func() io.Reader
}

// A Request is what the auditor gave and asked. What is evidence and what is trust
// is the auditor's word, and is never seen from a file: else whoever hands over
// evidence could hand over the trust in it too.
type Request struct {
	Evidence []File
	Trust    []File
	Contract []File // at most one
	Run      string // "": about any run
	Subject  string // "": about anything
}

// An Answer is what is shown.
type Answer struct {
	Outcome report.Outcome `json:"outcome"` // "": there is none, and Says says why
	Word    string         `json:"word"`    // the outcome, or what there is in place of it
	Says    string         `json:"says"`    // in one sentence; one line, made visible
	Shown   *Node          `json:"shown"`
	// Report is what verify --output json prints of the same files.
	Report string `json:"report,omitempty"`
}

// told is a file with what was found.
type told struct {
	*report.Report
	Story *report.Page // nil: the file is none that can be told
	Path  string       // of the names of its sections in the page
}

// Of verifies what was asked. Whatever goes wrong, it says so, and never what was
// true of other files.
func Of(q *Request) (a *Answer) {
	defer func() {
		if p := recover(); p != nil {
			a = none("Internal error", fmt.Sprintf("Nothing was decided: %v. Please report it with the file.", p))
		}
	}()
	if len(q.Trust) == 0 {
		a := &Answer{Outcome: report.Undecidable, Says: "You have not said whom you trust. Without a trust file, in the second box, nobody's word counts, and nothing is decided."}
		return a.show(&shown{})
	}
	trust, err := readTrust(q.Trust)
	if err != nil {
		return failed(err)
	}
	asked, err := readAsked(q)
	if err != nil {
		return failed(err)
	}
	var (
		files    []told
		outcomes []report.Outcome
		json     bytes.Buffer
		heads    = inspect.NewHeadBook(trust)
	)
	for i, f := range q.Evidence {
		r, err := inspect.File(f.Name, f.Open(), trust, asked, heads)
		if err != nil {
			return failed(err)
		}
		if err := report.JSON(&json, r); err != nil {
			return failed(err)
		}
		t := told{Report: r, Path: fmt.Sprintf("f%d-", i+1)}
		if r.Outcome != report.Malformed {
			if t.Story, err = tell(f, r.Form, trust, asked); err != nil {
				return failed(err)
			}
		}
		files, outcomes = append(files, t), append(outcomes, r.Outcome)
	}
	a = &Answer{Outcome: report.Worst(outcomes...), Report: json.String()}
	a.Says = sentence(a.Outcome, files)
	return a.show(&shown{Files: files, Trusted: trust.Ledgers})
}

// tell has a bundle or a receipt told; other files have no story.
func tell(f File, form string, trust *bundle.Trust, asked audit.Options) (*report.Page, error) {
	if form != "bundle" && form != "receipt" {
		return nil, nil
	}
	return inspect.Page(f.Name, f.Open(), func(form bundle.Form, in io.Reader) (*report.Page, error) {
		x, err := inspect.Read(form, in, trust, asked)
		if err != nil {
			return nil, err
		}
		if form == bundle.FormReceipt {
			return story.Explain(x, "")
		}
		return story.Tell(x), nil
	})
}

func sentence(o report.Outcome, files []told) string {
	those := "This file"
	if len(files) > 1 {
		those = "Every one of these files"
	}
	switch o {
	case report.Verified:
		return those + " holds under every rule that applies to it, by the word of those whom you trust."
	case report.Wrong:
		return "Something is proven wrong. Do not act on this."
	case report.Malformed:
		return "What was given is not in the form that it means to have, which proves nothing."
	}
	return "Nobody can say: trust or evidence is missing. That is not a yes."
}

// formError is that something that is no evidence is in no form.
type formError struct{ error }

// askError is that what was asked cannot be asked.
type askError struct{ error }

// failed is the answer where there is no report.
func failed(err error) *Answer {
	switch {
	case errors.As(err, new(formError)):
		a := &Answer{Outcome: report.Malformed, Says: report.Visible(err.Error())}
		return a.show(&shown{})
	case errors.As(err, new(askError)):
		return none("Not started", err.Error())
	}
	return none("Not finished", "Nothing was decided: "+err.Error())
}

// none says why there is no answer.
func none(word, says string) *Answer {
	a := &Answer{Word: word, Says: report.Visible(says)}
	return a.show(&shown{})
}

func readTrust(files []File) (*bundle.Trust, error) {
	var (
		names []string
		texts [][]byte
	)
	for _, f := range files {
		b, err := readSmall(f, bundle.MaxTrust)
		if err != nil {
			return nil, err
		}
		if s := bundle.Sniff(b[:min(len(b), bundle.SniffLen)]); s == bundle.FormBundle || s == bundle.FormReceipt {
			return nil, formError{fmt.Errorf("%s: expected a trust file, found evidence: it goes into the first box", f.Name)}
		}
		names, texts = append(names, f.Name), append(texts, b)
	}
	t, err := inspect.Trust(names, texts)
	if err != nil {
		return nil, formError{err}
	}
	return t, nil
}

func readAsked(q *Request) (audit.Options, error) {
	o := audit.Options{Subject: q.Subject}
	if q.Run != "" {
		run, err := evidence.ParseRunID(q.Run)
		if err != nil {
			return o, askError{fmt.Errorf("the run that was asked for: %w", err)}
		}
		o.Run = run
	}
	for _, f := range q.Contract {
		doc, err := readSmall(f, inspect.MaxContract)
		if err != nil {
			return o, err
		}
		if _, err := audit.ParseContract(doc); err != nil {
			return o, formError{fmt.Errorf("%s: %w", f.Name, err)}
		}
		o.Contract = doc
	}
	return o, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(f File, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f.Open(), limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	if int64(len(b)) > limit {
		return nil, formError{fmt.Errorf("%s: expected at most %d bytes, found more", f.Name, limit)}
	}
	return b, nil
}
