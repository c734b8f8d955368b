// Claims and contracts against the evidence (docs/rules.md, "Judging").
import { sha256 } from './encoding.mjs';
import { inTurn, item as parseItem, parseContract } from './contract.mjs';
import { parse, refuse, Refused } from './ijson.mjs';
import { no, payloadFits, perhaps, fits as valueFits, yes } from './patterns.mjs';
import { same } from './runs.mjs';
import { sourceOrder } from './trust.mjs';
import { write } from './values.mjs';

const isWorse = ['contradicted', 'unsupported', 'in_doubt', 'undisclosed', 'no_contract', 'supported'];
const worst = (results) => isWorse.find((r) => results.includes(r));
const strength = (source) => sourceOrder.length - sourceOrder.indexOf(source);
const byBytes = (a, b) => Buffer.compare(Buffer.from(a.replace(/^ev_/, ''), 'base64url'), Buffer.from(b.replace(/^ev_/, ''), 'base64url'));
const sorted = (ids) => [...new Set(ids)].sort(byBytes);

/**
 * judges a claim of a run, or the run as such, by what stands before an index.
 * payloads is a Map from commitment to bytes; only are the bundles that count, of
 * those that were handed over. Returns the verdict document's members, and the
 * assertions' and contract's results.
 */
export function judge({ run, claim, before, weakest, payloads, only }) {
  const used = new Set();
  const root = { run, payloads, before, known: [] };
  const opens = (g) => {
    const ok = g.offer !== undefined && (only === undefined || only.has(g.bundle));
    if (ok) used.add(g.bundle);
    return ok;
  };
  const own = collect(run, before, root);
  let elsewhere;
  const across = () => (elsewhere ??= survey(root, opens));
  const see = (commitment) => {
    if (!commitment) return undefined;
    if (payloads.has(commitment.commit)) used.add(commitment.commit);
    return payloads.get(commitment.commit);
  };
  const reference = run.opened.body.contract?.document;
  const contract = readContract(reference, see);
  const judged = (c) => decide(c, { own, across, weakest, payloads, used, run, root });

  const ofContract = reference && judged(contract);
  const assertions = [];
  for (const [s, statement] of (claim?.body.statements ?? []).entries()) {
    for (const [a, assertion] of (statement.assertions ?? []).entries()) {
      const answer = assertion.kind === 'contract'
        ? ofContract ?? { result: 'no_contract', records: [] }
        : judged(readAssertion(assertion, see, contract));
      assertions.push({ statement: s, assertion: a, result: answer.result, source: answer.source, records: answer.records });
    }
  }
  const given = grounds(run, before).map((g) => ({ acceptance: g.acceptance, ...(opens(g) ? worth(g, weakest) : { result: 'undisclosed' }) }));
  const rests = given.map((g) => g.result).filter((r) => r !== 'no_contract');
  const ofRun = claim ? assertions.map((a) => a.result) : [ofContract?.result ?? 'no_contract'];
  const result = worst([...ofRun, ...rests, ...(!reference || ofRun.length === 0 ? ['no_contract'] : [])]) ?? 'supported';
  const document = write({
    rules: 1,
    origin: run.opened.origin,
    run: run.opened.run,
    opened: run.opened.id,
    claim: claim?.id,
    trust: { weakest_source: weakest, digest: sha256(weakest ? `{"weakest_source":"${weakest}"}` : '{}').toString('base64url') },
    contract: reference && { commit: reference.commit, digest: contract.digest, result: ofContract.result, source: ofContract.source, records: ofContract.records },
    assertions,
    given,
    disclosed: [...used].sort(byBytes),
    result,
  });
  return { assertions, given, contract: ofContract, result, document };
}

/** the handoffs that a run took up before an index. */
const grounds = (run, before) => (run.takes ?? []).filter((t) => t.index < before && (run.handed.has(t.acceptance) || t.acceptance === run.acceptance))
  .map((t) => ({ ...t, ...run.handed.get(t.acceptance) }));

