// What a contract asks of a value: JSON, and matchers in it (docs/rules.md, "Matchers").
import { refuse } from './ijson.mjs';
import { compare, decimal, equal, partOf } from './values.mjs';

export const no = 0;
export const perhaps = 1;
export const yes = 2;
const truth = (b) => (b ? yes : no);
const least = (list) => list.reduce((a, b) => Math.min(a, b), yes);

export const isMatcher = (n) => n.type === 'object' && n.members.size > 0 && [...n.members.keys()].every((name) => name.startsWith('$'));
const literal = (n) => !isMatcher(n) && [...(n.members?.values() ?? []), ...(n.items ?? [])].every(literal);

/** a JSON pointer as a list of names. */
function pointer(node, where) {
  if (node?.type !== 'string' || Buffer.byteLength(node.value) > 1024 || !/^(\/([^~]|~[01])*)?$/s.test(node.value)) refuse(`${where}: want a JSON pointer`);
  return node.value.split('/').slice(1).map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function reference(node, where, uses) {
  const [input, output, of] = ['$input', '$output', '$of'].map((name) => node.members.get(name));
  if (input && (output || of)) refuse(`${where}: input and output`);
  if (input) {
    uses.input = true;
    return { path: pointer(input, `${where}/$input`) };
  }
  if (!output || of?.type !== 'string' || !/^[!-~]{1,256}$/.test(of.value)) refuse(`${where}: want $output with $of`);
  if (!uses.outputs) refuse(`${where}: no output can be referred to here`);
  if (uses.of !== undefined && uses.of !== of.value) refuse(`${where}: outputs of two`);
  uses.of = of.value;
  return { of: of.value, path: pointer(output, `${where}/$output`) };
}

function operand(node, where, uses, type) {
  if (node.type === type) return { value: node };
  if (!isMatcher(node) || ![...node.members.keys()].every((name) => ['$input', '$output', '$of'].includes(name))) refuse(`${where}: want a ${type} or a reference`);
  return reference(node, where, uses);
}

/** reads a value of a contract; mayMiss: there may be none in its place. uses collects what it refers to. */
export function readPattern(node, where, uses, mayMiss = false) {
  if (literal(node)) return { literal: node };
  if (node.type === 'array') return { items: node.items.map((n, i) => readPattern(n, `${where}/${i}`, uses)) };
  if (!isMatcher(node)) return { members: new Map([...node.members].map(([name, n]) => [name, readPattern(n, `${where}/${name}`, uses, true)])) };
  const m = {};
  for (const [name, n] of node.members) {
    const at = `${where}/${name}`;
    switch (name) {
      case '$exists':
        if (n.type !== 'boolean' || !mayMiss || (!n.value && node.members.size > 1)) refuse(`${at}: not here, or not so`);
        m.exists = n.value;
        break;
      case '$value':
        m.value = { literal: n };
        break;
      case '$least': case '$most': case '$above': case '$below':
        m[name] = operand(n, at, uses, 'number');
        break;
      case '$prefix':
        m[name] = operand(n, at, uses, 'string');
        break;
      case '$in':
        if (n.type !== 'array' || n.items.length < 1 || n.items.length > 1000) refuse(`${at}: want 1 to 1000 values`);
        m.in = n.items.map((x, i) => readPattern(x, `${at}/${i}`, uses));
        break;
      case '$not':
        m.not = readPattern(n, at, uses);
        break;
      case '$input': case '$output': case '$of':
        m.same ??= reference(node, where, uses);
        break;
      default:
        refuse(`${at}: no such matcher`);
    }
  }
  return { matcher: m };
}

/** one text for patterns that are alike. */
export function keyOf(node) {
  if (node === undefined) return '-';
  if (node.type === 'number') return decimal(node.text);
  if (node.type === 'array') return `[${node.items.map(keyOf)}]`;
  if (node.type === 'object') return `{${[...node.members].map(([name, n]) => `${JSON.stringify(name)}:${keyOf(n)}`).sort()}}`;
  return JSON.stringify(node.value);
}

const inside = (node, path) => path.reduce((n, name) => {
  if (n?.type === 'object') return n.members.get(name);
  if (n?.type === 'array') return /^(0|[1-9][0-9]*)$/.test(name) ? n.items[Number(name)] : undefined;
  return undefined;
}, node);

/** what stands at a place of a payload, and whether that is known. A payload is {known, value, clear}. */
function at(payload, path) {
  if (payload.known) return { known: true, value: inside(payload.value, path) };
  const clear = path.length > 0 && payload.clear?.members.has(path[0]);
  return clear ? { known: true, value: inside(payload.clear, path) } : { known: false };
}

const ranges = { $least: (c) => c >= 0, $most: (c) => c <= 0, $above: (c) => c > 0, $below: (c) => c < 0 };

/** whether a value (undefined: there is none) is what a pattern asks for. refers is {input, output}: payloads. */
export function fits(p, v, whole, refers) {
  if (p.matcher) return matches(p.matcher, v, whole, refers);
  if (v === undefined) return no;
  if (p.literal) return truth(whole ? equal(p.literal, v) : partOf(p.literal, v));
  if (p.items) return v.type === 'array' && v.items.length === p.items.length ? least(p.items.map((q, i) => fits(q, v.items[i], true, refers))) : no;
  if (v.type !== 'object' || (whole && [...v.members.keys()].some((name) => !p.members.has(name)))) return no;
  return least([...p.members].map(([name, q]) => fits(q, v.members.get(name), whole, refers)));
}

function matches(m, v, whole, refers) {
  if (v === undefined) return truth(m.exists === false);
  if (m.exists === false) return no;
  const all = [];
  if (m.value) all.push(fits(m.value, v, whole, refers));
  if (m.in) all.push(Math.max(...m.in.map((q) => fits(q, v, whole, refers))));
  if (m.not) all.push(yes - fits(m.not, v, whole, refers));
  const test = (o, holds) => {
    if (!o) return;
    const w = o.value ? { known: true, value: o.value } : at(o.of === undefined ? refers.input : refers.output, o.path);
    all.push(w.known ? truth(w.value !== undefined && holds(w.value)) : perhaps);
  };
  test(m.same, (w) => equal(v, w));
  for (const [name, holds] of Object.entries(ranges)) test(m[name], (w) => v.type === 'number' && w.type === 'number' && holds(compare(v, w)));
  test(m.$prefix, (w) => v.type === 'string' && w.type === 'string' && v.value.startsWith(w.value));
  return least(all);
}

/** whether a payload is what a pattern asks for. */
export function payloadFits(p, payload, whole, refers) {
  if (payload.known) return payload.value === undefined ? no : fits(p, payload.value, whole, refers);
  if (!payload.clear || p.matcher) return perhaps;
  const asked = p.members ?? (p.literal?.type === 'object' ? new Map([...p.literal.members].map(([name, n]) => [name, { literal: n }])) : undefined);
  if (!asked) return no; // what has members in the clear is an object
  if (whole && [...payload.clear.members.keys()].some((name) => !asked.has(name))) return no;
  const all = [...asked].map(([name, q]) => (payload.clear.members.has(name) ? fits(q, payload.clear.members.get(name), whole, refers) : perhaps));
  return Math.min(least(all), whole ? perhaps : yes);
}
