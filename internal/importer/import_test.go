package importer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/bench"
	"ledgerd/internal/importer"
	"ledgerd/internal/raced"
)

// newImporter makes a ledger and an importer into it, through wrap where it is
// not nil.
func newImporter(t testing.TB, wrap func(importer.Ledger) importer.Ledger) (*importer.Importer, *bench.Scratch) {
	t.Helper()
	s, err := bench.NewScratch(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	e := importer.Embedded{Ledger: s.Ledger, Root: s.Root}
	im := &importer.Importer{
		Ledger: e, Registry: e, Origin: bench.Origin, Runtime: bench.Runtime, Key: s.Signer.Key, Operator: "operator",
		Now: time.Now, Random: rand.Reader,
	}
	if wrap != nil {
		im.Ledger = wrap(e)
	}
	return im, s
}

func importAll(t testing.TB, im *importer.Importer, file []byte) []importer.Outcome {
	t.Helper()
	var all []importer.Outcome
	err := im.ImportAll(t.Context(), importer.NewReader(bytes.NewReader(file)), func(o importer.Outcome) error {
		all = append(all, o)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// samples are the runs of a support team.
func samples(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "examples", "complaints.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAirline(t *testing.T) {
	raced.Skip(t)
	file := airlineFile(t, "runs.jsonl")
	met := airlineRule(t, file)
	im, s := newImporter(t, nil)
	outcomes := importAll(t, im, file)
	if len(outcomes) != 100 || len(met) != 100 {
		t.Fatalf("want 100 runs, imported %d, judged %d", len(outcomes), len(met))
	}
	supported := 0
	for _, o := range outcomes {
		if got := o.Verdict == evidence.Supported; got != met[o.ID] {
			t.Errorf("%s: the rule says %v, the verdict %s", o.ID, met[o.ID], o.Verdict)
		}
		if met[o.ID] {
			supported++
		}
	}
	if supported == 0 || supported == 100 {
		t.Errorf("the rule says the same of all runs: %d are met", supported)
	}

	// Not a record more when it is imported again.
	size := s.Head().Size
	for i, o := range importAll(t, im, file) {
		if o.Appended != 0 || o.Verdict != outcomes[i].Verdict || o.Run != outcomes[i].Run || o.Records != outcomes[i].Records {
			t.Errorf("imported again: first %+v, then %+v", outcomes[i], o)
		}
	}
	if s.Head().Size != size {
		t.Errorf("importing again appended %d records", s.Head().Size-size)
	}

	// How often contract and truth agree is the data's own claim: its README
	// says 98 of 100. If our rule found another number, it would be another rule.
	var labels map[string]bool
	if err := json.Unmarshal(airlineFile(t, "labels.json"), &labels); err != nil {
		t.Fatal(err)
	}
	agree := 0
	for _, o := range outcomes {
		if labels[o.ID] == (o.Verdict == evidence.Supported) {
			agree++
		}
	}
	if agree != 98 {
		t.Errorf("want verdict and label to agree on 98 of 100, found %d", agree)
	}
	t.Logf("%d of 100 supported; verdict and label agree on %d", supported, agree)
	checkOffline(t, s, outcomes)
}

func TestSamples(t *testing.T) {
	im, s := newImporter(t, nil)
	want := map[string]evidence.Result{
		"complaint-1041": evidence.Supported,
		"complaint-1042": evidence.Unsupported,
		"complaint-1043": evidence.Contradicted,
		"complaint-1044": evidence.Contradicted,
		"complaint-1045": evidence.Contradicted,
	}
	for _, o := range importAll(t, im, samples(t)) {
		if o.Verdict != want[o.ID] {
			t.Errorf("%s: want %s, found %s", o.ID, want[o.ID], o.Verdict)
		}
		delete(want, o.ID)
		checkLine(t, s, o)
	}
	if len(want) > 0 {
		t.Errorf("not imported: %v", want)
	}
}

// checkLine: the records of a run are those that docs/import.md says.
func checkLine(t *testing.T, s *bench.Scratch, o importer.Outcome) {
	t.Helper()
	var kinds []string
	denied := make(map[evidence.ID]bool)
	for p, err := range s.Run(t.Context(), o.Run) {
		if err != nil {
			t.Fatal(err)
		}
		r := p.Record
		kinds = append(kinds, string(r.Kind))
		switch b := r.Body.(type) {
		case *evidence.RunOpened:
			if b.Imported != o.ID || b.Source != evidence.SourceImported || b.Contract.DeclaredBy != "operator" {
				t.Errorf("%s: run.opened is %+v", o.ID, b)
			}
		case *evidence.Authorization:
			denied[p.ID] = b.Effect == evidence.Deny
			if b.Source != evidence.SourceImported || (b.Effect == evidence.Deny) != (len(b.Policies) == 1) {
				t.Errorf("%s: authorization is %+v", o.ID, b)
			}
		case *evidence.Execution:
			if b.Source != evidence.SourceImported || denied[b.Authorization] {
				t.Errorf("%s: execution is %+v", o.ID, b)
			}
		}
		if own := r.Kind == evidence.KindVerdict || r.Kind == evidence.KindRunClosed; (r.At == 0) != own {
			t.Errorf("%s: want the transcript's time on what the transcript says, found %q on a %s", o.ID, r.At, r.Kind)
		}
	}
	if len(kinds) != o.Records {
		t.Errorf("%s: %d records in the log, %d reported", o.ID, len(kinds), o.Records)
	}
	line := strings.Join(kinds, " ")
	if !strings.HasPrefix(line, "run.opened context context decision authorization execution ") || !strings.HasSuffix(line, " claim verdict run.closed") {
		t.Errorf("%s: %s", o.ID, line)
	}
}

// faulty fails each call of Append and PutPayloads from some call on. Of the
// append that fails first, keep says how much took effect nevertheless: 0 for
// nothing, 1 for the first half of the entries, 2 for all of them.
type faulty struct {
	importer.Ledger
	left int
	keep int
}

var errFault = errors.New("the machine went away")

func (f *faulty) Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	if f.left--; f.left < 0 {
		if n := len(entries) * f.keep / 2; f.left == -1 && n > 0 {
			if _, err := f.Ledger.Append(ctx, entries[:n]...); err != nil {
				return nil, err
			}
		}
		return nil, errFault
	}
	return f.Ledger.Append(ctx, entries...)
}

func (f *faulty) PutPayloads(ctx context.Context, ps []evidence.Payload) ([]evidence.Commitment, error) {
	if f.left--; f.left < 0 {
		return nil, errFault
	}
	return f.Ledger.PutPayloads(ctx, ps)
}

// TestInterruptedImport stops an import at every call of the ledger, before,
// within and after its effect; the same import then completes it, to the same runs.
func TestInterruptedImport(t *testing.T) {
	file := samples(t)
	im, _ := newImporter(t, nil)
	var want []int
	for _, o := range importAll(t, im, file) {
		want = append(want, o.Records)
	}
	f := &faulty{}
	im, s := newImporter(t, func(l importer.Ledger) importer.Ledger { f.Ledger = l; return f })
	faults := 0
	for i := 0; ; i++ {
		f.left, f.keep = 1+i%4, i%3
		var got []int
		err := im.ImportAll(t.Context(), importer.NewReader(bytes.NewReader(file)), func(o importer.Outcome) error {
			got = append(got, o.Records)
			return nil
		})
		if err == nil {
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("run %d: want %d records, found %d", i, want[i], got[i])
				}
			}
			break
		}
		if !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		if faults++; faults > 200 {
			t.Fatal("the import makes no progress")
		}
	}
	if faults < 5 {
		t.Errorf("want the import to be stopped in every run, it was stopped %d times", faults)
	}
	total := uint64(0)
	for _, n := range want {
		total += uint64(n)
	}
	// Entry 0, the runtime, the bench's agent, and support-agent.
	if s.Head().Size != total+4 {
		t.Errorf("want %d records in the log, found %d", total+4, s.Head().Size)
	}
}

// busybody registers an actor right before every append but the even ones.
type busybody struct {
	importer.Ledger
	register func(n int) error
	n        int
}

func (b *busybody) Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	if b.n++; b.n%2 == 1 {
		if err := b.register(b.n); err != nil {
			return nil, err
		}
	}
	return b.Ledger.Append(ctx, entries...)
}

