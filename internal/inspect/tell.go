package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/report"
	"ledgerd/internal/story"
)

// Read audits and reads a bundle or a receipt.
func Read(form bundle.Form, in io.Reader, trust *bundle.Trust, o audit.Options) (*story.Reading, error) {
	if form == bundle.FormBundle {
		tap := &firstLines{r: in}
		x, err := story.ReadBundle(tap, trust, o)
		if err != nil {
			return nil, err
		}
		for _, note := range headsOf(bytes.NewReader(tap.kept)) {
			if h := signedHead(trust, note); h != nil {
				if f := otherLedgers(h, x.Report.Scope.Origin); f != nil {
					x.Broken(audit.RuleInclusion, audit.Reason(f.Reason), f.Expected, f.Found)
				}
			}
		}
		return x, nil
	}
	b, err := io.ReadAll(io.LimitReader(in, maxReceipt))
	if err != nil {
		return nil, err
	}
	return story.ReadReceipt(b, trust, o)
}

// Page has a file told, once it is known what it is. That it is malformed is a
// page too; errors of tell are returned with the name of the file.
func Page(name string, in io.Reader, tell func(bundle.Form, io.Reader) (*report.Page, error)) (*report.Page, error) {
	br := bufio.NewReaderSize(in, 64<<10)
	first, err := br.Peek(bundle.SniffLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	form := bundle.Sniff(first)
	var page *report.Page
	switch form {
	case bundle.FormBundle, bundle.FormReceipt:
		page, err = tell(form, br)
	default:
		err = formOnly("expected a receipt, which begins with c2sp.org/tlog-proof@v1, or a bundle, which begins with {\"bundle\":")
	}
	var fe *bundle.FormatError
	switch {
	case errors.As(err, &fe):
		page = story.Malformed(strings.TrimPrefix(err.Error(), "receipt: "))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	page.Input = name
	return page, nil
}
