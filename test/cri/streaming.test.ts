import { get } from 'node:http';
import { execa } from 'execa';
import t from 'tap';
import { WebSocket } from 'ws';
import { waitFor } from '../../runtime/base/time.ts';
import type { CriClient } from '../../runtime/cri/client.ts';
import { createNetnsDialer } from '../../runtime/cri/streaming/netns-socket.ts';
import { type CriFixture, openCriFixture, runContainer, runHostPod, skipReason } from './fixture.ts';
import { openKubectlFront } from './kubectl-front.ts';

const INVALID = { code: 'CRI_CALL', details: { grpcCode: 'INVALID_ARGUMENT' } } as const;

const TRANSPORTS = [
  {
    name: 'WebSocket',
    env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'true', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'true' },
  },
  {
    name: 'SPDY',
    env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' },
  },
] as const;

t.test('streaming', { skip: skipReason }, async (t) => {
  const fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const podSandboxId = await runHostPod(fixture);
  const containerId = await runContainer(fixture, podSandboxId, {
    command: ['sh', '-c', 'while read -r line; do echo "got $line"; echo "err $line" >&2; done'],
    stdin: true,
  });
  const front = await openKubectlFront(
    fixture.directory,
    resolver(fixture.client, podSandboxId, containerId),
  );
  t.teardown(() => front.close());

  for (const { name, env } of TRANSPORTS) {
    t.test(`kubectl over ${name}`, async (t) => {
      const plain = await front.run(['exec', 'p', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'], {
        env,
      });
      t.equal(plain.stdout, 'out');
      t.match(plain.stderr, /err\n/);
      t.equal(plain.exitCode, 7, 'the exit code is passed on');

      const input = 'x'.repeat(200_000);
      const counted = await front.run(['exec', '-i', 'p', '--', 'cat'], { env, input });
      t.equal(counted.stdout.length, input.length, 'input arrives in full, and its end');
      t.equal(counted.exitCode, 0, counted.stderr);

      const missing = await front.run(['exec', 'p', '--', '/no/such/program'], { env });
      t.not(missing.exitCode, 0);
      t.match(missing.stderr, /no\/such\/program/);

      const attached = await front.run(['attach', '-i', 'p', '-c', 'c'], {
        env,
        input: 'hello\n',
        timeoutMs: 4000,
      });
      t.match(attached.stdout, /got hello/);
      t.match(attached.stderr, /err hello/);

      t.match(await forward(front.baseArgs, env, fixture), /pong/, 'a port is forwarded');
    });
  }

  t.test('a terminal has the size of the resize channel, and the output in one channel', async (t) => {
    const { url } = await fixture.client.exec({
      containerId,
      // The size comes when it comes.
      cmd: ['sh', '-c', 'until [ "$(stty size)" = "33 91" ]; do sleep 0.02; done; stty size'],
      tty: true,
      stdin: true,
      stdout: true,
    });
    const socket = new WebSocket(url.replace('http', 'ws'), 'v5.channel.k8s.io');
    const chunks: Buffer[] = [];
    socket.on('open', () =>
      socket.send(Buffer.concat([Buffer.from([4]), Buffer.from('{"Width":91,"Height":33}')])),
    );
    socket.on('message', (data: Buffer) => chunks.push(data));
    await new Promise((resolve) => socket.once('close', resolve));
    const text = (channel: number) =>
      Buffer.concat(chunks.filter((c) => c[0] === channel).map((c) => c.subarray(1))).toString();
    t.match(text(1), /33 91/);
    t.match(JSON.parse(text(3)), { status: 'Success' });
  });

  t.test('a URL works once', async (t) => {
    const { url } = await fixture.client.exec({ containerId, cmd: ['true'], stdout: true });
    const open = () =>
      new Promise<number>((resolve) => {
        const socket = new WebSocket(url.replace('http', 'ws'), 'v4.channel.k8s.io');
        socket.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
        socket.on('error', () => {});
        socket.on('close', (code) => resolve(code));
      });
    t.equal(await open(), 1000);
    t.equal(await open(), 404);
  });

  t.test('exec() refuses what CRI forbids', async (t) => {
    await t.rejects(fixture.client.exec({ containerId, cmd: ['true'] }), INVALID);
    await t.rejects(
      fixture.client.exec({ containerId, cmd: ['true'], tty: true, stdout: true, stderr: true }),
      INVALID,
    );
  });
});

t.test(
  'createNetnsDialer() reaches localhost of another network namespace',
  { skip: skipReason },
  async (t) => {
    const server = execa('unshare', [
      '--net',
      '--kill-child',
      'sh',
      '-c',
      'ip link set lo up; echo ready; exec busybox nc -l -p 7777 -e /bin/echo inside',
    ]);
    t.teardown(() => server.kill('SIGKILL'));
    server.catch(() => {});
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const dialer = createNetnsDialer();
    const socket = await waitFor(() => dialer.dialLocalhost(`/proc/${server.pid}/ns/net`, 7777), {
      subject: 'the server',
      timeoutMs: 20_000,
    });
    let text = '';
    for await (const chunk of socket) text += chunk;
    t.equal(text, 'inside\n');
    await t.rejects(dialer.dialLocalhost('/proc/self/ns/net', 1), { code: 'ECONNREFUSED' });
  },
);

function resolver(client: CriClient, podSandboxId: string, containerId: string) {
  return async (kind: string, query: URLSearchParams): Promise<string> => {
    const has = (name: string) => query.get(name) === 'true';
    const wishes = { tty: has('tty'), stdin: has('stdin'), stdout: has('stdout'), stderr: has('stderr') };
    if (kind === 'exec') {
      return (await client.exec({ containerId, cmd: query.getAll('command'), ...wishes })).url;
    }
    if (kind === 'attach') return (await client.attach({ containerId, ...wishes })).url;
    return (await client.portForward({ podSandboxId, port: query.getAll('ports').map(Number) })).url;
  };
}

/** Forwards to a server of the test (the pod has the host's network) and asks it twice. */
async function forward(
  baseArgs: readonly string[],
  env: Record<string, string>,
  fixture: CriFixture,
): Promise<string> {
  const { createServer } = await import('node:http');
  const server = createServer((_request, response) => response.end('pong'));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  const kubectl = execa('kubectl', [...baseArgs, 'port-forward', 'pod/p', `:${port}`], {
    env,
    cwd: fixture.directory,
  });
  kubectl.catch(() => {});
  try {
    const line = await new Promise<string>((resolve, reject) => {
      kubectl.stdout.once('data', (data: Buffer) => resolve(String(data)));
      kubectl.once('exit', () => reject(new Error('kubectl has ended')));
    });
    const local = Number(/127\.0\.0\.1:(\d+)/.exec(line)?.[1]);
    const ask = () =>
      new Promise<string>((resolve, reject) => {
        get({ port: local, host: '127.0.0.1', agent: false, timeout: 5000 }, async (response) => {
          let text = '';
          for await (const chunk of response) text += chunk;
          resolve(text);
        }).on('error', reject);
      });
    return `${await ask()} ${await ask()}`;
  } finally {
    kubectl.kill('SIGKILL');
    server.close();
    server.closeAllConnections();
  }
}
