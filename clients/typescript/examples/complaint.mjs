// A customer's complaint, from the request to a verified summary. It may be killed
// anywhere: it is run again, with the same words, and goes on where it stopped.
//
//   LEDGERD_TOKEN=… MAIL=http://127.0.0.1:8025 node complaint.mjs 4711 "My parcel came late."
import { Denied, InDoubt, Ledgerd, ToolError, Unsupported, Waiting } from '@ledgerd/client';

const [, , id, text] = process.argv;
const ledgerd = new Ledgerd({ server: process.env.LEDGERD_SERVER, token: process.env.LEDGERD_TOKEN });

// The model stands here for a call of a real one. It decides, and can do nothing else.
const triage = async () => ({ choice: { team: text.includes('parcel') ? 'logistics' : 'quality' }, rationale: 'By its words.' });

// The tool: a mail server that keeps messages under the ID that the sender gives them.
async function sendEmail(mail, { idempotencyKey, signal }) {
  const answer = await fetch(`${process.env.MAIL}/messages/${encodeURIComponent(idempotencyKey)}`, {
    method: 'PUT',
    body: JSON.stringify(mail),
    signal,
  });
  if (!answer.ok) throw await ToolError.of(answer);
  return answer.json();
}

// Whether a message is there can be asked, so that a crash leaves no doubt for a human.
async function wasSent(_, { idempotencyKey }) {
  const answer = await fetch(`${process.env.MAIL}/messages/${encodeURIComponent(idempotencyKey)}`);
  if (answer.status === 404) return { status: 'not_run' };
  return answer.ok ? { status: 'success', output: await answer.json() } : undefined;
}

async function handle() {
  const run = await ledgerd.open(`complaint-${id}`, { task: 'complaint', subject: id, input: { id, text }, budget: { tool_calls: 3 } });
  if (run.opened.state === 'closed') return 'It is done already.';
  const seen = await run.context({ name: 'customer', text });
  const { id: decision, choice } = await run.decide('triage', triage, { model: 'example-model', question: { text }, context: [seen] });
  const mail = { to: `${choice.team}@example.com`, subject: `Complaint ${id}` };
  const sent = await run.step('notify', sendEmail, mail, {
    action: 'send_email', tool: 'mail', resource: mail.to, decision, params: ['to'], refs: ['messageId'], wait: 30_000, probe: wasSent,
  });
  await run.checkpoint('notified', sent);
  const summary = `The team ${choice.team} was notified.`;
  await run.claim(summary, ['notify']); // throws where the evidence does not support it
  await run.close();
  return summary;
}

try {
  console.log(await handle());
} catch (e) {
  if (e instanceof Denied) console.error(`not permitted, by ${e.policies.join(', ') || 'no policy'}: ${e.authorization}`);
  else if (e instanceof Waiting) console.error(`run it again when ${e.team} has answered: ${e.authorization}`);
  else if (e instanceof InDoubt) console.error(`somebody has to find out: ${e.doubt}`);
  else if (e instanceof Unsupported) console.error(`not to be said: ${e.message}`);
  else throw e;
  process.exitCode = 1;
}
