// A governed step: permission, the function, the report.
import { setTimeout as sleep } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import type { Amounts, EvidenceID, FailureClass, Json, StepAnswer } from './answers.js';
import { Denied, Failed, InDoubt, LedgerdError, Problem, Waiting } from './errors.js';
import { classify, type Failure } from './failure.js';
import { name, runPath } from './names.js';
import type { Transport } from './transport.js';

/** What a function gets besides its input. */
export interface Call {
  /** For the tool: the same for every attempt at one authorization, and for no other. */
  idempotencyKey: string;
  attempt: number;
  signal: AbortSignal;
}

/** What a program found out about an attempt that is in doubt; undefined: it could not. */
export type Finding<Out> =
  | { status: 'success'; output?: Out }
  | { status: 'failure'; class?: FailureClass; error?: string }
  | { status: 'not_run' }
  | undefined;

export interface StepOptions<In, Out> {
  /** What it does, in the words of policies; the step's name where absent. */
  action?: string;
  /** Who does it; the action where absent. */
  tool?: string;
  /** What it is done to. */
  resource?: string;
  /** The decision that it rests on. */
  decision?: EvidenceID;
  /** A second call under the same idempotency key does nothing again. */
  idempotent?: boolean;
  /** How long to wait for a human at most, in milliseconds. */
  wait?: number;
  /** Asked where nobody knows whether an earlier attempt happened. */
  probe?: (input: In, call: Call) => Finding<Out> | Promise<Finding<Out>>;
  /** Members of the input, and of the output, that stand in the record in the clear. */
  params?: string[];
  refs?: string[];
  /** What an attempt may cost at most, and what the one that returned did cost. */
  estimate?: Amounts;
  cost?: (output: Out) => Amounts;
  description?: string;
  /** JSON Schema of the input. It is kept, and not applied. */
  schema?: Json;
  signal?: AbortSignal;
}

/** A process has one name, which no other one has: whoever asks under it again gets the same permission again. */
const asker = `process-${randomUUID()}`;

interface Report {
  attempt: number;
  status: 'success' | 'failure' | 'unknown' | 'not_run';
  class?: FailureClass;
  error?: string;
  output?: Json;
  refs?: string[];
  cost?: Amounts;
  took_ms?: number | undefined;
}

/** An attempt that was made. */
interface Made {
  report: Report;
  failure: Failure | undefined;
  cause: unknown;
}

/** What this process made and has not got reported, by run, step and attempt: it is not made again. */
const unreported = new Map<string, Made>();
/** Who is at work on a step. Two calls of one step come one after the other. */
const atWork = new Map<string, Promise<unknown>>();

/** One use of a step by a program. */
export class Step<In, Out> {
  /** What was asked about, whatever becomes of the caller's object. */
  readonly #exactly: string | undefined;

  constructor(
    readonly transport: Transport,
    readonly key: string,
    readonly step: string,
    input: In,
    readonly options: StepOptions<In, Out>,
  ) {
    name('step', step);
    this.#exactly = JSON.stringify(input) as string | undefined;
  }

  /** Does the step with a function of the program's. */
  async do(f: (input: In, call: Call) => Out | Promise<Out>): Promise<Out> {
    return this.alone(async () => {
      let retry = 200;
      let { probe } = this.options;
      let cause: unknown;
      for (const human = new Patience(this.options.wait); ; ) {
        const answer = await this.ask(human.next());
        switch (answer.state) {
          case 'allowed': {
            if (answer.runs_here) throw this.daemons(answer);
            const made = await this.attempt(f, answer);
            if (!made.failure) return made.report.output as Out;
            cause = made.cause;
            const { class: kind, retryAfter } = made.failure;
            if (kind === 'tool_timeout' || kind === 'tool_unavailable' || kind === 'rate_limited') {
              await this.pause(Math.max(retry / 2 + (Math.random() * retry) / 2, retryAfter));
              retry = Math.min(2 * retry, 10_000);
            }
            break;
          }
          case 'in_doubt': {
            if (answer.runs_here) throw this.daemons(answer);
            if (!probe) throw new InDoubt(answer, cause);
            const found = await this.probe(probe, answer);
            if (found.status === 'success') return found.output as Out;
            probe = undefined; // what it said is on record: it is not asked twice
            break;
          }
          case 'waiting':
            if (human.over()) throw new Waiting(answer);
            break;
          default:
            return outcomeOf(answer, cause) as Out;
        }
      }
    });
  }

