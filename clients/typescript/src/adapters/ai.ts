/**
 * Vercel AI SDK: tools that ask before they act, and a model whose answers are on record.
 *
 * @packageDocumentation
 */
import { simulateReadableStream, wrapLanguageModel, type Tool, type ToolSet } from 'ai';
import type { Run } from '../run.js';
import { Book } from './book.js';
import { govern, type GovernOptions } from './call.js';

export { Told, type GovernOptions } from './call.js';
export { succeeded } from './succeeded.js';

// The SDK exports these under no names.
type Model = ReturnType<typeof wrapLanguageModel>;
type Message = Parameters<Model['doGenerate']>[0]['prompt'][number];
type Result = Awaited<ReturnType<Model['doGenerate']>>;
type Part = Awaited<ReturnType<Model['doStream']>>['stream'] extends ReadableStream<infer P> ? P : never;

/**
 * The tools as ones that ask before they act: in everything else they are the same. The
 * SDK gives the model what they throw. `govern` has options for tools, by their names.
 */
export function governTools<T extends ToolSet>(run: Run, tools: T, options: { [name in keyof T]?: GovernOptions } = {}): T {
  return Object.fromEntries(Object.entries(tools).map(([name, tool]) => [name, governTool(run, name, tool as Tool, options[name])])) as T;
}

/** One tool, with its name. */
export function governTool<T extends Tool>(run: Run, name: string, tool: T, options: GovernOptions = {}): T {
  const { execute, description } = tool;
  if (!execute) throw new TypeError(`governTool: want a tool with execute, found ${JSON.stringify(name)}, which is called elsewhere`);
  return {
    ...tool,
    execute: (input, how) => {
      const call = { id: how.toolCallId, tool: name, input, description, signal: how.abortSignal };
      return govern(run, call, async () => last(execute(input, how)), options);
    },
  } as T;
}

/**
 * The model as one whose answers are on record. Asked the same when the program is run
 * again, it answers the same, and is not called. It answers whole, in a stream too.
 */
export function governModel(run: Run, model: Model, { name = 'model' }: { name?: string } = {}): Model {
  const answer = (prompt: Message[], generate: () => PromiseLike<Result>) => {
    const question = {
      name,
      model: model.modelId,
      said: prompt.filter(isSaid).map((m) => m.content),
      user: prompt.filter((m) => m.role === 'user').map((m) => m.content),
      fresh: prompt.slice(prompt.findLastIndex(isSaid) + 1),
    };
    const ask = async () => {
      // Not what was sent, nor headers: they are nobody's business.
      const { content, finishReason, usage, warnings, providerMetadata } = await generate();
      const tokens = (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0);
      return { answer: { content: content.map(asJson), finishReason, usage, warnings, ...(providerMetadata ? { providerMetadata } : {}) }, cost: tokens > 0 ? { tokens } : undefined };
    };
    return Book.of(run).answer<Result>(question, ask, (a) => a.content.flatMap((c) => (c.type === 'tool-call' ? c.toolCallId : [])));
  };
  return wrapLanguageModel({
    model,
    middleware: {
      specificationVersion: 'v3',
      wrapGenerate: ({ doGenerate, params }) => answer(params.prompt, doGenerate),
      wrapStream: async ({ doGenerate, params }) => {
        const chunks = partsOf(await answer(params.prompt, doGenerate));
        return { stream: simulateReadableStream({ chunks, initialDelayInMs: null, chunkDelayInMs: null }) };
      },
    },
  });
}

/** A file's bytes as base64, which the SDK takes for them. */
function asJson(part: Result['content'][number]): Result['content'][number] {
  return part.type === 'file' && part.data instanceof Uint8Array ? { ...part, data: Buffer.from(part.data).toString('base64') } : part;
}

function isSaid(message: Message): boolean {
  return message.role === 'assistant';
}

function partsOf({ content, finishReason, usage, warnings, providerMetadata }: Result): Part[] {
  const inner = content.flatMap((c, at): Part[] => {
    if (c.type !== 'text' && c.type !== 'reasoning') return [c];
    const id = String(at);
    const meta = c.providerMetadata ? { providerMetadata: c.providerMetadata } : {};
    return [{ type: `${c.type}-start`, id, ...meta }, { type: `${c.type}-delta`, id, delta: c.text }, { type: `${c.type}-end`, id, ...meta }];
  });
  return [{ type: 'stream-start', warnings }, ...inner, { type: 'finish', usage, finishReason, ...(providerMetadata ? { providerMetadata } : {}) }];
}

/** A tool may give intermediate results: the last one is its result. */
async function last<T>(out: AsyncIterable<T> | PromiseLike<T> | T): Promise<T> {
  if (!(out instanceof Object) || !(Symbol.asyncIterator in out)) return out;
  let result: T | undefined;
  for await (const part of out) result = part;
  return result as T;
}
