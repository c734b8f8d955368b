// Work that goes from one organisation's agent to another's and comes back, for the Go
// test: SIDES has server, token and recipient of each.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ledgerd, Problem } from '../dist/index.js';

const sides = JSON.parse(process.env.SIDES);
const [researcher, analyst] = sides.map(({ server, token }) => new Ledgerd({ server, token }));
const [toResearcher, toAnalyst] = sides.map(({ recipient }) => recipient);

/** An offer is on its way for a moment. */
async function arrived(f) {
  for (let tries = 0; ; tries++) {
    try {
      return await f();
    } catch (e) {
      if (!(e instanceof Problem) || e.status !== 404 || tries === 3000) throw e;
      await sleep(20);
    }
  }
}

const research = await researcher.open('research-1', { task: 'research' });
await research.runHere('search', 'search', {}, { resource: 'db' });
const work = { to: toAnalyst, task: 'analyse', scope: [{ action: 'chart', resource: 'report/*' }], steps: ['search'], artifact: { rows: 7 }, note: 'All checked.' };
const { offer, delivery } = await research.offer(work);
assert.ok(offer.startsWith('ev_') && delivery.state);
assert.equal((await research.offer(work)).offer, offer);

const other = await research.offer({ ...work, task: 'guess' });
const rejected = await arrived(() => analyst.rejectOffer(other.offer, 'no_guesses'));
assert.deepEqual([rejected.offer, rejected.reason], [other.offer, 'no_guesses']);

const analysis = await arrived(() => analyst.open('analysis-1', { task: 'analyse', continues: offer }));
assert.deepEqual([analysis.opened.continues.offer, analysis.opened.continues.scope], [offer, work.scope]);
await analysis.runHere('chart', 'chart', {}, { resource: 'report/1' });
const back = await analysis.offer({ to: toResearcher, task: 'use', scope: [{ action: 'chart', resource: 'report/1' }], steps: ['chart'] });

const took = await arrived(() => research.takeUp(back.offer));
assert.deepEqual([took.offer, (await research.takeUp(back.offer)).context], [back.offer, took.context]);

await assert.rejects(analyst.open('analysis-2', { task: 'guess', continues: offer }), Problem);
console.log('done');
