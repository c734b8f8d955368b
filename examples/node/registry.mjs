// Who a record is from: the rules signature and registry of docs/rules.md.
import * as ed25519 from './ed25519.mjs';
import { kinds, signedBy, verify } from './record.mjs';

const instance = /^(.+)\/(0|[1-9][0-9]*)$/;

export class Registry {
  constructor(ledger, report) {
    this.ledger = ledger;
    this.report = report;
    this.keys = new Map(); // thumbprint: {name, role, x, from, until, suspect}
    this.hosts = []; // {name, host, from, until}
    this.roles = new Map(); // name: role, for ever
    this.teams = new Map(); // key thumbprint: teams
    this.number = -1;
    this.last = undefined;
    const { policy } = ledger;
    this.taken = new Set([policy.log, ...policy.witnesses.values()].map((k) => k.key.toString('base64url')));
  }

  hostsAt(name, index) {
    return this.hosts.filter((h) => h.name === name && h.from <= index && index <= h.until);
  }

  keysAt(name, index) {
    return [...this.keys.values()].filter((k) => k.name === name && k.from <= index && index <= k.until);
  }

  /** decides the rule signature for a record; returns its signer, or null where it counts as no evidence. */
  attribute(r) {
    const ask = (ok, reason, found) => this.report.ask('signature', ok, reason, r, found);
    if (!ask(r.origin === this.ledger.origin, 'wrong_origin', r.origin)) return null;
    const signer = this.signer(r, ask);
    if (!signer) return null;
    const runs = signer.role === 'runtime';
    if (r.actor !== signer.name) {
      if (!ask(runs, 'wrong_actor', `${signer.name} for ${r.actor}`)) return null;
      const base = instance.exec(r.actor)?.[1];
      const hosts = this.hostsAt(base ?? r.actor, r.index);
      const known = hosts.length > 0 || (!base && this.roles.get(r.actor) === 'agent' && this.keysAt(r.actor, r.index).length > 0);
      if (!ask(known, 'unknown_actor', r.actor)) return null;
      if (!ask(hosts.length === 0 || hosts.some((h) => h.host === signer.name), 'wrong_actor', r.actor)) return null;
    }
    if (!ask(this.maySign(r, signer), 'wrong_role', `${signer.role} for ${r.kind}`)) return null;
    if (!ask(verify(r, signer.x), 'bad_signature')) return null;
    return signer;
  }

  signer(r, ask) {
    const known = r.kind === 'ledger.created' && r.index === 0 ? this.rootKey(r) : this.keys.get(r.kid);
    const pinned = this.ledger.actors.get(r.kid);
    if (!known || known.from > r.index) {
      if (!known && pinned) return pinned;
      ask(false, 'unknown_key', r.kid);
      return null;
    }
    if (!ask(r.index <= known.until, 'revoked_key', r.kid)) return null;
    const pins = [...this.ledger.actors.values()].filter((a) => a.name === known.name);
    if (!ask(pins.length === 0 || (pinned?.name === known.name && pinned.role === known.role), 'not_pinned', r.kid)) return null;
    return known;
  }

  rootKey(r) {
    const key = r.body.root_keys.find((k) => ed25519.thumbprint(k.x) === r.kid);
    return key && { name: r.actor, role: 'root', x: key.x, from: 0, until: Infinity };
  }

  maySign(r, signer) {
    const role = signedBy(r.kind);
    if (role !== 'agent') return signer.role === role;
    const either = kinds[r.kind].place.either;
    if (signer.role === 'agent') return !either || r.place === 'beside';
    const base = instance.exec(r.actor)?.[1] ?? r.actor;
    return signer.role === 'runtime' && this.hostsAt(base, r.index).some((h) => h.host === signer.name) && (!either || r.place === 'line');
  }

  /** takes an attributed record of the registry, or asks whether another names the latest number. */
  take(r) {
    const ask = (ok, reason, found) => this.report.ask('registry', ok, reason, r, found);
    if (r.place !== 'registry') {
      if (r.registry !== undefined) {
        ask(r.registry >= this.number, 'stale_registry', `${r.registry}, latest ${this.number}`);
        ask(r.registry <= this.number, 'registry_ahead', `${r.registry}, latest ${this.number}`);
      }
      return;
    }
    if (r.kind === 'ledger.created') {
      if (!ask(r.index === 0 && r.id === this.ledger.entry0, 'wrong_entry_0')) return;
      this.root = r.actor;
      for (const k of r.body.root_keys) this.register(r, { name: r.actor, role: 'root' }, k.x, -1);
    } else {
      ask(r.registry === this.number + 1, 'registry_number', `${r.registry} after ${this.number}`);
      ask(r.prev === this.last, 'registry_prev');
      if (r.kind === 'actor.registered') this.registered(r, ask);
      else this.revoked(r, ask);
    }
    this.number = r.registry;
    this.last = r.id;
  }

  register(r, actor, x, from) {
    this.report.ask('registry', !this.taken.has(x), 'key_taken', r, x);
    this.taken.add(x);
    this.keys.set(ed25519.thumbprint(x), { ...actor, x, from: from + 1, until: Infinity, suspect: Infinity });
  }

  registered(r, ask) {
    const { name, role, key, host, teams } = r.body;
    if (!ask(name !== this.root && !instance.test(name) && (this.roles.get(name) ?? role) === role, 'name_taken', name)) return;
    const next = r.index + 1;
    if (key) {
      if (!ask(this.hostsAt(name, next).length === 0, 'wrong_host', name)) return;
      this.register(r, { name, role, teams: teams ?? [] }, key.x, r.index);
    } else {
      const live = this.roles.get(host) === 'runtime' && this.keysAt(host, next).length > 0;
      if (!ask(live && this.keysAt(name, next).length === 0 && this.hostsAt(name, next).length === 0, 'wrong_host', host)) return;
      this.hosts.push({ name, host, from: next, until: Infinity });
    }
    this.roles.set(name, role);
  }

  revoked(r, ask) {
    const { name, key, suspect_from: suspect } = r.body;
    const next = r.index + 1;
    const ended = [
      ...this.keysAt(name, next).filter((k) => key === undefined || ed25519.thumbprint(k.x) === key),
      ...(key === undefined ? this.hostsAt(name, next) : []),
    ];
    if (!ask(ended.length > 0 && (suspect === undefined || suspect <= r.index), 'nothing_to_revoke', name)) return;
    for (const e of ended) {
      e.until = r.index;
      if (suspect !== undefined) e.suspect = suspect;
    }
  }
}
