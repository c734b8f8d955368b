// One strict I-JSON value (RFC 7493, and docs/record-format.md, "The payload").
// JSON.parse cannot be used: it takes the last of two members of one name, and
// rounds integers that a double cannot hold.

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const maxDepth = 32;

/** A file or a value is not in the one form that there is. */
export class Malformed extends Error {
  override name = 'Malformed';
}

/** A value as it was written: `text` is it, less the white space between tokens. */
export type Node =
  | { type: 'object'; members: Map<string, Node>; text: string }
  | { type: 'array'; items: Node[]; text: string }
  | { type: 'string'; value: string; text: string }
  | { type: 'number'; value: number; integer: boolean; text: string }
  | { type: 'boolean'; value: boolean; text: string }
  | { type: 'null'; value: null; text: string };
type Of<T extends Node['type']> = Extract<Node, { type: T }>;

export function refuse(message: string): never {
  throw new Malformed(message);
}

/** decodes UTF-8, refusing what is none, and keeping a byte order mark visible. */
export function utf8(bytes: Uint8Array, what = 'text'): string {
  try {
    return decoder.decode(bytes);
  } catch {
    refuse(`${what} is not UTF-8`);
  }
}

/** parses bytes that are one JSON value from first to last byte. */
export function parse(bytes: Uint8Array, { spaceAround = false } = {}): Node {
  const p = new Parser(utf8(bytes));
  if (spaceAround) p.space();
  const node = p.value(1);
  if (spaceAround) p.space();
  if (p.at !== p.s.length) refuse(`something stands behind the value, at character ${p.at}`);
  return node;
}

class Parser {
  at = 0;

  constructor(readonly s: string) {}

  space(): void {
    while (' \t\n\r'.includes(this.s[this.at] ?? 'x')) this.at++;
  }

  expect(c: string): void {
    if (this.s[this.at] !== c) refuse(`want ${c} at character ${this.at}, found ${JSON.stringify(this.s[this.at] ?? 'the end')}`);
    this.at++;
  }

  value(depth: number): Node {
    const c = this.s[this.at];
    if (c === '{' || c === '[') {
      if (depth > maxDepth) refuse(`more than ${maxDepth} levels`);
      return c === '{' ? this.object(depth) : this.array(depth);
    }
    if (c === '"') return this.string();
    if (this.word('null')) return { type: 'null', value: null, text: 'null' };
    if (this.word('true')) return { type: 'boolean', value: true, text: 'true' };
    if (this.word('false')) return { type: 'boolean', value: false, text: 'false' };
    return this.number();
  }

  word(word: string): boolean {
    const there = this.s.startsWith(word, this.at);
    if (there) this.at += word.length;
    return there;
  }

  object(depth: number): Of<'object'> {
    const members = new Map<string, Node>();
    const texts: string[] = [];
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

  array(depth: number): Of<'array'> {
    const items: Node[] = [];
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

  string(): Of<'string'> {
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
        value += '"\\/\b\f\n\r\t'.charAt(i);
      }
    }
    if (/\p{Cs}/u.test(value)) refuse('an unpaired surrogate');
    for (const c of value) {
      const p = c.codePointAt(0) ?? 0;
      if ((p >= 0xfdd0 && p <= 0xfdef) || (p & 0xfffe) === 0xfffe) refuse(`noncharacter U+${p.toString(16)}`);
    }
    return { type: 'string', value, text: this.s.slice(start, this.at) };
  }

  number(): Of<'number'> {
    const pattern = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    pattern.lastIndex = this.at;
    const m = pattern.exec(this.s);
    if (!m) refuse(`want a value at character ${this.at}`);
    this.at += m[0].length;
    const [text, , point, exponent] = m as unknown as [string, string, string | undefined, string | undefined];
    const integer = point === undefined && exponent === undefined;
    const value = Number(text);
    const zero = !/[1-9]/.test(text.replace(/[eE].*/, ''));
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER) refuse(`${text} is beyond 2^53 - 1`);
    if (!integer && text.length > 64) refuse('a number of more than 64 bytes');
    if (zero && (text[0] === '-' || exponent !== undefined)) refuse(`${text}: a zero is written without sign and exponent`);
    if (!zero && value === 0) refuse(`${text} is nearer to zero than a double can be`);
    return { type: 'number', value, integer, text };
  }
}
