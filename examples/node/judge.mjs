// Claims and contracts against the evidence (docs/rules.md, "Judging").
import { sha256 } from './encoding.mjs';
import { item as parseItem, parseContract } from './contract.mjs';
import { parse, refuse, Refused } from './ijson.mjs';
import { same } from './runs.mjs';
import { sourceOrder } from './trust.mjs';
import { equal, partOf, write } from './values.mjs';

const isWorse = ['contradicted', 'unsupported', 'in_doubt', 'undisclosed', 'no_contract', 'supported'];
const worst = (results) => isWorse.find((r) => results.includes(r));
const strength = (source) => sourceOrder.length - sourceOrder.indexOf(source);
const byBytes = (a, b) => Buffer.compare(Buffer.from(a.replace(/^ev_/, ''), 'base64url'), Buffer.from(b.replace(/^ev_/, ''), 'base64url'));
const sorted = (ids) => [...new Set(ids)].sort(byBytes);

/**
 * judges a claim of a run, or the run as such, by what stands before an index.
 * payloads is a Map from commitment to bytes. Returns the verdict document's
 * members, and the assertions' and contract's results.
 */
export function judge({ run, claim, before, weakest, payloads }) {
  const items = collect(run, before);
  const used = new Set();
  const see = (commitment) => {
    if (!commitment) return undefined;
    if (payloads.has(commitment.commit)) used.add(commitment.commit);
    return payloads.get(commitment.commit);
  };
  const reference = run.opened.body.contract?.document;
  const contract = readContract(reference, see);
  const judged = (c) => decide(c, { items, weakest, payloads, used, run });

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
  const result = claim
    ? worst([...assertions.map((a) => a.result), ...(!reference || assertions.length === 0 ? ['no_contract'] : [])]) ?? 'supported'
    : ofContract?.result ?? 'no_contract';
  const document = write({
    rules: 1,
    origin: run.opened.origin,
    run: run.opened.run,
    opened: run.opened.id,
    claim: claim?.id,
    trust: { weakest_source: weakest, digest: sha256(weakest ? `{"weakest_source":"${weakest}"}` : '{}').toString('base64url') },
    contract: reference && { commit: reference.commit, digest: contract.digest, result: ofContract.result, source: ofContract.source, records: ofContract.records },
    assertions,
    disclosed: [...used].sort(byBytes),
    result,
  });
  return { assertions, contract: ofContract, result, document };
}

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
  let item = { times: 1, after: [] };
  if (assertion.expect) {
    const bytes = see(assertion.expect);
    if (bytes === undefined) item.withheld = true;
    else {
      try {
        item = parseItem(parse(bytes, { spaceAround: true, plain: true }), '', ['action'], ['resource', 'input', 'input_has', 'output_has', 'times']);
        if (item.action !== assertion.action || (assertion.resource ?? item.resource) !== (item.resource ?? assertion.resource)) refuse('it expects another action');
      } catch (e) {
        if (e instanceof Refused) return { unreadable: true, expects: [], forbids: [], only: [] };
        throw e;
      }
    }
  }
  item = { ...item, action: assertion.action, resource: assertion.resource ?? item.resource };
  return { expects: [item], forbids: [], only: [], weakest: contract.weakest, sourceWithheld: contract.withheld };
}

/** the items: attempts, and authorizations without one, each with the strongest word on it. */
function collect(run, before) {
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
    item.last = Math.max(...signed.filter((r) => r !== auth || !exec).map((r) => r.countsFrom ?? r.index));
    items.push(item);
  };
  for (const auth of run.line.filter((r) => r.kind === 'authorization' && r.index < before)) {
    for (const exec of own(auth)) word({ auth, exec, body: exec.body }, exec);
    if (own(auth).length === 0 && auth.body.effect !== 'escalate') word({ auth, body: auth.body }, auth);
  }
  for (const exec of executions) if (!items.some((i) => i.exec === exec)) word({ exec, body: exec.body }, exec);
  return items;
}

