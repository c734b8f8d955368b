// Runs the vectors of testdata/ (testdata/README.md says what each means).
import { existsSync, readFileSync } from 'node:fs';
import { sha256, strictBase64 } from './encoding.mjs';
import * as ed25519 from './ed25519.mjs';
import { Refused } from './ijson.mjs';
import * as record from './record.mjs';
import { rules } from './report.mjs';
import { parseTrust } from './trust.mjs';
import { check } from './verify.mjs';

const root = process.argv[2] ?? new URL('../../testdata', import.meta.url).pathname;
const load = (name) => JSON.parse(readFileSync(`${root}/${name}`, 'utf8'));
const bytesOf = (v) => (v.payload_base64url !== undefined ? Buffer.from(v.payload_base64url, 'base64url') : Buffer.from(v.payload ?? ''));
let passed = 0;
let failed = 0;

function expect(file, name, want, found) {
  if (JSON.stringify(want) === JSON.stringify(found)) {
    passed++;
    return;
  }
  failed++;
  console.log(`${file}: ${name}\n  want  ${JSON.stringify(want)}\n  found ${JSON.stringify(found)}`);
}

/** runs f; 'refused' where it refuses. Any other error is one of this program. */
function orRefused(f) {
  try {
    return f();
  } catch (e) {
    if (e instanceof Refused) return 'refused';
    throw e;
  }
}

const keys = new Map(load('evidence/keys.json').map((v) => [v.name, v]));
for (const v of keys.values()) {
  const key = ed25519.privateKey(Buffer.from(v.seed, 'hex'));
  expect('keys.json', v.name, [v.jwk.x, v.thumbprint, true], [key.x, key.kid, ed25519.goodKey(Buffer.from(key.x, 'base64url'))]);
}

for (const v of load('evidence/records.json')) {
  const key = keys.get(v.key);
  expect('records.json', v.name, [v.entry, v.id, v.place, v.kind, v.commitments, true, v.payload], orRefused(() => {
    const entry = record.sign(bytesOf(v), ed25519.privateKey(Buffer.from(key.seed, 'hex')));
    const r = record.parseEntry(v.entry);
    const commitments = [...r.commitments.keys()].sort((a, b) => Buffer.compare(Buffer.from(a, 'base64url'), Buffer.from(b, 'base64url')));
    return [entry, r.id, r.place, r.kind, commitments, record.verify(r, key.jwk.x), record.canonical(r)];
  }));
}

for (const v of load('evidence/entries-refused.json')) {
  // "before anything in its payload is looked at": with the payload's rules switched off it is refused, too.
  expect('entries-refused.json', v.name, 'refused', orRefused(() => record.parseEntry(v.entry) && 'accepted'));
}

for (const v of load('evidence/payloads-refused.json')) {
  expect('payloads-refused.json', v.name, 'refused', orRefused(() => record.parsePayload(bytesOf(v)) && 'accepted'));
}

for (const v of load('evidence/versions.json')) {
  expect('versions.json', v.name, v.newer || 'refused', orRefused(() => record.parsePayload(bytesOf(v)).newer));
}

for (const v of load('evidence/commitments.json')) {
  const payload = bytesOf(v);
  const opens = sha256(Buffer.from(v.salt, 'hex'), payload).toString('base64url') === v.commitment.commit && payload.length === v.commitment.size;
  expect('commitments.json', v.name, v.opens, opens);
}

for (const v of load('evidence/signatures.json')) {
  const [key, message, signature] = [v.key, v.message, v.signature].map((h) => Buffer.from(h, 'hex'));
  expect('signatures.json', v.name, [v.key_accepted, v.valid], [ed25519.goodKey(key), ed25519.verify(key, message, signature)]);
}

if (existsSync(`${root}/bundle/cases.json`)) {
  for (const c of load('bundle/cases.json')) {
    const [bytes, trust] = [c.file, c.trust].map((f) => readFileSync(`${root}/bundle/${f}`));
    const answer = check(bytes, parseTrust(trust), { subject: c.subject });
    // Left out where every rule is undecided, but for those that are broken.
    const all = answer.undecidable.length + answer.broken.length === rules.length - 1;
    const undecidable = c.undecidable ?? (all ? answer.undecidable : []);
    expect('bundle/cases.json', `${c.file}: ${c.why}`, [c.exit, c.broken ?? [], undecidable], [answer.exit, answer.broken, answer.undecidable]);
  }
}

if (existsSync(`${root}/verdicts/cases.json`)) {
  const ledgers = parseTrust(readFileSync(`${root}/verdicts/trust.json`));
  for (const c of load('verdicts/cases.json')) {
    const answer = check(readFileSync(`${root}/verdicts/${c.file}`), ledgers);
    expect('verdicts/cases.json', `${c.name}: ${c.why}`, [c.exit, c.verdict], [answer.exit, answer.verdicts.get(c.claim ?? '')]);
  }
}

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
