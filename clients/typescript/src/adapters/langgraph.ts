/**
 * LangGraph.js: tools that ask before they act, a tool node of them, and a model whose
 * answers are on record, so that a program that is run again goes through the same calls.
 *
 * @packageDocumentation
 */
import type { CallbackManagerForToolRun } from '@langchain/core/callbacks/manager';
import { BaseChatModel, type BaseChatModelCallOptions, type BindToolsInput } from '@langchain/core/language_models/chat_models';
import type { BaseLanguageModelInput } from '@langchain/core/language_models/base';
import { AIMessage, ToolMessage, isAIMessage, isHumanMessage, isToolMessage, mapChatMessagesToStoredMessages, type AIMessageChunk, type BaseMessage } from '@langchain/core/messages';
import type { ChatResult } from '@langchain/core/outputs';
import type { Runnable } from '@langchain/core/runnables';
import type { StructuredTool } from '@langchain/core/tools';
import { isCommand } from '@langchain/langgraph';
import { ToolNode, type ToolNodeOptions } from '@langchain/langgraph/prebuilt';
import { ToolError } from '../failure.js';
import type { Run } from '../run.js';
import { Book } from './book.js';
import { govern, Told, type GovernOptions } from './call.js';

export { Told, type GovernOptions } from './call.js';
export { succeeded } from './succeeded.js';

/** Where a tool's own work is. It is protected in StructuredTool. */
type Works = (input: unknown, manager: CallbackManagerForToolRun | undefined, config: ToolConfig | undefined) => Promise<unknown>;

interface ToolConfig {
  toolCall?: { id?: string };
  signal?: AbortSignal;
  durability?: string;
  configurable?: Record<string, unknown>;
}

/** The tool as one that asks before it acts: in everything else it is the same tool. */
export function governTool<T extends StructuredTool>(run: Run, tool: T, options: GovernOptions = {}): T {
  const work = (tool as unknown as { _call: Works })._call;
  const governed: Works = async (input, manager, config) => {
    const id = config?.toolCall?.id;
    const call = { id, tool: tool.name, input, description: tool.description, signal: config?.signal, stable: isKept(config) };
    try {
      return revived(await govern(run, call, async () => recorded(await work.call(tool, input, manager, config)), options), id, tool.name);
    } catch (e) {
      if (!(e instanceof Told) || !id) throw e;
      return new ToolMessage({ status: 'error', content: e.message, tool_call_id: id, name: tool.name });
    }
  };
  return Object.create(tool, { _call: { value: governed } }) as T;
}

/** A tool node whose tools ask before they act. `govern` has options for tools, by their names. */
export function governToolNode(
  run: Run,
  tools: StructuredTool[],
  { govern: of = {}, errors = 'tell', ...options }: ToolNodeOptions & { govern?: Record<string, GovernOptions>; errors?: 'tell' | 'throw' } = {},
): ToolNode {
  const governed = tools.map((t) => governTool(run, t, { errors, ...of[t.name] }));
  return new ToolNode(governed, errors === 'throw' ? { handleToolErrors: false, ...options } : options);
}

/**
 * The model as one whose answers are on record. Asked the same when the program is run
 * again, it answers the same, and is not called.
 */
export function governModel(run: Run, model: BaseChatModel, { name = 'model' }: { name?: string } = {}): BaseChatModel {
  return new GovernedModel(run, name, model, model);
}

class GovernedModel extends BaseChatModel {
  constructor(
    readonly run: Run,
    readonly conversation: string,
    readonly inner: BaseChatModel,
    readonly bound: Runnable<BaseLanguageModelInput, AIMessageChunk>,
  ) {
    super({});
    // Its answer comes whole, once it is on record.
    this.disableStreaming = true;
  }

  _llmType(): string {
    return 'ledgerd';
  }

  override bindTools(tools: BindToolsInput[], options?: Partial<BaseChatModelCallOptions>): Runnable<BaseLanguageModelInput, AIMessageChunk> {
    if (!this.inner.bindTools) throw new TypeError(`want a model that tools can be bound to, found ${this.inner._llmType()}`);
    return new GovernedModel(this.run, this.conversation, this.inner, this.inner.bindTools(tools, options));
  }

  async _generate(messages: BaseMessage[], options: this['ParsedCallOptions']): Promise<ChatResult> {
    const said = messages.filter(isAIMessage);
    const last = messages.findLastIndex(isAIMessage);
    const question = {
      name: this.conversation,
      model: nameOf(this.inner),
      said: said.map((m) => [m.text, (m.tool_calls ?? []).map(({ id, name, args }) => [id, name, args])]),
      user: messages.filter((m) => isHumanMessage(m)).map((m) => m.content),
      fresh: mapChatMessagesToStoredMessages(messages.slice(last + 1)),
    };
    const ask = async () => {
      const { content, tool_calls = [], invalid_tool_calls = [], additional_kwargs, usage_metadata, id } = (await this.bound.invoke(messages, options)) as AIMessage;
      const tokens = usage_metadata?.total_tokens;
      const kept = { content, tool_calls, invalid_tool_calls, additional_kwargs, usage_metadata, id };
      return { answer: kept, cost: tokens === undefined ? undefined : { tokens } };
    };
    const kept = await Book.of(this.run).answer(question, ask, (a) => (a.tool_calls ?? []).flatMap((c) => c.id ?? []));
    const message = new AIMessage(kept as ConstructorParameters<typeof AIMessage>[0] & object);
    return { generations: [{ text: message.text, message }] };
  }
}

function nameOf(model: BaseChatModel): string {
  const { model: name, modelName } = model as { model?: unknown; modelName?: unknown };
  for (const n of [name, modelName]) if (typeof n === 'string' && n !== '') return n;
  return model._llmType();
}

/** Whether the graph keeps the model's message before it goes on to its tools, so that the IDs in it are the same on resume. */
function isKept(config: ToolConfig | undefined): boolean {
  return config?.durability === 'sync' && Boolean(config.configurable?.['__pregel_checkpointer']);
}

/** What a tool gave, as it is recorded. */
async function recorded(out: unknown): Promise<unknown> {
  if (isGenerator(out)) {
    for (;;) {
      const { done, value } = await out.next();
      if (done) return recorded(value);
    }
  }
  if (isCommand(out)) throw new ToolError('outcome_unknown', 'it gave a Command, which is no JSON and cannot be recorded: have a node of the graph give that');
  if (!isMessage(out)) return out;
  if (out.status === 'error') throw new ToolError('tool_failed', out.text);
  const { content, artifact } = out;
  return { tool_message: artifact === undefined ? { content } : { content, artifact } };
}

/** What was recorded, as the framework gets it. */
function revived(out: unknown, id: string | undefined, name: string): unknown {
  const { tool_message } = (out ?? {}) as { tool_message?: { content: string; artifact?: unknown } };
  return tool_message && id ? new ToolMessage({ ...tool_message, status: 'success', tool_call_id: id, name }) : out;
}

function isMessage(out: unknown): out is ToolMessage {
  return out instanceof Object && '_getType' in out && isToolMessage(out as BaseMessage);
}

function isGenerator(out: unknown): out is AsyncGenerator {
  return out instanceof Object && Symbol.asyncIterator in out && 'next' in out;
}
