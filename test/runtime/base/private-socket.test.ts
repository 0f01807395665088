import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { listenPrivately } from '../../../runtime/base/private-socket.ts';

t.test('listenPrivately() takes the place of an old socket', async (t) => {
  const directory = mkdtempSync('/tmp/tkadm-socket-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'run/one.sock');
  for (const answer of ['first', 'second']) {
    const server = createServer((socket) => socket.end(answer));
    t.teardown(() => server.close());
    await listenPrivately(server, path);
    t.equal(statSync(path).mode & 0o777, 0o600);
    t.same(readdirSync(join(directory, 'run')), ['one.sock'], 'nothing else is left');
    let heard = '';
    for await (const text of connect(path)) heard += text;
    t.equal(heard, answer);
  }
});
