// Runs and their lines: the rules chain, authorized, outcome, budget, resume
// and handoff of docs/rules.md, over attributed records in log order.
export const same = (a, b) => ['action', 'resource', 'tool'].every((n) => a[n] === b[n]) && a.input.commit === b.input.commit;

/** the evidence IDs that the body of a record on a line names. */
function named(r) {
  const ids = new Set(r.cites ?? []);
  const walk = (v) => {
    if (typeof v === 'string' && v.startsWith('ev_')) ids.add(v);
    else if (Array.isArray(v)) v.forEach(walk);
    else if (v && typeof v === 'object' && !v.members) Object.values(v).forEach(walk);
  };
  walk(r.body);
  return ids;
}

export class Runs {
  constructor(report) {
    this.report = report;
    this.runs = new Map();
    this.byID = new Map();
    this.accepted = new Map(); // offer: acceptance
    this.given = new Map(); // acceptance: what was handed over with it
    this.notEnforced = false;
  }

  /** what could not be attributed is no evidence, but its place on a line is taken. */
  occupy(r) {
    const run = this.runs.get(r.run);
    if (run && r.place === 'line' && r.prev === run.last.id) run.last = r;
  }

  take(r) {
    this.byID.set(r.id, r);
    if (r.kind === 'handoff.accepted') this.acceptance(r);
    if (r.place !== 'line' && r.place !== 'beside') return;
    const ask = (ok, reason, found) => this.report.ask('chain', ok, reason, r, found);
    let run = this.runs.get(r.run);
    if (r.kind === 'run.opened') {
      if (!ask(!run, 'run_exists', r.run)) return;
      ask(r.signer.name === r.body.runtime, 'wrong_writer', r.signer.name);
      run = { opened: r, runtime: r.body.runtime, last: r, line: [], beside: new Map(), keys: new Map(), approvals: new Map(), answered: new Map(),
        takes: [], handed: new Map(), auths: new Map(), attempts: new Map(), spent: new Map(), covers: [], sequence: 0, settled: new Map() };
      this.runs.set(r.run, run);
    } else {
      if (!ask(run, 'run_not_opened', r.run)) return;
      ask(!run.closed, 'run_closed');
      if (r.place === 'beside') {
        run.beside.set(r.id, r);
        return;
      }
      ask(r.signer.name === run.runtime, 'wrong_writer', r.signer.name);
      ask(r.prev === run.last.id, 'wrong_prev', r.prev);
      ask(r.time >= run.last.time, 'time_before_prev', r.time);
      run.last = r;
    }
    run.line.push(r);
    for (const id of r.cites ?? []) ask(run.beside.has(id), 'unknown_reference', id);
    this[r.kind]?.(run, r);
    for (const id of r.void ? [] : named(r)) {
      const b = run.beside.get(id);
      if (b && b.countsFrom === undefined) {
        Object.assign(b, { countsFrom: r.index, namedBy: r.kind });
        if (b.kind === 'decision') this.spend(run, r, b.body.cost, {});
      }
    }
  }

  ['run.opened'](run, r) {
    const parent = this.byID.get(r.body.parent);
    run.parent = parent && this.runs.get(parent.run);
    run.acceptance = r.body.acceptance;
    if (run.acceptance !== undefined) this.takesUp(run, r, run.acceptance);
  }

  context(run, r) {
    for (const { evidence: id } of r.body.sources) {
      const a = this.byID.get(id);
      if (a?.kind === 'handoff.accepted' && a.body.acceptance === undefined && a.body.opens === r.run && !run.handed.has(id)) this.takesUp(run, r, id);
    }
  }

  /** a record of the line takes up a handoff that was accepted for the run. */
  takesUp(run, r, id) {
    run.takes.push({ acceptance: id, index: r.index });
    const a = this.byID.get(id);
    const ask = (ok, reason, found) => this.report.ask('handoff', ok, reason, r, found);
    if (!a) {
      this.report.undecidable('handoff', 'not in the bundle', r, id);
      return;
    }
    if (!ask(a.kind === 'handoff.accepted' && a.body.acceptance === undefined && a.body.opens === r.run && a.actor === r.actor, 'not_accepted', id)) return;
    run.handed.set(id, { bundle: a.body.bundle.commit, ...this.given.get(id) });
    const offer = this.byID.get(a.body.offer);
    if (!offer) this.report.undecidable('handoff', 'not in the bundle', r, a.body.offer);
    else {
      const { to, expires } = offer.body;
      ask(offer.kind === 'handoff.offered' && to.actor === a.actor && to.origin === r.origin && to.key === a.kid, 'not_accepted', to.actor);
      ask(a.time <= expires, 'expired', a.time);
      if (run.acceptance !== undefined) run.scope = [...(run.scope ?? []), ...offer.body.scope];
    }
  }

