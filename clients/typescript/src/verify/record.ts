// The evidence record: docs/record-format.md, table for table.
import { evidenceIDOf, strictBase64 } from './encoding.js';
import * as ed25519 from './ed25519.js';
import { parse, refuse, type Node } from './ijson.js';

export const maxEntry = 65535;

// A column reads "name! type": ! where it is required. Types are those of the
// page; [type] is a list, a|b|c words, ≥1 the least integer.
interface Column {
  name: string;
  required: boolean;
  type: string;
}

const table = (...rows: string[]): Column[] =>
  rows.map((row) => {
    const [, name, required, type] = /^(\S+?)(!?) (.+)$/.exec(row) as unknown as [string, string, string, string];
    return { name, required: required === '!', type };
  });

const tables: Record<string, Column[]> = {
  commitment: table('commit! digest', 'size! ≥0', 'media! identifier'),
  'contract reference': table('document! commitment', 'declared_by! identifier'),
  'context source': table('name! identifier', 'content! commitment', 'evidence evidence ID'),
  statement: table('text! commitment', 'assertions [assertion]', 'cites [evidence ID]', 'steps [identifier]'),
  assertion: table('kind! contract|action', 'action identifier', 'resource identifier', 'expect commitment'),
  recipient: table('origin! origin', 'actor! identifier', 'key! digest'),
  'scope entry': table('action! identifier', 'resource! identifier'),
  'tree head': table('size! ≥1', 'root! digest'),
  successor: table('origin! origin', 'head! tree head'),
  key: table('kty! OKP', 'crv! Ed25519', 'x! base64url'),
};

const line = { run: true, prev: true };
const beside = { run: true, about: true };
const lineOrBeside = { run: true, either: true };
const registryLine = { prev: true };
const outside = {};
const sources = 'runtime|reported|observed|imported';

interface Place {
  run?: boolean;
  prev?: boolean;
  about?: boolean;
  either?: boolean;
}

interface Kind {
  place: Place;
  signer: 'runtime' | 'agent' | 'human' | 'tool' | 'root';
  registry?: boolean;
  body: Column[];
}

