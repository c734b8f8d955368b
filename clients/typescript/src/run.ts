import type { Amounts, Claimed, Decided, EvidenceID, Json, Offered, RunState, Saved, Scope, TakenUp, Verdict } from './answers.js';
import { Problem, Unsupported } from './errors.js';
import { evidenceID, name, runPath } from './names.js';
import { Step, type Call, type StepOptions } from './step.js';
import type { Transport } from './transport.js';

/** What a run is for. */
export interface OpenRun {
  /** Type of task, by which the operator chooses policies and contract. */
  task: string;
  /** What it is about: a ticket, the digest of a commit. */
  subject?: string;
  /** Structured input of the task. */
  input?: Json;
  /** What was asked, in the asker's words. */
  intent?: string;
  /** On whose behalf. */
  principal?: string;
  /** Limits. */
  budget?: Amounts;
  /** Who acts: the token's actor where absent, or an instance of it. */
  agent?: string;
  /** Key of the run that it is a child of. */
  parent?: string;
  /** The offer that it continues: it is accepted for this run. */
  continues?: EvidenceID;
}

/** What a model answered. */
export interface Thought {
  choice: Json;
  rationale?: string;
  cost?: Amounts;
}

export interface Source {
  /** An identifier: system, customer, a document's name. */
  name: string;
  text?: string;
  /** Or else bytes. */
  data?: Uint8Array;
  media?: string;
  /** The record that it came from. */
  evidence?: EvidenceID;
}

/** Work that is offered to another agent. docs/handoffs.md says what the members mean. */
export interface MakeOffer {
  to: { origin: string; actor: string; key: string };
  task: string;
  scope: Scope[];
  evidence?: EvidenceID[];
  steps?: string[];
  artifact?: Json;
  note?: string;
  for_s?: number;
  head_max_age_s?: number;
}

/**
 * A run that the daemon governs. A program goes on after a crash by being run again from
 * the top: it opens the same key and goes through the same steps, and what is done is
 * not done again.
 */
export class Run {
  readonly key: string;
  /** Where the run stood when it was opened. */
  readonly opened: RunState;
  readonly #transport: Transport;

  /** Use {@link Ledgerd.open}. */
  constructor(transport: Transport, opened: RunState) {
    this.#transport = transport;
    this.key = opened.key;
    this.opened = opened;
  }

  /** The run's ID. */
  get id(): string {
    return this.opened.run;
  }

  /** Where the run stands by its records now. */
  state(): Promise<RunState> {
    return this.#transport.json({ method: 'GET', path: runPath(this.key, '/state') });
  }

  /**
   * Does a step with a function: asks for permission, calls the function where it is
   * given, and has the outcome on record before it returns. A step that succeeded before
   * gives its recorded output, and nothing is called.
   *
   * Throws {@link Denied}, {@link Waiting}, {@link Failed}, {@link InDoubt} or {@link Problem}.
   */
  async step<In, Out>(step: string, f: (input: In, call: Call) => Out | Promise<Out>, input: In, options: StepOptions<In, Out> = {}): Promise<Out> {
    return new Step<In, Out>(this.#transport, this.key, step, input, options).do(f);
  }

  /** Has the daemon do a step, with a tool that is registered there. */
  async runHere<Out = Json>(step: string, tool: string, input: Json, options: Pick<StepOptions<Json, Out>, 'resource' | 'decision' | 'wait' | 'signal'> = {}): Promise<Out> {
    return new Step<Json, Out>(this.#transport, this.key, step, input, options).runHere(tool);
  }

  /**
   * Has a model decide, and records what it answered. What was decided under the name
   * already is returned, and the model is not asked.
   */
  async decide(
    decision: string,
    think: (model: string) => Thought | Promise<Thought>,
    about: { model: string; question?: Json; context?: EvidenceID[] },
  ): Promise<Decided> {
    const path = runPath(this.key, `/decisions/${name('decision', decision)}`);
    const known = await orNone(this.#transport.json<Decided>({ method: 'GET', path }));
    if (known) return known;
    const { choice, rationale, cost } = await think(about.model);
    const body = JSON.stringify({ model: about.model, question: about.question, choice, rationale, context: about.context, cost });
    return this.#transport.json({ method: 'PUT', path, body });
  }

  /** Records what is laid before a model, and returns the record's ID. */
  async context(...sources: Source[]): Promise<EvidenceID> {
    const body = JSON.stringify({ sources: sources.map(({ data, ...s }) => (data ? { ...s, data: Buffer.from(data).toString('base64') } : s)) });
    return (await this.#transport.json<{ id: EvidenceID }>({ method: 'POST', path: runPath(this.key, '/context'), body })).id;
  }

  /** Saves a state under a name, once. */
  checkpoint(checkpoint: string, state: Json): Promise<Saved> {
    return this.#transport.json({ method: 'PUT', path: runPath(this.key, `/checkpoints/${name('checkpoint', checkpoint)}`), body: JSON.stringify(state) });
  }

  /** The last checkpoint; undefined: there is none. */
  lastCheckpoint(): Promise<Saved | undefined> {
    return orNone(this.#transport.json<Saved>({ method: 'GET', path: runPath(this.key, '/checkpoints') }));
  }

  /**
   * Claims what was done, resting on steps. Throws {@link Unsupported} where the evidence
   * does not let the claim leave as a completion: it is on record, and so is the verdict.
   */
  async claim(text: string, steps: string[] = [], given: { action: string; resource?: string }[] = []): Promise<Claimed> {
    const body = JSON.stringify({ text, steps: some(steps), given: some(given) });
    const claimed = await this.#transport.json<Claimed>({ method: 'POST', path: runPath(this.key, '/claims'), body });
    if (!claimed.verdict.holds) throw new Unsupported(claimed.verdict);
    return claimed;
  }

  /** Ends the run as completed, on its last claim; throws {@link Unsupported} where that does not hold. */
  close(): Promise<RunState> {
    return this.#end({});
  }

  /** Ends the run as failed. The reason is an identifier, such as the class of a failure. */
  fail(reason: string): Promise<RunState> {
    return this.#end({ end: 'failed', reason });
  }

  /** Ends the run as stopped. */
  stop(reason: string): Promise<RunState> {
    return this.#end({ end: 'stopped', reason });
  }

  /** Offers work to another agent. */
  offer(offer: MakeOffer): Promise<Offered> {
    return this.#transport.json({ method: 'POST', path: runPath(this.key, '/offers'), body: JSON.stringify(offer) });
  }

  /** Accepts an offer that waits for the agent, and has this run take it up: what comes back of work that was handed out. */
  takeUp(offer: EvidenceID): Promise<TakenUp> {
    return this.#transport.json({ method: 'POST', path: runPath(this.key, '/handoffs'), body: JSON.stringify({ offer: evidenceID(offer) }) });
  }

  async #end(how: { end?: string; reason?: string }): Promise<RunState> {
    try {
      return await this.#transport.json<RunState>({ method: 'POST', path: runPath(this.key, '/close'), body: JSON.stringify(how) });
    } catch (e) {
      const verdict: Verdict | undefined = e instanceof Problem ? e.document.verdict : undefined;
      throw verdict ? new Unsupported(verdict) : e;
    }
  }
}

const some = <T>(list: T[]): T[] | undefined => (list.length > 0 ? list : undefined);

/** undefined for what is not there. */
async function orNone<T>(value: Promise<T>): Promise<T | undefined> {
  try {
    return await value;
  } catch (e) {
    if (e instanceof Problem && e.status === 404) return undefined;
    throw e;
  }
}