  acceptance(r) {
    this.report.ask('handoff', !this.accepted.has(r.body.offer), 'already_used', r);
    this.accepted.set(r.body.offer, r);
  }

  ['handoff.offered'](run, r) {
    if (run.acceptance) this.report.ask('handoff', r.body.parent === run.acceptance, 'scope_widened', r);
    for (const scope of scopes(run)) for (const s of r.body.scope) this.report.ask('handoff', permits(scope, s.action, s.resource), 'scope_widened', r, s.action);
  }

  authorization(run, r) {
    const b = r.body;
    const ask = (ok, reason, found) => this.report.ask('authorized', ok, reason, r, found);
    if (b.mode === 'observe') this.notEnforced = true;
    const before = run.keys.get(b.idempotency_key);
    ask(!before || (b.escalated === before.id && !run.answered.has(before.id)), 'already_used', b.idempotency_key);
    if (!before) run.keys.set(b.idempotency_key, r);
    if (b.approval !== undefined) {
      const e = run.auths.get(b.escalated);
      const a = run.beside.get(b.approval);
      ask(!run.approvals.has(b.approval) && !run.answered.has(b.escalated), 'already_used', b.approval);
      run.approvals.set(b.approval, r);
      run.answered.set(b.escalated, r);
      if (ask(e?.body.effect === 'escalate', 'not_approved', b.escalated)) {
        ask(same(e.body, b) && e.body.step === b.step && e.body.idempotency_key === b.idempotency_key, 'differs', b.escalated);
        const ok = a?.kind === 'approval' && a.about === e.id && (b.effect !== 'allow' || a.body.answer === 'approve') && (a.signer.teams ?? []).includes(e.body.team);
        if (ask(ok, 'not_approved', b.approval) && b.effect === 'allow') ask(r.time <= a.body.until, 'expired', r.time);
      }
    }
    run.auths.set(r.id, r);
    if (b.effect === 'allow') for (const scope of scopes(run)) this.report.ask('handoff', permits(scope, b.action, b.resource), 'out_of_scope', r, b.action);
  }

  execution(run, r) {
    const b = r.body;
    const ask = (ok, reason, found) => this.report.ask('authorized', ok, reason, r, found);
    run.covers.push(r.id);
    const auth = run.auths.get(b.authorization);
    if (b.confirmation !== undefined) this.confirmed(run, r, b.confirmation, auth);
    if (!ask(auth, 'no_authorization', b.authorization)) return;
    const before = run.attempts.get(auth.id) ?? [];
    run.attempts.set(auth.id, [...before, r]);
    this.spend(run, r, b.cost, { attempts: b.status === 'not_run' ? 0 : 1, tool_calls: before.length === 0 ? 1 : 0 }, auth);
    ask(same(auth.body, b), 'differs', b.authorization);
    if (auth.body.source === 'imported') {
      ask(b.source === 'imported', 'differs', b.source);
      return;
    }
    if (auth.body.mode !== 'observe') ask(auth.body.effect === 'allow', auth.body.effect === 'deny' ? 'denied' : 'not_approved', auth.body.effect);
    ask(b.attempt === before.length + 1, 'attempt', String(b.attempt));
    const last = before.at(-1);
    if (last) ask(last.body.status !== 'success' && (!['unknown', 'accepted'].includes(last.body.status) || this.ended(run, auth, last)), 'attempt', last.body.status);
  }

  confirmations(run, auth) {
    return [...run.beside.values()].filter((c) => c.kind === 'confirmation' && c.about === auth.id && c.countsFrom !== undefined && c.signer.name === auth.body.tool);
  }

  /** two confirmations that differ are a doubt. */
  differ(run, auth) {
    return new Set(this.confirmations(run, auth).map((c) => c.body.status)).size > 1;
  }

  ended(run, auth, execution) {
    return run.settled.has(execution.id) || this.confirmations(run, auth).length > 0;
  }

  /** the confirmation that a record rests on: about that authorization, and by its own tool. */
  confirmed(run, r, id, auth) {
    const c = run.beside.get(id);
    const ok = c?.kind === 'confirmation' && auth && c.about === auth.id && c.signer.name === auth.body.tool;
    this.report.ask('chain', ok, 'unknown_reference', r, id);
  }

