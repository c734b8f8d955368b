// Trust files, policies and signed tree heads (docs/bundle-format.md, "Trust
// file" and "Accepting a tree head"; c2sp.org/tlog-policy, signed-note,
// tlog-cosignature).
import { sha256, strictBase64 } from './encoding.mjs';
import * as ed25519 from './ed25519.mjs';
import { parse, refuse, Refused } from './ijson.mjs';
import { isIdentifier } from './record.mjs';

export const sourceOrder = ['confirmed', 'runtime', 'reported', 'observed', 'imported'];

/** takes the members of an object apart, refusing unknown and missing ones. */
export function members(node, where, required, optional = []) {
  if (node?.type !== 'object') refuse(`${where}: want an object`);
  const o = {};
  for (const [name, n] of node.members) {
    if (!required.includes(name) && !optional.includes(name)) refuse(`${where}: unknown member ${JSON.stringify(name)}`);
    o[name] = n;
  }
  for (const name of required) if (!(name in o)) refuse(`${where}: ${name} is missing`);
  return o;
}

export const text = (node, where) => (node?.type === 'string' ? node.value : refuse(`${where}: want a string`));
export const list = (node, where) => (node?.type === 'array' ? node.items : refuse(`${where}: want an array`));

export function parseTrust(bytes) {
  if (bytes.length > 8 << 20) refuse('trust file: more than 8 MiB');
  const top = members(parse(bytes, { spaceAround: true }), 'trust file', ['trust', 'ledgers']);
  if (text(top.trust, 'trust') !== 'v1') refuse('trust: want "v1"');
  const items = list(top.ledgers, 'ledgers');
  if (items.length < 1 || items.length > 256) refuse('ledgers: want 1 to 256');
  const ledgers = new Map();
  for (const item of items) {
    const ledger = parseLedger(item);
    if (ledgers.has(ledger.origin)) refuse(`two ledgers of origin ${ledger.origin}`);
    ledgers.set(ledger.origin, ledger);
  }
  onePurpose(ledgers);
  return ledgers;
}

function parseLedger(item) {
  const m = members(item, 'ledger', ['policy', 'entry0'], ['actors', 'weakest_source']);
  const policy = parsePolicy(text(m.policy, 'policy'));
  const entry0 = text(m.entry0, 'entry0');
  if (!entry0.startsWith('ev_')) refuse('entry0: want an evidence ID');
  strictBase64(entry0.slice(3), 'base64url', 32);
  const actors = new Map();
  for (const a of m.actors === undefined ? [] : list(m.actors, 'actors')) {
    const { name, role, key } = members(a, 'actor', ['name', 'role', 'key']);
    const k = members(key, 'key', ['kty', 'crv', 'x']);
    if (text(k.kty, 'kty') !== 'OKP' || text(k.crv, 'crv') !== 'Ed25519') refuse('key: want an Ed25519 JWK');
    const x = text(k.x, 'x');
    if (!ed25519.goodKey(strictBase64(x, 'base64url', 32))) refuse('key: not a canonical point of prime order');
    const actor = { name: text(name, 'name'), role: text(role, 'role'), x };
    if (!isIdentifier(actor.name)) refuse('actor: name');
    if (!['root', 'runtime', 'agent', 'tool', 'human'].includes(actor.role)) refuse('actor: role');
    for (const other of actors.values()) {
      if (other.name === actor.name && (other.role !== actor.role || other.x === x)) refuse(`actor ${actor.name}: one role, each key once`);
    }
    actors.set(ed25519.thumbprint(x), actor);
  }
  const weakest = m.weakest_source && text(m.weakest_source, 'weakest_source');
  if (weakest !== undefined && !sourceOrder.includes(weakest)) refuse('weakest_source');
  return { origin: policy.log.name, policy, entry0, actors, weakest };
}

