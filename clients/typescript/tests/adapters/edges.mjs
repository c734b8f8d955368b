// What the adapters do where something is not as it should be, in the frameworks
// themselves and against a daemon. Run by node --test.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AIMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { BaseChatModel } from '@langchain/core/language_models/chat_models';
import { tool as langTool } from '@langchain/core/tools';
import { Command } from '@langchain/langgraph';
import { Agent, Runner, tool as agentsTool, Usage } from '@openai/agents';
import { generateText, stepCountIs, tool as aiTool } from 'ai';
import { MockLanguageModelV3 } from 'ai/test';
import { z } from 'zod';
import { Denied, Failed, Ledgerd, LedgerdError, Problem, ToolError } from '../../dist/index.js';
import * as ai from '../../dist/adapters/ai.js';
import * as lang from '../../dist/adapters/langgraph.js';
import * as agents from '../../dist/adapters/openai-agents.js';

const ledgerd = new Ledgerd({ server: process.env.LEDGERD_SERVER, token: process.env.LEDGERD_TOKEN });
let runs = 0;
const open = (key = `edges-${++runs}`) => ledgerd.open(key, { task: 'edges' });
const inner = async (run) => Object.fromEntries((await run.state()).steps.map((s) => [s.step, s.state]));

const schema = z.object({ to: z.string() });
const broken = async () => {
  throw new Error('the mail server said no');
};
const ask = (...calls) => ({ messages: [new AIMessage({ content: '', tool_calls: calls.map(([id, name, args = { to: 'a' }]) => ({ id, name, args, type: 'tool_call' })) })] });

test('langgraph: it is the same tool', async () => {
  const mail = langTool(async () => 'sent', { name: 'send_email', description: 'Sends.', schema });
  const governed = lang.governTool(await open(), mail);
  assert.deepEqual([governed.name, governed.description, governed.schema], ['send_email', 'Sends.', schema]);
  assert.equal(await governed.invoke({ to: 'a' }), 'sent');
});

test('langgraph: a failure is recorded as one, and told', async () => {
  const run = await open();
  const node = lang.governToolNode(run, [langTool(broken, { name: 'send_email', schema })]);
  const { messages } = await node.invoke(ask(['c1', 'send_email']));
  assert.equal(messages[0].status, 'error');
  assert.match(messages[0].content, /^Failed: send_email failed \(tool_failed\)\. the mail server said no Evidence: ev_/);
  assert.deepEqual(await inner(run), { 'send_email:1': 'failed' });
});

test('langgraph: a tool message that says that it is an error is a failure, and another comes back with its artifact', async () => {
  const run = await open();
  const of = (status) => langTool(async (_, c) => new ToolMessage({ content: status, artifact: { rows: 7 }, status, tool_call_id: c.toolCall.id }), { name: status, schema });
  const node = () => lang.governToolNode(run, [of('error'), of('success')], { govern: { error: { action: 'send_email' }, success: { action: 'send_email' } } });
  const { messages } = await node().invoke(ask(['c1', 'error'], ['c2', 'success']));
  assert.deepEqual(messages.map((m) => [m.status, m.artifact, m.tool_call_id]), [['error', undefined, 'c1'], ['success', { rows: 7 }, 'c2']]);
  assert.deepEqual(await inner(run), { 'error:1': 'failed', 'success:1': 'succeeded' });
});

test('langgraph: a command cannot be recorded, and is in doubt', async () => {
  const run = await open();
  const node = lang.governToolNode(run, [langTool(async () => new Command({ update: {} }), { name: 'send_email', schema })]);
  const { messages } = await node.invoke(ask(['c1', 'send_email']));
  assert.match(messages[0].content, /^In doubt: send_email .* Do not assume that nothing happened: find out\. Evidence: ev_/);
});

test('langgraph: thrown, where that is asked for', async () => {
  const node = lang.governToolNode(await open(), [langTool(async () => 'gone', { name: 'delete_customer', schema })], { errors: 'throw' });
  await assert.rejects(node.invoke(ask(['c1', 'delete_customer'])), Denied);
});

test('langgraph: what waits is asked for once, in other words too', async () => {
  const run = await open();
  const node = lang.governToolNode(run, [langTool(async () => 'paid', { name: 'refund', schema })]);
  for (const id of ['c1', 'c2']) {
    const { messages } = await node.invoke(ask([id, 'refund']));
    assert.match(messages[0].content, /^Pending: refund waits for the approval of team finance\. It was not done\. Call again with the same arguments/);
  }
  await node.invoke(ask(['c3', 'refund', { to: 'b' }]));
  assert.deepEqual(await inner(run), { 'refund:1': 'waiting', 'refund:2': 'waiting' });
});