/** what was handed over, decided by what its giver claimed and offered it on. */
function worth(g, weakest) {
  g.offer.worth ??= new Map();
  const before = g.offer.worth.get(weakest);
  if (before) return before;
  const { run, payloads } = g;
  const said = [];
  for (const claim of claimsOf(run)) {
    const { assertions } = judge({ run, claim, before: claim.index, weakest, payloads });
    said.push([claim.id, worst(assertions.map((a) => a.result).filter((r) => r !== 'no_contract'))]);
  }
  for (const id of g.offer.body.evidence ?? []) said.push([id, standing(g, id, weakest)]);
  for (const inner of grounds(run, Infinity)) said.push([inner.acceptance, inner.offer ? worth(inner, weakest).result : 'undisclosed']);
  const result = worst(said.map(([, r]) => r).filter((r) => r !== 'no_contract')) ?? 'no_contract';
  const found = { result, records: result === 'no_contract' ? [] : sorted(said.filter(([, r]) => r === result).map(([id]) => id)) };
  g.offer.worth.set(weakest, found);
  return found;
}

const claimsOf = (run) => [...run.line, ...[...run.beside.values()].filter((b) => b.countsFrom !== undefined)].filter((r) => r.kind === 'claim');

/** what a record that an offer cites comes to. */
export function standing({ run, offer, records, payloads }, id, weakest) {
  const r = records.find((x) => x.id === id);
  if (!r || r.run !== offer.run || id === offer.id) return 'unsupported';
  if (r.kind === 'claim') return judge({ run, claim: r, before: r.index, weakest, payloads }).result;
  if (r.kind === 'verdict') return r.body.result;
  if (!['authorization', 'execution', 'confirmation', 'settlement'].includes(r.kind)) return 'no_contract';
  const states = collect(run, Infinity).filter((i) => i.auth?.id === id || i.records.includes(id))
    .map((i) => (i.state === 'done' && weakest && strength(i.source) < strength(weakest) ? 'weak' : i.state));
  return states.includes('done') ? 'supported' : states.includes('doubt') ? 'in_doubt' : states.includes('not') ? 'contradicted' : 'unsupported';
}

/** the runs on which a run rests, at any depth, with what was done in them. */
function survey(root, opens) {
  const name = (run) => `${run.opened.origin} ${run.opened.run}`;
  const sites = new Map([[name(root.run), root]]);
  const seen = new Set();
  let whole = true;
  const visit = (run, before, payloads, open) => {
    let site = sites.get(name(run));
    if (!site) sites.set(name(run), site = { run, before, payloads, known: [] });
    else if (before > site.before) Object.assign(site, { run, before, payloads });
    if (seen.has(run)) return site;
    seen.add(run);
    for (const g of grounds(run, before)) {
      if (!open(g)) {
        whole = false;
        continue;
      }
      const giver = visit(g.run, g.offer.index, g.payloads, (x) => x.offer !== undefined);
      if (giver !== site) site.known.push({ at: g.index, of: giver, upto: g.offer.index });
    }
    return site;
  };
  visit(root.run, root.before, root.payloads, opens);
  // Who takes up what another offered knows what that one knew by then.
  const all = [...sites.values()];
  if (all.length > 64) for (const s of all) s.known = [];
  for (let again = true; again;) {
    again = false;
    for (const s of all) {
      for (const k of [...s.known]) {
        for (const l of k.of.known) {
          if (l.at >= k.upto || l.of === s || s.known.some((o) => o.of === l.of && o.at <= k.at && o.upto >= l.upto)) continue;
          s.known.push({ at: k.at, of: l.of, upto: l.upto });
          again = true;
        }
      }
    }
  }
  return { whole, items: all.slice(1).flatMap((s) => collect(s.run, s.before, s)) };
}

/** the index in another run's log before which all is shown to be before a record. */
const horizon = (site, index, of) => (site === of ? index : Math.max(0, ...site.known.filter((k) => k.of === of && k.at < index).map((k) => k.upto)));