function onePurpose(ledgers) {
  const purpose = new Map();
  const use = (x, what) => {
    if ((purpose.get(x) ?? what) !== what) refuse('one key with two purposes');
    purpose.set(x, what);
  };
  for (const l of ledgers.values()) {
    use(l.policy.log.key.toString('base64url'), `log ${l.origin}`);
    for (const w of l.policy.witnesses.values()) use(w.key.toString('base64url'), 'witness');
    for (const a of l.actors.values()) use(a.x, `actor ${a.name}`);
  }
}

/** a verifier key: name+hash+base64(type ‖ key). */
function parseVkey(s, types) {
  const m = /^([^\s+]+)\+([0-9a-f]{8})\+(.+)$/.exec(s);
  if (!m) refuse(`vkey ${JSON.stringify(s)}`);
  const data = strictBase64(m[3], 'base64');
  const id = sha256(m[1], '\n', data).subarray(0, 4);
  const key = data.subarray(1);
  if (!types.includes(data[0])) refuse(`vkey of ${m[1]}: signature type ${data[0]}`);
  if (id.toString('hex') !== m[2]) refuse(`vkey of ${m[1]}: the key ID is not that of name and key`);
  if (data[0] === 6 ? key.length !== 1312 : !ed25519.goodKey(key)) refuse(`vkey of ${m[1]}: no such key`);
  return { name: m[1], id: m[2], type: data[0], key };
}

export function parsePolicy(s) {
  let log;
  let quorum;
  const witnesses = new Map();
  const groups = new Map();
  const grouped = new Set();
  const keys = new Set();
  const fresh = (name) => {
    if (name === 'none' || witnesses.has(name) || groups.has(name)) refuse(`policy: name ${name} is taken`);
    return name;
  };
  const vkey = (v, types) => {
    const k = parseVkey(v, types);
    if (keys.has(k.key.toString('hex'))) refuse('policy: two lines have the same key');
    keys.add(k.key.toString('hex'));
    return k;
  };
  for (const row of s.split('\n')) {
    const f = row.trim().split(/[ \t]+/);
    if (f[0] === '' || f[0].startsWith('#')) continue;
    if (f[0] === 'log' && (f.length === 2 || f.length === 3) && !log) log = vkey(f[1], [1]);
    else if (f[0] === 'witness' && (f.length === 3 || f.length === 4)) witnesses.set(fresh(f[1]), vkey(f[2], [4, 6]));
    else if (f[0] === 'group' && f.length >= 4) {
      const names = f.slice(3);
      const need = f[2] === 'any' ? 1 : f[2] === 'all' ? names.length : /^[1-9][0-9]*$/.test(f[2]) ? Number(f[2]) : 0;
      if (need < 1 || need > names.length) refuse('policy: threshold');
      for (const n of names) {
        if (grouped.has(n) || (!witnesses.has(n) && !groups.has(n))) refuse(`policy: member ${n}`);
        grouped.add(n);
      }
      groups.set(fresh(f[1]), { need, names });
    } else if (f[0] === 'quorum' && f.length === 2 && quorum === undefined) {
      if (f[1] !== 'none' && !witnesses.has(f[1]) && !groups.has(f[1])) refuse('policy: quorum');
      quorum = f[1];
    } else refuse(`policy: line ${JSON.stringify(row)}`);
  }
  if (!log || quorum === undefined) refuse('policy: want one log line and one quorum line');
  if (witnesses.size + groups.size > 256) refuse('policy: more than 256 witnesses and groups');
  const met = (name, good) => (groups.has(name)
    ? groups.get(name).names.filter((n) => met(n, good)).length >= groups.get(name).need
    : good.has(name));
  return { log, witnesses, quorum: (good) => quorum === 'none' || met(quorum, good) };
}

// What is white space in a key's name: Unicode's White_Space, not JavaScript's \s.
const name = '[^+\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+';
const signatureLine = new RegExp(`^— (${name}) ([A-Za-z0-9+/=]+)$`);