  /** Has the daemon do the step, with a tool that is registered there. */
  async runHere(tool: string): Promise<Out> {
    const { resource, decision, wait, signal } = this.options;
    const body = JSON.stringify({ tool, resource, input: this.input(), decision });
    return this.alone(async () => {
      for (const human = new Patience(wait); ; ) {
        const answer = await this.transport.json<StepAnswer>({ method: 'POST', path: this.path('/run'), body, signal });
        const left = human.next();
        if (answer.state !== 'waiting' || left === 0) return outcomeOf(answer) as Out;
        await this.ask(left, tool); // held until a human answers
      }
    });
  }

  /** The input as it was asked about: a copy, for each that it is handed to. */
  private input(): In {
    return (this.#exactly === undefined ? undefined : JSON.parse(this.#exactly)) as In;
  }

  private path(rest = ''): string {
    return runPath(this.key, `/steps/${this.step}${rest}`);
  }

  private async alone<T>(work: () => Promise<T>): Promise<T> {
    const place = `${this.transport.server} ${this.path()}`;
    const before = atWork.get(place);
    const mine = (async () => {
      await before?.catch(() => undefined);
      return work();
    })();
    atWork.set(place, mine);
    try {
      return await mine;
    } finally {
      if (atWork.get(place) === mine) atWork.delete(place);
    }
  }

  private ask(wait: number, registered?: string): Promise<StepAnswer> {
    const { action = this.step, tool, resource, decision, description, schema, params, estimate, idempotent, signal } = this.options;
    const own = { action, tool, resource, description, schema, params, estimate, idempotent: idempotent || undefined };
    const body = JSON.stringify({ ...(registered === undefined ? own : { tool: registered, resource }), input: this.input(), decision, asker });
    return this.transport.json({ method: 'PUT', path: this.path(wait > 0 ? `?wait=${wait}ms` : ''), body, signal });
  }

  /** Calls the function, once, and reports. */
  private async attempt(f: (input: In, call: Call) => Out | Promise<Out>, answer: StepAnswer): Promise<Made> {
    const place = `${this.transport.server} ${answer.run} ${this.step} ${answer.attempt}`;
    let made = unreported.get(place) ?? (await this.call(f, answer));
    unreported.set(place, made);
    try {
      await this.report(made.report);
    } catch (e) {
      if (made.failure || !(e instanceof Problem) || ![400, 413, 422].includes(e.status)) throw e;
      made = unkept(made.report, `its result cannot be recorded: ${e.reason}`, e);
      unreported.set(place, made);
      await this.report(made.report);
    }
    unreported.delete(place);
    return made;
  }

  private async call(f: (input: In, call: Call) => Out | Promise<Out>, answer: StepAnswer): Promise<Made> {
    const { idempotent = false, refs, cost } = this.options;
    const began = performance.now();
    const report: Report = { attempt: answer.attempt, status: 'success' };
    const failed = (cause: unknown, failure: Failure): Made => {
      Object.assign(report, { status: failure.status, error: failure.error });
      if (failure.status === 'failure') report.class = failure.class;
      if (failure.cost) report.cost = failure.cost;
      return { report, failure, cause };
    };
    let out: Out;
    try {
      out = await f(this.input(), this.callOf(answer));
    } catch (e) {
      return failed(e, classify(e, idempotent));
    } finally {
      report.took_ms = Math.round(performance.now() - began);
    }
    try {
      const output = asJson(out);
      if (output !== undefined) report.output = output;
      if (refs) report.refs = refs;
      if (cost) report.cost = cost(out);
    } catch (e) {
      return unkept(report, `its result is no JSON, or has no cost: ${String(e)}`, e);
    }
    return { report, failure: undefined, cause: undefined };
  }

  private callOf(answer: StepAnswer): Call {
    return { idempotencyKey: answer.idempotency_key, attempt: answer.attempt, signal: this.options.signal ?? new AbortController().signal };
  }

  /** Asks the program what became of the attempt that is in doubt, and reports that. */
  private async probe(probe: NonNullable<StepOptions<In, Out>['probe']>, answer: StepAnswer): Promise<Report> {
    let found: Finding<Out>;
    try {
      found = await probe(this.input(), this.callOf(answer));
    } catch (e) {
      throw new InDoubt(answer, e);
    }
    if (found === undefined) throw new InDoubt(answer);
    const report: Report = { attempt: answer.attempt, status: found.status };
    if (found.status === 'success') {
      const output = asJson(found.output);
      if (output !== undefined) report.output = output;
      if (this.options.refs) report.refs = this.options.refs;
    } else if (found.status === 'failure') {
      if (found.class) report.class = found.class;
      if (found.error) report.error = found.error;
    }
    await this.report(report);
    return report;
  }

  // What happened is reported even where the caller has given up: no signal.
  private report(report: Report): Promise<unknown> {
    return this.transport.json({ method: 'PUT', path: this.path('/outcome'), body: JSON.stringify(report) });
  }

  private async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, this.options.signal ? { signal: this.options.signal } : undefined);
  }

  private daemons(answer: StepAnswer): LedgerdError {
    return new LedgerdError(`step ${JSON.stringify(this.step)}: ${answer.tool} is a tool of the daemon's: have it run there, by runHere`);
  }
}

