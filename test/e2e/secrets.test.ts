import t from 'tap';
import {
  eventually,
  follow,
  getJson,
  joinArguments,
  kubectlText,
  labObstacle,
  readyNodes,
  type TimedOutput,
  TKADM,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** A secret with what it is, for messages. */
interface Secret {
  readonly name: string;
  readonly text: string;
}

const TOKEN = { name: 'the token', text: 'q7w8e9r0t1y2u3i4' };
const PASSWORD = { name: 'the SSH password', text: 'Correct-Horse-Battery-Staple' };
const WRONG = { name: 'a wrong token', text: 'zzzz9999xxxx8888' };
const CERTIFICATE_KEY = { name: 'the certificate key', text: 'c0ffee11'.repeat(8) };
const GIVEN = [TOKEN, PASSWORD, WRONG, CERTIFICATE_KEY];

/** The token of init alone. */
const ONE_TOKEN = { length: 1, 0: /^abcxyz\./ };

/** One line from the middle of each private key on a host. */
async function readKeys(host: LabHost): Promise<readonly Secret[]> {
  const list = 'find /etc/kubernetes /var/lib/kubelet -name "*.key" -o -name "*.pem" -type f';
  const paths = (await host.exec(['sh', '-c', list])).stdout.split('\n').filter(Boolean);
  const keys: Secret[] = [];
  for (const path of paths) {
    const text = (await host.exec(['cat', path])).stdout;
    const body = /PRIVATE KEY-----\n([\s\S]+?)\n-----END/.exec(text)?.[1];
    if (body) keys.push({ name: path, text: body.split('\n')[1] ?? body.slice(0, 40) });
  }
  return keys;
}

/** Prints each command line once, but those of a person who types `tkadm` in the clone. */
const WATCHER = `
const { readdirSync, readFileSync } = require('node:fs');
const seen = new Set();
setInterval(() => {
  for (const pid of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
    try {
      const line = readFileSync('/proc/' + pid + '/cmdline', 'utf8').replaceAll('\\0', ' ');
      if (seen.has(line) || line.includes('dist/tkadm.js ')) continue;
      seen.add(line);
      console.log(line);
    } catch {}
  }
}, 10);
`;

t.test('secrets are in no output, log or argument', { skip: labObstacle(), timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];
  const full = `abcxyz.${TOKEN.text}`;
  const written: string[] = [];
  const run = async (host: LabHost, args: readonly string[], input?: string): Promise<TimedOutput> => {
    const env = { TKADM_SSH_PASSWORD: PASSWORD.text };
    const result = await tkadm(host, args, { env, ...(input === undefined ? {} : { input }) });
    written.push(`$ tkadm ${args[0]} on ${host.name}\n${result.all}`);
    return result;
  };
  const expectNone = (text: string, where: string, secrets: readonly Secret[]) => {
    for (const secret of secrets) t.notOk(text.includes(secret.text), `${secret.name} is not in ${where}`);
    t.notMatch(text, /PRIVATE KEY-----(?:\\n|\s)*\+?[A-Za-z0-9+/]{30}/, `no private key is in ${where}`);
  };

  const hidden = [
    ...['init', '--fix', '--token', full, '--skip-token-print'],
    ...['--upload-certs', '--certificate-key', CERTIFICATE_KEY.text, '--skip-certificate-key-print'],
  ];
  await run(cp, [...hidden, '--dry-run']);
  await run(cp, [...hidden, '--dry-run', '-o', 'json']);
  const init = await run(cp, [...hidden, '-o', 'json']);
  t.equal(init.exitCode, 0, init.all.slice(-1000));
  const join = { ...(await joinFacts(cp)), token: full };

  await t.test('commands that fail, with a secret in their input', async (t) => {
    const broken = `apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {tlsBootstrapToken: ${full}, bootstrapToken: [\n`;
    const failures: readonly (readonly [LabHost, readonly string[], string?])[] = [
      [node1, ['join', ...joinArguments({ ...join, token: `abcxyz.${WRONG.text}` }), '--fix', '-o', 'json']],
      [node1, ['join', ...joinArguments({ ...join, token: `abcxyz.${WRONG.text}` }), '--fix']],
      [node1, ['join', ...joinArguments({ ...join, token: `${full}X` }), '--fix', '-o', 'json']],
      [node1, ['join', join.endpoint, '--tokenn', full, '-o', 'json']],
      [
        node1,
        ['join', ...joinArguments({ ...join, pin: `sha256:${'0'.repeat(64)}` }), '--fix', '-o', 'json'],
      ],
      [node1, ['join', '--config', '-', '-o', 'json'], broken],
      [node1, ['join', '--config', '-'], broken.replace('bootstrapToken: [', 'bootstrapTokn: {}}')],
      [cp, ['token', 'create', full, '-o', 'json']],
      [cp, ['token', 'create', `${full}${full}`]],
      [cp, ['token', 'delete', `nosuch.${TOKEN.text}`]],
    ];
    for (const [host, args, input] of failures) {
      const result = await run(host, args, input);
      t.not(result.exitCode, 0, args.slice(0, 2).join(' '));
    }
  });
  await run(node1, ['join', ...joinArguments(join), '--dry-run', '--fix']);
  await run(node1, ['join', ...joinArguments(join), '--dry-run', '--fix', '-o', 'json']);

  // The token whose end takes the uploaded certificates away is for nothing else.
  const tokens = async () =>
    (await tkadm(cp, ['token', 'list'])).stdout.split('\n').filter((line) => /signing/.test(line));
  await t.test('a join over SSH that fails leaves no token', async (t) => {
    const failed = await run(cp, [
      'join',
      node1.address,
      '--ssh-host-keys',
      'accept-new',
      '--node-name',
      'cp',
    ]);
    t.not(failed.exitCode, 0);
    t.match(await tokens(), ONE_TOKEN, 'the token of init alone');
    const unreached = await run(cp, ['join', '127.0.0.9', '--ssh-host-keys', 'accept-new']);
    t.not(unreached.exitCode, 0);
    t.match(await tokens(), ONE_TOKEN, 'none is made before the connection stands');
  });

  const watchers = [cp, node1].map((host) => follow(host, [process.execPath, '-e', WATCHER]));
  const joined = await run(cp, [
    'join',
    node1.address,
    '--ssh-host-keys',
    'accept-new',
    '--token',
    full,
    '-o',
    'json',
  ]);
  t.equal(joined.exitCode, 0, joined.all.slice(-1000));
  for (const watcher of watchers) await watcher.stop();
  const seen = watchers.map((watcher) => watcher.text());
  t.same(await readyNodes(cp), ['cp', 'node1']);
  t.match(seen[1], /tkadm\.js|tkadm-agent/, 'the watcher has seen the programs of the node');
  t.match(await tokens(), ONE_TOKEN, 'a token that was given stays, and no other');

  await t.test('events of the join carry the address of the machine', async (t) => {
    const events = joined.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const event of events) {
      t.same(Object.keys(event).slice(0, 5), ['time', 'type', 'command', 'host', 'phase']);
      if (event['type'] !== 'result') t.equal(event['host'], node1.address, JSON.stringify(event));
    }
    t.match(events.at(-1), { type: 'result', ok: true, nodes: ['node1'] });
    t.ok(events.some((event) => event['type'] === 'host' && event['node'] === 'node1'));
    t.ok(events.some((event) => event['type'] === 'action' && event['phase'] === 'kubelet-start'));
  });

  const keys = [...(await readKeys(cp)), ...(await readKeys(node1))];
  t.ok(keys.length > 8, `${keys.length} private keys`);
  expectNone(written.join('\n'), 'what the commands wrote', [...GIVEN, ...keys]);
  expectNone(seen.join('\n'), 'command lines', [...GIVEN, ...keys]);
  const all = [...GIVEN, ...keys];
  const patterns = all.map(({ text }) => text).join('\n');
  for (const host of [cp, node1]) {
    const argv = ['grep', '-raoF', '-D', 'skip', '-f', '-', '/var/log', '/run/tkadm'];
    const { stdout } = await host.exec(argv, { input: patterns });
    const leaks = all.filter(({ text }) => stdout.includes(text)).map(({ name }) => name);
    t.same(leaks, [], `logs and runtime files of ${host.name}: ${stdout.replaceAll(/:.*/g, '')}`);
    const control = await host.exec(['grep', '-raoF', '-f', '-', '/var/lib/kubelet/pki'], {
      input: patterns,
    });
    t.match(control.stdout, /kubelet\.key:/, 'the search finds what is there');
  }
  await t.test('a join over SSH that is interrupted takes its token back', async (t) => {
    await tkadm(node1, ['reset', '-f']);
    const ssh = ['join', node1.address, '--ssh-host-keys', 'accept-new', '--node-name', 'again'];
    const running = follow(cp, [process.execPath, TKADM, ...ssh]);
    await eventually('the remote command to run', 30_000, async () => /\[runtime\]/.test(running.text()));
    t.equal((await tokens()).length, 2, 'it has a token of its own');
    await running.stop();
    t.equal(await running.exited, 130, running.text());
    t.match(await tokens(), ONE_TOKEN);
  });
  await t.test('the cluster says since when a token is invalid', async (t) => {
    const short = (await tkadm(cp, ['token', 'create', '--ttl', '2s'])).stdout.trim();
    await new Promise((resolve) => setTimeout(resolve, 4000));
    const args = [
      'join',
      ...joinArguments({ ...join, token: short }),
      '--dry-run',
      '--ignore-preflight-errors=all',
    ];
    const result = await tkadm(node1, [...args, '-o', 'json']);
    t.match(JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '{}'), {
      type: 'error',
      code: 'DISCOVERY_TOKEN_EXPIRED',
      message: /has expired on \d{4}-\S+Z, \d+ s ago/,
    });
    t.equal(result.exitCode, 4);
    t.ok(result.seconds < 10, `${result.seconds} s`);
    interface Info {
      readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
    }
    const info = await getJson<Info>(cp, ['configmap', 'cluster-info', '-n', 'kube-public']);
    t.match(info.metadata.annotations?.['tkadm.io/token-expirations'], new RegExp(short.slice(0, 6)));
  });
});

/** Endpoint and pin, of which the first is in the kubeconfig and the second made of the CA. */
async function joinFacts(cp: LabHost): Promise<{ readonly endpoint: string; readonly pin: string }> {
  const server = await kubectlText(cp, [
    'config',
    'view',
    '--minify',
    '-o',
    'jsonpath={.clusters[0].cluster.server}',
  ]);
  const hash =
    'openssl x509 -in /etc/kubernetes/pki/ca.crt -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -hex';
  const digest = (await cp.exec(['sh', '-c', hash])).stdout.trim().split(' ').at(-1);
  return { endpoint: new URL(server).host, pin: `sha256:${digest}` };
}
