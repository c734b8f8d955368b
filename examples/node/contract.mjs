// Contracts (docs/rules.md, "Contracts").
import { sha256 } from './encoding.mjs';
import { parse, refuse } from './ijson.mjs';
import { isIdentifier } from './record.mjs';
import { list, members, sourceOrder, text } from './trust.mjs';
import { canonical } from './values.mjs';

const identifier = (node, where) => (isIdentifier(text(node, where)) ? node.value : refuse(`${where}: want an identifier`));
const optional = (f, node, where) => (node === undefined ? undefined : f(node, where));

function items(node, where, required, others) {
  const found = optional(list, node, where) ?? [];
  if (found.length > 1000) refuse(`${where}: more than 1000`);
  return found.map((n, i) => item(n, `${where}/${i}`, required, others));
}

/** one item of expects or forbids. */
export function item(node, where, required = ['action'], others = ['resource', 'input', 'input_has', 'output_has', 'times', 'after']) {
  const m = members(node, where, required, others);
  if (m.input && m.input_has) refuse(`${where}: input and input_has`);
  const times = m.times ? (m.times.integer && m.times.value >= 1 && m.times.value <= 1000 ? m.times.value : refuse(`${where}/times`)) : 1;
  const after = m.after ? list(m.after, where).map((n) => identifier(n, where)) : [];
  return { ...m, action: optional(identifier, m.action, where), resource: optional(identifier, m.resource, where), times, after };
}

export function parseContract(bytes) {
  if (bytes.length > 1 << 20) refuse('contract: more than 1 MiB');
  const node = parse(bytes, { spaceAround: true, plain: true });
  const digest = sha256(canonical(node)).toString('base64url');
  const m = members(node, '', ['contract', 'task'], ['weakest_source', 'expects', 'forbids', 'only']);
  if (text(m.contract, '/contract') !== 'v1') refuse('/contract: want "v1"');
  identifier(m.task, '/task');
  const weakest = m.weakest_source ? text(m.weakest_source, '/weakest_source') : 'runtime';
  if (!sourceOrder.includes(weakest)) refuse('/weakest_source');
  const expects = items(m.expects, '/expects');
  const forbids = items(m.forbids, '/forbids', ['action'], ['resource', 'input', 'input_has', 'output_has']);
  const only = (optional(list, m.only, '/only') ?? []).map((n) => identifier(n, '/only'));
  if (only.length > 1000 || expects.reduce((n, e) => n + e.times, 0) > 10000) refuse('contract: too many');
  noCircle(expects);
  return { weakest, expects, forbids, only, digest };
}

function noCircle(expects) {
  const names = new Set(expects.map((e) => e.action));
  const next = new Map();
  for (const e of expects) {
    for (const a of e.after) if (!names.has(a) || a === e.action) refuse(`after ${a}: want the action of another item`);
    next.set(e.action, [...(next.get(e.action) ?? []), ...e.after]);
  }
  const state = new Map();
  const visit = (a) => {
    if (state.get(a) === 'done') return;
    if (state.get(a) === 'open') refuse('after: a circle');
    state.set(a, 'open');
    next.get(a)?.forEach(visit);
    state.set(a, 'done');
  };
  names.forEach(visit);
}
