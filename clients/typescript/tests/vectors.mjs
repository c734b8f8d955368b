// The vectors of testdata/ that are about records, keys, signatures and receipts.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { goodKey, thumbprint, verify } from '../dist/verify/ed25519.js';
import { Malformed, verifyReceipt } from '../dist/verify/index.js';
import { parseEntry, parsePayload, verifyEntry } from '../dist/verify/record.js';
import { acceptHead, parseHead, parseTrust } from '../dist/verify/trust.js';

const testdata = fileURLToPath(new URL('../../../testdata/', import.meta.url));
const load = (file) => JSON.parse(readFileSync(testdata + file, 'utf8'));
const bytesOf = (v) => (v.payload_base64url !== undefined ? Buffer.from(v.payload_base64url, 'base64url') : Buffer.from(v.payload ?? ''));
const keys = new Map(load('evidence/keys.json').map((v) => [v.name, v]));

test('keys', () => {
  for (const v of keys.values()) assert.deepEqual([thumbprint(v.jwk.x), goodKey(Buffer.from(v.jwk.x, 'base64url'))], [v.thumbprint, true], v.name);
});

test('records', () => {
  for (const v of load('evidence/records.json')) {
    const entry = parseEntry(v.entry);
    assert.deepEqual([entry.id, entry.record.place, entry.record.kind, verifyEntry(entry, keys.get(v.key).jwk.x)], [v.id, v.place, v.kind, true], v.name);
  }
});

test('entries that are refused', () => {
  for (const v of load('evidence/entries-refused.json')) assert.throws(() => parseEntry(v.entry), Malformed, v.name);
});

test('payloads that are refused', () => {
  for (const v of load('evidence/payloads-refused.json')) assert.throws(() => parsePayload(bytesOf(v)), Malformed, v.name);
});

test('versions', () => {
  for (const v of load('evidence/versions.json')) {
    if (v.newer) assert.equal(parsePayload(bytesOf(v)), v.newer, v.name);
    else assert.throws(() => parsePayload(bytesOf(v)), Malformed, v.name);
  }
});

test('signatures', () => {
  for (const v of load('evidence/signatures.json')) {
    const [key, message, signature] = [v.key, v.message, v.signature].map((h) => Buffer.from(h, 'hex'));
    assert.deepEqual([goodKey(key), verify(key, message, signature)], [v.key_accepted, v.valid], v.name);
  }
});

test('receipts', () => {
  const cases = load('bundle/cases.json').filter((c) => c.file.endsWith('.tlog-proof'));
  assert.ok(cases.length >= 9);
  for (const c of cases) {
    const [receipt, trust] = [c.file, c.trust].map((f) => readFileSync(`${testdata}bundle/${f}`));
    if (c.exit === 65) {
      assert.throws(() => verifyReceipt(receipt, trust), Malformed, c.why);
      continue;
    }
    const report = verifyReceipt(receipt, trust);
    const of = (status) => ['inclusion', 'signature'].filter((rule) => report[rule] === status);
    const outcome = { 0: 'verified', 1: 'wrong', 2: 'undecided' }[c.exit];
    assert.deepEqual([report.outcome, of('broken'), of('undecidable')], [outcome, c.broken ?? [], c.undecidable ?? []], c.why);
  }
});

test('quorums', () => {
  const ledgers = parseTrust(readFileSync(`${testdata}bundle/witnessed.json`));
  for (const [file, answer] of [['both', 'accepted'], ['twice', 'undecidable'], ['renamed', 'undecidable']]) {
    const { head } = JSON.parse(readFileSync(`${testdata}bundle/row53-${file}.bundle`, 'utf8').split('\n')[1]);
    assert.equal(acceptHead(parseHead(head), ledgers).answer, answer, file);
    const spoilt = head.replace(/(?<=w1\.example \S{20})./, (c) => (c === 'A' ? 'B' : 'A'));
    assert.equal(acceptHead(parseHead(spoilt), ledgers).answer, 'undecidable', `${file}, a cosignature spoilt`);
  }
});
