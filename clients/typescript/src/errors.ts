// What a call can come to, other than its value. Each error carries its evidence: the
// IDs of the records from which anyone can see that it was so.
import type { EvidenceID, FailureClass, ProblemDocument, StepAnswer, Verdict } from './answers.js';

/** Every error of this package, but for a TypeError about how it is called. */
export class LedgerdError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.name = new.target.name;
  }
}

/** The daemon did not do what it was asked: `reason` is for programs. */
export class Problem extends LedgerdError {
  readonly status: number;
  readonly reason: string;
  readonly evidence: readonly EvidenceID[];
  /** The record that stands, where a conflict was lost to it. */
  readonly stands: EvidenceID | undefined;
  readonly document: ProblemDocument;

  constructor(document: ProblemDocument) {
    super(`${document.status} ${document.title} (${document.reason}): ${document.detail ?? ''}`);
    this.status = document.status;
    this.reason = document.reason;
    this.evidence = document.evidence ?? [];
    this.stands = document.stands;
    this.document = document;
  }
}

/** No answer came, as often as the request was sent. What it asked for may have been done: the same call again finds out. */
export class NoAnswer extends LedgerdError {}

/** A step came to something else than a value. */
export class StepError extends LedgerdError {
  readonly step: string;
  readonly action: string;
  /** The record of the permission check. */
  readonly authorization: EvidenceID;
  /** The policies that decided. */
  readonly policies: readonly string[];
  readonly answer: StepAnswer;

  constructor(answer: StepAnswer, said: string, options?: ErrorOptions) {
    super(`step ${JSON.stringify(answer.step)}: ${answer.action} ${said}`, options);
    this.step = answer.step;
    this.action = answer.action;
    this.authorization = answer.authorization;
    this.policies = answer.policies;
    this.answer = answer;
  }
}

/** The step is not permitted, and was not done. */
export class Denied extends StepError {
  /** The human's answer, where it was one who said no. */
  readonly refusal: EvidenceID | undefined;

  constructor(answer: StepAnswer) {
    const { refusal, errors, policies, authorization } = answer;
    super(
      answer,
      refusal
        ? `was refused by a human (${refusal})`
        : errors?.length
          ? `is denied, for policies could not be evaluated: ${errors.join('; ')} (${authorization})`
          : policies.length > 0
            ? `is denied by ${policies.join(', ')} (${authorization})`
            : `is denied: no policy permits it (${authorization})`,
    );
    this.refusal = refusal;
  }
}

/** A human was asked, or the tool will finish later. The same step again finds out. */
export class Waiting extends StepError {
  /** Who is asked; undefined: the tool is at work. */
  readonly team: string | undefined;

  constructor(answer: StepAnswer) {
    super(
      answer,
      answer.state === 'waiting'
        ? `waits for an approval by the team ${JSON.stringify(answer.team)} (${answer.authorization})`
        : `was accepted, and is not finished (${answer.outcome?.execution ?? answer.authorization})`,
    );
    this.team = answer.state === 'waiting' ? answer.team : undefined;
  }
}

/** The step failed for good. */
export class Failed extends StepError {
  readonly class: FailureClass;
  readonly attempts: number;
  readonly errors: readonly string[];
  /** The last execution; undefined: none was made. */
  readonly execution: EvidenceID | undefined;
  readonly escalation: EvidenceID | undefined;

  constructor(answer: StepAnswer, cause?: unknown) {
    const execution = answer.outcome?.execution;
    const attempts = answer.attempt > 1 ? ` after ${answer.attempt} attempts` : '';
    const errors = answer.errors?.length ? `: ${answer.errors.join('; ')}` : '';
    super(answer, `failed: ${answer.class}${attempts}${errors} (${execution ?? answer.authorization})`, cause === undefined ? undefined : { cause });
    this.class = answer.class ?? 'tool_failed';
    this.attempts = answer.attempt;
    this.errors = answer.errors ?? [];
    this.execution = execution;
    this.escalation = answer.escalation;
  }
}

/** Nobody knows whether the action happened. It was not, and will not be, repeated. */
export class InDoubt extends StepError {
  /** The authorization or execution without an outcome. */
  readonly doubt: EvidenceID | undefined;
  readonly escalation: EvidenceID | undefined;

  constructor(answer: StepAnswer, cause?: unknown) {
    const why = answer.errors?.length ? `: ${answer.errors.join('; ')}` : '';
    super(answer, `may have happened or not, nobody knows (${answer.doubt})${why}`, cause === undefined ? undefined : { cause });
    this.doubt = answer.doubt;
    this.escalation = answer.escalation;
  }
}

/** The evidence does not support the claim. The claim is on record, and so is the verdict; the words are not to be handed on. */
export class Unsupported extends LedgerdError {
  readonly claim: EvidenceID;
  readonly verdict: Verdict;

  constructor(verdict: Verdict) {
    const why = [...verdict.why, ...(verdict.notes ?? [])].join('; ');
    super(`the claim ${verdict.claim} is ${verdict.result.replaceAll('_', ' ')}${why === '' ? '' : `: ${why}`}`);
    this.claim = verdict.claim;
    this.verdict = verdict;
  }
}

// What agents and servers wrote is shown in messages: nothing in it moves a cursor or
// turns the reading direction.
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
}