const no = 0;
const perhaps = 1;
const yes = 2;

/** whether a payload, or what the record makes public of it, satisfies a test. */
function payloadMatch(commitment, open, wanted, whole, { payloads, used }) {
  if (wanted === undefined) return yes;
  if (!commitment) return no;
  const bytes = payloads.get(commitment.commit);
  if (bytes !== undefined) {
    used.add(commitment.commit);
    try {
      const found = parse(bytes, { spaceAround: true, plain: true });
      return (whole ? equal(wanted, found) : partOf(wanted, found)) ? yes : no;
    } catch (e) {
      if (e instanceof Refused) return no;
      throw e;
    }
  }
  if (wanted.type !== 'object') return open ? no : perhaps;
  let all = !whole;
  for (const [name, v] of wanted.members) {
    const found = open?.members.get(name);
    if (!found) all = false;
    else if (!(whole ? equal(v, found) : partOf(v, found))) return no;
  }
  if (whole && open) for (const name of open.members.keys()) if (!wanted.members.has(name)) return no;
  return all ? yes : perhaps;
}

/** decides a contract or a one-item contract: {result, source, records}. */
function decide(c, context) {
  const { items, weakest } = context;
  if (c.withheld) return { result: 'undisclosed', records: [] };
  if (c.unreadable) return { result: 'unsupported', records: [] };
  if (c.expects.length + c.forbids.length + c.only.length === 0) return { result: 'no_contract', records: [] };
  const of = (least, leastPerhaps = least) => evaluate(c, { ...context, least, leastPerhaps });
  const stronger = (s) => (weakest && strength(weakest) > strength(s) ? weakest : s);
  const answer = c.sourceWithheld ? of('confirmed', weakest ?? 'imported') : of(stronger(c.weakest));
  if (answer.result === 'supported' && c.expects.length > 0) {
    answer.source = sourceOrder.find((s) => of(s).result === 'supported');
  }
  return answer;
}

