// The driver of ../../conformance: README.md there says what it gets and prints.
import { readFileSync, writeSync } from 'node:fs';
import * as ledgerd from '../dist/index.js';

const { do: operations } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const client = new ledgerd.Ledgerd({ server: process.env.LEDGERD_SERVER, token: process.env.LEDGERD_TOKEN });
const decisions = new Map();
let run;
let laid;

/** The members of an operation that are there, by these names. */
const given = (op, ...names) => Object.fromEntries(names.filter((n) => n in op).map((n) => [n, op[n]]));

const does = {
  async open(op) {
    run = await client.open(op.key, given(op, 'task', 'subject', 'input', 'intent', 'principal', 'budget'));
    return { state: run.opened.state };
  },
  async step(op, line) {
    Object.assign(line, { calls: 0, keys: [] });
    const options = given(op, 'action', 'tool', 'resource', 'idempotent', 'params', 'refs', 'estimate');
    if (op.decision) options.decision = decisions.get(op.decision);
    if (op.wait_ms) options.wait = op.wait_ms;
    if (op.probe) options.probe = () => op.probe;
    return { output: (await run.step(op.step, (_, call) => react(op, call, line), op.input, options)) ?? null };
  },
  async run_here(op) {
    return { output: await run.runHere(op.step, op.tool, op.input, given(op, 'resource')) };
  },
  async decide(op, line) {
    line.calls = 0;
    const think = () => {
      line.calls++;
      return op.think;
    };
    const made = await run.decide(op.name, think, { ...given(op, 'model', 'question'), ...(op.context ? { context: [laid] } : {}) });
    decisions.set(op.name, made.id);
    return { choice: made.choice };
  },
  async context(op) {
    laid = await run.context(...op.sources);
    return { id: laid };
  },
  async checkpoint(op) {
    return { id: (await run.checkpoint(op.name, op.state)).id };
  },
  async last_checkpoint() {
    const last = await run.lastCheckpoint();
    return last && { name: last.name, checkpoint: last.state };
  },
  async claim(op) {
    const { id, verdict } = await run.claim(op.text, op.steps);
    return { claim: id, result: verdict.result };
  },
  close: async () => given(await run.close(), 'state', 'end'),
  fail: async (op) => given(await run.fail(op.reason), 'state', 'end'),
  stop: async (op) => given(await run.stop(op.reason), 'state', 'end'),
};

/** What the function of a step does in one call. */
function react(op, call, line) {
  const does = op.calls[line.calls++];
  line.keys.push(call.idempotencyKey);
  if (does === undefined) process.reallyExit(70);
  if (does.crash) process.reallyExit(does.crash);
  if (does.fail) throw new ledgerd.ToolError(does.fail.class, does.fail.message);
  if (does.throw) throw new Error(does.throw);
  if (does.unknown) throw new ledgerd.ToolError('outcome_unknown', does.unknown);
  return does.no_json ? { value: 1n } : does.return;
}

/** The members of an error; undefined: it is none of the client's. */
function failed(e) {
  const step = e instanceof ledgerd.StepError ? { step: e.step, authorization: e.authorization } : {};
  if (e instanceof ledgerd.Denied) return { error: 'denied', ...step, policies: e.policies, refusal: e.refusal };
  if (e instanceof ledgerd.Waiting) return { error: 'waiting', ...step, team: e.team };
  if (e instanceof ledgerd.Failed) return { error: 'failed', ...step, class: e.class, attempts: e.attempts, errors: e.errors };
  if (e instanceof ledgerd.InDoubt) return { error: 'in_doubt', ...step, doubt: e.doubt };
  if (e instanceof ledgerd.Unsupported) return { error: 'unsupported', claim: e.claim, result: e.verdict.result };
  if (e instanceof ledgerd.Problem) return { error: 'problem', status: e.status, reason: e.reason };
  return undefined;
}

for (const [at, op] of operations.entries()) {
  const line = { at };
  try {
    Object.assign(line, await does[op.op](op, line));
  } catch (e) {
    const members = failed(e);
    if (members === undefined) throw e;
    Object.assign(line, members);
  }
  writeSync(1, `${JSON.stringify(line)}\n`);
}
