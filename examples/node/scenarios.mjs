#!/usr/bin/env node
// Runs in which something is right, wrong or left open, for the test that holds
// both verifiers to one answer. Everything here is admitted: misbehaviour is
// evidence, too. Prints {name: {run, offer?}}.
import { parseArgs } from 'node:util';
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { Client, Run, readKey } from './client.mjs';
import { parseContract } from './contract.mjs';
import { Refused } from './ijson.mjs';
import { judge } from './judge.mjs';

const { values } = parseArgs({ options: { server: { type: 'string' }, key: { type: 'string' }, keys: { type: 'string' } } });
const client = new Client(values.server, readFileSync(process.env.LEDGERD_TOKEN_FILE, 'utf8').trim());
const registry = await client.registry();
const key = readKey(values.key);
// Whoever stands beside the line submits with a token of their own.
const [ann, tool, auditor] = [['ann', 'ann'], ['email_sender', 'tool'], ['auditor', 'auditor']].map(([actor, file]) => ({
  actor, key: readKey(`${values.keys}/${file}.jwk`), client: new Client(values.server, readFileSync(`${values.keys}/${file}.token`, 'utf8').trim()),
}));
const payloads = new Map();
const put = async (value, media) => {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const commitment = await client.put(text, media);
  payloads.set(commitment.commit, Buffer.from(text));
  return commitment;
};

const text = await put('done', 'text/plain');
const sent = await put({ to: 'ada', body: 'x', n: 1.0 });
const answered = await put({ id: 'm-1', ok: true });
const garbage = await put('{"a":1,"a":2}');
const noJSON = await put('not json', 'text/plain');
const withheld = { ...sent, commit: Buffer.alloc(32, 7).toString('base64url') };

const contracts = {
  sends: { expects: [{ action: 'send', input: { n: 1, body: 'x', to: 'ada' } }] },
  answers: { expects: [{ action: 'send', output_has: { ok: true } }] },
  twice: { expects: [{ action: 'send', times: 2 }] },
  ordered: { expects: [{ action: 'look' }, { action: 'send', after: ['look'] }] },
  forbids: { expects: [{ action: 'send' }], forbids: [{ action: 'delete' }] },
  only: { expects: [{ action: 'send', input_has: { to: 'ada' } }], only: ['send'] },
  reported: { weakest_source: 'reported', expects: [{ action: 'send' }] },
  confirmed: { weakest_source: 'confirmed', expects: [{ action: 'send' }] },
  unknownMember: { expects: [{ action: 'send', inputs: {} }] },
  empty: { expects: [] },
};

const made = {};

class Scenario extends Run {
  async open(contract, more = {}) {
    const document = contract && (typeof contract === 'string' ? await put({ contract: 'v1', task: 't', ...contracts[contract] }) : contract);
    return this.add('run.opened', {
      principal: 'p', subject: 's', task: 't', contract: document && { document, declared_by: 'operator' }, runtime: 'runtime', ...more,
    });
  }

  allow(action = 'send', more = {}) {
    this.steps = (this.steps ?? 0) + 1;
    return this.add('authorization', {
      step: `step-${this.steps}`, action, tool: 'email_sender', input: sent, idempotency_key: `key-${this.steps}`, effect: 'allow', mode: 'enforce', source: 'runtime', ...more,
    });
  }

  execute(authorization, action = 'send', more = {}) {
    const body = { authorization, action, tool: 'email_sender', input: sent, attempt: 1, status: 'success', source: 'runtime', ...more };
    return this.add('execution', body);
  }

  async does(action, more) {
    return this.execute(await this.allow(action), action, more);
  }

  claims(...assertions) {
    return this.add('claim', { statements: [{ text, assertions: assertions.length > 0 ? assertions : [{ kind: 'contract' }] }] });
  }

  end() {
    return this.add('run.closed', { end: 'completed' });
  }
}

/** one run; each way to end it is said, since an open run answers otherwise. */
async function scenario(name, f) {
  const run = new Scenario(client, registry, { key, actor: 'support' });
  const more = await f(run);
  made[name] = { run: run.run, ...(typeof more === 'object' ? more : {}) };
}

const failed = { status: 'failure', class: 'tool_failed' };
const withContract = async (name, contract, act, close = true) => scenario(name, async (r) => {
  await r.open(contract);
  await act(r);
  await r.claims();
  if (close) await r.end();
});

