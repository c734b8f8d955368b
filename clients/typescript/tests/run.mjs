// A run at the daemon that LEDGERD_SERVER names, for the Go test.
import assert from 'node:assert/strict';
import { Denied, Failed, governed, InDoubt, Ledgerd, Problem, ToolError } from '../dist/index.js';

const daemon = () => new Ledgerd({ server: process.env.LEDGERD_SERVER, token: process.env.LEDGERD_TOKEN });
const open = () => daemon().open('by-socket', { task: 'complaint' });
const run = await open();
const mail = { action: 'send_email', tool: 'mail' };
const sends = (step, f, options = {}) => run.step(step, f, { to: 'lea' }, { ...mail, ...options });

// Who comes to a step at the same time, by whichever client, waits: the function is called once.
let calls = 0;
const slowly = async () => {
  await new Promise((r) => setTimeout(r, 20));
  return { call: ++calls };
};
const again = await open();
const both = await Promise.all([sends('one', slowly), again.step('one', slowly, { to: 'lea' }, mail), sends('one', slowly)]);
assert.deepEqual([calls, ...both], [1, { call: 1 }, { call: 1 }, { call: 1 }]);

// The function gets what was permitted, whatever becomes of the caller's object, and so does each attempt.
const letter = { to: 'lea', cc: ['jun'] };
const got = [];
const busy = async (input) => {
  got.push(JSON.stringify(input));
  input.cc.push('eve');
  if (got.length === 1) throw new ToolError('rate_limited', 'later');
  return input.cc.length;
};
const posted = run.step('copied', busy, letter, mail);
letter.to = 'eve';
assert.equal(await posted, 2);
assert.deepEqual(got, Array(2).fill('{"to":"lea","cc":["jun"]}'));

// The caller gave up, and what happened is on record all the same.
const gone = new AbortController();
const sent = await sends('two', async (_, { signal }) => {
  gone.abort();
  return signal.aborted;
}, { signal: gone.signal });
assert.equal(sent, true);

// What came of a call cannot be kept, or is not known: it is not made again.
calls = 0;
const unknown = [() => ({ big: 1n }), () => undefined.member, () => AbortSignal.abort().throwIfAborted()];
for (const [i, f] of unknown.entries()) {
  const doubt = () => sends(`unknown-${i}`, () => { calls++; return f(); });
  for (const e of [await doubt().catch((e) => e), await doubt().catch((e) => e)]) assert.ok(e instanceof InDoubt && e.doubt && e.escalation, String(e));
}
assert.equal(calls, unknown.length);
assert.equal((await run.state()).in_doubt.length, unknown.length);
// A probe that cannot tell leaves it in doubt; one that can is asked once, and recorded.
await assert.rejects(sends('unknown-0', slowly, { probe: () => undefined }), InDoubt);
await assert.rejects(sends('unknown-0', slowly, { probe: () => { throw new Error('no line'); } }), (e) => e instanceof InDoubt && e.cause.message === 'no line');
assert.deepEqual(await sends('unknown-0', slowly, { probe: (_, { idempotencyKey }) => ({ status: 'success', output: idempotencyKey.split('/')[1] }) }), 'unknown-0');
assert.equal(calls, unknown.length);

// However often it turns out that nothing was done: a step asks its probe once, and the function twice at most.
calls = 0;
const never = { probe: () => ({ status: 'not_run' }) };
const late = () => { calls++; throw new DOMException('', 'TimeoutError'); };
await assert.rejects(sends('never', late, never), InDoubt);
assert.equal(calls, 2);
await assert.rejects(sends('never', late, { probe: () => ({ status: 'failure' }) }), Failed);

// Undefined is a result, too; and a failure has its cause.
assert.equal(await sends('nothing', () => undefined), undefined);
const cause = new Error('no such mailbox');
await assert.rejects(sends('failed', () => { throw cause; }), (e) => e instanceof Failed && e.cause === cause && e.execution?.startsWith('ev_') && e.errors[0] === cause.message);

// Calls of a governed function are steps, one after the other.
const post = governed(run, 'send_email', async ({ to }) => `to ${to}`);
assert.deepEqual([await post({ to: 'lea' }), await post({ to: 'jun' }), await post({ to: 'mia' }, { step: 'mine' })], ['to lea', 'to jun', 'to mia']);
assert.ok((await run.state()).steps.slice(-3).map((s) => s.step).join() === 'send_email:1,send_email:2,mine');

await assert.rejects(run.step('wipe', () => process.exit(1), {}), (e) => e instanceof Denied && /^ev_/.test(e.authorization));
await assert.rejects(run.offer({ to: {}, task: 't', scope: [] }), Problem);
await assert.rejects(run.takeUp(both.length ? `ev_${'A'.repeat(42)}E` : ''), (e) => e instanceof Problem && e.status >= 400);
// A run with a doubt in it does not end.
await assert.rejects(run.stop('outcome_unknown'), (e) => e instanceof Problem && e.reason === 'in_doubt' && e.evidence.length > 0);
for (const i of [1, 2]) await assert.rejects(sends(`unknown-${i}`, slowly, { probe: () => ({ status: 'failure' }) }), Failed);
await run.stop('outcome_unknown');

// The whole run, for verify.
const text = async (payloads) => Buffer.from(await daemon().bundle(run.id, { payloads })).toString();
const [disclosed, hidden] = [await text('disclosed'), await text('hidden')];
assert.ok(disclosed.startsWith(`{"bundle":"v1","origin":"ledger.example/test","about":{"kind":"run","run":"${run.id}"}}\n`));
assert.ok(disclosed.includes('{"payload":') && !hidden.includes('{"payload":'));
assert.deepEqual(await daemon().approvals(), []);
console.log('done');
