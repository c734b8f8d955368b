// The complaint in the Vercel AI SDK, at once or as a stream.
//
//   node ai.mjs KEY [stream]
import { generateText, stepCountIs, streamText, tool } from 'ai';
import { MockLanguageModelV3 } from 'ai/test';
import { z } from 'zod';
import { governModel, governTools, succeeded } from '../../dist/adapters/ai.js';
import { complaint, does, finish, open, probe, system, think } from './world.mjs';

const usage = { inputTokens: { total: 10 }, outputTokens: { total: 5 } };

const scripted = new MockLanguageModelV3({
  async doGenerate({ prompt }) {
    const results = prompt.flatMap((m) => (m.role === 'tool' ? m.content : []));
    const told = results.map(({ toolName, output }) => ({ tool: toolName, text: typeof output.value === 'string' ? output.value : JSON.stringify(output.value) }));
    const { calls, text } = await think(told);
    const asked = calls.map(({ id, tool, input }) => ({ type: 'tool-call', toolCallId: id, toolName: tool, input: JSON.stringify(input) }));
    const finishReason = { unified: calls.length > 0 ? 'tool-calls' : 'stop', raw: undefined };
    return { content: text === undefined ? asked : [{ type: 'text', text }], finishReason, usage, warnings: [] };
  },
});

const of = (name, inputSchema) => tool({ description: `It does ${name}.`, inputSchema, execute: (input) => does[name](input) });
const tools = {
  lookup_order: of('lookup_order', z.object({ order: z.string() })),
  refund: of('refund', z.object({ order: z.string(), cents: z.number().int() })),
  send_email: of('send_email', z.object({ to: z.string(), text: z.string() })),
  delete_customer: of('delete_customer', z.object({ customer: z.string() })),
};

const [, , key, how] = process.argv;
const run = await open(key);
if (run) {
  const governed = governTools(run, tools, { send_email: { probe }, refund: { resource: (r) => `order/${r.order}` } });
  const call = { model: governModel(run, scripted), tools: governed, system, prompt: complaint, stopWhen: stepCountIs(12) };
  const text = how === 'stream' ? await streamText(call).text : (await generateText(call)).text;
  await finish(run, text, await succeeded(run));
}