await withContract('input equal', 'sends', (r) => r.does('send'));
await withContract('output has', 'answers', (r) => r.does('send', { output: answered, refs: { ok: true } }));
await withContract('no output', 'answers', (r) => r.does('send'));
await withContract('output not JSON', 'answers', (r) => r.does('send', { output: noJSON }));
await withContract('output withheld', 'answers', (r) => r.does('send', { output: withheld }));
await withContract('output withheld, refs decide', 'answers', (r) => r.does('send', { output: withheld, refs: { ok: true } }));
await withContract('output withheld, refs differ', 'answers', (r) => r.does('send', { output: withheld, refs: { ok: false } }));
await withContract('once of twice', 'twice', (r) => r.does('send'));
await withContract('twice', 'twice', async (r) => [await r.does('send'), await r.does('send')]);
await withContract('in order', 'ordered', async (r) => [await r.does('look'), await r.does('send')]);
await withContract('out of order', 'ordered', async (r) => [await r.does('send'), await r.does('look')]);
await withContract('in doubtful order', 'ordered', async (r) => [await r.does('look', { status: 'accepted' }), await r.does('send')]);
await withContract('forbidden', 'forbids', async (r) => [await r.does('send'), await r.does('delete')]);
await withContract('forbidden but failed', 'forbids', async (r) => [await r.does('send'), await r.does('delete', failed)]);
await withContract('forbidden perhaps', 'forbids', async (r) => [await r.does('send'), await r.does('delete', { status: 'accepted' })]);
await withContract('one too many', 'only', async (r) => [await r.does('send'), await r.does('send')]);
await withContract('one too many perhaps', 'only', async (r) => [await r.does('send'), await r.does('send', { status: 'accepted' })]);
await withContract('failed', 'sends', (r) => r.does('send', failed));
await withContract('failed, then done', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'send', failed);
  await r.execute(a, 'send', { attempt: 2 });
});
await withContract('nothing done', 'sends', () => {});
await withContract('unknown', 'sends', (r) => r.does('send', { status: 'unknown' }));
await withContract('unknown, open', 'sends', (r) => r.does('send', { status: 'unknown' }), false);
await withContract('accepted', 'sends', (r) => r.does('send', { status: 'accepted' }));
await withContract('no attempt', 'sends', (r) => r.allow());
await withContract('no attempt, open', 'sends', (r) => r.allow(), false);
await withContract('reported where runtime is asked', 'sends', (r) => r.does('send', { source: 'reported' }));
await withContract('reported where it counts', 'reported', (r) => r.does('send', { source: 'reported' }));
await withContract('observed where reported counts', 'reported', (r) => r.does('send', { source: 'observed' }));
await withContract('not confirmed', 'confirmed', (r) => r.does('send'));
await withContract('contract does not parse', 'unknownMember', (r) => r.does('send'));
await withContract('contract asks for nothing', 'empty', (r) => r.does('send'));
await withContract('contract withheld', withheld, (r) => r.does('send'));
await withContract('payload with a member twice', garbage, (r) => r.does('send'));
await withContract('no contract', undefined, (r) => r.does('send'));

for (const finding of ['success', 'failure', 'not_run']) {
  await withContract(`settled: ${finding}`, 'sends', async (r) => r.add('settlement', { settles: await r.does('send', { status: 'unknown' }), by: 'probe', finding }));
}
await withContract('settled by a human', 'sends', async (r) => r.add('settlement', { settles: await r.does('send', { status: 'unknown' }), by: 'human', finding: 'success' }));
await withContract('settled by a report', 'sends', async (r) => r.add('settlement', { settles: await r.does('send', { status: 'unknown' }), by: 'report', finding: 'success' }));
await withContract('settled what was sure', 'sends', async (r) => r.add('settlement', { settles: await r.does('send'), by: 'probe', finding: 'success' }));
await withContract('settled twice', 'sends', async (r) => {
  const settles = await r.does('send', { status: 'unknown' });
  for (const finding of ['failure', 'success']) await r.add('settlement', { settles, by: 'probe', finding });
});
await withContract('authorization settled', 'sends', async (r) => r.add('settlement', { settles: await r.allow(), by: 'probe', finding: 'not_run' }));

const confirm = (r, about, status = 'success', more = {}) => r.add('confirmation', { status, ...more }, { about, ...tool });
await withContract('confirmed and cited', 'confirmed', async (r) => {
  const a = await r.allow();
  const confirmation = await confirm(r, a);
  await r.execute(a, 'send', { confirmation });
});
await withContract('confirmed, named by nobody', 'confirmed', async (r) => confirm(r, await r.allow()));
await withContract('confirmed without an execution', 'confirmed', async (r) => {
  const c = await confirm(r, await r.allow());
  await r.add('context', { sources: [{ name: 'tool', content: text }] }, { cites: [c] });
});
await withContract('confirmed otherwise', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'send', { confirmation: await confirm(r, a, 'failure') });
});
await withContract('settled by a confirmation', 'confirmed', async (r) => {
  const a = await r.allow();
  const settles = await r.execute(a, 'send', { status: 'unknown' });
  await r.add('settlement', { settles, by: 'confirmation', answer: await confirm(r, a), finding: 'success' });
});
await withContract('two confirmations differ', 'sends', async (r) => {
  const a = await r.allow();
  const cites = [await confirm(r, a), await confirm(r, a, 'failure')];
  await r.execute(a);
  await r.add('context', { sources: [{ name: 'tool', content: text }] }, { cites });
});