// TestRegistryChangesMeanwhile: records that name a registry number which is no
// longer the latest are refused, and made again.
func TestRegistryChangesMeanwhile(t *testing.T) {
	b := &busybody{}
	im, s := newImporter(t, func(l importer.Ledger) importer.Ledger { b.Ledger = l; return b })
	b.register = func(n int) error {
		_, err := s.Register(t.Context(), s.Root, &evidence.ActorRegistered{
			Name: fmt.Sprintf("agent-%d", n), Role: evidence.RoleAgent, Host: bench.Runtime,
		})
		return err
	}
	outcomes := importAll(t, im, samples(t))
	if b.n <= 2*len(outcomes) {
		t.Errorf("%d appends for %d runs: nothing was ever refused", b.n, len(outcomes))
	}
	for _, o := range outcomes {
		if o.Appended != o.Records {
			t.Errorf("%+v", o)
		}
		checkLine(t, s, o)
	}
	for _, o := range importAll(t, im, samples(t)) {
		if o.Appended != 0 {
			t.Errorf("imported again: %+v", o)
		}
	}
}

func TestAnotherTranscriptOfTheSameName(t *testing.T) {
	file := samples(t)
	im, s := newImporter(t, nil)
	importAll(t, im, file)
	size := s.Head().Size
	lines := bytes.SplitAfter(file, []byte("\n"))
	for name, change := range map[string]func(string) string{
		"an input": func(l string) string {
			return strings.Replace(l, `\"amount_cents\": 4990,`, `\"amount_cents\": 4991,`, 1)
		},
		"a word": func(l string) string { return strings.Replace(l, "cracked right through", "cracked all through", 1) },
		"a time": func(l string) string { return strings.Replace(l, `14:02:`, `14:03:`, 1) },
		"the contract": func(l string) string {
			return strings.Replace(l, `"only":["issue_refund","send_email"]`, `"only":["issue_refund"]`, 1)
		},
		"the agent": func(l string) string {
			return strings.Replace(l, `"actor":"support-agent"`, `"actor":"other-agent"`, 1)
		},
		"its end":  func(l string) string { return l[:strings.LastIndex(l, `,{"role":"user"`)] + "]}\n" },
		"a denial": func(l string) string { return strings.Replace(l, `"role":"tool",`, `"role":"tool","denied":"p",`, 1) },
	} {
		other := change(string(lines[0]))
		if other == string(lines[0]) {
			t.Fatalf("%s: the change does not apply", name)
		}
		err := im.ImportAll(t.Context(), importer.NewReader(strings.NewReader(other)), func(importer.Outcome) error { return nil })
		var changed *importer.ChangedError
		if !errors.As(err, &changed) {
			t.Errorf("%s changed: want a *ChangedError, found %v", name, err)
		}
	}
	if s.Head().Size != size {
		t.Errorf("what was refused appended %d records", s.Head().Size-size)
	}
}

