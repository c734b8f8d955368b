// Checks receipts for the Go test, which compares: a JSON list of {receipt, trust} in
// base64 on stdin, a list of what each comes to on stdout.
import { readFileSync } from 'node:fs';
import { Malformed, verifyReceipt } from '../dist/verify/index.js';

const answers = JSON.parse(readFileSync(0, 'utf8')).map(({ receipt, trust }) => {
  try {
    const { outcome, inclusion, signature, id } = verifyReceipt(Buffer.from(receipt, 'base64'), Buffer.from(trust, 'base64'));
    return { outcome, inclusion, signature, id };
  } catch (e) {
    if (!(e instanceof Malformed)) throw e;
    return { outcome: 'malformed' };
  }
});
process.stdout.write(JSON.stringify(answers));