const escalate = (r, more = {}) => r.allow('send', { effect: 'escalate', team: 'leads', ...more });
const approve = (r, about, answer = 'approve', until = new Date(Date.now() + 60000).toISOString()) => r.add('approval', { answer, until: answer === 'approve' ? until : undefined }, { about, ...ann });
const approved = (r, escalated, approval, more = {}) => r.allow('send', { step: 'step-1', idempotency_key: 'key-1', escalated, approval, ...more });
await withContract('approved', 'sends', async (r) => {
  const e = await escalate(r);
  await r.execute(await approved(r, e, await approve(r, e)));
});
await withContract('escalated and left', 'sends', (r) => escalate(r));
await withContract('escalated and executed', 'sends', async (r) => r.execute(await escalate(r)));
await withContract('refused and executed', 'sends', async (r) => {
  const e = await escalate(r);
  await r.execute(await approved(r, e, await approve(r, e, 'refuse')));
});
await withContract('refused and denied', 'sends', async (r) => {
  const e = await escalate(r);
  await approved(r, e, await approve(r, e, 'refuse'), { effect: 'deny' });
});
await withContract('approval of another team', 'sends', async (r) => {
  const e = await escalate(r, { team: 'finance' });
  await r.execute(await approved(r, e, await approve(r, e)));
});
await withContract('approval too late', 'sends', async (r) => {
  const e = await escalate(r);
  await r.execute(await approved(r, e, await approve(r, e, 'approve', '2020-01-01T00:00:00.000Z')));
});
await withContract('approved something else', 'sends', async (r) => {
  const e = await escalate(r);
  await r.execute(await approved(r, e, await approve(r, e), { resource: 'bob' }), 'send', { resource: 'bob' });
});
await withContract('approval about something else', 'sends', async (r) => {
  const other = await r.allow('look');
  const e = await escalate(r);
  await r.execute(await approved(r, e, await approve(r, other), { step: 'step-2', idempotency_key: 'key-2' }));
});

await withContract('denied', 'sends', (r) => r.allow('send', { effect: 'deny' }));
await withContract('denied and executed', 'sends', async (r) => r.execute(await r.allow('send', { effect: 'deny' })));
await withContract('denied, observed only', 'sends', async (r) => r.execute(await r.allow('send', { effect: 'deny', mode: 'observe' })));
await withContract('denied, observed, never tried', 'sends', (r) => r.allow('send', { effect: 'deny', mode: 'observe' }));
await withContract('another action', 'sends', async (r) => r.execute(await r.allow('look')));
await withContract('another input', 'sends', async (r) => r.execute(await r.allow(), 'send', { input: answered }));
await withContract('unauthorized', 'sends', (r) => r.execute(`ev_${Buffer.alloc(32, 1).toString('base64url')}`));
await withContract('attempt 2 first', 'sends', async (r) => r.execute(await r.allow(), 'send', { attempt: 2 }));
await withContract('attempt after success', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a);
  await r.execute(a, 'send', { attempt: 2 });
});
await withContract('attempt after unknown', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'send', { status: 'unknown' });
  await r.execute(a, 'send', { attempt: 2 });
});
await withContract('imported', 'sends', async (r) => r.execute(await r.allow('send', { source: 'imported' }), 'send', { source: 'imported' }));
await withContract('imported, executed here', 'sends', async (r) => r.execute(await r.allow('send', { source: 'imported' })));
await withContract('imported, unknown', 'sends', async (r) => r.execute(await r.allow('send', { source: 'imported' }), 'send', { source: 'imported', status: 'unknown' }));

await withContract('params equal', 'sends', async (r) => r.execute(await r.allow('send', { params: { n: 1 } })));
await withContract('params differ', 'sends', async (r) => r.execute(await r.allow('send', { params: { n: 2 } })));
await withContract('params of what is withheld', 'sends', async (r) => r.execute(await r.allow('send', { input: withheld, params: { n: 2 } }), 'send', { input: withheld }));
await withContract('input withheld', 'sends', async (r) => r.execute(await r.allow('send', { input: withheld }), 'send', { input: withheld }));
await withContract('refs differ', 'answers', (r) => r.does('send', { output: answered, refs: { ok: false } }));

const asserted = (name, assertion) => scenario(name, async (r) => {
  await r.open('sends');
  await r.does('send');
  await r.claims(assertion);
  await r.end();
});
await asserted('asserts an action', { kind: 'action', action: 'send' });
await asserted('asserts another action', { kind: 'action', action: 'delete' });
await asserted('asserts a resource', { kind: 'action', action: 'send', resource: 'ada' });
await asserted('asserts what was sent', { kind: 'action', action: 'send', expect: await put({ action: 'send', input_has: { to: 'ada' } }) });
await asserted('asserts what was not sent', { kind: 'action', action: 'send', expect: await put({ action: 'send', input_has: { to: 'bob' } }) });
await asserted('asserts what is withheld', { kind: 'action', action: 'send', expect: withheld });
await asserted('asserts what does not parse', { kind: 'action', action: 'send', expect: garbage });
await scenario('asserts nothing', async (r) => {
  await r.open('sends');
  await r.does('send');
  await r.add('claim', { statements: [{ text }] });
  await r.end();
});
await scenario('claims beside the line', async (r) => {
  const o = await r.open('sends');
  await r.does('send');
  const claim = { statements: [{ text, assertions: [{ kind: 'contract' }] }] };
  const c = await r.add('claim', claim, { about: o, ...auditor });
  await r.add('context', { sources: [{ name: 'auditor', content: text }] }, { cites: [c] });
  await r.end();
});

