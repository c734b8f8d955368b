// Every rule over a receipt or a bundle (docs/rules.md).
import { sha256 } from './encoding.mjs';
import { parse, Refused } from './ijson.mjs';
import { judge, standing } from './judge.mjs';
import { notIncluded, parseBundle } from './files.mjs';
import { parseEntry, verify } from './record.mjs';
import { Registry } from './registry.mjs';
import { Report, rules } from './report.mjs';
import { Runs } from './runs.mjs';
import { acceptHead } from './trust.mjs';
import { equal } from './values.mjs';

/** parses an entry and decides what is known of its form; null where it is no evidence. */
function read(jws, index, report) {
  try {
    const r = { ...parseEntry(jws), index };
    if (r.newer === undefined) return r;
    report.undecidable('signature', 'newer_version', r);
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    report.ask('signature', false, 'form', { index }, e.message);
  }
  return null;
}

export function auditReceipt(receipt, ledgers) {
  const report = new Report();
  const { answer, why, signed } = acceptHead(receipt.head, ledgers);
  if (answer === 'broken') report.ask('inclusion', false, 'tree_head', undefined, why);
  if (answer === 'undecidable') report.undecidable('inclusion', 'tree_head', undefined, why);
  const wrong = notIncluded(receipt);
  if (signed && (wrong || answer === 'accepted')) report.ask('inclusion', wrong === null, receipt.index >= receipt.head.size ? 'index' : 'root', undefined, wrong);
  const ledger = ledgers.get(receipt.head.origin);
  const r = read(receipt.jws.toString('latin1'), Number(receipt.index), report);
  if (!r) return report;
  const pins = [...(ledger?.actors.values() ?? [])].some((a) => a.name === r.actor);
  const pinned = ledger?.actors.get(r.kid);
  if (!signed || (!pinned && !pins)) report.undecidable('signature', 'unknown_key', r);
  else if (report.ask('signature', r.origin === ledger.origin, 'wrong_origin', r)
    && (pinned || undecided(report, r))) report.ask('signature', verify(r, pinned.x), 'bad_signature', r);
  return report;
}

function undecided(report, r) {
  report.undecidable('signature', 'unknown_key', r);
  return false;
}

export function auditBundle(bundle, ledgers, asked = {}, depth = 0) {
  const report = new Report();
  const ledger = ledgers.get(bundle.origin);
  const other = bundle.heads.some((h) => h.origin !== bundle.origin);
  if (other) report.ask('inclusion', false, 'tree_head', undefined, 'the header names another ledger than a tree head');
  if (!ledger) {
    for (const rule of rules.slice(1)) report.undecidable(rule, 'no such ledger in the trust file');
    return report;
  }
  if (other) return report;
  const trusted = heads(bundle, ledgers, report);
  if (!trusted) {
    for (const rule of rules.slice(1)) if (rule !== 'inclusion') report.undecidable(rule, 'no tree head that the log signed');
    return report;
  }

  const registry = new Registry(ledger, report);
  const runs = new Runs(report);
  const payloads = new Map();
  const records = [];
  for (const line of bundle.records) {
    if (line.index >= bundle.size) continue;
    const r = read(line.jws, line.index, report);
    disclosure(line, r, payloads, report);
    if (!r) continue;
    const signer = registry.attribute(r);
    if (!signer) {
      runs.occupy(r);
      continue;
    }
    r.signer = signer;
    records.push(r);
    registry.take(r);
    if (r.place !== 'registry') runs.take(r);
    if (r.kind === 'handoff.accepted' && payloads.has(r.body.bundle.commit)) given(r, payloads.get(r.body.bundle.commit), ledgers, runs, report, depth + 1);
  }
  report.ask('registry', registry.root !== undefined, 'wrong_entry_0');
  for (const r of records) {
    if (r.index >= (registry.keys.get(r.kid)?.suspect ?? Infinity)) {
      r.suspect = true;
      report.undecidable('signature', 'suspect_key', r);
    }
  }
  runs.finish(bundle.about);
  members(records, payloads, report);
  verdicts(runs, payloads, ledger, bundle.about, report);
  report.notEnforced = runs.notEnforced;
  about(bundle, runs, records, payloads, asked, report);
  Object.assign(report, { records, runs, payloads, target: records.find((r) => r.id === bundle.about.record) });
  return report;
}

