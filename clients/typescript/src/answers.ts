// What the daemon answers, as docs/http-api.md and /openapi.json have it.

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [member: string]: Json };

/** Limits and costs: micro-units of a currency (usd_micro), tokens, tool_calls, attempts, wall_ms. */
export type Amounts = { [unit: string]: number };

/** The ID of a record: ev_ and 43 characters of base64url. */
export type EvidenceID = string;

export type StepState = 'allowed' | 'succeeded' | 'denied' | 'waiting' | 'accepted' | 'failed' | 'in_doubt';

/** The classes of failures. docs/runtime.md has the answer to each. */
export type FailureClass =
  | 'tool_timeout'
  | 'tool_unavailable'
  | 'rate_limited'
  | 'tool_failed'
  | 'invalid_tool_payload'
  | 'bad_reasoning'
  | 'permission_denied'
  | 'cost_budget_exceeded'
  | 'outcome_unknown'
  | 'claim_unsupported';

export interface StepAnswer {
  run: string;
  step: string;
  state: StepState;
  effect: 'allow' | 'deny' | 'escalate';
  mode: 'enforce' | 'observe';
  action: string;
  tool: string;
  resource?: string;
  authorization: EvidenceID;
  policies: string[];
  idempotency_key: string;
  attempt: number;
  runs_here?: boolean;
  team?: string;
  refusal?: EvidenceID;
  doubt?: EvidenceID;
  escalation?: EvidenceID;
  class?: FailureClass;
  errors?: string[];
  outcome?: {
    status: string;
    source: string;
    execution?: EvidenceID;
    media?: string;
    output?: Json;
    output_base64?: string;
  };
}

export interface RunState {
  run: string;
  key: string;
  agent: string;
  task: string;
  subject?: string;
  principal: string;
  state: 'open' | 'closed';
  end?: 'completed' | 'failed' | 'stopped';
  reason?: string;
  closed?: EvidenceID;
  in_doubt: { step: string; authorization: EvidenceID; doubt: EvidenceID; attempt: number }[];
  waiting: { step: string; authorization: EvidenceID; team: string }[];
  checkpoint?: string;
  steps: {
    step: string;
    state: StepState;
    action: string;
    tool: string;
    resource?: string;
    authorization: EvidenceID;
    execution?: EvidenceID;
    attempts: number;
  }[];
  continues?: Continued;
  took_up?: Continued[];
  claim?: EvidenceID;
  verdict?: string;
  budget?: Amounts;
  spent?: Amounts;
}

/** A handoff that a run continues, or took up. */
export interface Continued {
  acceptance: EvidenceID;
  offer: EvidenceID;
  origin: string;
  giver: string;
  task: string;
  scope: Scope[];
}

/** An action, and what it may be done to. */
export interface Scope {
  action: string;
  resource: string;
}

export interface TakenUp extends Continued {
  run: string;
  /** The record of the run that takes it up: for the decisions that are made from it. */
  context: EvidenceID;
}

export interface Decided {
  run: string;
  name: string;
  id: EvidenceID;
  choice: Json;
}

export interface Saved {
  run: string;
  name: string;
  sequence: number;
  id: EvidenceID;
  state?: Json;
}

export interface Claimed {
  run: string;
  id: EvidenceID;
  verdict: Verdict;
}

export interface Verdict {
  claim: EvidenceID;
  id: EvidenceID;
  result: 'supported' | 'contradicted' | 'unsupported' | 'in_doubt' | 'undisclosed' | 'no_contract';
  /** Whether the claim may leave as a completion. */
  holds?: boolean;
  /** What speaks against it, in words. */
  why: string[];
  /** What has to be shown with it, in words. */
  notes?: string[];
  document?: Json;
}

export interface Offered {
  run: string;
  offer: EvidenceID;
  expires: string;
  delivery: { state: string; tries?: number; next?: string; reason?: string; detail?: string };
}

export interface Approval {
  authorization: EvidenceID;
  run: string;
  step: string;
  agent: string;
  action: string;
  resource?: string;
  tool: string;
  team: string;
  since: string;
  policies: string[];
  input: { commit: string; size: number; media: string };
}

/** What is not done, as RFC 9457 has it. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail?: string;
  /** For programs: it does not change. docs/http-api.md lists them. */
  reason: string;
  /** Of a handoff: nothing is proven wrong, and the detail says what would decide it. */
  undecidable?: boolean;
  stands?: EvidenceID;
  index?: number;
  until?: string;
  evidence?: EvidenceID[];
  verdict?: Verdict;
}
