#!/usr/bin/env node
// Signs a short run and submits it (docs/record-format.md, docs/log-format.md;
// the routes are in the daemon's /openapi.json):
//
//   LEDGERD_TOKEN_FILE=FILE node client.mjs --server URL --key runtime.jwk
//
// The key is that of a registered runtime (default name: runtime), which hosts
// the agent (default: support). Prints the run and its records as JSON.
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { evidenceID, sha256 } from './encoding.mjs';
import { privateKey } from './ed25519.mjs';
import { judge } from './judge.mjs';
import { kinds, parseEntry, sign } from './record.mjs';

/** what the daemon answered instead of success: `problem` is RFC 9457, `reason` its stable word. */
export class Problem extends Error {
  constructor(problem) {
    super(`${problem.status} ${problem.reason}: ${problem.detail ?? ''}`);
    Object.assign(this, { problem, reason: problem.reason });
  }
}

export class Client {
  constructor(server, token) {
    Object.assign(this, { server, token });
  }

  async request(method, path, { body, type, headers = {} } = {}) {
    const answer = await fetch(this.server + path, {
      method, body, headers: { authorization: `Bearer ${this.token}`, ...(type ? { 'content-type': type } : {}), ...headers },
    });
    if (!answer.ok) throw new Problem({ status: answer.status, ...(await answer.json().catch(() => ({}))) });
    return answer;
  }

  async registry() {
    return (await this.request('GET', '/v1/registry')).json();
  }

  /** stores a payload under a commitment with a salt of its own. It has to be there before the record that commits to it. */
  async put(payload, media = 'application/json') {
    const bytes = Buffer.from(payload);
    const salt = randomBytes(32);
    const commit = sha256(salt, bytes).toString('base64url');
    await this.request('PUT', `/v1/payloads/${commit}`, { body: bytes, type: media, headers: { 'ledgerd-salt': salt.toString('base64url') } });
    return { commit, size: bytes.length, media };
  }

  /**
   * submits an entry. Where the answer is lost or says "busy", the same bytes
   * are sent again: they get the same index, however often.
   */
  async submit(entry) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await (await this.request('POST', '/v1/records', { body: entry, type: 'application/jose' })).json();
      } catch (e) {
        const again = !(e instanceof Problem) || [500, 503, 507].includes(e.problem.status);
        if (!again || attempt === 5) throw e;
        await new Promise((wait) => setTimeout(wait, 200 * attempt));
      }
    }
  }

  async receipt(id) {
    return (await this.request('GET', `/v1/receipts/${id}`)).text();
  }
}

/** one run and its line: each record names the one before it. */
export class Run {
  constructor(client, registry, { key, actor, run = `run_${randomUUID()}` }) {
    Object.assign(this, { client, registry, key, actor, run, records: [], prev: undefined });
  }

  payload(kind, body, { actor = this.actor, about, cites } = {}) {
    const { place, registry } = kinds[kind];
    const first = kind === 'run.opened';
    return JSON.stringify({
      v: 1,
      origin: this.registry.origin,
      kind,
      registry: registry ? this.registry.number : undefined,
      run: place.run ? this.run : undefined,
      prev: about || first || !place.run ? undefined : this.prev,
      about,
      cites,
      actor,
      time: new Date().toISOString(),
      [kind]: body,
    });
  }

  /**
   * signs a record, submits it and returns its evidence ID. A record with `about`
   * stands beside the line; its key, actor and client are of whoever speaks there.
   */
  async add(kind, body, options = {}) {
    const entry = sign(this.payload(kind, body, options), options.key ?? this.key);
    const id = evidenceID(entry);
    const placed = await (options.client ?? this.client).submit(entry);
    if (placed.id !== id) throw new Error(`the ledger answered ${placed.id} for ${id}`);
    this.records.push({ kind, id, index: placed.index, entry });
    if (!options.about && kinds[kind].place.run) this.prev = id;
    return id;
  }

  /** what judge() needs, of the records of this client's own. payloads: from commitment to bytes. */
  judged() {
    const parsed = this.records.map(({ entry, index }) => ({ ...parseEntry(entry), index, signer: { name: '' } }));
    return { opened: parsed[0], line: parsed.filter((r) => r.place === 'line'), beside: new Map() };
  }
}

export function readKey(file) {
  return privateKey(Buffer.from(JSON.parse(readFileSync(file, 'utf8')).d, 'base64url'));
}

/** a run as it should be: asked, allowed, done, claimed, judged, closed. */
async function shortRun(client, registry, key, actor, runtime) {
  const run = new Run(client, registry, { key, actor });
  const payloads = new Map();
  const put = async (value) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const commitment = await client.put(text, typeof value === 'string' ? 'text/plain' : 'application/json');
    payloads.set(commitment.commit, Buffer.from(text));
    return commitment;
  };

  const contract = { contract: 'v1', task: 'complaint', expects: [{ action: 'send_email', input_has: { to: 'ada@example.org' } }] };
  await run.add('run.opened', {
    principal: 'customer-17', subject: 'ticket-4711', task: 'complaint', intent: await put('My order never came. Where is it? – Ada'),
    contract: { document: await put(contract), declared_by: 'operator' }, runtime,
  });
  const action = { action: 'send_email', resource: 'ada@example.org', tool: 'email_sender', input: await put({ to: 'ada@example.org', text: 'It is on its way.' }) };
  const authorization = await run.add('authorization', {
    step: 'answer', ...action, idempotency_key: `${run.run}/answer/1`, effect: 'allow', mode: 'enforce', source: 'reported',
  });
  await run.add('execution', {
    authorization, ...action, attempt: 1, status: 'success', source: 'runtime', output: await put({ messageId: 'msg_123' }), refs: { messageId: 'msg_123' }, took_ms: 12,
  });
  const claim = await run.add('claim', { statements: [{ text: await put('I answered Ada.'), assertions: [{ kind: 'contract' }] }] });
  const judged = run.judged();
  const { document, result } = judge({ run: judged, claim: judged.line.at(-1), before: run.records.at(-1).index, payloads });
  await run.add('verdict', { claim, result, document: await put(JSON.parse(document)) });
  await run.add('run.closed', { end: 'completed' });
  return run;
}

async function main() {
  const { values } = parseArgs({ options: {
    server: { type: 'string', default: 'http://127.0.0.1:8420' }, key: { type: 'string' },
    runtime: { type: 'string', default: 'runtime' }, agent: { type: 'string', default: 'support' },
  } });
  const token = process.env.LEDGERD_TOKEN ?? readFileSync(process.env.LEDGERD_TOKEN_FILE, 'utf8').trim();
  const client = new Client(values.server, token);
  const registry = await client.registry();
  const run = await shortRun(client, registry, readKey(values.key), values.agent, values.runtime);
  console.log(JSON.stringify({ run: run.run, records: run.records.map(({ kind, id, index }) => ({ kind, id, index })) }));
}

if (process.argv[1] && import.meta.url === new URL(`file://${process.argv[1]}`).href) await main();
