/**
 * OpenAI Agents SDK: tools that ask before they act, a model whose answers are on record,
 * and handoffs that are offered, and accepted on verified evidence.
 *
 * @packageDocumentation
 */
import {
  Handoff,
  tool,
  Usage,
  type Agent,
  type AgentInputItem,
  type AgentOutputItem,
  type FunctionTool,
  type Model,
  type ModelRequest,
  type ModelResponse,
  type StreamEvent,
  type ToolInputParameters,
  type ToolOptions,
  type UnknownContext,
} from '@openai/agents';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EvidenceID } from '../answers.js';
import type { Ledgerd } from '../client.js';
import { Problem } from '../errors.js';
import type { MakeOffer, OpenRun, Run } from '../run.js';
import { Book } from './book.js';
import { govern, Told, type GovernOptions } from './call.js';
import { succeeded } from './succeeded.js';

export { Told, type GovernOptions } from './call.js';
export { succeeded } from './succeeded.js';

type Execute = (input: unknown, context?: unknown, details?: { toolCall?: { callId?: string }; signal?: AbortSignal }) => unknown;
type OnError = (context: unknown, error: unknown, details?: unknown) => unknown;

/**
 * `tool()` of the SDK, of a tool that asks before it acts. It takes what `tool()` takes,
 * and not what it gives: of a finished tool a failure cannot be told from a result.
 */
export function governTool<P extends ToolInputParameters = undefined, C = UnknownContext, R = string>(
  run: Run,
  options: ToolOptions<P, C>,
  governed: GovernOptions = {},
): FunctionTool<C, P, R> {
  const { execute, description, errorFunction } = options as { execute?: Execute; description: string; errorFunction?: OnError | null };
  if (typeof execute !== 'function') throw new TypeError('governTool: want what tool() takes, with execute, and not a tool');
  const thrown = new WeakSet<object>();
  const made = tool({
    ...options,
    execute: async (input: unknown, context: unknown, details: Parameters<Execute>[2]) => {
      const call = { id: details?.toolCall?.callId, tool: made.name, input, description, signal: details?.signal };
      try {
        return await govern(run, call, () => execute(input, context, details), governed);
      } catch (e) {
        if (e instanceof Told) return e.message;
        if (e instanceof Object) thrown.add(e);
        throw e;
      }
    },
    // The model hears of input that does not fit. What govern throws ends the run.
    errorFunction: (context: unknown, error: unknown, details: unknown) => {
      if (errorFunction === null || (error instanceof Object && thrown.has(error))) throw error;
      return errorFunction ? errorFunction(context, error, details) : 'The arguments do not fit the tool. It was not called.';
    },
  } as unknown as ToolOptions<P, C>) as FunctionTool<C, P, R>;
  return made;
}

/**
 * The model as one whose answers are on record. Asked the same when the program is run
 * again, it answers the same, and is not called. Agents of one run that work beside each
 * other have a `name` each. `modelName` is what the record calls the model.
 */
export function governModel(run: Run, model: Model, { name = 'model', modelName = 'model' }: { name?: string; modelName?: string } = {}): Model {
  const getResponse = async (request: ModelRequest): Promise<ModelResponse> => {
    const input: AgentInputItem[] = typeof request.input === 'string' ? [{ role: 'user', content: request.input }] : request.input;
    const said = input.filter(isSaid);
    const fresh: unknown[] = input.slice(input.findLastIndex(isSaid) + 1);
    if (said.length === 0) fresh.unshift({ role: 'system', content: request.systemInstructions });
    const question = {
      name,
      model: modelName,
      said: said.map((item) => ('role' in item ? item.content : [idOf(item), item.type, 'name' in item && item.name, 'arguments' in item && item.arguments])),
      user: input.flatMap((item) => ('role' in item && item.role === 'user' ? [item.content] : [])),
      fresh,
    };
    const ask = async () => {
      const { output, usage, responseId } = await model.getResponse(request);
      return { answer: { output, usage, responseId }, cost: usage.totalTokens > 0 ? { tokens: usage.totalTokens } : undefined };
    };
    const { output, usage, responseId } = await Book.of(run).answer(question, ask, (a) => a.output.flatMap((item) => idOf(item) ?? []));
    return { output, usage: new Usage(usage), ...(responseId === undefined ? {} : { responseId }) };
  };
  return {
    getResponse,
    // It comes whole, once it is on record.
    async *getStreamedResponse(request: ModelRequest): AsyncIterable<StreamEvent> {
      const { output, usage, responseId } = await getResponse(request);
      const { requests, inputTokens, outputTokens, totalTokens } = usage;
      yield { type: 'response_started' };
      yield { type: 'response_done', response: { id: responseId ?? name, output, usage: { requests, inputTokens, outputTokens, totalTokens } } } as StreamEvent;
    },
  };
}

/** An item that the model wrote. */
function isSaid(item: AgentInputItem): boolean {
  return ('role' in item && item.role === 'assistant') || idOf(item) !== undefined;
}

/** The ID of a call that an item asks for. */
function idOf(item: AgentInputItem | AgentOutputItem): string | undefined {
  const { type, callId } = item as { type?: string; callId?: unknown };
  return typeof callId === 'string' && type?.endsWith('_call') ? callId : undefined;
}

/**
 * A handoff that is offered to the other agent's key, on the evidence of what succeeded
 * in the run unless the offer names its own. `accept` gives the agent that goes on: it
 * opens that agent's own run with `continues`, by which its daemon verifies the offer,
 * and gives it tools that are governed by that run. Where it throws nothing is handed over.
 */
export function governHandoff<C>(run: Run, agent: Agent<C>, offer: MakeOffer, accept: (offer: EvidenceID) => Promise<Agent<C>>): Handoff<C> {
  return new Handoff<C>(agent, async () => {
    const on = offer.steps || offer.evidence ? offer : { ...offer, steps: await restsOn(run, offer.task) };
    return accept((await run.offer(on)).offer);
  });
}

/** What had succeeded when the offer was first made: on more it would be another offer, when the program is run again. */
async function restsOn(run: Run, task: string): Promise<string[]> {
  const { choice } = await run.decide(Book.of(run).offerOf(task), async () => ({ choice: await succeeded(run) }), { model: 'governHandoff' });
  return choice as string[];
}

/**
 * Opens a run that continues an offer. It may be on its way to the agent's daemon, or lie there under a tree head older
 * than what was accepted since, until its giver sends a newer bundle: it is waited for, 30 seconds unless `wait` says how
 * long.
 */
export async function openOffered(ledgerd: Ledgerd, key: string, what: OpenRun & { continues: EvidenceID }, { wait = 30_000 }: { wait?: number } = {}): Promise<Run> {
  for (const until = performance.now() + wait; ; ) {
    try {
      return await ledgerd.open(key, what);
    } catch (e) {
      if (!(e instanceof Problem) || !mayCome(e) || performance.now() > until) throw e;
    }
    await sleep(100);
  }
}

/** docs/http-api.md, "The inbox". */
function mayCome({ status, reason, document }: Problem): boolean {
  return status === 404 || reason === 'handoff_head_older' || (reason === 'handoff_head_inconsistent' && document.undecidable === true);
}
