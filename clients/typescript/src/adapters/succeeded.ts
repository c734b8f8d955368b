import type { Run } from '../run.js';

/** The names of the steps of a run that succeeded: what a claim about all of it rests on. */
export async function succeeded(run: Run): Promise<string[]> {
  return (await run.state()).steps.filter((s) => s.state === 'succeeded').map((s) => s.step);
}
