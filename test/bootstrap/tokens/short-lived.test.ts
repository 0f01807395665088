import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { createShortLivedToken } from '../../../bootstrap/tokens/short-lived.ts';
import { ApiClient } from '../../../runtime/api/client.ts';

t.test('createShortLivedToken() leaves no token, also when the answer to it is lost', async (t) => {
  const secrets = new Set<string>();
  let isCutting = false;
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk;
    });
    request.on('end', () => {
      const isKnown = request.method === 'POST' || secrets.delete(request.url!.split('/').at(-1)!);
      if (request.method === 'POST') secrets.add(JSON.parse(body).metadata.name);
      if (request.method === 'POST' && isCutting) return request.socket.destroy();
      response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' });
      return response.end(isKnown ? '{}' : '{"kind":"Status","reason":"NotFound"}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const api = new ApiClient({ server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  t.teardown(() => api.close());

  const { token, remove } = await createShortLivedToken(api, new Date());
  t.same([...secrets], [`bootstrap-token-${token.slice(0, 6)}`]);
  await remove();
  t.equal(secrets.size, 0);
  await remove();
  t.pass('one that is gone is no failure');

  isCutting = true;
  await t.rejects(createShortLivedToken(api, new Date()), { code: 'API_UNREACHABLE' });
  t.equal(secrets.size, 0);
});