await withContract('cites what is not there', 'sends', (r) => r.add('context', { sources: [{ name: 'x', content: text }] }, { cites: [`ev_${Buffer.alloc(32, 2).toString('base64url')}`] }));
await withContract('a verdict of another result', 'sends', async (r) => r.add('verdict', { result: 'supported', document: await put({ result: 'supported' }) }));
await withContract('a verdict withheld', 'sends', (r) => r.add('verdict', { result: 'supported', document: withheld }));
await withContract('checkpoints', 'sends', async (r) => {
  const covers = [await r.does('send')];
  await r.add('checkpoint', { name: 'a', sequence: 1, state: text, covers });
  await r.add('checkpoint', { name: 'b', sequence: 2, state: text });
});
await withContract('a checkpoint that covers less', 'sends', async (r) => [await r.does('send'), await r.add('checkpoint', { name: 'a', sequence: 1, state: text })]);
await withContract('checkpoint 2 first', 'sends', (r) => r.add('checkpoint', { name: 'a', sequence: 2, state: text }));
await withContract('resumed', 'sends', async (r) => {
  const doubt = [await r.allow('look'), await r.does('send', { status: 'unknown' })];
  await r.add('run.resumed', { reason: 'crash', in_doubt: doubt });
});
await withContract('resumed, doubts left out', 'sends', async (r) => [await r.allow(), await r.add('run.resumed', { reason: 'crash' })]);
await withContract('resumed after a denial', 'sends', async (r) => [await r.allow('send', { effect: 'deny' }), await r.add('run.resumed', { reason: 'crash' })]);
await withContract('resumed after an escalation', 'sends', async (r) => [await escalate(r), await r.add('run.resumed', { reason: 'crash' })]);
await withContract('resumed after accepted', 'sends', async (r) => [await r.does('send', { status: 'accepted' }), await r.add('run.resumed', { reason: 'crash' })]);

