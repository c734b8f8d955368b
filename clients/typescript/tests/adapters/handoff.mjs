// A researcher hands over to an analyst, whose run is another daemon's.
import { Agent, Runner, Usage } from '@openai/agents';
import { z } from 'zod';
import { Ledgerd } from '../../dist/index.js';
import { governHandoff, governModel, governTool, openOffered, succeeded } from '../../dist/adapters/openai-agents.js';
import { say } from './world.mjs';

const researcher = new Ledgerd({ server: process.env.LEDGERD_SERVER, token: process.env.LEDGERD_TOKEN });
const analyst = new Ledgerd({ server: process.env.ANALYST_SERVER, token: process.env.ANALYST_TOKEN });

let n = 0;
/** A model that makes these calls, one after the other, and then says what it heard. */
const scripted = (...calls) => ({
  async getResponse({ input }) {
    const heard = (typeof input === 'string' ? [] : input).filter((i) => i.type === 'function_call_result' && calls.some(([name]) => name === i.name));
    const next = calls[heard.length];
    await fetch(`${process.env.WORLD}/model`, { method: 'POST', body: '{}' });
    const output = next
      ? [{ type: 'function_call', callId: `call_${process.pid}_${n++}`, name: next[0], arguments: JSON.stringify(next[1]), status: 'completed' }]
      : [{ type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: heard.map((i) => i.output.text).join('\n') }] }];
    return { usage: new Usage(), output };
  },
});

const act = (name) => async () => {
  await fetch(`${process.env.WORLD}/${name}`, { method: 'POST', body: '{}' });
  return `${name}: 7 rows`;
};

const research = await researcher.open('research-1', { task: 'research' });
const search = governTool(research, { name: 'search', description: 'Searches.', parameters: z.object({ q: z.string() }), execute: act('search') });
const offer = { to: JSON.parse(process.env.TO), task: 'analyse', scope: [{ action: 'chart', resource: 'report/*' }], artifact: { rows: 7 } };

let analysis;
const charts = new Agent({ name: 'Analyst', handoffDescription: 'Draws charts.' });
const toAnalyst = governHandoff(research, charts, offer, async (continues) => {
  analysis = await openOffered(analyst, 'analysis-1', { task: 'analyse', continues });
  const chart = governTool(
    analysis,
    { name: 'chart', description: 'Draws a chart.', parameters: z.object({ of: z.string() }), execute: act('chart') },
    { resource: ({ of }) => of },
  );
  return charts.clone({ tools: [chart], model: governModel(analysis, scripted(['chart', { of: 'report/q1' }], ['chart', { of: 'salaries/all' }])) });
});

const agent = new Agent({ name: 'Researcher', tools: [search], handoffs: [toAnalyst], model: governModel(research, scripted(['search', { q: 'sales' }], [toAnalyst.toolName, {}])) });
const { finalOutput } = await new Runner({ tracingDisabled: true }).run(agent, 'Chart the sales.');
const claim = await analysis.claim('I have drawn the chart.', await succeeded(analysis));
await analysis.close();
await research.step('publish', act('publish'), { report: 'q1' });
say(`${finalOutput}\n${claim.verdict.result}, continues ${analysis.opened.continues.giver}`);

// What was not offered is not continued.
const forged = `ev_${'B'.repeat(42)}A`;
const refused = await openOffered(analyst, 'analysis-2', { task: 'analyse', continues: forged }, { wait: 100 }).catch((e) => e);
say(`${refused.name} ${refused.reason}`);