/** kinds: where each stands, who signs it, whether it names the registry, its body. */
const kinds: Record<string, Kind> = {
  'run.opened': { place: { run: true }, signer: 'runtime', registry: true, body: table(
    'principal! identifier', 'subject identifier', 'task! identifier', 'intent commitment', 'input commitment',
    'contract contract reference', 'budget amounts', 'runtime! identifier', 'parent evidence ID', 'acceptance evidence ID',
    'source imported|observed|reported', 'imported identifier') },
  'run.resumed': { place: line, signer: 'runtime', registry: true, body: table(
    'reason! identifier', 'in_doubt [evidence ID]') },
  context: { place: line, signer: 'runtime', body: table('sources! [context source]') },
  decision: { place: lineOrBeside, signer: 'agent', body: table(
    'step identifier', 'model! identifier', 'question commitment', 'choice! commitment', 'rationale commitment',
    'context [evidence ID]', 'cost amounts') },
  authorization: { place: line, signer: 'runtime', body: table(
    'step! identifier', 'action! identifier', 'resource identifier', 'tool! identifier', 'tool_schema commitment',
    'input! commitment', 'params free-form', 'idempotency_key! identifier', 'decision evidence ID',
    'effect! allow|deny|escalate', 'mode! enforce|observe', 'policies [identifier]', 'policy_set commitment',
    'errors commitment', 'team identifier', 'escalated evidence ID', 'approval evidence ID', 'estimate amounts',
    `source! ${sources}`) },
  approval: { place: beside, signer: 'human', registry: true, body: table(
    'answer! approve|refuse', 'until time', 'reason commitment') },
  execution: { place: line, signer: 'runtime', body: table(
    'authorization! evidence ID', 'action! identifier', 'resource identifier', 'tool! identifier', 'input! commitment',
    'attempt! ≥1', 'status! success|failure|accepted|unknown|not_run',
    'class tool_timeout|tool_unavailable|rate_limited|tool_failed|invalid_tool_payload|bad_reasoning|permission_denied|cost_budget_exceeded|outcome_unknown|claim_unsupported',
    `source! ${sources}`, 'output commitment', 'refs free-form', 'error commitment', 'confirmation evidence ID',
    'took_ms ≥0', 'cost amounts') },
  confirmation: { place: beside, signer: 'tool', body: table(
    'status! success|failure|not_run', 'output commitment', 'refs free-form') },
  settlement: { place: line, signer: 'runtime', body: table(
    'settles! evidence ID', 'by! probe|human|confirmation|report', 'answer evidence ID', 'finding! success|failure|not_run',
    'output commitment', 'refs free-form') },
  checkpoint: { place: line, signer: 'runtime', body: table(
    'name! identifier', 'sequence! ≥1', 'state! commitment', 'covers [evidence ID]') },
  claim: { place: lineOrBeside, signer: 'agent', body: table('statements! [statement]') },
  verdict: { place: line, signer: 'runtime', registry: true, body: table(
    'claim evidence ID', 'result! supported|contradicted|unsupported|in_doubt|undisclosed|no_contract', 'document! commitment') },
  escalation: { place: line, signer: 'runtime', body: table(
    'reason! identifier', 'to! identifier', 'text commitment', 'concerns [evidence ID]') },
  'handoff.offered': { place: lineOrBeside, signer: 'agent', registry: true, body: table(
    'to! recipient', 'task! identifier', 'scope! [scope entry]', 'artifact commitment', 'evidence [evidence ID]',
    'note commitment', 'expires! time', 'head_max_age_s! ≥1', 'parent evidence ID') },
  'handoff.accepted': { place: outside, signer: 'agent', registry: true, body: table(
    'offer! evidence ID', 'origin! origin', 'opens! run ID', 'head! tree head', 'bundle! commitment', 'acceptance evidence ID') },
  'handoff.rejected': { place: outside, signer: 'agent', registry: true, body: table(
    'offer! evidence ID', 'origin! origin', 'reason! identifier', 'proof commitment') },
  'run.closed': { place: line, signer: 'runtime', registry: true, body: table(
    'end! completed|failed|stopped', 'reason identifier', 'text commitment') },
  'ledger.created': { place: {}, signer: 'root', registry: true, body: table(
    'root_keys! [key]', 'successor successor') },
  'actor.registered': { place: registryLine, signer: 'root', registry: true, body: table(
    'name! identifier', 'role! runtime|agent|tool|human', 'key key', 'host identifier', 'teams [identifier]') },
  'actor.revoked': { place: registryLine, signer: 'root', registry: true, body: table(
    'name! identifier', 'key digest', 'suspect_from ≥0', 'reason! identifier') },
  'payload.erased': { place: outside, signer: 'runtime', body: table('commit! digest', 'reason! identifier') },
};

const envelope = table('v! ≥1', 'origin! origin', 'kind! identifier', 'registry ≥0', 'run run ID', 'prev evidence ID',
  'about evidence ID', 'cites [evidence ID]', 'actor! identifier', 'time! time', 'at time');

/** A body with its members checked against their types. */
export type Body = Record<string, any>;

// What a table says in its last column, between members of one body.
const only = (condition: boolean, what: string): void => {
  if (!condition) refuse(what);
};
const both = (a: unknown, b: unknown): boolean => (a === undefined) === (b === undefined);
const between: Record<string, (b: Body) => void> = {
  'run.opened': (b) => only(b.imported === undefined || b.source === 'imported', 'imported without source imported'),
  authorization: (b) => {
    only(b.errors === undefined || b.effect === 'deny', 'errors without effect deny');
    only((b.team !== undefined) === (b.effect === 'escalate'), 'team goes with effect escalate');
    only(both(b.escalated, b.approval), 'escalated and approval go together');
    only(b.approval === undefined || b.effect !== 'escalate', 'approval with effect escalate');
  },
  approval: (b) => only((b.until !== undefined) === (b.answer === 'approve'), 'until goes with approve'),
  execution: (b) => {
    only(b.class !== undefined || b.status !== 'failure', 'failure without class');
    only(b.class === undefined || ['failure', 'unknown'].includes(b.status), `class with ${b.status}`);
    only(b.refs === undefined || b.output !== undefined, 'refs without output');
  },
  confirmation: (b) => only(b.refs === undefined || b.output !== undefined, 'refs without output'),
  settlement: (b) => {
    only(b.answer !== undefined || b.by !== 'confirmation', 'by confirmation without answer');
    only(b.refs === undefined || b.output !== undefined, 'refs without output');
  },
  assertion: (b) => {
    if (b.kind === 'action') only(b.action !== undefined, 'action missing');
    else only(b.action === undefined && b.resource === undefined && b.expect === undefined, 'kind contract names no action');
  },
  'ledger.created': (b) => only(new Set(b.root_keys.map((k: Body) => k.x)).size === b.root_keys.length && b.root_keys.length <= 16,
    'root keys: each once, at most 16'),
  'actor.registered': (b) => {
    only(!both(b.key, b.host), 'exactly one of key and host');
    only(b.host === undefined || b.role === 'agent', 'host without role agent');
    only(b.teams === undefined || b.role === 'human', 'teams without role human');
  },
  key: (b) => only(ed25519.goodKey(strictBase64(b.x, 'base64url', 32)), 'not the canonical encoding of a point of prime order'),
};

