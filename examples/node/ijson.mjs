// One strict I-JSON value (RFC 7493, and docs/record-format.md, "The payload").
// JSON.parse cannot be used: it takes the last of two members of one name, and
// rounds integers that a double cannot hold.

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const maxDepth = 32;

export class Refused extends Error {}

export function refuse(message) {
  throw new Refused(message);
}

/** decodes UTF-8, refusing what is none, and keeping a byte order mark visible. */
export function utf8(bytes, what = 'text') {
  try {
    return decoder.decode(bytes);
  } catch {
    refuse(`${what} is not UTF-8`);
  }
}

/**
 * parses bytes that are one JSON value from first to last byte.
 *
 * A node is {type, text} and, by type: `members` (a Map), `items`, `value`.
 * `text` is the value as it was written, less the white space between tokens.
 * plain: any JSON number counts, as in payloads and contracts.
 */
export function parse(bytes, { spaceAround = false, plain = false } = {}) {
  const p = new Parser(utf8(bytes), plain);
  if (spaceAround) p.space();
  const node = p.value(1);
  if (spaceAround) p.space();
  if (p.at !== p.s.length) refuse(`something stands behind the value, at character ${p.at}`);
  return node;
}

class Parser {
  constructor(s, plain) {
    this.s = s;
    this.plain = plain;
    this.at = 0;
  }

  space() {
    while (' \t\n\r'.includes(this.s[this.at] ?? 'x')) this.at++;
  }

  expect(c) {
    if (this.s[this.at] !== c) refuse(`want ${c} at character ${this.at}, found ${JSON.stringify(this.s[this.at] ?? 'the end')}`);
    this.at++;
  }

  value(depth) {
    const c = this.s[this.at];
    if (c === '{' || c === '[') {
      if (depth > maxDepth) refuse(`more than ${maxDepth} levels`);
      return c === '{' ? this.object(depth) : this.array(depth);
    }
    if (c === '"') return this.string();
    for (const [word, value] of [['null', null], ['true', true], ['false', false]]) {
      if (this.s.startsWith(word, this.at)) {
        this.at += word.length;
        return { type: word === 'null' ? 'null' : 'boolean', value, text: word };
      }
    }
    return this.number();
  }

  object(depth) {
    const members = new Map();
    const texts = [];
    this.at++;
    this.space();
    if (this.s[this.at] === '}') {
      this.at++;
      return { type: 'object', members, text: '{}' };
    }
    for (;;) {
      if (this.s[this.at] !== '"') refuse(`want a member name at character ${this.at}`);
      const name = this.string();
      if (members.has(name.value)) refuse(`member ${JSON.stringify(name.value)} stands twice`);
      this.space();
      this.expect(':');
      this.space();
      const v = this.value(depth + 1);
      members.set(name.value, v);
      texts.push(`${name.text}:${v.text}`);
      this.space();
      if (this.s[this.at] !== ',') break;
      this.at++;
      this.space();
    }
    this.expect('}');
    return { type: 'object', members, text: `{${texts.join(',')}}` };
  }

  array(depth) {
    const items = [];
    this.at++;
    this.space();
    if (this.s[this.at] === ']') {
      this.at++;
      return { type: 'array', items, text: '[]' };
    }
    for (;;) {
      items.push(this.value(depth + 1));
      this.space();
      if (this.s[this.at] !== ',') break;
      this.at++;
      this.space();
    }
    this.expect(']');
    return { type: 'array', items, text: `[${items.map((i) => i.text).join(',')}]` };
  }

  string() {
    const start = this.at++;
    let value = '';
    for (;;) {
      const c = this.s[this.at++];
      if (c === undefined) refuse('a string without an end');
      if (c === '"') break;
      if (c < ' ') refuse('a control character in a string');
      if (c !== '\\') {
        value += c;
        continue;
      }
      const e = this.s[this.at++];
      if (e === 'u') {
        const hex = this.s.slice(this.at, this.at + 4);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) refuse('\\u without four hexadecimal digits');
        value += String.fromCharCode(parseInt(hex, 16));
        this.at += 4;
      } else {
        const i = '"\\/bfnrt'.indexOf(e ?? ' ');
        if (i < 0) refuse('an escape that JSON does not have');
        value += '"\\/\b\f\n\r\t'[i];
      }
    }
    if (!value.isWellFormed()) refuse('an unpaired surrogate');
    for (const c of value) {
      const p = c.codePointAt(0);
      if ((p >= 0xfdd0 && p <= 0xfdef) || (p & 0xfffe) === 0xfffe) refuse(`noncharacter U+${p.toString(16)}`);
    }
    return { type: 'string', value, text: this.s.slice(start, this.at) };
  }

  number() {
    const pattern = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    pattern.lastIndex = this.at;
    const m = pattern.exec(this.s);
    if (!m) refuse(`want a value at character ${this.at}`);
    this.at += m[0].length;
    const [text, , point, exponent] = m;
    const integer = point === undefined && exponent === undefined;
    const value = Number(text);
    const zero = !/[1-9]/.test(text.replace(/[eE].*/, ''));
    if (this.plain) return { type: 'number', value, integer, text };
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER) refuse(`${text} is beyond 2^53 - 1`);
    if (!integer && text.length > 64) refuse('a number of more than 64 bytes');
    if (zero && (text[0] === '-' || exponent !== undefined)) refuse(`${text}: a zero is written without sign and exponent`);
    if (!zero && value === 0) refuse(`${text} is nearer to zero than a double can be`);
    return { type: 'number', value, integer, text };
  }
}
