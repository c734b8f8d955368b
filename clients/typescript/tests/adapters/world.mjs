// The complaint as every framework gets it: the tools, the script of the model, and the
// end of the run. The test's server is the world, and asks nothing before it kills.
import { randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import { Ledgerd } from '../../dist/index.js';

export const system = `You settle complaints. It is ${new Date().toISOString()}.`; // never the same
export const complaint = 'Order K-1 arrived broken. I want my money back.';

const post = async (path, body) => {
  const answer = await fetch(`${process.env.WORLD}${path}`, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
};

/** The tools, as functions. Two of them act in the world, one only looks, and one is nobody's to use. */
export const does = {
  lookup_order: (input) => post('/lookup_order', input),
  refund: (input) => post('/refund', input),
  send_email: (input) => post('/send_email', input),
  delete_customer: (input) => post('/delete_customer', input),
};

/** Whether the email was sent, the world knows. */
export const probe = async () => {
  const { messages } = await post('/mailbox', {});
  return messages.length > 0 ? { status: 'success', output: { message: messages[0] } } : { status: 'not_run' };
};

/**
 * What the model answers to a conversation: calls, or words. `told` are results of tools
 * in order, as { tool, text }; `nudged` says that the user spoke last, and not first.
 * Like a real one it calls no call the same twice, and words nothing the same.
 */
export async function think(told, nudged = false) {
  await post('/model', { told });
  const call = (tool, input) => ({ id: `call_${randomUUID().slice(0, 8)}`, tool, input });
  const of = (tool) => told.findLast((t) => t.tool === tool)?.text;
  if (of('lookup_order') === undefined) return { calls: [call('lookup_order', { order: 'K-1' }), call('delete_customer', { customer: '7' })] };
  if (of('refund') === undefined || (nudged && of('refund').startsWith('Pending'))) return { calls: [call('refund', { order: 'K-1', cents: 4200 })] };
  if (of('refund').startsWith('Pending')) return { calls: [], text: 'The refund waits for an approval.' };
  if (of('send_email') === undefined) return { calls: [call('send_email', { to: 'jun@example.com', text: `You have 42.00 EUR back (${randomUUID()}).` })] };
  if (!of('send_email').includes('message')) return { calls: [], text: `It is not certain: ${of('send_email')}` };
  return { calls: [], text: 'I have refunded 42.00 EUR, and emailed the confirmation.' };
}

export const say = (line) => writeSync(1, `${line}\n`);

/** Opens the run; undefined: it is done. */
export async function open(key) {
  const ledgerd = new Ledgerd({ server: process.env.LEDGERD_SERVER, token: process.env.LEDGERD_TOKEN });
  const run = await ledgerd.open(key, { task: 'complaint', subject: 'K-1', input: { text: complaint } });
  if (run.opened.state === 'open') return run;
  say('It is done already.');
  return undefined;
}

/** What the agent says is a claim. */
export async function finish(run, text, steps) {
  if (text.startsWith('I have')) {
    await run.claim(text, steps);
    await run.close();
  }
  say(text);
}