// What matchers, references, order and conditions say. The verdict is recorded as
// this implementation reaches it: the other has to reach the same bytes.
const judged = async (name, contract, input, act) => scenario(name, async (r) => {
  await r.open(await put({ contract: 'v1', task: 't', ...contract }), { input: input && (input.commit ? input : await put(input)) });
  await act(r);
  const claim = await r.claims();
  const run = r.judged();
  const { document, result } = judge({ run, claim: run.line.at(-1), before: r.records.at(-1).index, payloads });
  await r.add('verdict', { claim, result, document: await put(document) });
  await r.end();
  return { result };
});
const gone = () => ({ ...sent, commit: randomBytes(32).toString('base64url') });
/** an action with an input and an output of its own. */
const acts = async (r, action, { input = {}, output, resource, allowed = {}, ...more } = {}) => {
  const given = input.commit ? input : await put(input);
  const gave = output && (output.commit ? output : await put(output));
  return r.execute(await r.allow(action, { input: given, resource, ...allowed }), action, { input: given, resource, output: gave, ...more });
};
const refund = {
  expects: [
    { action: 'look', as: 'order', input_has: { order: { $input: '/order' } } },
    { action: 'refund', resource: { $input: '/order' }, input: { amount: { $above: 0, $most: { $output: '/paid', $of: 'order' } }, why: { $in: ['late', 'lost'] } } },
  ],
  forbids: [{ action: 'refund', input_has: { amount: { $least: 100 } }, unless: { succeeded: { action: 'ask', output_has: { yes: true } } } }],
  only: ['refund'],
};
const looks = (r, paid, more) => acts(r, 'look', { input: { order: 'A-7' }, output: { paid, by: 'x' }, ...more });
const refunds = (r, amount, more) => acts(r, 'refund', { input: { amount, why: 'late' }, resource: 'A-7', ...more });
const order = { order: 'A-7' };
await judged('refunded', refund, order, async (r) => [await looks(r, 50), await refunds(r, 50)]);
await judged('refunded too much', refund, order, async (r) => [await looks(r, 50), await refunds(r, 50.01)]);
await judged('refunded before it was looked up', refund, order, async (r) => [await refunds(r, 50), await looks(r, 50)]);
await judged('refunded after a look in doubt', refund, order, async (r) => [await looks(r, 50, { status: 'unknown' }), await refunds(r, 50)]);
await judged('refunded, what was paid withheld', refund, order, async (r) => [await looks(r, 50, { output: gone() }), await refunds(r, 50)]);
await judged('refunded, what was paid withheld but in the clear', refund, order, async (r) => [await looks(r, 50, { output: gone(), refs: { paid: 50 } }), await refunds(r, 50)]);
await judged('refunded, the order withheld', refund, gone(), async (r) => [await looks(r, 50), await refunds(r, 50)]);
await judged('refunded, no order', refund, undefined, async (r) => [await looks(r, 50), await refunds(r, 50)]);
await judged('refunded much, unasked', refund, order, async (r) => [await looks(r, 500), await refunds(r, 500)]);
await judged('refunded much, asked', refund, order, async (r) => [await looks(r, 500), await refunds(r, 500), await acts(r, 'ask', { output: { yes: true } })]);
await judged('refunded much, asked by hearsay', refund, order, async (r) => [await looks(r, 500), await refunds(r, 500), await acts(r, 'ask', { output: { yes: true }, source: 'reported' })]);
await judged('refund denied', refund, order, async (r) => [await looks(r, 50), await r.allow('refund', { effect: 'deny', resource: 'A-7', input: await put({ amount: 1, why: 'lost' }) })]);
const fix = {
  expects: [{ action: 'edit', resource: { $prefix: 'src/' }, times: { least: 1, most: 3 } }, { action: 'test', output_has: { failed: 0 }, after_last: ['edit'], times: { least: 1 } }], only: ['edit'],
};
const edits = (r, more) => acts(r, 'edit', { resource: 'src/a', ...more });
const tests = (r, n = 0) => acts(r, 'test', { output: { failed: n } });
await judged('tested last', fix, undefined, async (r) => [await edits(r), await tests(r, 1), await edits(r), await tests(r)]);
await judged('edited last', fix, undefined, async (r) => [await edits(r), await tests(r), await edits(r)]);
await judged('edited last, by hearsay', fix, undefined, async (r) => [await edits(r), await tests(r), await edits(r, { source: 'reported' })]);
await judged('perhaps edited last', fix, undefined, async (r) => [await edits(r), await tests(r), await edits(r, { status: 'unknown' })]);
await judged('an edit in doubt before the test', fix, undefined, async (r) => [await edits(r), await edits(r, { status: 'accepted' }), await tests(r)]);
await judged('seven edits in doubt', fix, undefined, async (r) => {
  await edits(r);
  for (let i = 0; i < 7; i++) await edits(r, { status: 'accepted' });
  await tests(r);
});
await judged('eleven looks withheld', { ...refund, expects: [{ ...refund.expects[0], times: { least: 0, most: 1000 } }, refund.expects[1]], only: ['look', 'refund'] }, order, async (r) => {
  for (let i = 0; i < 11; i++) await looks(r, 50, { input: gone() });
  await refunds(r, 50);
});
await judged('four edits', fix, undefined, async (r) => [await edits(r), await edits(r), await edits(r), await edits(r), await tests(r)]);
await judged('edited elsewhere', fix, undefined, async (r) => [await edits(r, { resource: 'tests/a' }), await tests(r)]);

// And contracts and runs that are drawn, from numbers that are the same each time.
let seed = 8032;
const random = (n) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
};
const one = (...of) => of[random(of.length)];
const chance = (n) => random(n) === 0;
const drawValue = (name) => one(
  1, 'a', { $least: 1 }, { $above: 1, $below: 4 }, { $in: [1, 'a', { $least: 3 }] }, { $not: 1 }, { $prefix: 'a' }, { $exists: true }, { $exists: false }, { $value: { $in: 1 } },
  { $input: '/n' }, { $most: { $input: '/n' } }, ...(name ? [{ $output: '/n', $of: name }, { $most: { $output: '/n', $of: name } }, { $not: { $output: '/n', $of: name } }] : []));
