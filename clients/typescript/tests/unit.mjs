// What can be seen without a daemon.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Denied, Ledgerd, LedgerdError, Problem, Run, ToolError } from '../dist/index.js';
import { classify } from '../dist/failure.js';

test('a token is sent in the clear to this machine alone, and shown to nobody', () => {
  const token = 'ledgerd_secret';
  for (const server of ['http://ledger.example', 'http://127.0.0.1.evil.example', 'http://user@localhost:1', 'ftp://localhost', 'localhost:1', '']) {
    assert.throws(() => new Ledgerd({ server, token }), (e) => e instanceof TypeError && !e.message.includes(token), server);
  }
  for (const server of ['http://localhost:1', 'http://[::1]:1/', 'https://ledger.example/x', 'unix:/run/l']) {
    assert.ok(!inspect(new Ledgerd({ server, token }), { depth: 9, showHidden: true }).includes(token), server);
  }
});

test('a token that no header takes is refused, and not shown', () => {
  for (const token of ['ledgerd_secret\nledgerd_other', 'ledgerd_secret\n', 'ledgerd secret', '\ufeffledgerd_secret']) {
    for (const server of ['http://localhost:1', 'unix:/run/l']) {
      assert.throws(() => new Ledgerd({ server, token }), (e) => e instanceof TypeError && !e.message.includes('ledgerd'), JSON.stringify(token));
    }
  }
});

test('a name does not lead elsewhere', async () => {
  const ledgerd = new Ledgerd({ server: 'http://127.0.0.1:1', token: '' });
  for (const key of ['', '.', '..', 'a/b', 'a?b', 'a#b', '%2e', 'a b', 'é', 'x'.repeat(201), 'run_1']) {
    await assert.rejects(async () => ledgerd.open(key, { task: 't' }), TypeError, key);
  }
});

test('input that is no JSON is refused before anything is asked', async () => {
  const run = new Run(undefined, { key: 'k' });
  const loop = {};
  loop.loop = loop;
  for (const input of [loop, 1n]) {
    await assert.rejects(run.step('s', () => 1, input), TypeError);
    await assert.rejects(run.runHere('s', 't', input), TypeError);
  }
});

test('what a failure means', () => {
  const coded = (code) => Object.assign(new Error(code), { code });
  for (const [error, idempotent, status, kind] of [
    [new Error('no'), false, 'failure', 'tool_failed'],
    ['no', false, 'failure', 'tool_failed'],
    [new TypeError('x is undefined'), true, 'unknown', 'outcome_unknown'],
    [new TypeError('fetch failed', { cause: coded('ECONNREFUSED') }), false, 'failure', 'tool_unavailable'],
    [new TypeError('fetch failed', { cause: coded('UND_ERR_SOCKET') }), false, 'unknown', 'outcome_unknown'],
    [new TypeError('fetch failed', { cause: coded('ECONNRESET') }), true, 'failure', 'tool_timeout'],
    // Of libraries: axios, nodemailer, node-fetch, TLS.
    [Object.assign(coded('ESOCKET'), { syscall: 'connect' }), false, 'failure', 'tool_unavailable'],
    ...['ECONNABORTED', 'ERR_CANCELED', 'ECONNECTION', 'ESOCKET', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC', 'EPROTO', 'ERR_HTTP2_STREAM_ERROR', 'HPE_INVALID_CONSTANT'].flatMap((code) => [
      [coded(code), false, 'unknown', 'outcome_unknown'],
      [coded(code), true, 'failure', 'tool_timeout'],
    ]),
    [new DOMException('', 'TimeoutError'), true, 'failure', 'tool_timeout'],
    [new DOMException('', 'AbortError'), false, 'unknown', 'outcome_unknown'],
    [new ToolError('rate_limited', 'later', { retryAfter: 7 }), false, 'failure', 'rate_limited'],
    [new ToolError('tool_timeout', 'late'), false, 'unknown', 'outcome_unknown'],
  ]) {
    const failure = classify(error, idempotent);
    assert.deepEqual([failure.status, failure.class], [status, kind], String(error));
  }
});

test('what an HTTP answer means', async () => {
  for (const [status, kind, after] of [[429, 'rate_limited', 2000], [503, 'tool_unavailable', 2000], [504, 'tool_timeout', 2000], [422, 'invalid_tool_payload', 2000], [403, 'tool_failed', 2000]]) {
    const error = await ToolError.of(new Response('no', { status, headers: { 'retry-after': '2' } }));
    assert.deepEqual([error.class, error.retryAfter], [kind, after]);
  }
});

test('what others wrote moves no cursor', () => {
  const answer = { step: 's', action: 'a', authorization: 'ev_1', policies: ['\u001b[31mred', '\u202e'], state: 'denied' };
  for (const e of [new Denied(answer), new Problem({ status: 400, title: '\u009b', reason: 'r', detail: '\r\n' })]) {
    assert.ok(e instanceof LedgerdError && !/[\p{Cc}\p{Cf}]/u.test(e.message), JSON.stringify(e.message));
  }
});
