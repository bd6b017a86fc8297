// A server of the official JavaScript SDK, of 2026-07-28 and of the protocol before it: the other end for our client.
import { McpServer, fromJsonSchema } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';

serveStdio(() => {
  const server = new McpServer({ name: 'modern', version: '1.0.0' });
  const numbers = { type: 'object', properties: { a: { type: 'integer' }, b: { type: 'integer' } }, required: ['a', 'b'] };
  server.registerTool(
    'add',
    { description: 'Add two numbers.', inputSchema: fromJsonSchema(numbers), annotations: { readOnlyHint: true } },
    async ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }], structuredContent: { sum: a + b } }),
  );
  server.registerTool('fail', { description: 'Always fails.' }, async () => ({
    content: [{ type: 'text', text: 'it cannot be done' }],
    isError: true,
  }));
  return server;
});
