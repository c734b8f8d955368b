package evidence

import (
	"crypto/ed25519"
	"fmt"
	"strings"

	"filippo.io/edwards25519"
)

// rules of the format, each broken once: in the payload of a sample, old is
// replaced by with; without old, with is the payload.
var rules = []struct {
	row          int
	name, sample string
	old, with    string
}{
	{21, "a member twice, once escaped", "run.closed/least", `"actor":`, `"\u0061ctor":"mallory","actor":`},
	{21, "a member in another case", "run.closed/least", `"actor":`, `"Actor":`},
	{21, "a member beside its case variant", "run.closed/least", `"actor":`, `"ACTOR":"mallory","actor":`},
	{21, "a member of the body in another case", "execution/full", `"status":`, `"Status":`},
	{21, "a member twice in params", "authorization/full", `"urgent":false`, `"urgent":false,"urgent":true`},
	{21, "a member twice deep in params", "authorization/full", `"urgent":false`, `"urgent":[{"a":1,"b":2,"a":1}]`},
	{21, "a member twice in params, once escaped", "authorization/full", `"urgent":false`, `"urgent":false,"\u0075rgent":true`},
	{21, "a member twice in refs", "execution/full", `"messageId":"msg_123"`, `"messageId":"msg_123","messageId":"msg_124"`},
	{21, "a member twice in ext", "payload.erased/least", `"closed":true`, `"closed":true,"closed":false`},
	{21, "a member twice among many", "payload.erased/least", `"closed":true`, manyMembers(40) + `,"m7":0`},
	{21, "a unit twice", "execution/full", `"tokens":0`, `"tokens":0,"tokens":1`},
	{22, "invalid UTF-8 in an identifier", "run.closed/full", `"cost_budget_exceeded"`, "\"\xff\""},
	{22, "invalid UTF-8 in refs", "execution/full", `msg_123`, "\xc3\x28"},
	{22, "an overlong encoding in refs", "execution/full", `msg_123`, "\xc0\xaf"},
	{22, "an encoded surrogate in refs", "execution/full", `msg_123`, "\xed\xa0\x80"},
	{22, "UTF-8 cut short in refs", "execution/full", `msg_123`, "\xf0\x9f\x98"},
	{22, "a lone high surrogate in refs", "execution/full", `msg_123`, `\ud83d`},
	{22, "a lone low surrogate in refs", "execution/full", `msg_123`, `\ude00`},
	{22, "surrogates in the wrong order in refs", "execution/full", `msg_123`, `\ude00\ud83d`},
	{22, "a lone surrogate in a member name of refs", "execution/full", `messageId`, `\ud83d`},
	{22, "a noncharacter in refs", "execution/full", `msg_123`, "\uffff"},
	{22, "an escaped noncharacter in refs", "execution/full", `msg_123`, `\ufdd0`},
	{22, "a control character in refs", "execution/full", `msg_123`, "\x01"},
	{22, "a line feed in refs", "execution/full", `msg_123`, "\n"},
	{22, "an unknown escape in refs", "execution/full", `msg_123`, `\x41`},
	{23, "an integer beyond 2^53", "execution/full", `"took_ms":184`, `"took_ms":9007199254740992`},
	{23, "an integer beyond 64 bits", "execution/full", `"took_ms":184`, `"took_ms":18446744073709551617`},
	{23, "an integer with a fraction", "execution/full", `"took_ms":184`, `"took_ms":184.0`},
	{23, "an integer with an exponent", "execution/full", `"took_ms":184`, `"took_ms":184e0`},
	{23, "an integer with a leading zero", "execution/full", `"took_ms":184`, `"took_ms":0184`},
	{23, "an integer with a plus sign", "execution/full", `"took_ms":184`, `"took_ms":+184`},
	{23, "an integer below what it counts", "execution/full", `"took_ms":184`, `"took_ms":-1`},
	{23, "minus zero", "execution/full", `"took_ms":184`, `"took_ms":-0`},
	{23, "minus zero in params", "authorization/full", `"weight":0.5`, `"weight":-0`},
	{23, "minus zero with a fraction in params", "authorization/full", `"weight":0.5`, `"weight":-0.0`},
	{23, "a zero with an exponent in params", "authorization/full", `"weight":0.5`, `"weight":0e9`},
	{23, "1e400 in params", "authorization/full", `"weight":0.5`, `"weight":1e400`},
	{23, "-1e400 in params", "authorization/full", `"weight":0.5`, `"weight":-1e400`},
	{23, "1e-400 in params", "authorization/full", `"weight":0.5`, `"weight":1e-400`},
	{23, "an integer beyond 2^53 in params", "authorization/full", `"weight":0.5`, `"weight":9007199254740993`},
	{23, "an integer beyond 2^53 by its exponent in params", "authorization/full", `"weight":0.5`, `"weight":1e16`},
	{23, "a number of more than 64 bytes in params", "authorization/full", `"weight":0.5`, `"weight":0.` + strings.Repeat("3", 63)},
	{23, "NaN in params", "authorization/full", `"weight":0.5`, `"weight":NaN`},
	{23, "a hexadecimal number in params", "authorization/full", `"weight":0.5`, `"weight":0x1`},
	{23, "a number without digits before the point in params", "authorization/full", `"weight":0.5`, `"weight":.5`},
	{23, "a number without digits behind the point in params", "authorization/full", `"weight":0.5`, `"weight":1.`},
	{24, "33 levels", "payload.erased/least", `{"number":17`, `{"deep":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `,"number":17`},
	{24, "10,000 levels", "payload.erased/least", `{"number":17`, `{"deep":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `,"number":17`},
	{25, "a byte order mark", "run.closed/least", `{"v":1`, "\ufeff" + `{"v":1`},
	{25, "white space before the object", "run.closed/least", `{"v":1`, ` {"v":1`},
	{25, "white space behind the object", "run.closed/least", `"run.closed":{"end":"completed"}}`, `"run.closed":{"end":"completed"}} `},
	{25, "a value behind the object", "run.closed/least", `"run.closed":{"end":"completed"}}`, `"run.closed":{"end":"completed"}}{}`},
	{25, "an array around the object", "", "", `[{"v":1}]`},
	{25, "no payload but a string", "", "", `"v"`},
	{25, "a comment", "run.closed/least", `{"v":1`, `{/**/"v":1`},
	{25, "a comma too many", "run.closed/least", `"run.closed":{"end":"completed"}}`, `"run.closed":{"end":"completed"},}`},
	{25, "the object cut short", "run.closed/least", `"run.closed":{"end":"completed"}}`, `"run.closed":{"end":"completed"}`},
	{26, "a space in an identifier", "run.closed/least", `"support-runtime"`, `"support runtime"`},
	{26, "a letter beyond ASCII in an identifier", "run.closed/least", `"support-runtime"`, `"suppört-runtime"`},
	{26, "an escaped letter beyond ASCII in an identifier", "run.closed/least", `"support-runtime"`, `"supp\u00f6rt-runtime"`},
	{26, "a bidirectional override in an identifier", "run.closed/least", `"support-runtime"`, `"support\u202eruntime"`},
	{26, "a NUL in an identifier", "run.closed/least", `"support-runtime"`, `"support-runtime\u0000"`},
	{26, "DEL in an identifier", "run.closed/least", `"support-runtime"`, "\"support-runtime\x7f\""},
	{26, "an identifier of 257 bytes", "run.closed/least", `"support-runtime"`, `"` + strings.Repeat("x", 257) + `"`},
	{26, "a space in an action", "execution/least", `"send_email"`, `"send email"`},
	{26, "a line end in a policy", "authorization/full", `"quiet-hours"`, `"quiet\nhours"`},
	{26, "a plus sign in an origin", "run.closed/least", `"ledger.example/support"`, `"ledger.example/support+1"`},

	{0, "v is 0", "run.closed/least", `"v":1`, `"v":0`},
	{0, "v below 0", "run.closed/least", `"v":1`, `"v":-1`},
	{0, "a kind that there is not", "run.closed/least", `"kind":"run.closed"`, `"kind":"run.paused"`},
	{0, "the body of another kind", "run.closed/least", `"kind":"run.closed"`, `"kind":"run.resumed"`},
	{0, "two bodies", "run.closed/least", `"run.closed":`, `"run.resumed":{"reason":"x"},"run.closed":`},
	{0, "no body", "run.closed/least", `,"run.closed":{"end":"completed"}`, ``},
	{0, "a run ID in capitals", "run.closed/least", `run_0197f3c2`, `run_0197F3C2`},
	{0, "a run ID without its prefix", "run.closed/least", `run_0197f3c2`, `0197f3c2`},
	{0, "a run ID without a dash", "run.closed/least", `0197f3c2-7d1e`, `0197f3c207d1e`},
	{0, "an evidence ID without its prefix", "run.closed/least", `"prev":"ev_`, `"prev":"`},
	{0, "an evidence ID with another prefix", "run.closed/least", `"prev":"ev_`, `"prev":"EV_`},
	{0, "an evidence ID cut short", "run.closed/least", testID("record before").String(), testID("record before").String()[:45]},
	{0, "an evidence ID of zeros", "run.closed/least", `"prev":"` + testID("record before").String(), `"prev":"ev_` + strings.Repeat("A", 43)},
	{0, "an evidence ID with non-zero trailing bits", "run.closed/least", testID("record before").String(), loose(testID("record before").String())},
	{0, "a digest with padding", "payload.erased/least", `","reason"`, `=","reason"`},
	{0, "a time without milliseconds", "run.closed/least", `10.120Z`, `10Z`},
	{0, "a time with six decimals", "run.closed/least", `10.120Z`, `10.120000Z`},
	{0, "a time with a comma", "run.closed/least", `10.120Z`, `10,120Z`},
	{0, "a time with an offset", "run.closed/least", `10.120Z`, `10.120+00:00`},
	{0, "a time with a small z", "run.closed/least", `10.120Z`, `10.120z`},
	{0, "a time with a space", "run.closed/least", `29T14`, `29 14`},
	{0, "a time on the 30th of February", "run.closed/least", `2026-05-29`, `2026-02-30`},
	{0, "a time at second 60", "run.closed/least", `14:32:10`, `14:32:60`},
	{0, "a time at hour 24", "run.closed/least", `14:32:10`, `24:00:00`},
	{0, "a time before 1970", "run.closed/least", `2026-05-29`, `1969-05-29`},
	{0, "at of 1970", "run.opened/imported", `"at":"2026-05-28T14:32:10.120Z"`, `"at":"1970-01-01T00:00:00.000Z"`},

	{0, "a record of a line without prev", "run.closed/least", `"prev":"` + testID("record before").String() + `",`, ``},
	{0, "the first record of a line with prev", "run.opened/least", `"actor":`, `"prev":"` + testID("x").String() + `","actor":`},
	{0, "a record beside the line without about", "approval/full", `"about":"` + testID("what it is about").String() + `",`, ``},
	{0, "a record beside the line with prev", "approval/full", `"about":`, `"prev":"` + testID("x").String() + `","about":`},
	{0, "a record of the line with about", "execution/least", `"prev":`, `"about":`},
	{0, "neither prev nor about", "claim/least", `"prev":"` + testID("record before").String() + `",`, ``},
	{0, "both prev and about", "claim/least", `"prev":`, `"about":"` + testID("x").String() + `","prev":`},
	{0, "a record of a run without run", "execution/least", `"run":"` + string(testRun) + `",`, ``},
	{0, "a record outside runs with run", "handoff.accepted/least", `"actor":`, `"run":"` + string(testRun) + `","actor":`},
	{0, "a registry record with run", "actor.revoked/least", `"prev":`, `"run":"` + string(testRun) + `","prev":`},
	{0, "a registry record without prev", "actor.revoked/least", `"prev":"` + testID("registry record before").String() + `",`, ``},
	{0, "entry 0 with prev", "ledger.created/least", `"actor":`, `"prev":"` + testID("x").String() + `","actor":`},
	{0, "entry 0 with another number", "ledger.created/least", `"registry":0`, `"registry":1`},
	{0, "a registry record with number 0", "actor.revoked/least", `"registry":7`, `"registry":0`},
	{0, "a registry number below 0", "run.closed/least", `"registry":7`, `"registry":-1`},
	{0, "no registry number where it is asked", "run.closed/least", `"registry":7,`, ``},
	{0, "a registry number where it is not asked", "execution/least", `"run":`, `"registry":7,"run":`},
	{0, "cites beside the line", "decision/beside", `"actor":`, `"cites":["` + testID("x").String() + `"],"actor":`},
	{0, "cites outside runs", "handoff.accepted/least", `"actor":`, `"cites":["` + testID("x").String() + `"],"actor":`},
	{0, "a record cited twice", "context/full", testID("beside 2").String(), testID("beside 1").String()},
	{0, "ext without a reverse-DNS name", "payload.erased/least", `"org.example.case"`, `"case"`},
	{0, "ext with a dot in front", "payload.erased/least", `"org.example.case"`, `".case"`},
	{0, "ext with a space in the name", "payload.erased/least", `"org.example.case"`, `"org.example case"`},
	{0, "ext empty but for a space", "payload.erased/least", `"ext":{`, `"ext":{ },"x":{`},

	{0, "a negative size", "execution/least", `"size":48`, `"size":-1`},
	{0, "a commitment of zeros", "execution/least", `"commit":"` + commitJSON(`{"subject":"Your refund","to":"ada@example.org"}`).Commit.String(), `"commit":"` + strings.Repeat("A", 43)},
	{0, "a media type with a space", "execution/least", `"application/json"`, `"application/json; charset=utf-8"`},
	{0, "an unknown unit", "execution/full", `"tokens":0`, `"token":0`},
	{0, "a currency in capitals", "execution/full", `"usd_micro":400`, `"USD_micro":400`},
	{0, "a currency of two letters", "execution/full", `"usd_micro":400`, `"us_micro":400`},
	{0, "a negative amount", "execution/full", `"usd_micro":400`, `"usd_micro":-400`},
	{0, "an amount with a fraction", "execution/full", `"usd_micro":400`, `"usd_micro":0.4`},

	{0, "a run with an unknown source", "run.opened/imported", `"source":"imported"`, `"source":"confirmed"`},
	{0, "the name in a transcript of a run that was not imported", "run.opened/imported", `"source":"imported"`, `"source":"observed"`},
	{0, "an unknown end", "run.closed/least", `"completed"`, `"done"`},
	{0, "a doubt twice", "run.resumed/full", testID("doubt 2").String(), testID("doubt 1").String()},
	{0, "an unknown effect", "authorization/least", `"allow"`, `"permit"`},
	{0, "an unknown mode", "authorization/least", `"enforce"`, `"off"`},
	{0, "an authorization confirmed by itself", "authorization/least", `"source":"runtime"`, `"source":"confirmed"`},
	{0, "escalate without a team", "authorization/escalate", `,"team":"finance"`, ``},
	{0, "allow with a team", "authorization/least", `"mode":"enforce"`, `"mode":"enforce","team":"finance"`},
	{0, "an approval without the authorization that was escalated", "authorization/approved", `"escalated":"` + testID("escalated authorization").String() + `",`, ``},
	{0, "an escalated authorization without approval", "authorization/approved", `"approval":"` + testID("approval").String() + `",`, ``},
	{0, "escalate with an approval", "authorization/escalate", `"team":`, `"escalated":"` + testID("x").String() + `","approval":"` + testID("y").String() + `","team":`},
	{0, "allow with evaluation errors", "authorization/full", `"effect":"deny"`, `"effect":"allow"`},
	{0, "an unknown answer", "approval/refuse", `"refuse"`, `"maybe"`},
	{0, "approve without until", "approval/refuse", `"refuse"`, `"approve"`},
	{0, "refuse with until", "approval/full", `"approve"`, `"refuse"`},
	{0, "attempt 0", "execution/least", `"attempt":1`, `"attempt":0`},
	{0, "an unknown status", "execution/least", `"success"`, `"ok"`},
	{0, "an execution confirmed by itself", "execution/least", `"source":"runtime"`, `"source":"confirmed"`},
	{0, "an unknown class", "execution/failure", `"tool_timeout"`, `"timeout"`},
	{0, "a failure without class", "execution/failure", `"class":"tool_timeout",`, ``},
	{0, "a success with class", "execution/failure", `"status":"failure"`, `"status":"success"`},
	{0, "refs without output", "confirmation/full", `"output":{"commit":"` + commitJSON(`{"messageId":"msg_123","queued":false}`).Commit.String() + `","size":38,"media":"application/json"},`, ``},
	{0, "a confirmation that something is unknown", "confirmation/least", `"success"`, `"unknown"`},
	{0, "a settlement that finds unknown", "settlement/least", `"not_run"`, `"unknown"`},
	{0, "an unknown settler", "settlement/least", `"probe"`, `"guess"`},
	{0, "a settlement by confirmation without it", "settlement/full", `"answer":"` + testID("confirmation").String() + `",`, ``},
	{0, "checkpoint 0", "checkpoint/least", `"sequence":1`, `"sequence":0`},
	{0, "a record covered twice", "checkpoint/full", testID("execution 2").String(), testID("execution 1").String()},
	{0, "an unknown kind of assertion", "claim/full", `"kind":"contract"`, `"kind":"hope"`},
	{0, "an assertion of an action without it", "claim/full", `"action":"send_email","resource"`, `"resource"`},
	{0, "an assertion of the contract with an action", "claim/full", `"kind":"contract"`, `"kind":"contract","action":"send_email"`},
	{0, "an assertion of the contract with a resource", "claim/full", `"kind":"contract"`, `"kind":"contract","resource":"x"`},
	{0, "an unknown result", "verdict/full", `"supported"`, `"true"`},
	{0, "an offer that never ages", "handoff.offered/least", `"head_max_age_s":600`, `"head_max_age_s":0`},
	{0, "a tree head of size 0", "handoff.accepted/least", `"size":4096`, `"size":0`},
	{0, "a tree head with a root of zeros", "handoff.accepted/least", Digest(testID("root")).String(), strings.Repeat("A", 43)},
	{0, "an acceptance that opens no run", "handoff.accepted/least", `"opens":"run_`, `"opens":"`},
	{0, "a key and a host", "actor.registered/hosted", `"host":`, `"key":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},"host":`},
	{0, "neither key nor host", "actor.registered/hosted", `,"host":"support-runtime"`, ``},
	{0, "a host for a tool", "actor.registered/hosted", `"role":"agent"`, `"role":"tool"`},
	{0, "a team for a runtime", "actor.registered/human", `"role":"human"`, `"role":"runtime"`},
	{0, "an actor registered as root", "actor.registered/key", `"role":"runtime"`, `"role":"root"`},
	{0, "a root key twice", "ledger.created/full", `"root_keys":[`, `"root_keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},`},
	{0, "seventeen root keys", "ledger.created/least", `"root_keys":[`, `"root_keys":[` + manyKeys(16)},
	{0, "a negative index", "actor.revoked/full", `"suspect_from":0`, `"suspect_from":-1`},
	{0, "a key of another type", "actor.registered/key", `"OKP"`, `"EC"`},
	{0, "a key on another curve", "actor.registered/key", `"Ed25519"`, `"Ed448"`},
	{0, "a private key", "actor.registered/key", `"kty":"OKP"`, `"d":"AAAA","kty":"OKP"`},
	{15, "a key of small order", "actor.registered/key", testX("runtime"), b64(strings.Repeat("\x00", 32))},
	{15, "the identity as key", "actor.registered/key", testX("runtime"), b64("\x01" + strings.Repeat("\x00", 31))},
	{15, "a key of mixed order", "actor.registered/key", testX("runtime"), b64(string(mixedOrder()))},
	{15, "a key in a non-canonical encoding", "actor.registered/key", testX("runtime"), b64("\xee" + strings.Repeat("\xff", 30) + "\x7f")},
	{15, "a key that is no point", "actor.registered/key", testX("runtime"), b64("\x02" + strings.Repeat("\x00", 31))},
	{15, "a key of 31 bytes", "actor.registered/key", testX("runtime"), b64(strings.Repeat("\x09", 31))},
	{15, "a key with non-zero trailing bits", "actor.registered/key", testX("runtime"), loose(testX("runtime"))},
	{15, "a root key of small order", "ledger.created/least", testX("root"), b64(strings.Repeat("\x00", 32))},
}

func testX(name string) string {
	seed := testSeed(name)
	return b64(string(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)))
}

// mixedOrder is the base point plus a point of order 8.
func mixedOrder() []byte {
	return new(edwards25519.Point).Add(edwards25519.NewGeneratorPoint(), torsion()[1]).Bytes()
}

func loose(id string) string { return id[:len(id)-1] + string(flipLast(id[len(id)-1])) }

// manyKeys are n keys, each with a comma behind.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`{"kty":"OKP","crv":"Ed25519","x":"` + testX(fmt.Sprintf("root key %d", i)) + `"},`)
	}
	return b.String()
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"m` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `":0`)
	}
	s := b.String()
	return strings.NewReplacer(`"m0`, `"m`).Replace(s)
}
