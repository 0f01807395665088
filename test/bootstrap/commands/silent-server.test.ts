import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { runTkadmWith } from './tkadm.ts';

t.test('join tells of an API server that does not answer, and ends with Ctrl-C at once', async (t) => {
  // A connection is taken, and nothing ever said: the server of a machine that is far too slow.
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => silent.close());
  const endpoint = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const pin = `sha256:${'0'.repeat(64)}`;
  const words = [
    'join',
    endpoint,
    '--token',
    'abcdef.0123456789abcdef',
    '--discovery-token-ca-cert-hash',
    pin,
  ];
  const { exitCode, stdout, stderr } = await runTkadmWith(
    [...words, '--dry-run', '--ignore-preflight-errors', 'all'],
    { interruptAt: /no answer of/ },
  );
  t.equal(exitCode, 130, stderr);
  t.match(stdout, new RegExp(`still looking: .*; no answer of "${endpoint}" yet \\(\\d+ s\\)`));
  t.notMatch(stderr, /no answer within/, 'it was not waited for to the end');
});
