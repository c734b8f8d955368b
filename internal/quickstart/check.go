package quickstart

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/logsource"
)

// story is one run as its bundle tells it.
type story struct {
	id      string
	claim   string
	verdict evidence.Result
	decides []string
	exit    int // of verify
}

// check verifies every bundle offline: with the trust file, and nothing of the
// ledger's.
func (t *tour) check() ([]story, error) {
	var all []story
	for _, o := range t.outcomes {
		c, err := readContents(t.bundleFile(o.ID))
		if err != nil {
			return nil, err
		}
		rep, err := audit.VerifyBundle(bytes.NewReader(c.file), t.trust, audit.Options{Run: o.Run})
		if err != nil {
			return nil, fmt.Errorf("bundle of %s: %w", o.ID, err)
		}
		if len(rep.Verdicts) == 0 {
			return nil, fmt.Errorf("bundle of %s: want a verdict on its claim, the audit reached none", o.ID)
		}
		d := rep.Verdicts[0].Verdict
		s := story{id: o.ID, claim: c.claim(), verdict: d.Result, exit: rep.ExitCode()}
		// A verdict that the ledger recorded and this audit did not reach
		// would be the audit's first finding; here it cannot be.
		if d.Result != o.Verdict {
			return nil, fmt.Errorf("%s: the ledger recorded %s, the audit found %s", o.ID, o.Verdict, d.Result)
		}
		s.decides = c.decides(d)
		all = append(all, s)
	}
	return all, nil
}

// decides says what a verdict rests on: the records that decide, or what the
// contract expects and nobody ever asked for.
func (c *contents) decides(d *audit.Verdict) []string {
	var all []string
	told := d.Result == evidence.Supported
	for _, id := range d.Contract.Records {
		text, failure := c.sentence(id)
		all = append(all, text+" "+faint.Render(short(id)))
		told = told || failure
	}
	if len(all) == 0 {
		for _, action := range c.neverAsked() {
			all = append(all, "no "+action+" anywhere in the run")
			told = true
		}
	}
	if !told {
		all = append([]string{d.Contract.Why}, all...)
	}
	return all
}

// checkLog audits the whole log, as anybody with a token to read it could.
func (t *tour) checkLog(ctx context.Context, v *view) error {
	secret, err := t.dir.AdminToken()
	if err != nil {
		return err
	}
	source, err := logsource.HTTP(t.url, logsource.Options{Token: secret})
	if err != nil {
		return err
	}
	defer source.Close()
	rep, _, err := audit.VerifyLog(ctx, source, t.trust, audit.Options{})
	if err != nil {
		return fmt.Errorf("the log: %w", err)
	}
	v.fact("the log", outcome(rep.ExitCode())+fmt.Sprintf("  %d records over HTTP: signatures, order, tree, registry", rep.Scope.Records))
	return nil
}

// lie is what was changed in a copy, and what verify says of it.
type lie struct {
	file   string
	action string
	before string
	after  string
	exit   int
	broken []string // the rules, and how
}

// tamper makes the failed refund a success in a copy of its bundle: the payload
// of one record is edited, and everything else stays.
func (t *tour) tamper() (*lie, error) {
	const run = "complaint-1044"
	c, err := readContents(t.bundleFile(run))
	if err != nil {
		return nil, err
	}
	id, ok := c.find(func(r *evidence.Record) bool {
		x, ok := r.Body.(*evidence.Execution)
		return ok && x.Status == evidence.StatusFailure
	})
	if !ok {
		return nil, fmt.Errorf("bundle of %s: want a failed execution in it", run)
	}
	forged, err := edit(c.entries[id], [][2]string{
		{`"status":"failure","class":"tool_failed"`, `"status":"success"`},
		{`"error":{`, `"output":{`},
	})
	if err != nil {
		return nil, err
	}
	l := &lie{
		file: t.bundleFile(run + ".changed"), action: c.records[id].Body.(*evidence.Execution).Action,
		before: `"status":"failure","class":"tool_failed"`, after: `"status":"success"`,
	}
	file := bytes.Replace(c.file, c.entries[id], forged, 1)
	if err := writeNew(l.file, file); err != nil {
		return nil, err
	}
	rep, err := audit.VerifyBundle(bytes.NewReader(file), t.trust, audit.Options{})
	var proof *bundle.ProofError
	switch {
	case errors.As(err, &proof):
		l.exit, l.broken = audit.ExitBroken, []string{err.Error()}
	case err != nil:
		return nil, err
	default:
		l.exit = rep.ExitCode()
		for _, r := range rep.Rules {
			if r.Status == audit.Broken && len(r.Findings) > 0 {
				l.broken = append(l.broken, fmt.Sprintf("%-9s  expected %s, found %s", r.Rule, r.Findings[0].Expected, r.Findings[0].Found))
			}
		}
	}
	if l.exit != audit.ExitBroken {
		return nil, fmt.Errorf("a changed record was not caught: verify exits %d", l.exit)
	}
	return l, nil
}

// edit changes the payload of a JWS in place and leaves its signature.
func edit(entry []byte, changes [][2]string) ([]byte, error) {
	parts := strings.Split(string(entry), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	text := string(payload)
	for _, c := range changes {
		if !strings.Contains(text, c[0]) {
			return nil, fmt.Errorf("want %s in the record, found %s", c[0], text)
		}
		text = strings.Replace(text, c[0], c[1], 1)
	}
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(text))
	return []byte(strings.Join(parts, ".")), nil
}