test('openai-agents: a failure is recorded as one, and told; what is thrown ends the run', async () => {
  const run = await open();
  const model = (name) => {
    let n = 0;
    return {
      async getResponse({ input }) {
        const output =
          n++ === 0
            ? [{ type: 'function_call', callId: 'c1', name, arguments: '{"to":"a"}', status: 'completed' }]
            : [{ type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: input.at(-1).output.text }] }];
        return { usage: new Usage(), output };
      },
    };
  };
  const ended = async (name, execute, how) => {
    const tool = agents.governTool(run, { name, description: 'It acts.', parameters: schema, execute }, how);
    return new Runner({ tracingDisabled: true }).run(new Agent({ name: 'A', tools: [tool], model: model(name) }), 'Do it.');
  };
  assert.match((await ended('send_email', broken)).finalOutput, /^Failed: send_email failed \(tool_failed\)\. the mail server said no Evidence: ev_/);
  assert.deepEqual(await inner(run), { 'send_email:1': 'failed' });
  const thrown = await ended('delete_customer', async () => 'gone', { errors: 'throw' }).catch((e) => e);
  assert.ok(thrown.error instanceof Denied, String(thrown));
});

test('openai-agents: a finished tool is refused', async () => {
  const finished = agentsTool({ name: 'send_email', description: 'Sends.', parameters: schema, execute: broken });
  const run = await open();
  assert.throws(() => agents.governTool(run, finished), /want what tool\(\) takes/);
});

test('ai: a failure is recorded as one, and the error has the evidence', async () => {
  const run = await open();
  const usage = { inputTokens: {}, outputTokens: {} };
  const content = [{ type: 'tool-call', toolCallId: 'c1', toolName: 'send_email', input: '{"to":"a"}' }, { type: 'tool-call', toolCallId: 'c2', toolName: 'delete_customer', input: '{"to":"a"}' }];
  const model = new MockLanguageModelV3({ doGenerate: { content, finishReason: { unified: 'tool-calls' }, usage, warnings: [] } });
  const tools = ai.governTools(run, { send_email: aiTool({ inputSchema: schema, execute: broken }), delete_customer: aiTool({ inputSchema: schema, execute: async () => 'gone' }) });
  const { content: got } = await generateText({ model, tools, prompt: 'Do it.', stopWhen: stepCountIs(1) });
  const errors = got.filter((p) => p.type === 'tool-error').map((p) => p.error);
  assert.ok(errors[0].cause instanceof Failed && errors[1].cause instanceof Denied);
  assert.equal((await inner(run))['send_email:1'], 'failed');
  assert.throws(() => ai.governTool(run, 'ask_user', aiTool({ inputSchema: schema })), /want a tool with execute/);
});

test('ai: a file that the model made comes whole, and again', async () => {
  const key = `edges-${++runs}`;
  const usage = { inputTokens: {}, outputTokens: {} };
  const content = [{ type: 'file', mediaType: 'image/png', data: Uint8Array.of(137, 80, 255) }];
  const model = new MockLanguageModelV3({ doGenerate: { content, finishReason: { unified: 'stop' }, usage, warnings: [] } });
  for (let life = 0; life < 2; life++) {
    const { files } = await generateText({ model: ai.governModel(await open(key), model), prompt: 'Draw it.' });
    assert.deepEqual([...files[0].uint8Array], [137, 80, 255]);
  }
  assert.equal(model.doGenerateCalls.length, 1);
});

test('ai: a tool that changed its arguments is not called again with what nobody permitted', async () => {
  const run = await open();
  const got = [];
  const send = aiTool({
    inputSchema: schema,
    execute: async (mail) => {
      got.push(mail.to);
      mail.to = 'eve';
      throw new ToolError('rate_limited', 'later');
    },
  });
  const how = { toolCallId: 'c1', messages: [] };
  await assert.rejects(async () => ai.governTool(run, 'send_email', send).execute({ to: 'a' }, how), /^Told: Failed: .* its arguments were changed since they were permitted/);
  assert.deepEqual(got, ['a']);
});

class Words extends BaseChatModel {
  asked = 0;
  _llmType() {
    return 'words';
  }
  async _generate() {
    const message = new AIMessage(`answer ${++this.asked}`);
    return { generations: [{ text: message.text, message }] };
  }
}

test('a question is answered once, other words of the user need another name', async () => {
  const key = `edges-${++runs}`;
  const again = async (words, options) => {
    const model = new Words({});
    const governed = lang.governModel(await open(key), model, options);
    const answers = [];
    for (const w of words) answers.push((await governed.invoke([new HumanMessage(w)])).text);
    return [model.asked, ...answers];
  };
  assert.deepEqual(await again(['one', 'two']), [2, 'answer 1', 'answer 2']);
  assert.deepEqual(await again(['one', 'two']), [0, 'answer 1', 'answer 2']);
  await assert.rejects(again(['two']), (e) => e instanceof LedgerdError && /another conversation has a name of its own/.test(e.message));
  assert.deepEqual(await again(['two'], { name: 'second' }), [1, 'answer 1']);
});

