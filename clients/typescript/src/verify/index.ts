/**
 * Checks what a daemon hands out, offline, and trusts it in nothing.
 *
 * @packageDocumentation
 */
export { evidenceIDOf } from './encoding.js';
export { Malformed } from './ijson.js';
export { verifyReceipt, type ReceiptReport, type Status } from './receipt.js';
export type { EvidenceRecord } from './record.js';