func TestBadLineLosesNothingBefore(t *testing.T) {
	lines := bytes.SplitAfter(samples(t), []byte("\n"))
	im, s := newImporter(t, nil)
	broken := append(bytes.Join(lines[:2], nil), "{\"id\":\"x\"}\n"...)
	broken = append(broken, lines[2]...)
	n := 0
	err := im.ImportAll(t.Context(), importer.NewReader(bytes.NewReader(broken)), func(importer.Outcome) error { n++; return nil })
	var le *importer.LineError
	if !errors.As(err, &le) || le.Line != 3 || n != 2 {
		t.Fatalf("want two runs and a *LineError of line 3, found %d and %v", n, err)
	}
	size := s.Head().Size
	all := importAll(t, im, bytes.Join(lines, nil))
	for i, o := range all {
		if (o.Appended == 0) != (i < 2) {
			t.Errorf("after the line was corrected: %+v", o)
		}
	}
	if s.Head().Size == size {
		t.Error("nothing was appended after the line was corrected")
	}
}

func TestAgentsThatCannotBeImportedFor(t *testing.T) {
	im, s := newImporter(t, nil)
	key, err := evidence.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk := key.Public().JWK()
	for _, a := range []*evidence.ActorRegistered{
		{Name: "own-key", Role: evidence.RoleAgent, Key: &jwk},
	} {
		if _, err := s.Register(t.Context(), s.Root, a); err != nil {
			t.Fatal(err)
		}
	}
	line := func(actor string) string {
		return strings.Replace(string(bytes.SplitAfter(samples(t), []byte("\n"))[0]), `"actor":"support-agent"`, `"actor":"`+actor+`"`, 1)
	}
	try := func(actor string) error {
		return im.ImportAll(t.Context(), importer.NewReader(strings.NewReader(line(actor))), func(importer.Outcome) error { return nil })
	}
	if err := try("own-key"); err == nil || !strings.Contains(err.Error(), "a key of its own") {
		t.Errorf("an agent with a key of its own: %v", err)
	}
	if err := try(bench.Runtime); err == nil || !strings.Contains(err.Error(), "registered as runtime") {
		t.Errorf("a runtime as agent: %v", err)
	}
	im.Registry = importer.Embedded{Ledger: s.Ledger}
	if err := try("new-agent"); err == nil || !strings.Contains(err.Error(), "ledgerd actor add") {
		t.Errorf("without the root key: %v", err)
	}
	if err := try(bench.Agent + "/7"); err != nil {
		t.Errorf("an instance of a hosted agent: %v", err)
	}
}

// TestLargerThanAPayload: a run of which something is larger than a payload may be is
// refused with its line, before anything of it is recorded.
func TestLargerThanAPayload(t *testing.T) {
	im, s := newImporter(t, nil)
	said := strings.Repeat(`{"role":"user","content":"x"},`, 150)
	line := `{"id":"large","actor":"support-agent","intent":"x","messages":[` + said + `{"role":"user","content":"` + strings.Repeat("x", 17<<20) + `"}]}`
	size := s.Head().Size
	err := im.ImportAll(t.Context(), importer.NewReader(strings.NewReader("\n"+line)), func(importer.Outcome) error { return nil })
	var le *importer.LineError
	if !errors.As(err, &le) || le.Line != 2 || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("want a *LineError of line 2, found %.200v", err)
	}
	if now := s.Head().Size; now != size {
		t.Errorf("%d records of it are in the ledger", now-size)
	}
}
