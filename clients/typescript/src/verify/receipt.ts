// The receipt (docs/bundle-format.md, "Receipt"): that one record stands in a log.
import { leafHash, nodeHash, strictBase64 } from './encoding.js';
import { Malformed, refuse, utf8 } from './ijson.js';
import { maxEntry, maySign, parseEntry, verifyEntry, type Entry, type EvidenceRecord } from './record.js';
import { acceptHead, parseHead, parseTrust, type Head, type Ledger } from './trust.js';

/** What a rule comes to. docs/rules.md says what each asks. */
export type Status = 'held' | 'broken' | 'undecidable';

export interface ReceiptReport {
  /** verified: both rules are held. wrong: one is proven broken. undecided: trust or evidence is missing. */
  outcome: 'verified' | 'wrong' | 'undecided';
  /** The record's evidence ID: hold it to the one that was asked for. */
  id: string;
  /** The record stands in the log at the index, under a tree head that the trust file accepts. */
  inclusion: Status;
  /** It is signed by an actor whose key the trust file pins, and who may sign it. Where none is pinned a bundle decides that. */
  signature: Status;
  /** What is wrong or missing, in words. */
  why: string[];
  index: bigint;
  size: bigint;
  origin: string;
  /** What the record says; undefined where it is no record of version 1. It is evidence only with the outcome verified. */
  unverifiedRecord: EvidenceRecord | undefined;
}

interface Receipt {
  entry: Buffer;
  index: bigint;
  hashes: Buffer[];
  head: Head;
}

function parseReceipt(bytes: Uint8Array): Receipt {
  const s = utf8(bytes);
  const m = /^c2sp\.org\/tlog-proof@v1\nextra ([A-Za-z0-9+/=]+)\nindex (0|[1-9][0-9]*)\n((?:[A-Za-z0-9+/=]+\n){0,63})\n([^]*)$/.exec(s);
  if (!m) refuse('not a tlog-proof with an extra line');
  const [, extra, at, proof, head] = m as unknown as [string, string, string, string, string];
  const entry = strictBase64(extra, 'base64');
  if (entry.length > maxEntry) refuse('a record of more than 65,535 bytes');
  const index = BigInt(at);
  if (index >= 1n << 64n) refuse('index: too great');
  const hashes = proof
    .split('\n')
    .slice(0, -1)
    .map((h) => strictBase64(h, 'base64', 32));
  return { entry, index, hashes, head: parseHead(head) };
}

/** RFC 9162, section 2.1.3.2 (the proofs are those of RFC 6962, section 2.1.1): undefined where included, or what is wrong. */
function notIncluded({ entry, index, hashes, head }: Receipt): string | undefined {
  if (index >= head.size) return 'the index is not below the size';
  let fn = index;
  let sn = head.size - 1n;
  let r = leafHash(entry);
  for (const p of hashes) {
    if (sn === 0n) return 'a hash too many';
    if (fn & 1n || fn === sn) {
      r = nodeHash(p, r);
      while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else r = nodeHash(r, p);
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  if (sn !== 0n) return 'too few hashes';
  return r.equals(head.root) ? undefined : 'the hashes give another root than the signed one';
}

/**
 * Checks a receipt against a trust file, offline. It trusts nothing in the receipt, and
 * the trust file has to come from elsewhere. Throws {@link Malformed} where one of them
 * is not in its form.
 */
export function verifyReceipt(receipt: Uint8Array, trust: Uint8Array | string): ReceiptReport {
  const ledgers = parseTrust(Buffer.from(trust));
  const r = parseReceipt(receipt);
  const why: string[] = [];
  const say = (status: Status, text: string): Status => {
    why.push(text);
    return status;
  };

  const head = acceptHead(r.head, ledgers);
  const wrong = notIncluded(r);
  let inclusion: Status;
  if (head.answer === 'broken') inclusion = say('broken', `tree head: ${head.why}`);
  else if (head.signed && wrong) inclusion = say('broken', `inclusion: ${wrong}`);
  else inclusion = head.answer === 'accepted' ? 'held' : say('undecidable', `tree head: ${head.why}`);

  let entry: Entry | undefined;
  let signature: Status;
  try {
    entry = parseEntry(r.entry.toString('latin1'));
    const ledger = head.signed ? ledgers.get(r.head.origin) : undefined;
    signature = signed(entry, ledger, say);
  } catch (e) {
    if (!(e instanceof Malformed)) throw e;
    signature = say('broken', `record: ${e.message}`);
  }
  const both = [inclusion, signature];
  return {
    outcome: both.includes('broken') ? 'wrong' : both.includes('undecidable') ? 'undecided' : 'verified',
    id: `ev_${leafHash(r.entry).toString('base64url')}`,
    inclusion,
    signature,
    why,
    index: r.index,
    size: r.head.size,
    origin: r.head.origin,
    unverifiedRecord: typeof entry?.record === 'object' ? entry.record : undefined,
  };
}

/** Decides who signed by the trust file alone: a receipt does not say what the registry said. */
function signed(entry: Entry, ledger: Ledger | undefined, say: (status: Status, text: string) => Status): Status {
  const { record } = entry;
  if (typeof record === 'number') return say('undecidable', `signature: a record of version ${record} needs a newer verifier`);
  if (!ledger) return say('undecidable', 'signature: want a tree head that the log signed');
  if (record.origin !== ledger.origin) return say('broken', `signature: want a record of ${ledger.origin}, found one of ${record.origin}`);
  const pin = ledger.actors.get(entry.kid);
  if (!pin) {
    if ([...ledger.actors.values()].some((a) => a.name === record.actor)) return say('broken', `signature: not by a key that the trust file pins for ${record.actor}`);
    return say('undecidable', "signature: want a bundle, which holds the registry, or a pinned key of the record's signer");
  }
  const hosted = pin.role === 'runtime' && record.actor !== pin.name;
  if ((record.actor !== pin.name && !hosted) || !maySign(record.kind, pin.role, hosted)) {
    return say('broken', `signature: ${pin.name} may not sign ${record.kind} of ${record.actor}`);
  }
  return verifyEntry(entry, pin.x) ? 'held' : say('broken', `signature: it does not verify under the key of ${pin.name}`);
}