/** the bundle that an acceptance rests on, which lies in this one. */
function given(r, bytes, ledgers, runs, report, depth) {
  const ask = (ok, found) => report.ask('handoff', ok, 'given', r, found);
  const { origin, acceptance, offer, opens, head } = r.body;
  const about = acceptance ?? offer;
  let inner;
  try {
    inner = parseBundle(bytes);
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    ask(false, e.message);
    return;
  }
  if (!ask(depth <= 32, 'handoffs in a row')) return;
  const of = auditBundle(inner, ledgers, {}, depth);
  for (const [at, root] of of.met) {
    if (!report.met.has(at)) report.met.set(at, root);
    else if (report.met.get(at) !== root) report.ask('consistency', false, 'two_roots', r, at);
  }
  const record = of.records?.find((x) => x.id === about);
  if (record && acceptance === undefined && inner.origin === origin) runs.byID.set(offer, record);
  const handed = inner.about.kind === 'offer' && of.target?.kind === 'handoff.offered' && of.runs.runs.has(of.target.run)
    ? { offer: of.target, run: of.runs.runs.get(of.target.run), records: of.records, payloads: of.payloads } : undefined;
  if (handed && acceptance === undefined && of.target.id === offer && inner.origin === origin) runs.given.set(r.id, handed);
  if (!ask(inner.origin === origin && inner.about.record === about, 'a bundle about something else')) return;
  if (!ask(of.outcome() !== 1, of.findings.find((f) => f.status === 'broken')?.found)) return;
  if (of.head && !ask(Number(of.head.size) === head.size && of.head.root.toString('base64url') === head.root, 'another tree head')) return;
  if (of.outcome() === 2) {
    report.undecidable('handoff', 'given', r);
    return;
  }
  for (const id of handed?.offer.body.evidence ?? []) {
    const result = standing(handed, id, ledgers.get(inner.origin).weakest);
    if (!ask(!broken.includes(result), result)) return;
    if (result === 'in_doubt' || result === 'undisclosed') {
      report.undecidable('handoff', 'given', r, id);
      return;
    }
  }
  if (ask(record?.kind === (acceptance === undefined ? 'handoff.offered' : 'handoff.accepted'), record?.kind) && acceptance !== undefined) {
    ask(record.body.offer === offer && record.body.opens === opens, 'another acceptance');
  }
}

/**
 * inclusion and consistency. Returns whether the records are judged: not by a
 * head of a stranger's, for anybody can write one.
 */
function heads(bundle, ledgers, report) {
  if (bundle.beyond) report.ask('inclusion', false, 'index', undefined, 'an index that is not below the size');
  const answers = bundle.heads.map((h) => ({ ...acceptHead(h, ledgers), head: h }));
  const reach = bundle.records.at(-1).index;
  const covered = answers.some((a) => a.answer === 'accepted' && a.head.size > reach);
  // The largest head that the log signed is held to the records; a smaller one is no
  // beginning of it only where the records are its own.
  const largest = answers.filter((a) => a.signed).at(-1)?.head.size;
  const gives = ({ head }) => bundle.roots.get(Number(head.size))?.equals(head.root);
  const whole = answers.some((a) => a.signed && a.head.size === largest && gives(a));
  if (!bundle.beyond && largest !== undefined) report.ask('inclusion', whole, 'root', undefined, `size ${largest}`);
  let before;
  for (const { answer, why, signed, head } of answers) {
    if (answer === 'broken') report.ask('inclusion', false, 'tree_head', undefined, why);
    if (answer === 'undecidable' && !covered) report.undecidable('inclusion', 'tree_head', undefined, why);
    if (signed) report.met.set(`${head.origin} ${head.size}`, head.root.toString('base64url'));
    if (bundle.beyond || !signed) continue;
    if (before) report.ask('consistency', before.size !== head.size || before.root.equals(head.root), 'two_roots');
    if (whole && head.size !== largest) report.ask('consistency', gives({ head }), 'not_extended');
    before = head;
    if (answer === 'accepted') report.head = head;
  }
  return answers.some((a) => a.signed || a.answer === 'broken');
}

function disclosure(line, r, payloads, report) {
  for (const p of line.disclosed) {
    const c = r?.commitmentList.find((x) => x.commit === p.commit && x.size === p.size);
    const opens = sha256(p.salt, p.bytes).toString('base64url') === p.commit;
    if (!report.ask('disclosure', c && opens, 'commitment', line, p.commit)) continue;
    payloads.set(p.commit, p.bytes);
    if (!/^application\/json$|\+json$/.test(c.media)) continue;
    report.ask('disclosure', json(p.bytes), 'payload_form', line, p.commit);
  }
}

