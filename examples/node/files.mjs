// Receipts and bundles as files (docs/bundle-format.md): parsed strictly, and
// the tree recomputed from them. What the records say is for rules.mjs.
import { leafHash, nodeHash, sha256, strictBase64 } from './encoding.mjs';
import { parse, refuse, utf8 } from './ijson.mjs';
import { maxEntry, scalars } from './record.mjs';
import { members, parseHead } from './trust.mjs';

const fileStart = { receipt: 'c2sp.org/tlog-proof@', bundle: '{"bundle":' };

export function formOf(bytes) {
  for (const [form, start] of Object.entries(fileStart)) {
    if (bytes.subarray(0, start.length).toString('latin1') === start) return form;
  }
  return refuse('neither a receipt nor a bundle');
}

export function parseReceipt(bytes) {
  const s = utf8(bytes);
  const m = /^c2sp\.org\/tlog-proof@v1\nextra ([A-Za-z0-9+/=]+)\nindex (0|[1-9][0-9]*)\n((?:[A-Za-z0-9+/=]+\n){0,63})\n([^]*)$/.exec(s);
  if (!m) refuse('not a tlog-proof with an extra line');
  const jws = strictBase64(m[1], 'base64');
  if (jws.length > maxEntry) refuse('a record of more than 65,535 bytes');
  const index = BigInt(m[2]);
  if (index >= 1n << 64n) refuse('index: too great');
  const hashes = m[3].split('\n').slice(0, -1).map((h) => strictBase64(h, 'base64', 32));
  return { jws, index, hashes, head: parseHead(m[4]) };
}