function readContract(reference, see) {
  if (!reference) return { expects: [], forbids: [], only: [], weakest: 'runtime' };
  const bytes = see(reference);
  if (bytes === undefined) return { withheld: true, expects: [], forbids: [], only: [] };
  try {
    return parseContract(bytes);
  } catch (e) {
    if (e instanceof Refused) return { unreadable: true, expects: [], forbids: [], only: [] };
    throw e;
  }
}

function readAssertion(assertion, see, contract) {
  let item = { least: 1, most: 1, after: [], after_last: [], uses: {} };
  if (assertion.expect) {
    const bytes = see(assertion.expect);
    if (bytes === undefined) item.withheld = true;
    else {
      try {
        const node = parse(bytes, { spaceAround: true, plain: true });
        item = parseItem(node, '', ['action'], ['runs', 'resource', 'input', 'input_has', 'output', 'output_has', 'times']);
        const on = node.members.get('resource');
        if (item.action !== assertion.action || (assertion.resource !== undefined && on?.type === 'string' && on.value !== assertion.resource)) refuse('it expects another action');
      } catch (e) {
        if (e instanceof Refused) return { unreadable: true, expects: [], forbids: [], only: [] };
        throw e;
      }
    }
  }
  item = { ...item, action: assertion.action, itsResource: assertion.resource };
  return { expects: [item], forbids: [], only: [], weakest: contract.weakest, sourceWithheld: contract.withheld };
}

/** the items: attempts, and authorizations without one, each with the strongest word on it. */
function collect(run, before, site) {
  const items = [];
  const executions = run.line.filter((r) => r.kind === 'execution' && r.index < before);
  const settlements = run.line.filter((r) => r.kind === 'settlement' && r.index < before && !r.void);
  const own = (auth) => executions.filter((e) => e.body.authorization === auth.id && same(auth.body, e.body));
  // A confirmation is of the last attempt there was when the line first named it.
  const concerns = (c, attempts) => attempts.findLast((e) => e.index <= c.countsFrom);
  const word = (item, target) => {
    const { auth, exec } = item;
    const mine = settlements.filter((s) => s.target === target.id);
    const rests = (s) => auth && run.beside.get(s.body.answer)?.body.status === s.body.finding && run.beside.get(s.body.answer).signer.name === auth.body.tool;
    // The tool's own words, also through settlements: the last of those that agree, and all from the first that differs.
    const said = [
      ...(auth ? [...run.beside.values()].filter((c) => c.kind === 'confirmation' && c.about === auth.id && c.namedBy !== 'settlement' && c.countsFrom <= before
        && c.signer.name === auth.body.tool && concerns(c, own(auth)) === exec).map((word) => ({ word, at: word.countsFrom, status: word.body.status })) : []),
      ...mine.filter(rests).map((word) => ({ word, at: word.index, status: word.body.finding })),
    ].sort((a, b) => a.at - b.at);
    const settled = mine[0];
    const history = said.map((w) => w.word);
    if (settled && !history.includes(settled) && !(said[0]?.at < settled.index)) history.unshift(settled);
    if (said.length > 0) {
      const differs = said.findIndex((w) => w.status !== said[0].status);
      const words = differs < 0 ? said.slice(-1) : said.slice(differs - 1);
      Object.assign(item, { status: differs < 0 ? said[0].status : 'unknown', source: 'confirmed', words: words.map((w) => w.word) });
    } else if (settled) {
      Object.assign(item, { status: settled.body.finding, source: { probe: 'runtime', human: 'reported', report: 'reported' }[settled.body.by], words: [settled] });
    } else if (exec) Object.assign(item, { status: exec.body.status, source: exec.body.source });
    else Object.assign(item, { status: auth.body.effect === 'deny' && auth.body.mode === 'enforce' ? 'not_run' : 'unknown', source: auth.body.source });
    item.words ??= [];
    const signed = [auth, exec, ...item.words].filter(Boolean);
    item.state = signed.some((r) => r.suspect) ? 'doubt' : item.status === 'success' ? 'done' : ['failure', 'not_run'].includes(item.status) ? 'not' : 'doubt';
    item.records = [target.id, ...item.words.map((w) => w.id)];
    const gave = [exec, ...history].findLast((r) => r?.body.output);
    item.output = gave?.body.output;
    item.refs = gave?.body.refs;
    item.site = site;
    item.starts = (auth ?? exec).index;
    item.done = exec?.body.status === 'success' || item.words.length === 0 ? target.index : item.words[0].countsFrom ?? item.words[0].index;
    items.push(item);
  };
  for (const auth of run.line.filter((r) => r.kind === 'authorization' && r.index < before)) {
    for (const exec of own(auth)) word({ auth, exec, body: exec.body }, exec);
    if (own(auth).length === 0 && auth.body.effect !== 'escalate') word({ auth, body: auth.body }, auth);
  }
  for (const exec of executions) if (!items.some((i) => i.exec === exec)) word({ exec, body: exec.body }, exec);
  return items;
}

