// Keys and signatures as docs/record-format.md, "Keys and signatures", has them.
//
// node:crypto does the signature equation. What it leaves open is decided here:
// which encodings of a key count, that the key has prime order, that R has not
// small order, and that S is reduced.
import { createPublicKey, verify as nodeVerify } from 'node:crypto';
import { sha256 } from './encoding.js';

type Point = [bigint, bigint, bigint, bigint];

const p = 2n ** 255n - 19n;
const order = 2n ** 252n + 27742317777372353535851937790883648493n;
const mod = (a: bigint): bigint => ((a % p) + p) % p;

function power(base: bigint, exponent: bigint): bigint {
  let r = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = (b * b) % p) if (e & 1n) r = (r * b) % p;
  return r;
}

const inverse = (a: bigint): bigint => power(a, p - 2n);
const d = mod(-121665n * inverse(121666n));
const sqrtMinusOne = power(2n, (p - 1n) / 4n);

const littleEndian = (bytes: Uint8Array): bigint => BigInt('0x' + Buffer.from(bytes).reverse().toString('hex'));

/** decodes a point (RFC 8032, section 5.1.3); null where the encoding is not the canonical one. */
function decode(bytes: Uint8Array): Point | null {
  let y = littleEndian(bytes);
  const sign = y >> 255n;
  y &= (1n << 255n) - 1n;
  if (y >= p) return null;
  const u = mod(y * y - 1n);
  const v = mod(d * y * y + 1n);
  let x = mod(u * v ** 3n * power(u * v ** 7n, (p - 5n) / 8n));
  if (mod(v * x * x) === mod(-u)) x = mod(x * sqrtMinusOne);
  if (mod(v * x * x) !== u) return null;
  if (x === 0n && sign === 1n) return null;
  if ((x & 1n) !== sign) x = p - x;
  return [x, y, 1n, mod(x * y)];
}

/** adds in extended coordinates (RFC 8032, section 5.1.4); complete, so it doubles too. */
function add([x1, y1, z1, t1]: Point, [x2, y2, z2, t2]: Point): Point {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * t1 * t2 * d);
  const e = mod(2n * z1 * z2);
  const [f, g, h, i] = [b - a, e - c, e + c, b + a];
  return [mod(f * g), mod(h * i), mod(g * h), mod(f * i)];
}

const identity: Point = [0n, 1n, 1n, 0n];
const isIdentity = ([x, y, z]: Point): boolean => mod(x) === 0n && mod(y - z) === 0n;

function multiply(k: bigint, point: Point): Point {
  let r = identity;
  for (let q = point; k > 0n; k >>= 1n, q = add(q, q)) if (k & 1n) r = add(r, q);
  return r;
}

/** whether bytes are the canonical encoding of a point of small order. */
export function smallOrder(bytes: Uint8Array): boolean {
  const point = decode(bytes);
  return point !== null && isIdentity(multiply(8n, point));
}

const accepted = new Map<string, boolean>();

/** whether 32 bytes are the canonical encoding of a point of prime order. */
export function goodKey(bytes: Uint8Array): boolean {
  const name = Buffer.from(bytes).toString('hex');
  let good = accepted.get(name);
  if (good === undefined) {
    const point = bytes.length === 32 ? decode(bytes) : null;
    good = point !== null && !isIdentity(point) && isIdentity(multiply(order, point));
    accepted.set(name, good);
  }
  return good;
}

export function verify(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (!goodKey(key) || signature.length !== 64) return false;
  if (littleEndian(signature.subarray(32)) >= order) return false;
  if (smallOrder(signature.subarray(0, 32))) return false;
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key).toString('base64url') };
  return nodeVerify(null, message, createPublicKey({ key: jwk, format: 'jwk' }), signature);
}

/** RFC 7638. x is the base64url of the key. */
export const thumbprint = (x: string): string => sha256(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).toString('base64url');