/** RFC 9162, section 2.1.3.2 (the proofs are those of RFC 6962, section 2.1.1): null where included, or what is wrong. */
export function notIncluded({ jws, index, hashes, head }) {
  if (index >= head.size) return 'the index is not below the size';
  let fn = index;
  let sn = head.size - 1n;
  let r = leafHash(jws);
  for (const p of hashes) {
    if (sn === 0n) return 'a hash too many';
    if (fn & 1n || fn === sn) {
      r = nodeHash(p, r);
      while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else r = nodeHash(r, p);
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  if (sn !== 0n) return 'too few hashes';
  return r.equals(head.root) ? null : 'another root';
}

// A line in its one spelling is what JSON.stringify writes for it: both escape
// only what has to be, and all integers here are below 2^53.
function parseLine(bytes) {
  if (bytes.length > 163840) refuse('a line of more than 163,840 bytes');
  const node = parse(bytes);
  const line = JSON.parse(bytes.toString());
  if (JSON.stringify(line) !== bytes.toString()) refuse('a line in another spelling');
  return { node, line };
}

const count = (v, where) => (Number.isSafeInteger(v) && v >= 0 ? v : refuse(`${where}: want an integer`));
const string = (v, where) => (typeof v === 'string' ? v : refuse(`${where}: want a string`));

/** an object with exactly these members in this order; a name with ? may be absent. */
function shape(node, where, ...names) {
  const required = names.filter((n) => !n.endsWith('?'));
  members(node, where, required, names.filter((n) => n.endsWith('?')).map((n) => n.slice(0, -1)));
  const order = names.map((n) => n.replace('?', '')).filter((n) => node.members.has(n));
  if ([...node.members.keys()].join() !== order.join()) refuse(`${where}: members in another order`);
}

const abouts = { run: ['run'], range: ['from', 'to'], record: ['record'], offer: ['record'] };

export function parseBundle(bytes) {
  if (bytes.at(-1) !== 0x0a) refuse('the last line has no end');
  const lines = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0x0a, at);
    lines.push(parseLine(bytes.subarray(at, end)));
    at = end + 1;
  }
  let at = 0;
  const is = (name) => at < lines.length && lines[at].node.type === 'object' && lines[at].node.members.keys().next().value === name;
  const next = (name, ...names) => {
    if (!is(name)) refuse(`line ${at + 1}: want ${name}`);
    const { node, line } = lines[at++];
    if (name === 'bundle') shape(node, name, 'bundle', 'origin', 'about');
    else shape(node, name, name);
    if (names.length > 0) shape(node.members.get(name), name, ...names);
    return name === 'bundle' ? { ...line, aboutNode: node.members.get('about') } : line[name];
  };

  const header = next('bundle');
  if (header.bundle !== 'v1') refuse('bundle: want "v1"');
  if (!scalars.origin(string(header.origin, 'origin'))) refuse('origin: no name of a ledger');
  const { about } = header;
  if (!Object.hasOwn(abouts, about?.kind ?? '')) refuse('about: kind');
  shape(header.aboutNode, 'about', 'kind', ...abouts[about.kind]);
  if (about.kind === 'range') {
    if (count(about.from, 'from') >= count(about.to, 'to')) refuse('about: an empty range');
  } else if (!scalars[about.kind === 'run' ? 'run ID' : 'evidence ID'](string(about[abouts[about.kind][0]], 'about'))) {
    refuse('about: no run ID or evidence ID');
  }

  const heads = [];
  while (is('head')) heads.push({ ...parseHead(string(next('head'), 'head')) });
  if (heads.length < 1 || heads.length > 64) refuse('want 1 to 64 tree heads');
  if (heads.some((h, i) => i > 0 && h.size < heads[i - 1].size)) refuse('tree heads: sizes fall');
  if (heads.at(-1).size >= 1n << 53n) refuse('tree head: this program counts to 2^53');
  const cuts = heads.map((h) => Number(h.size));
  const size = cuts.at(-1);

  // Nodes are pushed as "Checking in one pass" says; roots are taken on the way.
  const stack = [];
  const roots = new Map([[0, sha256()]]);
  let reached = 0;
  const push = (lo, hi, hash) => {
    stack.push({ lo, hi, hash });
    for (;;) {
      const [a, b] = [stack.at(-2), stack.at(-1)];
      const w = b.hi - b.lo;
      if (!a || a.hi - a.lo !== w || !Number.isInteger(Math.log2(w)) || a.lo % (2 * w) !== 0) break;
      stack.splice(-2, 2, { lo: a.lo, hi: b.hi, hash: nodeHash(a.hash, b.hash) });
    }
    reached = hi;
    if (cuts.includes(hi)) roots.set(hi, stack.reduceRight((h, e) => (h ? nodeHash(e.hash, h) : e.hash), null));
  };
  const nodes = (left, until) => {
    const hashes = left === undefined ? [] : Array.isArray(left) && left.length > 0 ? left.map((h) => strictBase64(string(h, 'left'), 'base64url', 32)) : refuse('left: want a list');
    const places = between(reached, Math.min(until, size), cuts, size);
    if (places.length !== hashes.length) refuse(`left: want ${places.length} nodes, found ${hashes.length}`);
    places.forEach(([lo, hi], i) => push(lo, hi, hashes[i]));
  };

  const records = [];
  let payloads = 0;
  while (is('record')) {
    const r = next('record', 'index', 'left?', 'jws');
    count(r.index, 'index');
    if (records.length > 0 && r.index <= records.at(-1).index) refuse('indexes do not rise');
    const jws = string(r.jws, 'jws');
    if (jws.length < 1 || Buffer.byteLength(jws) > maxEntry) refuse('jws: want 1 to 65,535 bytes');
    // Broken rather than malformed: what follows is not read.
    if (r.index >= size) return { origin: header.origin, about, heads, records: [...records, { index: r.index, disclosed: [] }], size, roots, beyond: true };
    nodes(r.left, r.index);
    push(r.index, r.index + 1, leafHash(jws));
    const record = { index: r.index, jws, disclosed: [] };
    records.push(record);
    let last = null;
    while (is('payload')) {
      const p = next('payload', 'commit', 'size', 'salt');
      const commit = strictBase64(string(p.commit, 'commit'), 'base64url', 32);
      const salt = strictBase64(string(p.salt, 'salt'), 'base64url', 32);
      if (last && Buffer.compare(last, commit) >= 0) refuse('payloads: in the order of their commitments, none twice');
      last = commit;
      const chunks = [];
      for (let left = count(p.size, 'size'); left > 0; left -= 49152) {
        chunks.push(strictBase64(string(next('data'), 'data'), 'base64url', Math.min(left, 49152)));
      }
      record.disclosed.push({ commit: p.commit, size: p.size, salt, bytes: Buffer.concat(chunks) });
      if (record.disclosed.length > 4096) refuse('more than 4,096 payloads with one record');
      payloads++;
    }
  }
  if (records.length === 0) refuse('want a record');
  const end = next('end', 'left?', 'heads', 'records', 'payloads');
  nodes(end.left, size);
  if (end.heads !== heads.length || end.records !== records.length || end.payloads !== payloads) refuse('end: counts other lines');
  if (at !== lines.length) refuse('something follows the end');
  if (about.kind === 'range') {
    const inside = records.filter((r) => r.index >= about.from && r.index < about.to).length;
    if (about.to > size || inside !== about.to - about.from) refuse('an index of the range is missing');
  }
  return { origin: header.origin, about, heads, records, size, roots, beyond: false };
}

const bits = (n) => {
  let p = 1;
  while (n % (p * 2) === 0) p *= 2;
  return p;
};

/** the places of the nodes from lo to index ("Nodes"). */
function between(lo, index, cuts, size) {
  const places = [];
  for (const cut of [...cuts, index]) {
    const end = Math.min(cut, index);
    while (lo < end) {
      let hi;
      if (end === size) hi = lo === 0 ? end : Math.min(lo + bits(lo), end);
      else {
        let w = 1;
        while (w * 2 <= end - lo && lo % (w * 2) === 0) w *= 2;
        hi = lo + w;
      }
      places.push([lo, hi]);
      lo = hi;
    }
  }
  return places;
}
