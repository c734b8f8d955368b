/**
 * Runs of AI agents, governed by a ledgerd daemon.
 *
 * @packageDocumentation
 */
export * from './answers.js';
export { Ledgerd, type Options } from './client.js';
export { Denied, Failed, InDoubt, LedgerdError, NoAnswer, Problem, StepError, Unsupported, Waiting } from './errors.js';
export { ToolError } from './failure.js';
export { governed } from './governed.js';
export { Run, type MakeOffer, type OpenRun, type Source, type Thought } from './run.js';
export type { Call, Finding, StepOptions } from './step.js';
