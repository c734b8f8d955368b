// What the examples of README.md about frameworks take for granted: a run, a tool that
// sends email, and a model that has it sent and says so.
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { Ledgerd } from '@ledgerd/client';

export const ledgerd = new Ledgerd({ server: process.env.LEDGERD_SERVER, token: process.env.LEDGERD_TOKEN });
export const parameters = z.object({ to: z.string() });
export const smtp = { send: async ({ to }) => ({ message: `to ${to}` }) };

const call = { name: 'send_email', input: { to: 'lea@example.com' } };
const words = 'Lea was told.';

export async function langgraph() {
  const { AIMessage } = await import('@langchain/core/messages');
  const { BaseChatModel } = await import('@langchain/core/language_models/chat_models');
  const { tool } = await import('@langchain/core/tools');
  class Scripted extends BaseChatModel {
    _llmType() {
      return 'scripted';
    }
    bindTools() {
      return this;
    }
    async _generate(messages) {
      const done = messages.some((m) => m.getType() === 'tool');
      const message = done ? new AIMessage(words) : new AIMessage({ content: '', tool_calls: [{ id: randomUUID(), name: call.name, args: call.input, type: 'tool_call' }] });
      return { generations: [{ text: message.text, message }] };
    }
  }
  return { model: new Scripted({}), sendEmail: tool((mail) => smtp.send(mail), { name: call.name, schema: parameters }) };
}

export async function agents() {
  const { Usage } = await import('@openai/agents');
  const model = {
    async getResponse({ input }) {
      const output =
        Array.isArray(input) && input.some((i) => i.type === 'function_call_result')
          ? { type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: words }] }
          : { type: 'function_call', callId: randomUUID(), name: call.name, arguments: JSON.stringify(call.input), status: 'completed' };
      return { usage: new Usage(), output: [output] };
    },
  };
  return { model };
}

export async function ai() {
  const { tool } = await import('ai');
  const { MockLanguageModelV3 } = await import('ai/test');
  const model = new MockLanguageModelV3({
    async doGenerate({ prompt }) {
      const done = prompt.some((m) => m.role === 'tool');
      const said = done ? { type: 'text', text: words } : { type: 'tool-call', toolCallId: randomUUID(), toolName: call.name, input: JSON.stringify(call.input) };
      return { content: [said], finishReason: { unified: done ? 'stop' : 'tool-calls' }, usage: { inputTokens: {}, outputTokens: {} }, warnings: [] };
    },
  });
  return { model, send_email: tool({ inputSchema: parameters, execute: (mail) => smtp.send(mail) }) };
}