function json(bytes) {
  try {
    return bytes && parse(bytes, { spaceAround: true, plain: true });
  } catch (e) {
    if (e instanceof Refused) return undefined;
    throw e;
  }
}

/** params are the input's, refs the output's. */
function members(records, payloads, report) {
  for (const r of records) {
    for (const [open, commitment] of [[r.body.params, r.body.input], [r.body.refs, r.body.output]]) {
      if (!open || !commitment || !payloads.has(commitment.commit)) continue;
      const whole = json(payloads.get(commitment.commit));
      const ok = whole?.type === 'object' && [...open.members].every(([n, v]) => whole.members.has(n) && equal(v, whole.members.get(n)));
      report.ask('disclosure', ok, 'public_members', r);
    }
  }
}

const broken = ['contradicted', 'unsupported'];
const open = ['in_doubt', 'undisclosed', 'no_contract'];

function verdicts(runs, payloads, ledger, about, report) {
  for (const [id, run] of runs.runs) {
    const answer = (rule, result, r) => {
      report.ask(rule, !broken.includes(result), result, r);
      if (open.includes(result)) report.undecidable(rule, result, r);
    };
    const { weakest } = ledger;
    const claims = [...run.line, ...[...run.beside.values()].filter((b) => b.countsFrom !== undefined)].filter((r) => r.kind === 'claim');
    for (const claim of claims) {
      const { assertions, given, document } = judge({ run, claim, before: claim.index, weakest, payloads });
      report.verdicts.set(claim.id, document);
      if (assertions.length === 0) report.undecidable('claim', 'no_contract', claim);
      for (const a of assertions) answer('claim', a.result, claim);
      for (const g of given) if (g.result !== 'no_contract') answer('claim', g.result, claim);
    }
    if (run.opened.body.contract) {
      if (run.closed) {
        const { contract, document } = judge({ run, before: run.closed.index, weakest, payloads });
        report.verdicts.set('', document);
        answer('contract', contract.result, run.closed);
      } else if (about.kind === 'run' && about.run === id) report.undecidable('contract', 'the run is open', run.opened);
    }
    for (const v of run.line.filter((r) => r.kind === 'verdict')) recomputed(v, run, claims, payloads, report);
  }
}

function recomputed(v, run, claims, payloads, report) {
  const document = payloads.get(v.body.document.commit);
  if (!document) {
    report.undecidable('verdict', 'withheld', v);
    return;
  }
  let said;
  try {
    said = JSON.parse(document.toString());
  } catch {
    report.ask('verdict', false, 'other_bytes', v);
    return;
  }
  const claim = claims.find((c) => c.id === v.body.claim);
  const inputs = new Map();
  for (const commit of Array.isArray(said.disclosed) ? said.disclosed : []) {
    if ([...run.handed.values()].some((h) => h.bundle === commit && h.offer)) continue;
    if (!payloads.has(commit)) {
      report.undecidable('verdict', 'withheld', v, commit);
      return;
    }
    inputs.set(commit, payloads.get(commit));
  }
  if (!report.ask('verdict', v.body.claim === undefined || (claim && claim.index < v.index), 'other_bytes', v)) return;
  const own = judge({ run, claim, before: (claim ?? v).index, weakest: said.trust?.weakest_source, payloads: inputs, only: new Set(said.disclosed) });
  report.ask('verdict', own.document === document.toString() && said.result === v.body.result && said.claim === v.body.claim, 'other_bytes', v, own.document);
}

/** what the bundle has to be about, by its own word and by the auditor's. */
function about(bundle, runs, records, payloads, asked, report) {
  const { kind, run, record } = bundle.about;
  const target = kind === 'run' ? runs.runs.get(run)?.opened : records.find((r) => r.id === record);
  if (kind !== 'range') report.ask('about', target && (kind !== 'offer' || target.kind === 'handoff.offered'), 'about', undefined, run ?? record);
  const subject = runs.runs.get(target?.run)?.opened;
  if (asked.run !== undefined) report.ask('about', subject?.run === asked.run, 'run', undefined, subject?.run);
  if (asked.subject !== undefined) report.ask('about', subject?.body.subject === asked.subject, 'subject', undefined, subject?.body.subject);
}
