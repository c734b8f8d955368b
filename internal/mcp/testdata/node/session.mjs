// Goes through everything that a server offers, as a client of the TypeScript SDK, and
// prints each message as it came: session.mjs URL, or session.mjs COMMAND [ARG...]
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { readFileSync } from 'node:fs';

const [command, ...args] = process.argv.slice(2);
const calls = JSON.parse(readFileSync(process.env.CALLS, 'utf8'));
const client = new Client({ name: 'session', version: '1' }, { capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } } });
client.setRequestHandler(CreateMessageRequestSchema, () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled' } }));
client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'decline' }));
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file://' + process.env.ROOT }] }));
const http = command.startsWith('http:');
// No stream is taken up again, for that is when a timer ends: the test does it by itself.
const transport = http ? new StreamableHTTPClientTransport(new URL(command), { reconnectionOptions: { maxRetries: 0, initialReconnectionDelay: 1, maxReconnectionDelay: 1, reconnectionDelayGrowFactor: 1 } }) : new StdioClientTransport({ command, args, stderr: 'inherit', env: process.env });
const say = (dir, m) => console.log(dir, JSON.stringify(m));
await client.connect(transport);
const onmessage = transport.onmessage;
transport.onmessage = (m, extra) => { say('<', m); onmessage(m, extra); };
const send = transport.send.bind(transport);
transport.send = (m, o) => { say('>', m); return send(m, o); };
say('=', client.getServerCapabilities());
say('=', client.getServerVersion() ?? null);
const attempt = async (what, f) => {
  try { return await f(); } catch (e) { say('!', `${what}: ${e.message}`); return {}; }
};
const caps = client.getServerCapabilities() ?? {};
if (caps.logging) await attempt('logging', () => client.setLoggingLevel('error'));
const { tools = [] } = await attempt('tools', () => client.listTools());
say('=', tools.map((t) => t.name));
if (caps.resources) {
  const { resources = [] } = await attempt('resources', () => client.listResources());
  await attempt('templates', () => client.listResourceTemplates());
  for (const r of resources.slice(0, 3)) await attempt('read', () => client.readResource({ uri: r.uri }));
  if (caps.resources.subscribe && resources.length) await attempt('subscribe', () => client.subscribeResource({ uri: resources[0].uri }));
}
if (caps.prompts) {
  const { prompts = [] } = await attempt('prompts', () => client.listPrompts());
  for (const p of prompts) await attempt('prompt', () => client.getPrompt({ name: p.name, arguments: Object.fromEntries((p.arguments ?? []).map((a) => [a.name, '1'])) }));
}
for (const [name, args] of calls) await attempt(name, () => client.callTool({ name, arguments: args }, undefined, { onprogress: () => {}, timeout: 20000 }));
await attempt('ping', () => client.ping());
if (http) await attempt('the end of the session', () => transport.terminateSession());
await client.close();
