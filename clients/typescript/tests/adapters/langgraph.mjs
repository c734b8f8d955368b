// The complaint in LangGraph.js. What is governed, and what is kept, the mode says.
//
//   node langgraph.mjs KEY model|saver|nothing
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import { AIMessage, HumanMessage } from '@langchain/core/messages';
import { BaseChatModel } from '@langchain/core/language_models/chat_models';
import { tool } from '@langchain/core/tools';
import { MemorySaver } from '@langchain/langgraph';
import { createReactAgent } from '@langchain/langgraph/prebuilt';
import { z } from 'zod';
import { governModel, governToolNode, succeeded } from '../../dist/adapters/langgraph.js';
import { complaint, does, finish, open, probe, system, think } from './world.mjs';

const [, , key, mode] = process.argv;

class Scripted extends BaseChatModel {
  _llmType() {
    return 'scripted';
  }
  bindTools() {
    return this;
  }
  async _generate(messages) {
    const told = messages.filter((m) => m.getType() === 'tool').map((m) => ({ tool: m.name, text: m.text }));
    const { calls, text = '' } = await think(told, messages.filter((m) => m.getType() === 'human').length > 1 && messages.at(-1).getType() === 'human');
    const message = new AIMessage({ content: text, tool_calls: calls.map(({ id, tool, input }) => ({ id, name: tool, args: input, type: 'tool_call' })) });
    return { generations: [{ text, message }] };
  }
}

const schemas = {
  lookup_order: z.object({ order: z.string() }),
  refund: z.object({ order: z.string(), cents: z.number().int() }),
  send_email: z.object({ to: z.string(), text: z.string() }),
  delete_customer: z.object({ customer: z.string() }),
};
const tools = Object.entries(schemas).map(([name, schema]) => tool((input) => does[name](input), { name, description: `It does ${name}.`, schema }));

/** A saver whose threads outlive the process. */
class FileSaver extends MemorySaver {
  constructor(file) {
    super();
    this.file = file;
    if (existsSync(file)) Object.assign(this, deserialize(readFileSync(file)));
  }
  async put(...args) {
    return this.keep(await super.put(...args));
  }
  async putWrites(...args) {
    return this.keep(await super.putWrites(...args));
  }
  keep(value) {
    writeFileSync(`${this.file}.new`, serialize({ storage: this.storage, writes: this.writes }));
    renameSync(`${this.file}.new`, this.file);
    return value;
  }
}

const run = await open(key);
if (run) {
  const model = new Scripted({});
  const node = governToolNode(run, tools, { govern: { refund: { resource: (r) => `order/${r.order}` }, send_email: mode === 'nothing' ? {} : { probe } } });
  const saver = mode === 'saver' ? new FileSaver(process.env.SAVER) : undefined;
  const agent = createReactAgent({ llm: mode === 'model' ? governModel(run, model) : model, tools: node, prompt: system, checkpointer: saver });
  const config = { configurable: { thread_id: key }, durability: 'sync' };
  const before = saver && (await agent.getState(config));
  // A thread that stopped in the middle goes on; one that ended is told so.
  const input = !before?.values.messages ? [new HumanMessage(complaint)] : before.next.length === 0 ? [new HumanMessage('It is approved.')] : undefined;
  const { messages } = await agent.invoke(input ? { messages: input } : null, saver ? config : {});
  await finish(run, messages.at(-1).text, await succeeded(run));
}
