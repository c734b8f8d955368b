// Hashes and the one spelling of base64 (docs/record-format.md, "The entry").
import { createHash } from 'node:crypto';
import { refuse } from './ijson.js';

export function sha256(...parts: (string | Uint8Array)[]): Buffer {
  const h = createHash('sha256');
  for (const p of parts) h.update(p);
  return h.digest();
}

/** RFC 6962, section 2.1. */
export const leafHash = (entry: Uint8Array): Buffer => sha256(Buffer.of(0), entry);
export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Buffer.of(1), left, right);

export const evidenceIDOf = (entry: Uint8Array): string => `ev_${leafHash(entry).toString('base64url')}`;

/**
 * base64url without padding, or base64 with it, in its one spelling. Buffer skips what it
 * does not know, so the text is compared with what is written for the bytes.
 */
export function strictBase64(text: string, encoding: 'base64url' | 'base64' = 'base64url', bytes?: number): Buffer {
  const b = Buffer.from(text, encoding);
  if (b.toString(encoding) !== text) refuse(`not ${encoding} in its one spelling`);
  if (bytes !== undefined && b.length !== bytes) refuse(`want ${bytes} bytes in ${encoding}, found ${b.length}`);
  return b;
}
