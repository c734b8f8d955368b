#!/usr/bin/env node
// Verifies receipts and bundles against a trust file:
//
//   node verify.mjs --trust trust.json [--run RUN] [--subject SUBJECT] [--output json] FILE...
//
// Exit codes are those of docs/verify.md: 0 verified, 1 proven wrong, 2 not
// decidable, 64 the command line, 65 malformed.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { auditBundle, auditReceipt } from './audit.mjs';
import { formOf, parseBundle, parseReceipt } from './files.mjs';
import { Refused } from './ijson.mjs';
import { rules } from './report.mjs';
import { parseTrust } from './trust.mjs';

const outcomes = { 0: 'VERIFIED', 1: 'PROVEN WRONG', 2: 'NOT DECIDABLE', 65: 'MALFORMED' };

/** one file: {exit, broken, undecidable, held, findings}, and the verdict documents by claim. */
export function check(bytes, ledgers, asked = {}) {
  try {
    const report = formOf(bytes) === 'receipt' ? auditReceipt(parseReceipt(bytes), ledgers) : auditBundle(parseBundle(bytes), ledgers, asked);
    const of = (status) => rules.filter((r) => report.status(r) === status).sort();
    return { exit: report.outcome(), broken: of('broken'), undecidable: of('undecidable'), held: of('held'), findings: report.findings, verdicts: report.verdicts };
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    return { exit: 65, broken: [], undecidable: [], held: [], findings: [{ rule: 'form', status: 'malformed', found: e.message }] };
  }
}

/** the worst of several answers: 1, then 65, then 2, then 0. */
const worst = (codes) => [1, 65, 2, 0].find((c) => codes.includes(c)) ?? 0;

function main(args) {
  let given;
  let ledgers;
  let files;
  try {
    given = parseArgs({ args, allowPositionals: true, options: { trust: { type: 'string' }, run: { type: 'string' }, subject: { type: 'string' }, output: { type: 'string' } } });
    if (!given.values.trust || given.positionals.length === 0) throw new Error('want --trust FILE and a file to verify');
    files = given.positionals.map((name) => [name, readFileSync(name)]);
    ledgers = readFileSync(given.values.trust);
  } catch (e) {
    console.error(e.message);
    return 64;
  }
  try {
    ledgers = parseTrust(ledgers);
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    console.error(`${given.values.trust}: ${e.message}`);
    return 65;
  }
  return worst(files.map(([name, bytes]) => {
    const answer = check(bytes, ledgers, given.values);
    if (given.values.output === 'json') {
      console.log(JSON.stringify({ file: name, ...answer, verdicts: undefined }));
      return answer.exit;
    }
    console.log(`${outcomes[answer.exit]}  ${JSON.stringify(name)}`);
    for (const f of answer.findings) console.log(`  ${f.rule} ${f.status} ${JSON.stringify(f.reason ?? '')} ${JSON.stringify(f.record ?? '')} ${JSON.stringify(f.found ?? '')}`);
    if (answer.held.length > 0) console.log(`  held: ${answer.held.join(', ')}`);
    return answer.exit;
  }));
}

if (process.argv[1] && import.meta.url === new URL(`file://${process.argv[1]}`).href) process.exitCode = main(process.argv.slice(2));