const uuid = /^run_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
export const isIdentifier = (s: string): boolean => /^[\x21-\x7e]{1,256}$/.test(s);
const isTime = (s: string): boolean => {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(s)) return false;
  const ms = Date.parse(s);
  return ms > 0 && new Date(ms).toISOString() === s;
};
const isDigest = (s: string): boolean => /^[A-Za-z0-9_-]{43}$/.test(s) && Buffer.from(s, 'base64url').toString('base64url') === s && !/^A+$/.test(s);

const scalars: Record<string, (s: string) => boolean> = {
  identifier: isIdentifier,
  origin: (s) => isIdentifier(s) && !s.includes('+'),
  time: isTime,
  'run ID': (s) => uuid.test(s),
  'evidence ID': (s) => s.startsWith('ev_') && isDigest(s.slice(3)),
  digest: isDigest,
  base64url: (s) => s.length === 43,
};

/** checks a node against a type of the page and returns its value in JavaScript's terms. */
function value(node: Node, type: string, where: string): unknown {
  const wrong: () => never = () => refuse(`${where}: want ${type}, found ${node.text.slice(0, 80)}`);
  if (type.startsWith('[')) {
    if (node.type !== 'array' || node.items.length === 0) return wrong();
    const of = type.slice(1, -1);
    const list = node.items.map((n, i) => value(n, of, `${where}[${i}]`));
    if (of === 'evidence ID' && new Set(list).size !== list.length) refuse(`${where} names a record twice`);
    return list;
  }
  if (type.startsWith('≥')) {
    if (node.type !== 'number' || !node.integer || node.value < Number(type.slice(1))) return wrong();
    return node.value;
  }
  if (type === 'free-form') {
    if (node.type !== 'object' || node.members.size === 0) return wrong();
    return node;
  }
  if (type === 'amounts') {
    if (node.type !== 'object' || node.members.size === 0) return wrong();
    for (const [unit, n] of node.members) {
      if (!/^(tokens|tool_calls|attempts|wall_ms|[a-z]{3}_micro)$/.test(unit)) refuse(`${where}: unit ${unit}`);
      value(n, '≥0', `${where}.${unit}`);
    }
    return node;
  }
  const table = tables[type];
  if (table) {
    const o = object(node, table, where);
    between[type]?.(o);
    return o;
  }
  if (node.type !== 'string') return wrong();
  const scalar = scalars[type];
  if (scalar ? !scalar(node.value) : !type.split('|').includes(node.value)) return wrong();
  return node.value;
}

/** checks an object against a table; nothing that is not in it may stand there. */
function object(node: Node, columns: Column[], where: string): Body {
  if (node.type !== 'object') refuse(`${where}: want an object`);
  const found: Body = {};
  for (const { name, required, type } of columns) {
    const n = node.members.get(name);
    if (n !== undefined) found[name] = value(n, type, `${where}.${name}`);
    else if (required) refuse(`${where}.${name} is missing`);
  }
  for (const name of node.members.keys()) {
    if (!columns.some((c) => c.name === name)) refuse(`${where}.${JSON.stringify(name)} is not a member`);
  }
  return found;
}

