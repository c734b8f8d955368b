// JSON values as docs/rules.md compares them, and in the one form of RFC 8785.
import { refuse } from './ijson.mjs';

/** an exact decimal in one spelling: sign, digits without zeros at either end, exponent. */
export function decimal(text) {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text);
  const digits = (whole + fraction).replace(/^0+/, '');
  const kept = digits.replace(/0+$/, '');
  if (kept === '') return '0';
  return `${sign}${kept}e${BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - kept.length)}`;
}

export function equal(a, b) {
  if (a.type !== b.type) return false;
  if (a.type === 'number') return decimal(a.text) === decimal(b.text);
  if (a.type === 'array') return a.items.length === b.items.length && a.items.every((x, i) => equal(x, b.items[i]));
  if (a.type === 'object') {
    return a.members.size === b.members.size && [...a.members].every(([name, x]) => b.members.has(name) && equal(x, b.members.get(name)));
  }
  return a.value === b.value;
}

/** whether part is a part of whole: of an object some members, of anything else the whole. */
export function partOf(part, whole) {
  if (part.type !== 'object' || whole.type !== 'object') return equal(part, whole);
  return [...part.members].every(([name, x]) => whole.members.has(name) && partOf(x, whole.members.get(name)));
}

/** RFC 8785. Refuses a number whose value it would change. */
export function canonical(node) {
  switch (node.type) {
    case 'number':
      if (decimal(node.text) !== decimal(String(Number(node.text)).replace('Infinity', '0'))) refuse(`${node.text} would change in canonical form`);
      return JSON.stringify(Number(node.text));
    case 'array':
      return `[${node.items.map(canonical).join(',')}]`;
    case 'object':
      return `{${[...node.members].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, x]) => `${JSON.stringify(name)}:${canonical(x)}`).join(',')}}`;
    default:
      return JSON.stringify(node.value);
  }
}

/** RFC 8785 of a plain JavaScript value; undefined members and empty lists are left out. */
export function write(v) {
  if (Array.isArray(v)) return `[${v.map(write).join(',')}]`;
  if (v === null || typeof v !== 'object') return JSON.stringify(v);
  const names = Object.keys(v).filter((n) => v[n] !== undefined && !(Array.isArray(v[n]) && v[n].length === 0)).sort();
  return `{${names.map((n) => `${JSON.stringify(n)}:${write(v[n])}`).join(',')}}`;
}

/** orders two numbers by their exact values. */
export function compare(a, b) {
  const [x, y] = [a, b].map((n) => /^(-?)([0-9]+)(?:e(-?[0-9]+))?$/.exec(decimal(n.text)));
  const sign = (m) => (m[2] === '0' ? 0 : m[1] ? -1 : 1);
  if (sign(x) !== sign(y)) return sign(x) - sign(y);
  if (sign(x) === 0) return 0;
  const size = (m) => BigInt(m[3]) + BigInt(m[2].length); // where the first digit stands
  const first = size(x) === size(y) ? (x[2] < y[2] ? -1 : x[2] > y[2] ? 1 : 0) : size(x) < size(y) ? -1 : 1;
  return sign(x) * first;
}
