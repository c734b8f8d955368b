// One request and its answer, over HTTP or a unix socket; and the same again where there
// was none.
import { request as socketRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProblemDocument } from './answers.js';
import { NoAnswer, Problem } from './errors.js';

/** A request that may be sent again: it names everything that it makes. */
export interface Request {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  path: string; // with the query
  body?: string; // JSON
  signal?: AbortSignal | undefined;
}

interface Answer {
  status: number;
  type: string;
  retryAfter: string | null;
  bytes: Uint8Array;
}

const maxAgain = 8;
const firstDelay = 100;
const maxDelay = 5_000;

export class Transport {
  readonly server: string;
  readonly #send: (r: Request, headers: Record<string, string>) => Promise<Answer>;
  readonly #token: string;

  constructor(server: string, token: string) {
    this.server = server.replace(/\/$/, '');
    // What a header does not take would come back in an error's words.
    if (!/^[\x21-\x7e]*$/.test(token)) throw new TypeError('token: want the secret of a token, without white space');
    this.#token = token;
    if (server.startsWith('unix:')) {
      const path = server.slice('unix:'.length);
      this.#send = (r, headers) => bySocket(path, r, headers);
      return;
    }
    const url = URL.canParse(this.server) ? new URL(this.server) : undefined;
    if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
      throw new TypeError(`server: want http://host:port, https://host:port or unix:/path, found ${JSON.stringify(server)}`);
    }
    if (url.username !== '' || url.search !== '' || url.hash !== '') throw new TypeError('server: want an address and a path, and nothing else');
    if (url.protocol === 'http:' && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)) {
      throw new TypeError(`server: want https for ${url.host}: a token sent in the clear is everybody's`);
    }
    this.#send = (r, headers) => byFetch(this.server, r, headers);
  }

  /** Sends a request until it is answered, at most nine times, and returns the bytes of the answer. */
  async call(r: Request): Promise<Uint8Array> {
    const headers: Record<string, string> = this.#token === '' ? {} : { authorization: `Bearer ${this.#token}` };
    if (r.body !== undefined) headers['content-type'] = 'application/json';
    for (let again = 0, delay = firstDelay; ; again++, delay = Math.min(2 * delay, maxDelay)) {
      let answer: Answer | undefined;
      let broken: unknown;
      try {
        answer = await this.#send(r, headers);
      } catch (e) {
        r.signal?.throwIfAborted();
        broken = e;
      }
      if (answer && answer.status < 300) return answer.bytes;
      const problem = answer && problemOf(answer);
      if (problem && problem.status !== 503 && problem.reason !== 'unknown') throw problem;
      if (again === maxAgain) {
        throw problem ?? new NoAnswer(`${r.method} ${r.path}: no answer, ${maxAgain + 1} times: ${reasonOf(broken)}`, { cause: broken });
      }
      await sleep(waitOf(answer) ?? delay, undefined, r.signal ? { signal: r.signal } : undefined);
    }
  }

  /** Sends a request, and reads its answer as JSON. */
  async json<T>(r: Request): Promise<T> {
    return JSON.parse(new TextDecoder().decode(await this.call(r))) as T;
  }
}

async function byFetch(server: string, r: Request, headers: Record<string, string>): Promise<Answer> {
  const response = await fetch(server + r.path, {
    method: r.method,
    headers,
    redirect: 'manual', // the token goes nowhere else
    ...(r.body === undefined ? {} : { body: r.body }),
    ...(r.signal ? { signal: r.signal } : {}),
  });
  return {
    status: response.status,
    type: response.headers.get('content-type') ?? '',
    retryAfter: response.headers.get('retry-after'),
    bytes: new Uint8Array(await response.arrayBuffer()),
  };
}

function bySocket(socketPath: string, r: Request, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = r.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(r.body)) };
    const req = socketRequest(
      { socketPath, path: r.path, method: r.method, headers: { host: 'localhost', ...headers, ...length }, ...(r.signal ? { signal: r.signal } : {}) },
      (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', reject);
        res.on('end', () => {
          if (!res.complete) return reject(new Error('the connection ended within the answer'));
          const after = res.headers['retry-after'];
          resolve({ status: res.statusCode ?? 0, type: res.headers['content-type'] ?? '', retryAfter: after ?? null, bytes: Buffer.concat(chunks) });
        });
      },
    );
    req.on('error', reject);
    req.end(r.body);
  });
}

function problemOf(answer: Answer): Problem {
  try {
    const document = JSON.parse(new TextDecoder().decode(answer.bytes)) as ProblemDocument;
    if (document?.status === answer.status && typeof document.reason === 'string') return new Problem(document);
  } catch {
    // Something between us and the daemon, or no daemon at all.
  }
  return new Problem({
    type: 'urn:ledgerd:problem:no_problem',
    title: 'no problem document',
    status: answer.status,
    reason: 'no_problem',
    detail: `want a problem as application/problem+json, found ${JSON.stringify(answer.type)}`,
  });
}

/** As long as the daemon asks for, in milliseconds. */
function waitOf(answer: Answer | undefined): number | undefined {
  const after = answer?.retryAfter;
  return after && /^[0-9]{1,4}$/.test(after) && Number(after) < 3600 ? Number(after) * 1000 : undefined;
}

function reasonOf(broken: unknown): string {
  const { message, cause } = broken as { message?: unknown; cause?: { message?: unknown } };
  return String(cause?.message || message || broken);
}
