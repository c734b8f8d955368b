// A call of a tool as a governed step, and what a model hears of one that came to nothing.
import { Denied, Failed, InDoubt, LedgerdError, Problem, Waiting, type StepError } from '../errors.js';
import { ToolError } from '../failure.js';
import type { Run } from '../run.js';
import type { Call, StepOptions } from '../step.js';
import { Book, type ToolCall } from './book.js';

/** How the calls of a tool are governed. */
export interface GovernOptions<In = any, Out = any> extends Pick<StepOptions<In, Out>, 'idempotent' | 'wait' | 'probe' | 'params' | 'refs' | 'estimate' | 'cost'> {
  /** What it does, in the words of policies; the tool's name where absent. */
  action?: string;
  /** What a call is done to. */
  resource?: (input: In) => string | undefined;
  /**
   * `tell`, the default: what is denied, waits, failed or is in doubt is told to the
   * model. `throw`: it is thrown, and ends the loop where the framework lets it.
   */
  errors?: 'tell' | 'throw';
}

/** What a call is governed by besides what its program says of its tool. */
export interface Governed extends ToolCall {
  description?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Thrown to a framework that shows a model the message; `cause` has the evidence. */
export class Told extends LedgerdError {
  declare readonly cause: StepError | Problem;

  constructor(cause: StepError | Problem) {
    super(tell(cause), { cause });
  }
}

/** Does the call as a step. Throws {@link Told} for what the model is to hear. */
export async function govern<Out>(run: Run, call: Governed, f: (call: Call) => Out | Promise<Out>, options: GovernOptions<any, Out>): Promise<Out> {
  const book = Book.of(run);
  const { step, decision } = book.stepOf(call);
  const { resource, errors, action = call.tool, ...rest } = options;
  const on = resource?.(call.input);
  const of: StepOptions<unknown, Out> = { ...rest, action, tool: call.tool };
  if (on !== undefined) of.resource = on;
  if (decision) of.decision = decision;
  if (call.description) of.description = call.description;
  if (call.signal) of.signal = call.signal;
  let over = false;
  book.begun(step);
  try {
    const permitted = (input: unknown, c: Call) => {
      // The tool has the framework's object, which need not be JSON alone: an attempt before may have changed it.
      if (JSON.stringify(call.input) !== JSON.stringify(input)) throw new ToolError('tool_failed', 'its arguments were changed since they were permitted: it was not called');
      return f(c);
    };
    const out = await run.step(step, permitted, call.input, of);
    over = true;
    return out;
  } catch (e) {
    over = e instanceof Denied || e instanceof Failed;
    throw isTold(e) && errors !== 'throw' ? new Told(e) : e;
  } finally {
    book.ended(step, over);
  }
}

// What a model can do something about. All else is the program's.
function isTold(e: unknown): e is StepError | Problem {
  if (e instanceof Problem) return e.reason === 'step_changed' || e.reason === 'cost_budget_exceeded' || e.reason === 'invalid';
  return e instanceof Denied || e instanceof Waiting || e instanceof Failed || e instanceof InDoubt;
}

/** What a model hears. */
function tell(e: StepError | Problem): string {
  if (e instanceof Denied) {
    const by = e.policies.length > 0 ? `Decided by the policy ${e.policies.join(', ')}.` : 'No policy permits it.';
    if (e.refusal) return `Denied: a human refused ${e.action}. It was not done. Evidence: ${e.refusal}.`;
    return `Denied: ${e.action} is not permitted. It was not done. ${by} Evidence: ${e.authorization}.`;
  }
  if (e instanceof Waiting) {
    if (e.team === undefined) return `Pending: ${e.action} was accepted, and is not finished. Call again with the same arguments to find out. Evidence: ${e.authorization}.`;
    return `Pending: ${e.action} waits for the approval of team ${e.team}. It was not done. Call again with the same arguments to find out. Evidence: ${e.authorization}.`;
  }
  if (e instanceof InDoubt) {
    return `In doubt: ${e.action} was permitted before with the same arguments, and nobody knows whether it happened. It was not done again. Do not assume that nothing happened: find out. Evidence: ${e.doubt ?? e.authorization}.`;
  }
  if (e instanceof Failed) {
    const errors = e.errors.length > 0 ? ` ${e.errors.join(' ')}` : '';
    return `Failed: ${e.action} failed (${e.class}).${errors} Evidence: ${e.execution ?? e.authorization}.`;
  }
  if (e instanceof Problem && e.reason === 'step_changed') {
    return `Not done: this call was asked for before with other arguments. Do not assume that it did not happen then. Evidence: ${e.stands ?? e.evidence.join(', ')}.`;
  }
  return `Not done: ${e.message}`;
}