/** A record as its payload has it. */
export interface EvidenceRecord {
  origin: string;
  kind: string;
  actor: string;
  time: string;
  run?: string;
  prev?: string;
  about?: string;
  body: Body;
  place: 'beside' | 'line' | 'registry' | 'outside';
}

/** what the payload of an entry says: the record, or the number of a later version. */
export function parsePayload(bytes: Uint8Array): EvidenceRecord | number {
  const node = parse(bytes);
  if (node.type !== 'object') refuse('the payload is not an object');
  const v = node.members.get('v');
  if (v?.type !== 'number' || !v.integer || v.value < 1) refuse('v is not 1');
  if (v.value > 1) return v.value;

  const of = node.members.get('kind');
  const kind = of?.type === 'string' ? of.value : '';
  const known = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
  if (!known) refuse(`kind ${JSON.stringify(kind)}`);
  const { place, registry } = known;
  const rest = new Map(node.members);
  const body = rest.get(kind);
  const ext = rest.get('ext');
  rest.delete(kind);
  rest.delete('ext');
  const record = object({ type: 'object', members: rest, text: '' }, envelope, 'record');
  if (body === undefined) refuse(`the body ${kind} is missing`);
  record.body = object(body, known.body, kind);
  between[kind]?.(record.body);
  if (ext !== undefined) {
    value(ext, 'free-form', 'ext');
    for (const name of ext.type === 'object' ? ext.members.keys() : []) {
      if (!isIdentifier(name) || !/^.+\..+$/.test(name)) refuse(`ext: ${JSON.stringify(name)} has no reverse-DNS prefix`);
    }
  }

  const has = (name: string): boolean => record[name] !== undefined;
  only(has('registry') === Boolean(registry), 'registry: as the table of kinds says');
  only(has('run') === Boolean(place.run), 'run: as the place says');
  if (place.either) only(has('prev') !== has('about'), 'exactly one of prev and about');
  else only(has('prev') === Boolean(place.prev) && has('about') === Boolean(place.about), 'prev and about: as the place says');
  record.place = has('about') ? 'beside' : has('run') ? 'line' : known.signer === 'root' ? 'registry' : 'outside';
  only(!has('cites') || record.place === 'line', 'cites stands on the line of a run only');
  only(record.place !== 'registry' || (record.registry === 0) === (kind === 'ledger.created'), 'number 0 is that of ledger.created alone');
  return record as unknown as EvidenceRecord;
}

/** Whether an actor in that role may sign records of a kind. hosted: it is the runtime of the record's agent. */
export function maySign(kind: string, role: string, hosted: boolean): boolean {
  const signer = kinds[kind]?.signer;
  return role === (signer === 'agent' && hosted ? 'runtime' : signer);
}

/** An entry taken apart. Its signature is not looked at. */
export interface Entry {
  record: EvidenceRecord | number;
  kid: string;
  message: Buffer;
  signature: Buffer;
  id: string;
}

export function parseEntry(entry: string): Entry {
  if (entry.length === 0 || Buffer.byteLength(entry) > maxEntry) refuse('an entry has 1 to 65,535 bytes');
  const parts = entry.split('.');
  if (parts.length !== 3) refuse(`want three parts, found ${parts.length}`);
  const [header, payload, signature] = parts.map((p) => strictBase64(p)) as [Buffer, Buffer, Buffer];
  const kid = /"kid":"([A-Za-z0-9_-]{43})"/.exec(header.toString('latin1'))?.[1] ?? '';
  if (header.toString('latin1') !== `{"alg":"EdDSA","kid":"${kid}","typ":"evidence+jws"}` || !isDigest(kid)) {
    refuse('not the protected header that there is');
  }
  if (payload.length === 0) refuse('the payload is empty');
  if (signature.length !== 64) refuse(`want a signature of 64 bytes, found ${signature.length}`);
  const record = parsePayload(payload);
  return { record, kid, signature, message: Buffer.from(`${parts[0]}.${parts[1]}`), id: evidenceIDOf(Buffer.from(entry, 'latin1')) };
}

/** verifies an entry under a key (base64url, from a trust file). */
export function verifyEntry(entry: Entry, x: string): boolean {
  return ed25519.thumbprint(x) === entry.kid && ed25519.verify(Buffer.from(x, 'base64url'), entry.message, entry.signature);
}