  settlement(run, r) {
    const b = r.body;
    run.covers.push(r.id);
    const named = this.byID.get(b.settles);
    const ask = (ok, reason) => this.report.ask('outcome', ok, reason, r, b.settles);
    r.void = !ask(named?.run === r.run && ['authorization', 'execution'].includes(named.kind), 'unknown_reference');
    if (r.void) return;
    // What is said of an authorization is said of its last attempt.
    const target = run.attempts.get(named.id)?.at(-1) ?? named;
    r.target = target.id;
    if (b.by === 'confirmation') {
      const auth = target.kind === 'execution' ? run.auths.get(target.body.authorization) : target;
      const c = run.beside.get(b.answer);
      this.report.ask('chain', c, 'unknown_reference', r, b.answer);
      r.void = !ask(c?.about === auth?.id && c?.signer.name === auth?.body.tool && c?.body.status === b.finding, 'differs');
      if (r.void) return;
    }
    const open = target.kind === 'execution' ? ['unknown', 'accepted'].includes(target.body.status) : !run.attempts.has(target.id);
    r.void = !ask(open && !run.settled.has(target.id), 'not_in_doubt');
    if (!r.void) run.settled.set(target.id, r);
  }

  decision(run, r) {
    this.spend(run, r, r.body.cost, {});
  }

  checkpoint(run, r) {
    const ask = (ok, reason, found) => this.report.ask('resume', ok, reason, r, found);
    ask(r.body.sequence === run.sequence + 1, 'sequence', String(r.body.sequence));
    const covers = r.body.covers ?? [];
    ask(covers.length === run.covers.length && run.covers.every((id) => covers.includes(id)), 'covers');
    run.sequence = r.body.sequence;
    run.covers = [];
  }

  ['run.resumed'](run, r) {
    const doubts = this.doubts(run, true);
    const said = r.body.in_doubt ?? [];
    this.report.ask('resume', doubts.length === said.length && doubts.every((id) => said.includes(id)), 'covers', r);
  }

  ['run.closed'](run, r) {
    run.closed = r;
  }

  /** authorizations and executions without an outcome. */
  doubts(run, executions = false) {
    const ids = [];
    for (const auth of run.auths.values()) {
      const tries = run.attempts.get(auth.id) ?? [];
      const last = tries.at(-1);
      if (this.differ(run, auth)) ids.push(executions && last ? last.id : auth.id);
      else if (!last) {
        if (auth.body.effect === 'allow' && !this.ended(run, auth, auth)) ids.push(auth.id);
      } else if (last.body.status === 'unknown' && last.body.source !== 'imported' && !this.ended(run, auth, last)) ids.push(executions ? last.id : auth.id);
    }
    return ids;
  }

  /** the rule budget: what a record adds, to its run and up the line of parents. */
  spend(run, r, cost, more, auth) {
    if (r.body.source === 'imported') return;
    const added = new Map([...(cost?.members ?? [])].map(([unit, n]) => [unit, n.value]));
    for (const [unit, n] of Object.entries(more)) added.set(unit, (added.get(unit) ?? 0) + n);
    for (let at = run, depth = 0; at && depth < 1000; at = at.parent, depth++) {
      const limits = at.opened.body.budget?.members ?? new Map();
      for (const [unit, n] of added) {
        if (n === 0) continue;
        const sum = at.spent.get(unit) ?? 0;
        at.spent.set(unit, sum + n);
        if (!limits.has(unit) || unit === 'wall_ms') continue;
        const estimate = auth?.body.estimate?.members.get(unit)?.value ?? 0;
        const limit = limits.get(unit).value;
        this.report.ask('budget', sum <= limit && sum + n <= limit + estimate, 'over_budget', r, unit);
      }
    }
    const wall = run.opened.body.budget?.members.get('wall_ms')?.value;
    if (auth && wall !== undefined) {
      const estimate = auth.body.estimate?.members.get('wall_ms')?.value ?? 0;
      this.report.ask('budget', Date.parse(r.time) - Date.parse(run.opened.time) <= wall + estimate, 'over_budget', r, 'wall_ms');
    }
  }

  /** what only the end of the records shows: the rule outcome. */
  finish(about) {
    for (const [id, run] of this.runs) {
      if (run.auths.size > 0) this.report.decides('outcome');
      for (const doubt of this.doubts(run)) {
        if (run.closed) this.report.ask('outcome', false, 'no_outcome', this.byID.get(doubt));
        else if (about.kind === 'run' && about.run === id || about.kind === 'offer') this.report.undecidable('outcome', 'no_outcome', this.byID.get(doubt));
      }
    }
  }
}

/** the scopes that bind a run: of what it continues, and of what its parents do. */
function scopes(run) {
  const found = [];
  for (let at = run, depth = 0; at && depth < 1000; at = at.parent, depth++) if (at.scope) found.push(at.scope);
  return found;
}

function permits(scope, action, resource) {
  return scope.some((s) => s.action === action
    && (s.resource.endsWith('*') ? (resource ?? '').startsWith(s.resource.slice(0, -1)) && (resource !== undefined || s.resource === '*') : s.resource === resource));
}
