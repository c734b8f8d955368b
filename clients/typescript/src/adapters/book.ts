// What the adapters know of a run: what its model answered, under which names, and which
// calls of tools are not over.
import { createHash } from 'node:crypto';
import type { Amounts, EvidenceID, Json } from '../answers.js';
import { LedgerdError } from '../errors.js';
import type { Run } from '../run.js';

/** What a model is asked. */
export interface Question {
  /** The name of the conversation. */
  name: string;
  model: string;
  /** What the model said in it so far. By this the question is the same when the program is run again. */
  said: unknown[];
  /** What the user said in it so far. */
  user: unknown[];
  /** What is laid before the model since it spoke last, for the record. */
  fresh: unknown[];
}

/** What a model answered: JSON, from which the framework's own form can be made again. */
export interface Answer<A> {
  answer: A;
  cost?: Amounts | undefined;
}

/** The choice of a decision. */
interface Kept<A> {
  answer: A;
  /** Digest of what the user had said. */
  asked: string;
  /** Steps of which the model had heard that they are not over, and those that were under way. */
  open: string[];
  busy: string[];
}

/** A call that a model asks for. */
export interface ToolCall {
  /** The framework's ID of it. */
  id: string | undefined;
  tool: string;
  input: unknown;
  /** The ID is the same when the program is run again, also where the model is not governed. */
  stable?: boolean;
}

const books = new WeakMap<Run, Book>();

const maxQuestion = 512 * 1024;

export class Book {
  /** What of the model's calls is on record, by their IDs. */
  readonly #decided = new Map<string, { decision: EvidenceID; unfinished: string[] }>();
  /** Steps that wait or are in doubt, that are under way, and that are over. */
  readonly #open: Set<string>;
  readonly #busy = new Set<string>();
  readonly #over = new Set<string>();
  /** How often a question was answered. One answer of a question is got at a time. */
  readonly #answered = new Map<string, number>();
  readonly #asking = new Map<string, Promise<unknown>>();
  /** Steps that are counted, of each tool, and the inputs of those. */
  readonly #counts = new Map<string, number>();
  readonly #inputs = new Map<string, string>();
  /** How often work of a task was offered. */
  readonly #offers = new Map<string, number>();

  static of(run: Run): Book {
    let book = books.get(run);
    if (!book) books.set(run, (book = new Book(run)));
    return book;
  }

  private constructor(readonly run: Run) {
    const { in_doubt, waiting, steps } = run.opened;
    this.#open = new Set([...in_doubt, ...waiting, ...steps.filter((s) => s.state === 'accepted')].map((s) => s.step));
  }

  /**
   * What a model answers: what it answered before the crash, where it was asked this
   * then. calls lists the IDs of the calls that an answer asks for.
   */
  async answer<A>(question: Question, ask: () => Promise<Answer<A>>, calls: (answer: A) => string[]): Promise<A> {
    const place = `${plain(question.name)}:${digest(question.said)}`;
    const before = this.#asking.get(place);
    const mine = (async () => {
      await before?.catch(() => undefined);
      return this.#answer(place, question, ask, calls);
    })();
    this.#asking.set(place, mine);
    try {
      return await mine;
    } finally {
      if (this.#asking.get(place) === mine) this.#asking.delete(place);
    }
  }

  async #answer<A>(place: string, question: Question, ask: () => Promise<Answer<A>>, calls: (answer: A) => string[]): Promise<A> {
    const n = (this.#answered.get(place) ?? 0) + 1;
    const asked = digest(question.user);
    const about = { model: question.model, question: bounded(question.fresh) };
    for (let again = 1; ; again++) {
      const decision = [place, ...(n > 1 || again > 1 ? [n] : []), ...(again > 1 ? [again] : [])].join(':');
      const decided = await this.run.decide(
        decision,
        async () => {
          const { answer, cost } = await ask();
          const kept: Kept<A> = { answer, asked, open: [...this.#open].sort(), busy: [...this.#busy].sort() };
          return { choice: kept as unknown as Json, ...(cost ? { cost } : {}) };
        },
        about,
      );
      const kept = decided.choice as unknown as Kept<A>;
      if (kept?.asked !== asked) {
        throw new LedgerdError(
          `decision ${JSON.stringify(decision)}: want the words of the user that it answers (${decided.id}), found others: ` +
            'another conversation has a name of its own, by the option name; the same one is begun with the same words',
        );
      }
      const ids = calls(kept.answer);
      // It said no more, for something was not over then, and is now: that is another question.
      if (ids.length === 0 && kept.open.some((step) => this.#over.has(step))) continue;
      for (const id of ids) this.#decided.set(id, { decision: decided.id, unfinished: [...kept.open, ...kept.busy] });
      this.#answered.set(place, n);
      return kept.answer;
    }
  }

  /**
   * The step that a call is. Where the call is on record, or its ID is the same when the
   * program is run again, its ID is in the step's name; else the calls of a tool are
   * counted. The same call as one that is not over is that one.
   */
  stepOf({ id, tool, input, stable }: ToolCall): { step: string; decision: EvidenceID | undefined } {
    const known = id ? this.#decided.get(id) : undefined;
    const of = digest(input);
    const unfinished = known?.unfinished ?? [...this.#open, ...this.#busy];
    if (id && (known || stable)) {
      const same = `${plain(tool)}:${of}:`;
      const before = unfinished.find((step) => step.startsWith(same));
      return { step: before ?? same + plain(id), decision: known?.decision };
    }
    const same = `${plain(tool)}:`;
    const before = unfinished.find((step) => step.startsWith(same) && this.#inputs.get(step) === of);
    if (before) return { step: before, decision: undefined };
    const n = (this.#counts.get(tool) ?? 0) + 1;
    this.#counts.set(tool, n);
    this.#inputs.set(same + n, of);
    return { step: same + n, decision: undefined };
  }

  /** The decision on what the next offer of a task rests on. */
  offerOf(task: string): string {
    const n = (this.#offers.get(task) ?? 0) + 1;
    this.#offers.set(task, n);
    return `offer:${plain(task)}:${n}`;
  }

  /** Notes that a step is under way, and how it stands after that. */
  begun(step: string): void {
    this.#busy.add(step);
  }

  ended(step: string, over: boolean): void {
    this.#busy.delete(step);
    (over ? this.#over : this.#open).add(step);
    (over ? this.#open : this.#over).delete(step);
  }
}

/** A name as a path takes it; what is none is digested. */
function plain(name: string): string {
  return /^[A-Za-z0-9\-._~]{1,60}$/.test(name) ? name : digest(name);
}

/** A digest of a JSON value, however its members are sorted. */
function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(sorted(value))).digest('base64url').slice(0, 22);
}

function sorted(value: unknown): unknown {
  const json = JSON.parse(JSON.stringify(value ?? null)) as Json;
  const sort = (v: Json): Json => {
    if (Array.isArray(v)) return v.map(sort);
    if (v === null || typeof v !== 'object') return v;
    // Pairs, for an object puts members that look like numbers first.
    return Object.keys(v).sort().map((k) => [k, sort(v[k] as Json)]);
  };
  return sort(json);
}

/** A question as it is kept: whole, or how large it was and its SHA-256. */
function bounded(value: unknown): Json {
  const text = JSON.stringify(value);
  if (Buffer.byteLength(text) <= maxQuestion) return JSON.parse(text) as Json;
  return { bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('base64url') };
}