const drawMatch = (name) => {
  const m = { action: one('look', 'edit', 'send') };
  if (chance(3)) m[one('input_has', 'input')] = { n: drawValue(name) };
  if (chance(3)) m[one('output_has', 'output')] = { n: drawValue(name) };
  if (chance(6)) m.resource = one('a', { $prefix: 'a' }, { $exists: false }, { $not: 'a' });
  return m;
};
const drawCondition = () => (chance(3) ? { input_has: { n: drawValue() } } : { succeeded: drawMatch() });
const drawConditional = (m) => ({ ...m, ...(chance(4) ? { when: drawCondition() } : {}), ...(chance(5) ? { unless: drawCondition() } : {}) });
const drawContract = () => {
  const expects = [];
  for (let i = 0; i < 1 + random(3); i++) {
    const m = { ...drawConditional(drawMatch(i > 0 && chance(2) ? `n${random(i)}` : undefined)), as: `n${i}` };
    if (i > 0 && chance(3)) m.after = [expects[random(i)].action].filter((a) => a !== m.action && !expects.some((e) => e.action === m.action && e.after));
    if (chance(3)) m.after_last = [one('look', 'edit')];
    if (chance(3)) m.times = one(2, { least: 1 }, { least: 0, most: 1 }, { least: 1, most: 2 });
    expects.push(m);
  }
  const only = ['look', 'edit', 'send'].filter((a) => chance(5) || expects.some((e) => e.action === a && e.times?.most));
  return { expects, forbids: chance(4) ? [drawConditional(drawMatch(chance(2) ? 'n0' : undefined))] : [], only, weakest_source: one('runtime', 'runtime', 'reported') };
};
const readable = (contract) => {
  try {
    return parseContract(Buffer.from(JSON.stringify({ contract: 'v1', task: 't', ...contract })));
  } catch (e) {
    if (e instanceof Refused) return false;
    throw e;
  }
};
for (let i = 0; i < 200; i++) {
  let contract;
  do contract = drawContract(); while (!readable(contract));
  const input = one(undefined, { n: 1 }, { n: 3 }, { n: 'a' }, gone());
  await judged(`drawn ${i}`, contract, input, async (r) => {
    for (let k = 2 + random(5); k > 0; k--) {
      const n = one(1, 2, 3, 'ab');
      await acts(r, one('look', 'edit', 'send'), {
        input: chance(5) ? gone() : { n, ...(chance(3) ? { m: 1 } : {}) }, output: one(undefined, { n }, { n: one(1, 3) }, { n: { $in: 1 } }, gone()), resource: one(undefined, 'a', 'ab'),
        ...one({}, {}, {}, {}, failed, { status: 'unknown' }, { status: 'accepted' }), source: one('runtime', 'runtime', 'runtime', 'reported'),
      });
    }
  });
}

const budgeted = (name, budget, act) => scenario(name, async (r) => {
  await r.open('sends', { budget });
  await act(r);
  await r.end();
});
const dear = { cost: { tokens: 60 } };
await budgeted('within budget', { tokens: 100 }, (r) => r.does('send', dear));
await budgeted('over budget', { tokens: 50 }, (r) => r.does('send', dear));
await budgeted('over budget within the estimate', { tokens: 50 }, async (r) => r.execute(await r.allow('send', { estimate: { tokens: 10 } }), 'send', dear));
await budgeted('on when it is spent', { tokens: 60 }, async (r) => [await r.does('send', dear), await r.does('send', { cost: { tokens: 1 } })]);
await budgeted('too many attempts', { attempts: 1 }, async (r) => [await r.does('send', failed), await r.does('send')]);
await budgeted('not run is no attempt', { attempts: 1 }, async (r) => [await r.does('send', { status: 'not_run' }), await r.does('send')]);
await budgeted('too many tool calls', { tool_calls: 1 }, async (r) => [await r.does('send'), await r.does('send')]);
await budgeted('a decision costs', { tokens: 50 }, (r) => r.add('decision', { model: 'm', choice: text, cost: { tokens: 51 } }));

