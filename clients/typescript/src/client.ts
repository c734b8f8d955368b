import type { Approval, EvidenceID, RunState } from './answers.js';
import { evidenceID, runPath } from './names.js';
import { Run, type OpenRun } from './run.js';
import { Transport } from './transport.js';

export interface Options {
  /** http://host:port at a loopback address, https://host:port, or unix:/path/to/socket. */
  server?: string;
  /** The secret of a token with the right `act`. */
  token: string;
}

/** A daemon. */
export class Ledgerd {
  readonly #transport: Transport;

  constructor({ server = 'http://127.0.0.1:8420', token }: Options) {
    this.#transport = new Transport(server, token);
  }

  /** Opens the run that a key stands for, or goes on with it. */
  async open(key: string, what: OpenRun): Promise<Run> {
    return new Run(this.#transport, await this.#transport.json<RunState>({ method: 'PUT', path: runPath(key), body: JSON.stringify(what) }));
  }

  /** The receipt of a record (right `read`): a C2SP tlog-proof. */
  receipt(record: EvidenceID): Promise<Uint8Array> {
    return this.#transport.call({ method: 'GET', path: `/v1/receipts/${evidenceID(record)}` });
  }

  /** The bundle about a run, by its ID, for `verify` (right `read`, and `payloads` unless they are hidden). */
  bundle(run: string, { payloads = 'disclosed' }: { payloads?: 'disclosed' | 'hidden' } = {}): Promise<Uint8Array> {
    const query = new URLSearchParams(payloads === 'hidden' ? { run, payloads } : { run });
    return this.#transport.call({ method: 'GET', path: `/v1/bundles?${query}` });
  }

  /** What waits for a human in open runs (right `read`). */
  async approvals(): Promise<Approval[]> {
    return (await this.#transport.json<{ approvals: Approval[] }>({ method: 'GET', path: '/v1/approvals' })).approvals;
  }

  /** Records that the agent does not accept an offer that waits for it, because of a word of its own. */
  rejectOffer(offer: EvidenceID, because?: string): Promise<{ rejection: EvidenceID; offer: EvidenceID; reason: string }> {
    return this.#transport.json({ method: 'POST', path: `/v1/handoffs/${evidenceID(offer)}/reject`, body: JSON.stringify({ because }) });
  }
}
