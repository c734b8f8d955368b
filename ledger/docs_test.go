package ledger_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// The examples in docs/log-format.md are what the code makes. With
// LEDGERD_UPDATE_DOCS=1 they are written anew.
func TestDocsShowWhatTheCodeMakes(t *testing.T) {
	w := newWorld(t)
	receipt, err := w.ReceiptAt(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	tile, err := w.Log().Tile(t.Context(), tlog.Tile{Level: 0, N: 0, Width: 3})
	if err != nil {
		t.Fatal(err)
	}
	var hashes strings.Builder
	for i := range 3 {
		fmt.Fprintf(&hashes, "%x\n", tile[i*32:(i+1)*32])
	}
	const path = "../docs/log-format.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, want := range map[string]string{
		"head": string(w.Head().Note), "vkey": w.VerifierKey() + "\n", "tile": hashes.String(), "receipt": string(receipt.Marshal()),
	} {
		block := regexp.MustCompile("(?s)<!-- example: " + name + " -->\n```\n(.*?)```\n")
		m := block.FindStringSubmatchIndex(text)
		if m == nil {
			t.Errorf("the page has no example %q", name)
			continue
		}
		if text[m[2]:m[3]] != want {
			if os.Getenv("LEDGERD_UPDATE_DOCS") == "" {
				t.Errorf("the page shows as %s\n%s\nwant\n%s", name, text[m[2]:m[3]], want)
			}
			text = text[:m[2]] + want + text[m[3]:]
		}
	}
	if os.Getenv("LEDGERD_UPDATE_DOCS") != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Every reason for which admission refuses stands in docs/log-format.md, with the
// status that its class has.
func TestDocsListEveryReason(t *testing.T) {
	b, err := os.ReadFile("../docs/log-format.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| ((?:`[a-z_0-9]+`(?:, )?)+) \\| (\\d{3}) \\|")
	for _, m := range row.FindAllStringSubmatch(string(b), -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			listed[strings.Trim(name, "`")] = m[2]
		}
	}
	status := map[audit.Class]string{audit.Invalid: "422", audit.Forbidden: "403", audit.Conflict: "409"}
	want := map[string]string{
		string(ledger.ReasonSize): "400", string(ledger.ReasonJWS): "400", string(ledger.ReasonHeader): "422", string(ledger.ReasonPayload): "400",
		string(ledger.ReasonKey): "422", string(ledger.ReasonVersion): "422", string(ledger.ReasonTime): "422",
	}
	for _, r := range []audit.Reason{
		audit.ReasonOrigin, audit.ReasonUnknownKey, audit.ReasonRevoked, audit.ReasonActor, audit.ReasonUnknownActor, audit.ReasonRole,
		audit.ReasonSignature, audit.ReasonStale, audit.ReasonAhead, audit.ReasonEntryZero, audit.ReasonNumber, audit.ReasonRegistryPrev,
		audit.ReasonKeyTaken, audit.ReasonName, audit.ReasonHost, audit.ReasonNothing, audit.ReasonNotOpened, audit.ReasonOpened,
		audit.ReasonPrev, audit.ReasonWriter, audit.ReasonTimeBefore, audit.ReasonClosed, audit.ReasonUsed, audit.ReasonOtherRun,
	} {
		want[string(r)] = status[r.Class()]
	}
	for r, s := range want {
		if listed[r] != s {
			t.Errorf("reason %s is listed with status %q, want %s", r, listed[r], s)
		}
	}
	for r := range listed {
		if want[r] == "" {
			t.Errorf("reason %s is listed, and never given", r)
		}
	}
}

// Each refusal of the registry gets the class that the page says.
func TestRegistryRefusals(t *testing.T) {
	w := newWorld(t)
	jwk := key("fresh").Public().JWK()
	taken, logs := toolKey.Public().JWK(), mustKey(t, logKey(origin).Seed()).Public().JWK()
	for name, tc := range map[string]struct {
		body   evidence.Body
		class  ledger.Class
		reason audit.Reason
	}{
		"a key that a tool has": {&evidence.ActorRegistered{Name: "new", Role: evidence.RoleTool, Key: &taken}, 409, audit.ReasonKeyTaken},
		"the log's key":         {&evidence.ActorRegistered{Name: "new", Role: evidence.RoleTool, Key: &logs}, 409, audit.ReasonKeyTaken},
		"the root's name":       {&evidence.ActorRegistered{Name: "root", Role: evidence.RoleTool, Key: &jwk}, 409, audit.ReasonName},
		"an instance's name":    {&evidence.ActorRegistered{Name: "support/7", Role: evidence.RoleAgent, Key: &jwk}, 409, audit.ReasonName},
		"another role":          {&evidence.ActorRegistered{Name: "alice", Role: evidence.RoleTool, Key: &jwk}, 409, audit.ReasonName},
		"a host that is none":   {&evidence.ActorRegistered{Name: "new", Role: evidence.RoleAgent, Host: "alice"}, 422, audit.ReasonHost},
		"a key beside a host":   {&evidence.ActorRegistered{Name: "support", Role: evidence.RoleAgent, Key: &jwk}, 422, audit.ReasonHost},
		"nobody to be revoked":  {&evidence.ActorRevoked{Name: "nobody", Reason: "left"}, 409, audit.ReasonNothing},
	} {
		rec, err := w.NextRegistry(tc.body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Append(t.Context(), sign(t, rec, rootKey))
		if r := ledger.AsRefusal(err); r == nil || r.Class != tc.class || r.Reason != ledger.Reason(tc.reason) {
			t.Errorf("%s: %v, want %d %s", name, err, tc.class, tc.reason)
		}
		// And nobody but a root key says any of it.
		_, err = w.Append(t.Context(), sign(t, rec, runtimeKey))
		if r := ledger.AsRefusal(err); r == nil || r.Class != 403 {
			t.Errorf("%s, signed by the runtime: %v", name, err)
		}
	}
	if n := w.Registry().Number(); n != lastNumber {
		t.Errorf("the registry is at %d, want %d", n, lastNumber)
	}
}

func mustKey(t *testing.T, seed []byte) *evidence.PrivateKey {
	k, err := evidence.NewPrivateKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
