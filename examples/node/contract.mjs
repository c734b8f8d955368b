// Contracts (docs/rules.md, "Contracts").
import { sha256 } from './encoding.mjs';
import { parse, refuse } from './ijson.mjs';
import { isMatcher, keyOf, readPattern } from './patterns.mjs';
import { isIdentifier } from './record.mjs';
import { list, members, sourceOrder, text } from './trust.mjs';
import { canonical } from './values.mjs';

const identifier = (node, where) => (isIdentifier(text(node, where)) ? node.value : refuse(`${where}: want an identifier`));
const optional = (f, node, where) => (node === undefined ? undefined : f(node, where));
const payloads = ['resource', 'input', 'input_has', 'output', 'output_has'];
const conditions = ['when', 'unless'];

/** action, resource, input and output of an item. uses.outputs: it may refer to the outputs of others. */
function whatever(m, where, uses) {
  const found = { action: optional(identifier, m.action, `${where}/action`), runs: optional(text, m.runs, `${where}/runs`), uses };
  if (found.runs !== undefined && found.runs !== 'given' && found.runs !== 'all') refuse(`${where}/runs: want given or all`);
  if (m.input && m.input_has) refuse(`${where}: input and input_has`);
  if (m.output && m.output_has) refuse(`${where}: output and output_has`);
  if (m.resource && !isMatcher(m.resource)) identifier(m.resource, `${where}/resource`);
  for (const name of payloads) if (m[name]) found[name] = readPattern(m[name], `${where}/${name}`, uses, name === 'resource');
  found.key = JSON.stringify([found.action, found.runs, ...payloads.map((name) => keyOf(m[name]))]);
  return found;
}

function condition(node, where, strict, known) {
  const m = members(node, where, [], ['input', 'input_has', 'succeeded']);
  if (node.members.size === 0 || (m.input && m.input_has)) refuse(`${where}: want one of input and input_has, succeeded, or both`);
  const uses = {};
  const found = { strict, uses };
  for (const name of ['input', 'input_has']) if (m[name]) found[name] = readPattern(m[name], `${where}/${name}`, uses);
  if (m.succeeded) found.succeeded = whatever(members(m.succeeded, `${where}/succeeded`, ['action'], [...payloads, 'runs']), `${where}/succeeded`, uses);
  found.key = JSON.stringify([strict, keyOf(m.input), keyOf(m.input_has), found.succeeded?.key]);
  const same = known.find((k) => k.key === found.key);
  if (same) return same;
  if (known.push(found) > 8) refuse(`${where}: more than 8 conditions`);
  return found;
}

function times(node, where) {
  const number = (n, from, to) => (n.type === 'number' && n.integer && n.value >= from && n.value <= to ? n.value : refuse(`${where}: want ${from} to ${to}`));
  if (node === undefined) return { least: 1, most: 1 };
  if (node.type !== 'object') {
    const n = number(node, 1, 1000);
    return { least: n, most: n };
  }
  const m = members(node, where, [], ['least', 'most']);
  const least = m.least ? number(m.least, 0, 1000) : 0;
  if (!m.most && least === 0) refuse(`${where}: want least, most or both`);
  return { least, most: m.most ? number(m.most, Math.max(1, least), 1000) : Infinity };
}

/** one item of expects or forbids; of an assertion where known is absent. */
export function item(node, where, required, others, known) {
  const m = members(node, where, required, others);
  const found = { ...whatever(m, where, { outputs: known !== undefined }), ...times(m.times, `${where}/times`) };
  const names = (n, at) => list(n, at).map((a) => identifier(a, at));
  found.after = optional(names, m.after, `${where}/after`) ?? [];
  found.after_last = optional(names, m.after_last, `${where}/after_last`) ?? [];
  found.as = optional(identifier, m.as, `${where}/as`);
  for (const name of conditions) if (m[name]) found[name] = condition(m[name], `${where}/${name}`, name === 'unless', known);
  found.key = JSON.stringify([found.key, found.as, [...new Set(found.after)].sort(), [...new Set(found.after_last)].sort(), found.when?.key, found.unless?.key]);
  return found;
}

const items = (node, where, others, known) => {
  const found = optional(list, node, where) ?? [];
  if (found.length > 1000) refuse(`${where}: more than 1000`);
  return found.map((n, i) => item(n, `${where}/${i}`, ['action'], others, known));
};

export function parseContract(bytes) {
  if (bytes.length > 1 << 20) refuse('contract: more than 1 MiB');
  const node = parse(bytes, { spaceAround: true, plain: true });
  const digest = sha256(canonical(node)).toString('base64url');
  const m = members(node, '', ['contract', 'task'], ['weakest_source', 'expects', 'forbids', 'only']);
  if (text(m.contract, '/contract') !== 'v1') refuse('/contract: want "v1"');
  identifier(m.task, '/task');
  const weakest = m.weakest_source ? text(m.weakest_source, '/weakest_source') : 'runtime';
  if (!sourceOrder.includes(weakest)) refuse('/weakest_source');
  const known = [];
  const expects = items(m.expects, '/expects', [...payloads, ...conditions, 'runs', 'times', 'as', 'after', 'after_last'], known);
  const forbids = items(m.forbids, '/forbids', [...payloads, ...conditions, 'runs'], known);
  const only = (optional(list, m.only, '/only') ?? []).map((n) => identifier(n, '/only'));
  if (new Set(only).size < only.length) refuse('/only: an action twice');
  if (only.length > 1000 || expects.reduce((n, e) => n + (e.most === Infinity ? e.least : e.most), 0) > 10000) refuse('contract: too many');
  for (const e of expects) if (e.most !== Infinity && e.most !== e.least && (e.runs || !only.includes(e.action))) refuse(`times: most of ${e.action}, which is not in only`);
  const names = expects.flatMap((e) => e.as ?? []);
  if (new Set(names).size < names.length) refuse('as: a name twice');
  for (const e of [...expects, ...forbids]) if (e.uses.of !== undefined && !names.includes(e.uses.of)) refuse(`$of: no item is called ${e.uses.of}`);
  for (const e of expects) for (const a of e.after) if (!expects.some((f) => f.action === a)) refuse(`after ${a}: want the action of another item`);
  inTurn(expects);
  return { weakest, expects: merge(expects), forbids, only, asksForNothing: !m.only && expects.length + forbids.length === 0, conditions: known, digest };
}

/** items that are alike are one. */
function merge(expects) {
  const found = new Map();
  for (const e of expects) {
    const same = found.get(e.key);
    if (same) Object.assign(same, { least: same.least + e.least, most: same.most + e.most });
    else found.set(e.key, e);
  }
  return [...found.values()];
}

/** those that an item waits for. */
export const waitsFor = (e, expects) => expects.filter((f) => e.after.includes(f.action) || (f.as !== undefined && f.as === e.uses.of));

/** expects, each after those that it waits for. */
export function inTurn(expects) {
  const state = new Map();
  const order = [];
  const visit = (e) => {
    if (state.get(e) === 'done') return;
    if (state.get(e) === 'open') refuse('after: a circle');
    state.set(e, 'open');
    waitsFor(e, expects).forEach(visit);
    state.set(e, 'done');
    order.push(e);
  };
  expects.forEach(visit);
  return order;
}