/** decides a contract or a one-item contract: {result, source, records}. */
function decide(c, context) {
  const { own, across, weakest, root } = context;
  if (c.withheld) return { result: 'undisclosed', records: [] };
  if (c.unreadable) return { result: 'unsupported', records: [] };
  if (c.asksForNothing) return { result: 'no_contract', records: [] };
  const crosses = [...c.expects, ...c.forbids, ...(c.conditions ?? []).flatMap((k) => k.succeeded ?? [])].some((e) => e.runs);
  if (crosses && !across().whole) return { result: 'undisclosed', records: [] };
  const items = crosses ? [...own, ...across().items] : own;
  const looksAt = (e, i) => (e.runs === 'all' ? true : (e.runs === 'given') === (i.site !== root));
  const of = (least, leastPerhaps = least) => evaluate(c, { ...context, items, looksAt, least, leastPerhaps });
  const stronger = (s) => (weakest && strength(weakest) > strength(s) ? weakest : s);
  const answer = c.sourceWithheld ? of('confirmed', weakest ?? 'imported') : of(stronger(c.weakest));
  if (answer.result === 'supported' && c.expects.length > 0) {
    answer.source = sourceOrder.find((s) => of(s).result === 'supported');
  }
  return answer;
}

/** what may be referred to, of a payload: what is known of it, and what the record shows. */
function seen(commitment, open, { payloads }) {
  if (!commitment) return { known: true };
  const bytes = payloads.get(commitment.commit);
  if (bytes === undefined) return { known: false, clear: open };
  try {
    return { known: true, value: parse(bytes, { spaceAround: true, plain: true }) };
  } catch (e) {
    if (e instanceof Refused) return { known: true };
    throw e;
  }
}

/** notes the payloads that bear on a contract, whatever the judging looks at. */
function consult(c, items, run, context) {
  const all = [...c.expects, ...c.forbids, ...(c.conditions ?? []).flatMap((k) => k.succeeded ?? [])];
  const note = (commitment) => commitment && context.payloads.has(commitment.commit) && context.used.add(commitment.commit);
  const about = (e) => (e.runs === 'given' ? [] : items.filter((i) => i.body.action === e.action)); // what was handed over is one payload
  const outputs = (e) => about(e).filter((i) => i.state === 'done').forEach((i) => note(i.output));
  for (const e of all) {
    if (e.input || e.input_has) about(e).forEach((i) => note(i.body.input));
    if (e.output || e.output_has) outputs(e);
    if (e.uses.of !== undefined) outputs(c.expects.find((f) => f.as === e.uses.of));
  }
  const refers = all.some((e) => e.uses.input) || (c.conditions ?? []).some((k) => k.uses.input || k.input || k.input_has);
  if (refers) note(run.opened.body.input);
  return refers ? seen(run.opened.body.input, undefined, context) : { known: true };
}

const cross = (lists) => lists.reduce((all, list) => all.flatMap((a) => list.map((x) => [...a, x])), [[]]);
const and = (...t) => Math.min(...t);