/** takes a signed note apart; nothing in it is verified. size is a BigInt. */
export function parseHead(note) {
  const blank = note.lastIndexOf('\n\n'); // without one nobody signed it
  const cut = blank < 0 ? note.length - 1 : blank;
  if (Buffer.byteLength(note) > 65536 || note[cut] !== '\n' || !note.isWellFormed()) refuse('tree head: no note of at most 64 KiB');
  const body = note.slice(0, cut + 1);
  const tail = note.slice(cut + 2);
  if (tail !== '' && !tail.endsWith('\n')) refuse('tree head: the last signature line has no end');
  const rows = tail.split('\n').slice(0, -1);
  if (rows.length > 256) refuse('tree head: more than 256 signatures');
  // c2sp.org/signed-note refuses more than the form: such a note is none that a log signed.
  let none = /[\x00-\x09\x0b-\x1f]/.test(note) || rows.length > 100;
  const signatures = rows.map((row) => {
    const at = row.indexOf(' ', 2);
    if (!row.startsWith('— ') || at < 3) refuse('tree head: a signature line that is none');
    const data = strictBase64(row.slice(at + 1), 'base64');
    if (data.length < 5) refuse('tree head: a signature line that is none');
    const m = signatureLine.exec(row);
    if (!m) none = true;
    return { name: m?.[1], id: data.subarray(0, 4).toString('hex'), data: data.subarray(4) };
  });
  const [origin, size, root] = body.split('\n').slice(0, -1);
  if (!origin) refuse('tree head: origin');
  if (!/^(0|[1-9][0-9]{0,18})$/.test(size ?? '') || BigInt(size) > 1n << 62n) refuse('tree head: size');
  return { origin, size: BigInt(size), root: strictBase64(root ?? '', 'base64', 32), body, signatures, none };
}

/** what a trust file says of a tree head: {answer: 'accepted'|'broken'|'undecidable', why, signed: by the log}. */
export function acceptHead(head, ledgers) {
  // The first of a key's: a line that stands twice counts once.
  const by = (k) => head.signatures.find((s) => s.name === k.name && s.id === k.id)?.data;
  const ledger = ledgers.get(head.origin);
  if (!ledger) {
    if ([...ledgers.values()].some((l) => by(l.policy.log))) return { answer: 'broken', why: 'the origin is not the name of the key that signed' };
    return { answer: 'undecidable', why: `no ledger ${head.origin} in the trust file` };
  }
  const { log, witnesses } = ledger.policy;
  const signature = by(log);
  if (!signature) {
    const known = new Set([...witnesses.values()].map((w) => `${w.name} ${w.id}`));
    if (head.signatures.every((s) => known.has(`${s.name} ${s.id}`))) return { answer: 'broken', why: 'not signed by a log' };
    return { answer: 'undecidable', why: 'signed by a key that the trust file does not have' };
  }
  if (head.none) return { answer: 'broken', why: 'no signed note' };
  if (!ed25519.verify(log.key, Buffer.from(head.body), signature)) return { answer: 'broken', why: "the log's signature does not verify" };
  if (head.size === 0n && !head.root.equals(sha256())) return { answer: 'broken', why: 'size 0 with a root' };
  const good = new Set();
  for (const [name, w] of witnesses) if (cosigned(w, by(w), head.body)) good.add(name);
  if (!ledger.policy.quorum(good)) return { answer: 'undecidable', why: 'too few witnesses cosigned', signed: true };
  return { answer: 'accepted', signed: true };
}

/** c2sp.org/tlog-cosignature. Node 20 has no ML-DSA: a cosignature of type 6 is as good as none. */
function cosigned(witness, data, body) {
  if (witness.type !== 4 || data?.length !== 72) return false;
  const message = `cosignature/v1\ntime ${data.readBigUInt64BE(0)}\n${body}`;
  return ed25519.verify(witness.key, Buffer.from(message), data.subarray(8));
}

export { Refused };
