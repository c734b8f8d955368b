// A report: findings by rule, and what they come to (docs/rules.md, "What a
// report says").
export const rules = ['about', 'signature', 'registry', 'inclusion', 'consistency', 'chain', 'authorized', 'outcome', 'budget',
  'resume', 'handoff', 'claim', 'contract', 'verdict', 'disclosure'];

export class Report {
  constructor() {
    this.findings = [];
    this.decided = new Set();
    this.met = new Map(); // roots of tree heads here and in bundles that lie here, by origin and size
    this.verdicts = new Map(); // documents, by claim; '': the run as such
  }

  /** the rule had something to decide. */
  decides(rule) {
    this.decided.add(rule);
  }

  /** asks one thing: held, or broken with its reason. Returns whether it held. */
  ask(rule, condition, reason, r, found = '') {
    this.decides(rule);
    if (!condition) this.findings.push({ rule, status: 'broken', reason, record: r?.id ?? r?.index, found });
    return Boolean(condition);
  }

  undecidable(rule, reason, r, found = '') {
    this.decides(rule);
    this.findings.push({ rule, status: 'undecidable', reason, record: r?.id ?? r?.index, found });
  }

  status(rule) {
    const of = this.findings.filter((f) => f.rule === rule);
    for (const s of ['broken', 'undecidable']) if (of.some((f) => f.status === s)) return s;
    return this.decided.has(rule) ? 'held' : 'not_applicable';
  }

  outcome() {
    const all = rules.map((r) => this.status(r));
    return all.includes('broken') ? 1 : all.includes('undecidable') ? 2 : 0;
  }
}