function evaluate(c, context) {
  const { items, own, run, root, looksAt, least, leastPerhaps } = context;
  const conditions = c.conditions ?? [];
  const expects = inTurn(c.expects);
  const input = consult(c, own, run, context);
  const enough = (i) => {
    if (strength(i.source) >= strength(least)) return yes;
    return strength(i.source) >= strength(leastPerhaps) || i.state === 'doubt' ? perhaps : no;
  };
  const output = (i) => (i.state === 'doubt' ? { known: false } : seen(i.output, i.refs, i.site));

  // What payloads say. referred: the output that e refers to.
  const kept = new Map();
  const fits = (i, e, referred, withOutput = true) => {
    if ((e.action !== undefined && i.body.action !== e.action) || (e.itsResource !== undefined && i.body.resource !== e.itsResource) || !looksAt(e, i)) return no;
    const refers = { input, output: referred ?? { known: false } };
    const resource = i.body.resource === undefined ? undefined : { type: 'string', value: i.body.resource };
    let m = e.resource ? valueFits(e.resource, resource, true, refers) : yes;
    if (e.withheld) m = and(m, perhaps);
    const asked = e.input ?? e.input_has;
    if (asked && m > no) m = and(m, payloadFits(asked, seen(i.body.input, i.auth?.body.params, i.site), asked === e.input, refers));
    const gives = e.output ?? e.output_has;
    if (!gives || m === no || !withOutput) return m;
    if (i.state === 'doubt') return and(m, perhaps);
    return i.output ? and(m, payloadFits(gives, output(i), gives === e.output, refers)) : no;
  };
  const base = (i, e) => {
    const key = kept.get(e) ?? kept.set(e, new Map()).get(e);
    return key.get(i) ?? key.set(i, fits(i, e)).get(i);
  };
  const ofInput = (k) => (k.input || k.input_has ? payloadFits(k.input ?? k.input_has, input, k.input !== undefined, { input }) : yes);

  /** all matches, with some things settled: fates of items, fits of pairs, conditions that hold. */
  const view = (settled = {}, sourcesAside = false) => {
    const fate = (i) => settled.fates?.get(i);
    const happens = (i) => (i.state === 'done' ? yes : i.state === 'not' ? no : { never: no, early: yes, late: yes }[fate(i)] ?? perhaps);
    const when = (i) => (fate(i) === 'late' ? Infinity : i.done);
    const precedes = (o, i) => when(o) < horizon(i.site, i.starts, o.site);
    const condition = (k) => and(ofInput(k), k.succeeded ? Math.max(no, ...items.map((i) => and(happens(i), base(i, k.succeeded), k.strict && !sourcesAside ? enough(i) : yes))) : yes);
    const holds = (k) => {
      const t = condition(k);
      return (t === perhaps ? settled.holds?.get(k) ?? no : t) === yes;
    };
    const there = (e) => (!e.when || holds(e.when)) && (!e.unless || !holds(e.unless));
    const match = new Map(items.map((i) => [i, new Map()]));
    const referring = (i, e, withOutput = true) => {
      if (e.uses.of === undefined || base(i, e) === no) return withOutput ? base(i, e) : fits(i, e, undefined, false);
      const f = expects.find((x) => x.as === e.uses.of);
      return Math.max(no, ...items.map((o) => (precedes(o, i) ? and(happens(o), match.get(o).get(f) ?? no, fits(i, e, output(o), withOutput)) : no)));
    };
    const inOrder = (i, e) => and(yes, ...expects.filter((f) => e.after.includes(f.action) && there(f)).map((f) => {
      const before = items.filter((o) => precedes(o, i)).map((o) => and(happens(o), match.get(o).get(f) ?? no));
      return [yes, perhaps].find((t) => before.filter((x) => x >= t).length >= f.least) ?? no;
    }));
    const last = (i, e) => and(yes, ...items.filter((o) => o !== i && e.after_last.includes(o.body.action) && looksAt(e, o)).map((o) => {
      const h = happens(o);
      return h === perhaps ? perhaps : h === yes && !precedes(o, i) ? no : yes;
    }));
    for (const e of expects) {
      if (!there(e)) continue;
      for (const i of items) {
        if (i.state === 'not' || base(i, e) === no) continue;
        const t = and(referring(i, e), sourcesAside ? yes : enough(i), inOrder(i, e), last(i, e));
        match.get(i).set(e, t === perhaps ? settled.fits?.get(i)?.get(e) ?? t : t);
      }
    }
    const forbids = c.forbids.filter(there);
    return {
      happens, there, condition, forbids,
      match: (i, e) => match.get(i).get(e) ?? no,
      banned: new Map(items.map((i) => [i, i.state === 'not' ? no : Math.max(no, ...forbids.map((f) => referring(i, f)))])),
      attempt: (i, e) => (there(e) ? referring(i, e, false) : no),
    };
  };

  // The cases.
  const open = conditions.filter((k) => view().condition(k) === perhaps);
  const ways = cross(open.map(() => [no, yes])).map((bits) => new Map(open.map((k, n) => [k, bits[n]])));
  const loose = ways.map((holds) => view({ holds }));
  const hung = expects.filter((f) => [...expects, ...c.forbids].some((e) => e.after?.includes(f.action) || (f.as !== undefined && f.as === e.uses.of)));
  const isLast = (i) => expects.some((e) => e.after_last.includes(i.body.action) && looksAt(e, i));
  const decides = (i) => Math.max(no, ...conditions.map((k) => (k.succeeded ? base(i, k.succeeded) : no)));
  const hinges = items.filter((i) => i.state === 'doubt' && (isLast(i) || decides(i) > no || hung.some((f) => base(i, f) > no)));
  const pairs = items.filter((i) => i.state !== 'not').flatMap((i) => hung.filter((f) => loose.some((v) => v.match(i, f) === perhaps)).map((f) => [i, f]));
  const count = 3 ** hinges.length * 2 ** (pairs.length + open.length);
  const named = [...c.expects, ...c.forbids, ...conditions.flatMap((k) => k.succeeded ?? [])].flatMap((e) => [e.action, ...(e.after_last ?? [])]).concat(c.only);
  const coarse = count > 1024 || count * items.filter((i) => named.includes(i.body.action)).length * expects.length > 2 ** 24;
  const fates = cross(coarse ? [] : hinges.map(() => ['never', 'early', 'late'])).map((list) => new Map(hinges.map((i, n) => [i, list[n]])));
  const groups = cross(coarse ? [] : pairs.map(() => [no, yes])).flatMap((bits) => {
    const settledFits = new Map();
    pairs.forEach(([i, f], n) => !coarse && (settledFits.get(i) ?? settledFits.set(i, new Map()).get(i)).set(f, bits[n]));
    return ways.map((holds) => fates.map((f) => view({ fates: f, fits: settledFits, holds })));
  });
  const cases = groups.flat();

  const inOnly = (i) => i.site === root && c.only.includes(i.body.action);
  const sure = (v) => items.filter((i) => v.happens(i) === yes);
  const live = (v) => items.filter((i) => v.happens(i) > no);
  const least_ = (v) => c.expects.map((e) => (v.there(e) ? e.least : 0));
  const most_ = (v) => c.expects.map((e) => (v.there(e) ? e.most : 0));
  const place = (v, from, m) => assign(from, most_(v), (i, k) => v.match(i, c.expects[k]) >= m);
  const met = (v, m, breach, hope, fear) => {
    const has = fear ? live(v) : sure(v);
    if (has.some((i) => v.banned.get(i) >= breach)) return false;
    const serves = hope ? live(v).filter((i) => v.happens(i) === yes || v.banned.get(i) < breach) : sure(v);
    const bound = has.filter(inOnly);
    return assign(serves, least_(v), (i, k) => v.match(i, c.expects[k]) >= m).full && place(v, bound, m).size === bound.length;
  };
  const worst = (m, breach) => (v) => met(v, m, breach, false, true);
  const best = (m, breach) => (v) => met(v, m, breach, true, false);
  const ids = (of) => sorted(of.flatMap((i) => i.records));
  const touches = (v, i) => [Math.max(no, ...c.expects.map((e) => v.match(i, e))), v.banned.get(i)];

  if (cases.every(worst(yes, perhaps))) {
    return { result: 'supported', records: ids(items.filter((i) => i.state === 'done' && loose.some((v) => c.expects.some((e) => v.match(i, e) === yes)))) };
  }
  if (cases.some(best(perhaps, yes))) {
    const doubtDecides = coarse ? hinges.length > 0 : false;
    const mixed = (m, breach) => groups.some((g) => g.some(best(m, breach)) && !g.every(worst(m, breach)));
    if (doubtDecides || mixed(perhaps, yes) || mixed(yes, perhaps)) {
      return { result: 'in_doubt', records: ids(items.filter((i) => i.state === 'doubt' && (inOnly(i) || isLast(i) || decides(i) > no || loose.some((v) => touches(v, i).some((t) => t > no))))) };
    }
    // What hangs on the source alone that a withheld contract asks for is no record's to decide.
    const bySource = (i) => i.state === 'done' && enough(i) === perhaps && !c.expects.some((e) => base(i, e) === perhaps);
    return { result: 'undisclosed', records: ids(items.filter((i) => i.state !== 'not' && (decides(i) === perhaps || loose.some((v) => touches(v, i).includes(perhaps)) && !bySource(i)))) };
  }
  return refuted(ways.map((holds) => {
    const [v, plain] = [view({ holds }), view({ holds }, true)];
    const wrong = items.filter((i) => i.state === 'done' && v.banned.get(i) === yes);
    if (wrong.length > 0) return { records: ids(wrong) };
    const bound = items.filter((i) => i.state === 'done' && inOnly(i));
    const largest = place(plain, bound, perhaps).size;
    if (largest < bound.length) return { records: ids(bound.filter((i) => place(plain, bound.filter((o) => o !== i), perhaps).size === largest)) };
    const serves = live(v).filter((i) => v.happens(i) === yes || v.banned.get(i) < yes);
    const size = (without) => assign(serves, least_(v).map((n, k) => n - (k === without ? 1 : 0)), (i, k) => v.match(i, c.expects[k]) >= perhaps).size;
    const short = c.expects.filter((e, k) => v.there(e) && e.least > 0 && size(k) === size());
    const attempts = items.filter((i) => i.state === 'not' && short.some((e) => v.attempt(i, e) === yes));
    if (attempts.length > 0) return { records: ids(attempts) };
    return { weak: true, records: ids(items.filter((i) => i.state === 'done' && enough(i) === no && c.expects.some((e) => plain.match(i, e) > no))) };
  }));
}

/** of each way to settle the conditions that are perhaps: what it has against the contract. */
function refuted(found) {
  const weak = found.filter((f) => f.weak);
  const of = weak.length > 0 ? weak : found;
  return { result: weak.length > 0 ? 'unsupported' : 'contradicted', records: sorted(of.flatMap((f) => f.records)) };
}

/** the largest assignment of items to expects with these capacities (augmenting paths). */
function assign(items, capacity, matches) {
  const at = capacity.map(() => []);
  const place = (i, seen) => {
    for (const [k, n] of capacity.entries()) {
      if (seen.has(k) || n < 1 || !matches(i, k)) continue;
      seen.add(k);
      if (at[k].length < n) {
        at[k].push(i);
        return true;
      }
      for (const [m, o] of at[k].entries()) {
        if (place(o, seen)) {
          at[k][m] = i;
          return true;
        }
      }
    }
    return false;
  };
  const size = items.filter((i) => place(i, new Set())).length;
  return { size, full: capacity.every((n, k) => at[k].length === n) };
}