await withContract('two confirmations differ, settled', 'sends', async (r) => {
  const a = await r.allow();
  const cites = [await confirm(r, a), await confirm(r, a, 'failure')];
  const settles = await r.execute(a, 'send', { status: 'unknown' });
  await r.add('context', { sources: [{ name: 'tool', content: text }] }, { cites });
  await r.add('settlement', { settles, by: 'human', finding: 'success' });
});
await withContract('two confirmations differ, denied', 'sends', async (r) => {
  const a = await r.allow('send', { effect: 'deny' });
  await r.add('context', { sources: [{ name: 'tool', content: text }] }, { cites: [await confirm(r, a), await confirm(r, a, 'failure')] });
});
await withContract('confirmed by another tool', 'confirmed', async (r) => {
  const a = await r.allow('send', { tool: 'fax' });
  await r.add('execution', { authorization: a, action: 'send', tool: 'fax', input: sent, attempt: 1, status: 'success', source: 'runtime', confirmation: await confirm(r, a) });
});
await withContract('unknown, confirmed by another tool', 'sends', async (r) => {
  const a = await r.allow('send', { tool: 'fax' });
  await r.add('execution', { authorization: a, action: 'send', tool: 'fax', input: sent, attempt: 1, status: 'unknown', source: 'runtime', confirmation: await confirm(r, a) });
});
await withContract('failed, done and confirmed', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'send', failed);
  await r.execute(a, 'send', { attempt: 2, confirmation: await confirm(r, a) });
});
await withContract('failed, done and confirmed, of only', 'only', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'send', failed);
  await r.execute(a, 'send', { attempt: 2, confirmation: await confirm(r, a) });
});
await withContract('the first attempt confirmed', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'send', { ...failed, confirmation: await confirm(r, a, 'failure') });
  await r.execute(a, 'send', { attempt: 2 });
});
await withContract('settled by a confirmation of another action', 'confirmed', async (r) => {
  const other = await r.allow('look');
  const settles = await r.does('send', { status: 'unknown' });
  await r.add('settlement', { settles, by: 'confirmation', answer: await confirm(r, other), finding: 'success' });
});
await withContract('a confirmation cited that is about nothing', 'sends', async (r) => {
  await r.does('send');
  await r.add('context', { sources: [{ name: 'tool', content: text }] }, { cites: [await confirm(r, r.prev)] });
});
await withContract('resumed after an unknown that was confirmed', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'send', { status: 'unknown', confirmation: await confirm(r, a) });
  await r.add('run.resumed', { reason: 'crash' });
});
await withContract('unknown, then failed again', 'sends', async (r) => {
  const a = await r.allow();
  const settles = await r.execute(a, 'send', { status: 'unknown' });
  await r.add('settlement', { settles, by: 'probe', finding: 'not_run' });
  await r.execute(a, 'send', { attempt: 2 });
});
await withContract('two unfit executions', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a, 'look');
  await r.execute(a, 'send', { attempt: 2 });
});
await withContract('confirmed before it is executed', 'sends', async (r) => {
  const a = await r.allow();
  await r.add('context', { sources: [{ name: 'tool', content: text }] }, { cites: [await confirm(r, a, 'failure')] });
  await r.execute(a);
});
await scenario('a claim that cites its confirmation', async (r) => {
  await r.open('confirmed');
  const a = await r.allow();
  await r.execute(a);
  const c = await confirm(r, a);
  await r.add('claim', { statements: [{ text, assertions: [{ kind: 'contract' }], cites: [c] }] });
  await r.end();
});
await scenario('a claim that counts a confirmation', async (r) => {
  await r.open('confirmed');
  const a = await r.allow();
  await r.execute(a, 'send', { status: 'unknown' });
  const c = await confirm(r, a);
  await r.add('claim', { statements: [{ text, assertions: [{ kind: 'contract' }] }] }, { cites: [c] });
  await r.end();
});
await withContract('settled with another finding than confirmed', 'sends', async (r) => {
  const a = await r.allow();
  const settles = await r.execute(a, 'send', { status: 'unknown' });
  await r.add('settlement', { settles, by: 'confirmation', answer: await confirm(r, a, 'failure'), finding: 'success' });
});
await withContract('settled by what is not there', 'sends', async (r) => {
  const settles = await r.does('send', { status: 'unknown' });
  await r.add('settlement', { settles, by: 'confirmation', answer: `ev_${Buffer.alloc(32, 4).toString('base64url')}`, finding: 'success' });
});
await withContract('resumed after a denial that was observed', 'sends', async (r) => [await r.allow('send', { effect: 'deny', mode: 'observe' }), await r.add('run.resumed', { reason: 'crash' })]);
await withContract('resumed after differing confirmations', 'sends', async (r) => {
  const a = await r.allow();
  await r.execute(a);
  await r.add('context', { sources: [{ name: 'tool', content: text }] }, { cites: [await confirm(r, a), await confirm(r, a, 'failure')] });
  await r.add('run.resumed', { reason: 'crash' });
});
await withContract('resumed, a settled doubt named', 'sends', async (r) => {
  const e = await r.does('send', { status: 'unknown' });
  await r.add('settlement', { settles: e, by: 'probe', finding: 'success' });
  await r.add('run.resumed', { reason: 'crash', in_doubt: [e] });
});
await withContract('resumed after an unfit execution', 'sends', async (r) => [await r.execute(await r.allow(), 'look'), await r.add('run.resumed', { reason: 'crash' })]);
await withContract('resumed after an imported unknown', 'sends', async (r) => [
  await r.execute(await r.allow('send', { source: 'imported' }), 'send', { source: 'imported', status: 'unknown' }), await r.add('run.resumed', { reason: 'crash' })]);
await withContract('an imported authorization, not executed', 'sends', (r) => r.allow('send', { source: 'imported' }));
await withContract('a decision beside, unnamed', 'sends', async (r) => {
  const o = r.prev;
  await r.add('decision', { model: 'm', choice: text }, { about: o, ...auditor });
  await r.does('send');
});
await withContract('nothing but other members', 'forbids', async (r) => [await r.does('send', { source: 'imported' }), await r.does('send')]);
await withContract('suspended between doubt and payload', 'answers', async (r) => [await r.does('send', { status: 'accepted' }), await r.does('send', { output: withheld })]);
await withContract('input equal by another spelling', await put('{"contract":"v1","task":"t","expects":[{"action":"send","input":{"to":"\\u0061da","n":10e-1,"body":"x"}}]}'), (r) => r.does('send'));
await withContract('a number that would change', await put('{"contract":"v1","task":"t","expects":[{"action":"send","input_has":{"n":9007199254740993}}]}'), (r) => r.does('send'));
await withContract('a part within a part', await put('{"contract":"v1","task":"t","expects":[{"action":"send","input_has":{}}]}'), (r) => r.does('send'));
await withContract('items of one action', await put('{"contract":"v1","task":"t","expects":[{"action":"send"},{"action":"send","input_has":{"to":"ada"}}]}'), (r) => r.does('send'));
await withContract('items of one action, both', await put('{"contract":"v1","task":"t","expects":[{"action":"send","input_has":{"to":"ada"}},{"action":"send"}]}'), async (r) => [await r.does('send'), await r.does('send')]);
await withContract('after itself', await put('{"contract":"v1","task":"t","expects":[{"action":"send","after":["send"]}]}'), (r) => r.does('send'));
await withContract('forbids everything', await put('{"contract":"v1","task":"t","forbids":[{}]}'), (r) => r.does('send'));
await withContract('forbids a resource', await put('{"contract":"v1","task":"t","forbids":[{"resource":"ada"}]}'), (r) => r.does('send'));
await withContract('only, and nothing expected', await put('{"contract":"v1","task":"t","only":["send"]}'), (r) => r.does('send'));
await withContract('a contract of another media type', await put('{"contract":"v1","task":"t","expects":[{"action":"send"}]}', 'text/plain'), (r) => r.does('send'));