/** It returned, and whoever resumes the run could not get what it gave: not what is recorded as success. */
function unkept({ attempt, took_ms }: Report, error: string, cause: unknown): Made {
  const failure: Failure = { status: 'unknown', class: 'outcome_unknown', error, retryAfter: 0, cost: undefined };
  return { report: { attempt, status: 'unknown', error, took_ms }, failure, cause };
}

/** How long a step still waits for a human. One request is held for a minute at most. */
class Patience {
  readonly #until: number;
  #first: number;

  constructor(ms = 0) {
    this.#first = Math.trunc(ms);
    this.#until = performance.now() + ms;
  }

  next(): number {
    const left = this.#first || Math.trunc(this.#until - performance.now());
    this.#first = 0;
    return Math.min(Math.max(0, left), 60_000);
  }

  over(): boolean {
    return performance.now() >= this.#until;
  }
}

/** What a step came to, of which nothing is to be done. */
function outcomeOf(answer: StepAnswer, cause?: unknown): unknown {
  switch (answer.state) {
    case 'succeeded': {
      const { output, output_base64 } = answer.outcome ?? {};
      return output_base64 === undefined ? output : Buffer.from(output_base64, 'base64');
    }
    case 'denied':
      throw new Denied(answer);
    case 'waiting':
    case 'accepted':
      throw new Waiting(answer);
    case 'failed':
      throw new Failed(answer, cause);
    case 'in_doubt':
      throw new InDoubt(answer, cause);
    default:
      throw new LedgerdError(`step ${JSON.stringify(answer.step)}: want a state that docs/http-api.md lists, found ${JSON.stringify(answer.state)}`);
  }
}

/** The value as whoever resumes the run gets it. A function's result that is no JSON cannot be kept: a TypeError. */
function asJson(value: unknown): Json | undefined {
  const text = JSON.stringify(value) as string | undefined;
  return text === undefined ? undefined : (JSON.parse(text) as Json);
}