test('what was called again while it was in doubt is not done again when that is settled', async () => {
  const key = `edges-${++runs}`;
  let sent = 0;
  let asked = 0;
  class Insists extends Words {
    async _generate() {
      const message = new AIMessage({ content: '', tool_calls: [{ id: `c${++asked}`, name: 'send_email', args: { to: 'a' }, type: 'tool_call' }] });
      return { generations: [{ text: '', message }] };
    }
  }
  const send = async () => {
    sent++;
    throw new ToolError('outcome_unknown', 'the connection broke');
  };
  const life = async (options) => {
    const run = await open(key);
    const model = lang.governModel(run, new Insists({}));
    const node = lang.governToolNode(run, [langTool(send, { name: 'send_email', schema })], { govern: { send_email: options } });
    const messages = [new HumanMessage('Send it.')];
    for (let turn = 0; turn < 2; turn++) {
      messages.push(await model.invoke(messages));
      messages.push(...(await node.invoke({ messages })).messages);
    }
    return messages.filter((m) => m.getType() === 'tool').map((m) => m.text.slice(0, 8));
  };
  assert.deepEqual(await life({}), ['In doubt', 'In doubt']);
  assert.deepEqual(await life({ probe: () => ({ status: 'success', output: 'arrived!' }) }), ['arrived!', 'arrived!']);
  assert.deepEqual([sent, asked], [1, 2]);
});

test('openai-agents: what goes on after its time was up is not begun again', async () => {
  const run = await open();
  let sent = 0;
  const model = {
    async getResponse({ input }) {
      const told = Array.isArray(input) ? input.filter((i) => i.type === 'function_call_result') : [];
      const output = told.length < 2
        ? { type: 'function_call', callId: `c${told.length}`, name: 'send_email', arguments: '{"to":"a"}', status: 'completed' }
        : { type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: told.map((i) => i.output.text).join() }] };
      return { usage: new Usage(), output: [output] };
    },
  };
  const execute = async () => {
    sent++;
    await new Promise((done) => setTimeout(done, 400));
    return 'sent';
  };
  const send = agents.governTool(run, { name: 'send_email', description: 'Sends.', parameters: schema, execute, timeoutMs: 200 });
  await new Runner({ tracingDisabled: true }).run(new Agent({ name: 'A', tools: [send], model: agents.governModel(run, model) }), 'Send it.');
  assert.equal(sent, 1);
  assert.equal((await run.state()).steps.length, 1);
});

test('openai agents: an offer that is on its way is waited for, and one that is refused is not', async () => {
  const problem = (status, reason, more = {}) => new Problem({ type: '', title: '', status, reason, ...more });
  const answers = (...all) => ({
    async open() {
      const next = all.shift();
      if (next instanceof Problem) throw next;
      return next;
    },
  });
  const what = { task: 'analyse', continues: `ev_${'B'.repeat(42)}A` };
  const coming = [problem(404, 'not_found'), problem(422, 'handoff_head_older'), problem(422, 'handoff_head_inconsistent', { undecidable: true })];
  assert.equal(await agents.openOffered(answers(...coming, 'a run'), 'a', what), 'a run');
  for (const final of [problem(422, 'handoff_head_inconsistent'), problem(422, 'handoff_signature'), problem(409, 'handoff_used')]) {
    await assert.rejects(agents.openOffered(answers(final, 'a run'), 'a', what), final);
  }
  await assert.rejects(agents.openOffered(answers(...coming, ...coming), 'a', what, { wait: 0 }), coming[0]);
});

test('IDs and names that fit no path, and questions beyond what a request may have', async () => {
  const run = await open();
  class Odd extends Words {
    async _generate() {
      const message = new AIMessage({ content: '', tool_calls: [{ id: '../../é "?', name: 'files/../write', args: { to: 'a' }, type: 'tool_call' }] });
      return { generations: [{ text: '', message }] };
    }
  }
  const answer = await lang.governModel(run, new Odd({}), { name: '/etc/passwd' }).invoke([new HumanMessage('é'.repeat(1_500_000))]);
  const node = lang.governToolNode(run, [langTool(async () => 'sent', { name: 'files/../write', schema })], { govern: { 'files/../write': { action: 'send_email' } } });
  const { messages } = await node.invoke({ messages: [answer] });
  assert.equal(messages[0].content, 'sent');
  const [[step, state]] = Object.entries(await inner(run));
  assert.match(step, /^[\w-]{22}:[\w-]{22}:[\w-]{22}$/);
  assert.equal(state, 'succeeded');
});