await budgeted('too long', { wall_ms: 1 }, async (r) => {
  const a = await r.allow();
  await new Promise((wait) => setTimeout(wait, 20));
  await r.execute(a);
});
await budgeted('too long within the estimate', { wall_ms: 1 }, async (r) => {
  const a = await r.allow('send', { estimate: { wall_ms: 60000 } });
  await new Promise((wait) => setTimeout(wait, 20));
  await r.execute(a);
});
await scenario('a dear child', async (r) => {
  await r.open('sends', { budget: { tokens: 50 } });
  const child = new Scenario(client, registry, { key, actor: 'support' });
  await child.open('sends', { parent: r.prev });
  await child.does('send', dear);
  await child.end();
  await r.does('send', { cost: { tokens: 1 } });
  await r.end();
  made['the dear child'] = { run: child.run };
});

const handoff = (name, { offered = {}, opens, expires = 60000, act, accept = true, before, forged, wrongSize = 0 }) => scenario(name, async (r) => {
  await r.open('sends');
  await before?.(r);
  const offer = await r.add('handoff.offered', {
    to: { origin: registry.origin, actor: 'support', key: key.kid }, task: 't', scope: [{ action: 'send', resource: 'a*' }], expires: new Date(Date.now() + expires).toISOString(),
    head_max_age_s: 60, ...offered,
  });
  await r.end();
  const next = new Scenario(client, registry, { key, actor: 'support' });
  // What is accepted is the giver's bundle, under the head that it has; or not.
  const bytes = forged ?? Buffer.from(await (await client.request('GET', `/v1/bundles?offer=${offer}`)).arrayBuffer());
  const note = forged ? ['', '1', Buffer.alloc(32, 3).toString('base64')] : JSON.parse(bytes.toString().split('\n')[1]).head.split('\n');
  const head = { size: Number(note[1]) + wrongSize, root: Buffer.from(note[2], 'base64').toString('base64url') };
  const bundle = await client.put(bytes, 'application/vnd.ledgerd.bundle+jsonl');
  const acceptance = accept ? await next.add('handoff.accepted', { offer, origin: registry.origin, opens: opens ?? next.run, head, bundle }) : undefined;
  await next.open('sends', { acceptance });
  await act?.(next, offer, acceptance);
  await next.end();
  made[`${name}: the receiver`] = { run: next.run };
  return { offer };
});
const doing = (action, resource) => async (r) => r.execute(await r.allow(action, { resource }), action, { resource });
await handoff('handed over', { act: doing('send', 'ada') });
await handoff('out of scope', { act: doing('send', 'bob') });
await handoff('another action than offered', { act: doing('look', 'ada') });
await handoff('on no resource', { act: doing('send') });
await handoff('on all resources', { offered: { scope: [{ action: 'send', resource: '*' }] }, act: doing('send') });
await handoff('accepted too late', { expires: -1000, act: doing('send', 'ada') });
await handoff('offered to another', { offered: { to: { origin: registry.origin, actor: 'auditor', key: auditor.key.kid } }, act: doing('send', 'ada') });
await handoff('offered elsewhere', { offered: { to: { origin: 'ledger.example/else', actor: 'support', key: key.kid } }, act: doing('send', 'ada') });
const on = (scope, parent) => async (r, _, acceptance) => r.add('handoff.offered', {
  to: { origin: registry.origin, actor: 'support', key: key.kid }, task: 't', scope, expires: new Date(Date.now() + 60000).toISOString(), head_max_age_s: 60, parent: parent ? acceptance : undefined,
});
await handoff('handed on', { act: on([{ action: 'send', resource: 'ab*' }], true) });
await handoff('handed on wider', { act: on([{ action: 'send', resource: '*' }], true) });
await handoff('given as no bundle', { forged: 'trust me', act: doing('send', 'ada') });
await handoff('given under another head', { wrongSize: 1, act: doing('send', 'ada') });
await handoff('given in doubt', { before: (r) => r.allow('send', { resource: 'ada' }), act: doing('send', 'ada') });
await handoff('given after what was not allowed', { before: async (r) => r.execute(await r.allow('send', { effect: 'deny' }), 'send', {}), act: doing('send', 'ada') });
await handoff('handed on without parent', { act: on([{ action: 'send', resource: 'ab*' }], false) });

console.log(JSON.stringify(made));
