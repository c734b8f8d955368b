package quickstart

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/logsource"
)

// story is one run as its bundle tells it.
type story struct {
	id      string
	claim   string          // "": it makes none
	verdict evidence.Result // on the claim, or else on the contract
	decides []string
	exit    int // of verify
}

// check verifies every bundle offline: with the trust file, and nothing of the
// ledger's.
func (t *tour) check() ([]story, error) {
	var all []story
	for _, w := range t.worked {
		rep, err := audit.VerifyBundle(bytes.NewReader(w.contents.file), t.trust, audit.Options{Run: w.run})
		if err != nil {
			return nil, fmt.Errorf("bundle of %s: %w", w.id, err)
		}
		if len(rep.Verdicts) == 0 {
			return nil, fmt.Errorf("bundle of %s: want a verdict, the audit reached none", w.id)
		}
		// On its claim; of a run without one on its contract.
		d := rep.Verdicts[0].Verdict
		if d.Result != w.want || (rep.ExitCode() == 0) != (w.want == evidence.Supported) {
			return nil, fmt.Errorf("bundle of %s: want %s, the audit found %s, and verify exits %d", w.id, w.want, d.Result, rep.ExitCode())
		}
		all = append(all, story{w.id, w.contents.claim(), d.Result, w.contents.decides(d), rep.ExitCode()})
	}
	return all, nil
}

// decides says what a verdict rests on: the records that decide, or what the
// contract expects and nobody ever asked for.
func (c *contents) decides(d *audit.Verdict) []string {
	var all []string
	told := d.Result == evidence.Supported
	for _, id := range c.order {
		if !slices.Contains(d.Contract.Records, id) || c.settled(id) {
			continue
		}
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
func (t *tour) checkLog(ctx context.Context) error {
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
	t.view.fact("the log", outcome(rep.ExitCode())+fmt.Sprintf("  %d records over HTTP: signatures, order, tree, registry", rep.Scope.Records))
	return nil
}

// lie is what was changed in a copy, and what verify says of it.
type lie struct {
	run    string
	file   string
	action string
	before string
	after  string
	exit   int
	broken []string // the rules, and how
}

// tamper makes the denied refund an allowed one in a copy of its bundle: the
// payload of one record is edited, and everything else stays.
func (t *tour) tamper() (*lie, error) {
	i := slices.IndexFunc(t.worked, func(w worked) bool { return w.run == t.desk.Run(dear) })
	run, c := t.worked[i].id, t.worked[i].contents
	id, ok := c.find(func(r *evidence.Record) bool {
		x, ok := r.Body.(*evidence.Authorization)
		return ok && x.Effect == evidence.Deny
	})
	if !ok {
		return nil, fmt.Errorf("bundle of %s: want a denial in it", run)
	}
	l := &lie{
		run: run, file: t.bundleFile(run + ".changed"), action: c.actionOf(id),
		before: `"effect":"deny"`, after: `"effect":"allow"`,
	}
	forged, err := edit(c.entries[id], [][2]string{{l.before, l.after}})
	if err != nil {
		return nil, err
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
