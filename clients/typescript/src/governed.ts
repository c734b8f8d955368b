import type { Run } from './run.js';
import type { Call, StepOptions } from './step.js';

/** How often each tool of a run was called by this program. */
const uses = new WeakMap<Run, Map<string, number>>();

/**
 * The function as one that asks before it acts: each call is a step of the run, `NAME:1`,
 * `NAME:2` and so on, in the order in which the program makes them. A program that does
 * not make them in the same order when it is run again names each step itself.
 */
export function governed<In, Out>(
  run: Run,
  tool: string,
  f: (input: In, call: Call) => Out | Promise<Out>,
  options: StepOptions<In, Out> = {},
): (input: In, call?: { step?: string; signal?: AbortSignal }) => Promise<Out> {
  return (input, { step, signal } = {}) => {
    const of = uses.get(run) ?? new Map<string, number>();
    uses.set(run, of);
    if (step === undefined) {
      const n = (of.get(tool) ?? 0) + 1;
      of.set(tool, n);
      step = `${tool}:${n}`;
    }
    return run.step(step, f, input, { action: tool, tool, ...options, ...(signal ? { signal } : {}) });
  };
}
