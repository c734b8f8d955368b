// The complaint in the OpenAI Agents SDK.
//
//   node openai-agents.mjs KEY
import { Agent, Runner, Usage } from '@openai/agents';
import { z } from 'zod';
import { governModel, governTool, succeeded } from '../../dist/adapters/openai-agents.js';
import { complaint, does, finish, open, probe, system, think } from './world.mjs';

const scripted = {
  async getResponse({ input }) {
    const items = typeof input === 'string' ? [] : input;
    const told = items.filter((i) => i.type === 'function_call_result').map((i) => ({ tool: i.name, text: i.output.text }));
    const { calls, text } = await think(told);
    const said = text === undefined ? [] : [{ type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text }] }];
    const asked = calls.map(({ id, tool, input }) => ({ type: 'function_call', callId: id, name: tool, arguments: JSON.stringify(input), status: 'completed' }));
    return { usage: new Usage({ requests: 1, inputTokens: 10, outputTokens: 5, totalTokens: 15 }), output: [...said, ...asked] };
  },
};

const schemas = {
  lookup_order: z.object({ order: z.string() }),
  refund: z.object({ order: z.string(), cents: z.number().int() }),
  send_email: z.object({ to: z.string(), text: z.string() }),
  delete_customer: z.object({ customer: z.string() }),
};

const run = await open(process.argv[2]);
if (run) {
  const governed = { send_email: { probe }, refund: { resource: (r) => `order/${r.order}` } };
  const tools = Object.entries(schemas).map(([name, parameters]) =>
    governTool(run, { name, description: `It does ${name}.`, parameters, execute: (input) => does[name](input) }, governed[name]),
  );
  const agent = new Agent({ name: 'Support', instructions: system, tools, model: governModel(run, scripted) });
  const { finalOutput } = await new Runner({ tracingDisabled: true }).run(agent, complaint);
  await finish(run, finalOutput, await succeeded(run));
}
