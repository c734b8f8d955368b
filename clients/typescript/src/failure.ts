// What came of a call that did not return.
import type { Amounts, FailureClass } from './answers.js';

/**
 * What a function throws to say how it failed. `outcome_unknown` says that nobody knows
 * whether it happened.
 */
export class ToolError extends Error {
  readonly class: FailureClass;
  /** How long the tool asked to be left alone, in milliseconds. */
  readonly retryAfter: number;
  readonly cost: Amounts | undefined;

  constructor(kind: FailureClass, message: string, options: { retryAfter?: number; cost?: Amounts; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ToolError';
    this.class = kind;
    this.retryAfter = options.retryAfter ?? 0;
    this.cost = options.cost;
  }

  /** The error of an HTTP answer that is no success. */
  static async of(response: Response): Promise<ToolError> {
    const text = (await response.text().catch(() => '')).slice(0, 512).trim();
    const message = `HTTP ${response.status} ${response.statusText}${text === '' ? '' : `: ${text}`}`;
    const kind = classOfStatus[response.status] ?? 'tool_failed';
    return new ToolError(kind, message, { retryAfter: retryAfterOf(response.headers.get('retry-after')) });
  }
}

// docs/runtime.md, "Failures". 502 and 504: somebody behind the gateway may have done it.
const classOfStatus: Record<number, FailureClass> = {
  400: 'invalid_tool_payload',
  408: 'tool_timeout',
  413: 'invalid_tool_payload',
  415: 'invalid_tool_payload',
  422: 'invalid_tool_payload',
  429: 'rate_limited',
  502: 'tool_timeout',
  503: 'tool_unavailable',
  504: 'tool_timeout',
};

const maxRetryAfter = 3_600_000;

function retryAfterOf(value: string | null): number {
  if (value === null) return 0;
  const ms = /^[0-9]+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), maxRetryAfter) : 0;
}

export interface Failure {
  status: 'failure' | 'unknown';
  class: FailureClass;
  error: string;
  retryAfter: number;
  cost: Amounts | undefined;
}

const notReached = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);
const brokeOff = new Set([
  ...['ETIMEDOUT', 'ECONNRESET', 'EPIPE', 'EPROTO', 'UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ABORT_ERR', 'ERR_STREAM_PREMATURE_CLOSE'],
  ...['ECONNABORTED', 'ERR_CANCELED'], // of axios: its time was up, it was aborted
  ...['ECONNECTION', 'ESOCKET'], // of nodemailer
]);

/** Says what an error of a function means. */
export function classify(error: unknown, idempotent: boolean): Failure {
  const known = error instanceof ToolError ? error : undefined;
  let kind = known?.class ?? classOf(error);
  // It may have done its work before the connection broke.
  if (kind === 'tool_timeout' && !idempotent) kind = 'outcome_unknown';
  return {
    status: kind === 'outcome_unknown' ? 'unknown' : 'failure',
    class: kind,
    error: error instanceof Error ? error.message || error.name : String(error),
    retryAfter: known?.retryAfter ?? 0,
    cost: known?.cost,
  };
}

function classOf(error: unknown): FailureClass {
  for (let e = error, depth = 0; e !== null && typeof e === 'object' && depth < 8; e = (e as { cause?: unknown }).cause, depth++) {
    const { code, name, syscall } = e as { code?: unknown; name?: unknown; syscall?: unknown };
    if ((typeof code === 'string' && notReached.has(code)) || syscall === 'connect') return 'tool_unavailable';
    if (typeof code === 'string' && (brokeOff.has(code) || /^(ERR_SSL_|ERR_HTTP2_|HPE_)/.test(code))) return 'tool_timeout';
    if (name === 'AbortError' || name === 'TimeoutError') return 'tool_timeout';
  }
  // A defect of the function's own: nobody knows how far it came.
  if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError || error instanceof SyntaxError) return 'outcome_unknown';
  return 'tool_failed';
}