function evaluate(c, context) {
  const { items, least, leastPerhaps } = context;
  const enough = (i) => (strength(i.source) >= strength(least) ? yes : strength(i.source) >= strength(leastPerhaps) ? perhaps : no);
  const fits = (i, e, output = true) => {
    if (e.action !== undefined && i.body.action !== e.action) return no;
    if (e.resource !== undefined && i.body.resource !== e.resource) return no;
    if (e.withheld) return perhaps;
    const params = i.auth?.body.params;
    let m = Math.min(payloadMatch(i.body.input, params, e.input, true, context), payloadMatch(i.body.input, params, e.input_has, false, context));
    if (m !== no && output && e.output_has !== undefined) {
      if (i.state === 'doubt') m = perhaps;
      else if (i.state === 'done') m = Math.min(m, payloadMatch(i.output, i.refs, e.output_has, false, context));
    }
    return m;
  };
  const matches = new Map(items.map((i) => [i, c.expects.map((e) => (i.state === 'not' ? no : Math.min(
    fits(i, e), i.state === 'doubt' ? (enough(i) === yes ? yes : perhaps) : enough(i))))]));
  // "after": the matches of the items that it names, which have no circle, come first.
  const settled = new Set();
  const order = (k) => {
    if (settled.has(k)) return;
    settled.add(k);
    c.expects.forEach((e, j) => c.expects[k].after.includes(e.action) && order(j));
    if (c.expects[k].after.length === 0) return;
    for (const i of items) {
      const start = (i.auth ?? i.exec).index;
      const earlier = (sure) => c.expects.every((e, j) => !c.expects[k].after.includes(e.action)
        || items.filter((o) => o.last < start && (sure ? o.state === 'done' && matches.get(o)[j] === yes : matches.get(o)[j] > no)).length >= e.times);
      matches.get(i)[k] = Math.min(matches.get(i)[k], earlier(true) ? yes : earlier(false) ? perhaps : no);
    }
  };
  c.expects.forEach((_, k) => order(k));
  const forbidden = new Map(items.map((i) => [i, c.forbids.map((f) => (i.state === 'not' ? no : fits(i, f)))]));

  const done = items.filter((i) => i.state === 'done');
  const live = items.filter((i) => i.state !== 'not');
  const inOnly = (i) => c.only.includes(i.body.action);
  const serve = (from, m) => assign(from, c.expects, (i, k) => matches.get(i)[k] >= m).full;
  const place = (from, m) => assign(from, c.expects, (i, k) => matches.get(i)[k] >= m).size === from.length;
  const everywhere = (m = yes, f = perhaps) => !live.some((i) => forbidden.get(i).some((v) => v >= f)) && serve(done, m) && place(live.filter(inOnly), m);
  const somewhere = (m = perhaps, f = yes) => !done.some((i) => forbidden.get(i).some((v) => v >= f)) && serve(live, m) && place(done.filter(inOnly), m);
  const ids = (of) => sorted(of.flatMap((i) => i.records));

  if (everywhere()) return { result: 'supported', records: ids(done.filter((i) => matches.get(i).includes(yes))) };
  if (somewhere()) {
    const doubtDecides = everywhere(perhaps, yes) !== somewhere(perhaps, yes) || everywhere(yes, perhaps) !== somewhere(yes, perhaps);
    const touches = (i) => [...matches.get(i), ...forbidden.get(i)];
    if (doubtDecides) return { result: 'in_doubt', records: ids(items.filter((i) => i.state === 'doubt' && (touches(i).some((v) => v > no) || inOnly(i)))) };
    // What hangs on the source alone that a withheld contract asks for is no record's to decide.
    const bySource = (i) => i.state === 'done' && enough(i) === perhaps && !c.expects.some((e) => fits(i, e) === perhaps);
    return { result: 'undisclosed', records: ids(items.filter((i) => touches(i).includes(perhaps) && !bySource(i))) };
  }
  const wrong = done.filter((i) => forbidden.get(i).includes(yes));
  if (wrong.length > 0) return { result: 'contradicted', records: ids(wrong) };
  const plain = (i, k) => fits(i, c.expects[k]) >= perhaps;
  const onlyDone = done.filter(inOnly);
  const largest = assign(onlyDone, c.expects, plain);
  if (largest.size < onlyDone.length) {
    return { result: 'contradicted', records: ids(onlyDone.filter((i) => assign(onlyDone.filter((o) => o !== i), c.expects, plain).size === largest.size)) };
  }
  const most = assign(live, c.expects, (i, k) => matches.get(i)[k] >= perhaps);
  const short = c.expects.map((e, k) => most.size === assign(live, c.expects.map((x, j) => (j === k ? { ...x, times: x.times - 1 } : x)), (i, j) => matches.get(i)[j] >= perhaps).size);
  const attempts = items.filter((i) => i.state === 'not' && (i.exec ? i.status === 'failure' || i.auth?.body.effect === 'deny' : true)
    && c.expects.some((e, k) => short[k] && fits(i, e, false) === yes));
  if (attempts.length > 0) return { result: 'contradicted', records: ids(attempts) };
  return { result: 'unsupported', records: ids(done.filter((i) => enough(i) === no && c.expects.some((e) => fits(i, e) > no))) };
}

/** the largest assignment of items to expects with capacities `times` (augmenting paths). */
function assign(items, expects, matches) {
  const at = expects.map(() => []);
  const place = (i, seen) => {
    for (const [k, e] of expects.entries()) {
      if (seen.has(k) || e.times < 1 || !matches(i, k)) continue;
      seen.add(k);
      if (at[k].length < e.times) {
        at[k].push(i);
        return true;
      }
      for (const [n, o] of at[k].entries()) {
        if (place(o, seen)) {
          at[k][n] = i;
          return true;
        }
      }
    }
    return false;
  };
  const size = items.filter((i) => place(i, new Set())).length;
  return { size, full: expects.every((e, k) => at[k].length === e.times) };
}
