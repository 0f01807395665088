import t from 'tap';
import {
  findPids,
  initCluster,
  type JoinArguments,
  joinArguments,
  labObstacle,
  readyNodes,
  sleep,
  type TimedOutput,
  TKADM,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** Exit codes, as `tkadm --help` lists them. */
const EXIT = { usage: 2, preflight: 3, discovery: 4, timeout: 5, host: 6, cluster: 7 } as const;

/** Not that of the process that looks for it. */
const AGENT = '[t]kadm-agent.cjs';

interface Case {
  readonly title: string;
  readonly run: () => Promise<TimedOutput>;
  readonly area: keyof typeof EXIT;
  /** What standard error must name: what was found, and what to do. */
  readonly says: readonly RegExp[];
  /** Default: 10. */
  readonly withinSeconds?: number;
}

t.test('bad input', { skip: labObstacle(), timeout: 400_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1', 'node2'] });
  t.teardown(() => lab.close());
  const [cp, node1, node2] = lab.hosts as [LabHost, LabHost, LabHost];

  const badInits: readonly Case[] = [
    {
      title: 'a name that is no DNS label',
      run: () => tkadm(cp, ['init', '--fix', '--node-name', 'Node_1']),
      area: 'usage',
      says: [/node_1/i],
    },
    {
      title: 'an unknown field in a configuration that is validated; init warns of it',
      run: () =>
        tkadm(cp, ['config', 'validate', '--config', '-'], {
          input:
            'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {podSubnetz: 10.0.0.0/16}\n',
        }),
      area: 'usage',
      says: [/podSubnetz/, /podSubnet\b/],
    },
    {
      title: 'a configuration that is no YAML',
      run: () => tkadm(cp, ['init', '--fix', '--config', '-'], { input: 'a: [b\nc: }' }),
      area: 'usage',
      says: [/YAML|line|column/i],
    },
    {
      title: 'a configuration file that is not there',
      run: () => tkadm(cp, ['init', '--fix', '--config', '/no/such.yaml']),
      area: 'host',
      says: [/\/no\/such\.yaml/],
    },
    {
      title: 'a CIDR that is none',
      run: () => tkadm(cp, ['init', '--fix', '--pod-network-cidr', '10.244.0.0/99']),
      area: 'usage',
      says: [/10\.244\.0\.0\/99/],
    },
    {
      title: 'a mistyped flag',
      run: () => tkadm(cp, ['init', '--node-nam', 'x']),
      area: 'usage',
      says: [/unknown option '--node-nam'/, /--node-name/],
    },
    {
      title: 'a mistyped command',
      run: () => tkadm(cp, ['jion']),
      area: 'usage',
      says: [/unknown command 'jion'/, /join/],
    },
    {
      title: 'a phase that is none',
      run: () => tkadm(cp, ['init', 'phase', 'certz']),
      area: 'usage',
      says: [/certz/],
    },
    {
      title: 'not root',
      run: () => asNobody(cp, ['init']),
      area: 'preflight',
      says: [/root/],
    },
    {
      title: 'a port in use',
      run: async () => {
        const server = cp.spawn([process.execPath, '-e', 'require("net").createServer().listen(10250)']);
        await sleep(1000);
        const result = await tkadm(cp, ['init', '--fix']);
        for (const pid of await findPids(cp, 'listen\\(10250\\)'))
          await cp.exec(['kill', '-KILL', String(pid)]);
        await server;
        return result;
      },
      area: 'preflight',
      says: [/10250/, /in use/, /fix: /],
    },
  ];
  for (const row of badInits) await check(t, row);
  await t.test('nothing is left of that', async (t) => {
    t.equal((await cp.exec(['ls', '/etc/kubernetes'])).stdout, '');
    t.equal((await cp.exec(['ls', '/var/lib/tkadm'])).stdout, '');
  });

  const join: JoinArguments = await initCluster(cp);
  const shortLived = (await tkadm(cp, ['token', 'create', '--ttl', '1s'])).stdout.trim();
  t.match(shortLived, /^[a-z0-9]{6}\.[a-z0-9]{16}$/);
  await sleep(2500);
  const joinWith = (change: Partial<JoinArguments>) =>
    tkadm(node1, ['join', ...joinArguments({ ...join, ...change }), '--fix']);
  const overSsh = (args: readonly string[]) => tkadm(cp, ['join', ...args]);
  const next = /tkadm token (create|list)/;
  const badJoins: readonly Case[] = [
    {
      title: 'a wrong token',
      run: () => joinWith({ token: 'abcdef.0123456789abcdef' }),
      area: 'discovery',
      says: [/token/i, /abcdef/, next],
    },
    {
      title: 'a token with a wrong secret',
      run: () => joinWith({ token: `${join.token.slice(0, 6)}.0123456789abcdef` }),
      area: 'discovery',
      says: [/token/i, next],
    },
    {
      title: 'an expired token',
      run: () => joinWith({ token: shortLived }),
      area: 'discovery',
      says: [/token/i, next],
    },
    {
      title: 'a malformed token',
      run: () => joinWith({ token: 'secret' }),
      area: 'usage',
      says: [/token/i],
    },
    {
      title: 'a wrong CA hash',
      run: () => joinWith({ pin: `sha256:${'0'.repeat(64)}` }),
      area: 'discovery',
      says: [/sha256:0000/, /sha256:[1-9a-f]|token create --print-join-command/],
    },
    {
      title: 'a malformed CA hash',
      run: () => joinWith({ pin: 'md5:abc' }),
      area: 'usage',
      says: [/md5:abc/, /sha256/],
    },
    {
      title: 'no CA hash',
      run: () => tkadm(node1, ['join', join.endpoint, '--token', join.token, '--fix']),
      area: 'usage',
      says: [/discovery-token-ca-cert-hash|caCertHashes/],
    },
    {
      title: 'an API server that is not there',
      run: () => joinWith({ endpoint: `${cp.address.replace(/\.\d+$/, '.99')}:6443` }),
      area: 'discovery',
      says: [/\.99:6443/],
      withinSeconds: 30,
    },
    {
      title: 'a closed port',
      run: () => joinWith({ endpoint: `${cp.address}:6444` }),
      area: 'discovery',
      says: [/:6444/],
      withinSeconds: 30,
    },
    {
      title: 'a port that is no API server',
      run: () => joinWith({ endpoint: `${cp.address}:22` }),
      area: 'discovery',
      says: [/:22/],
      withinSeconds: 30,
    },
    {
      title: 'a name that is taken',
      run: () => tkadm(node1, ['join', ...joinArguments(join), '--node-name', 'cp', '--fix']),
      area: 'cluster',
      says: [/"cp"/, /--node-name|kubectl delete node cp/],
    },
    {
      title: 'SSH to a machine that is not there',
      run: () => overSsh([cp.address.replace(/\.\d+$/, '.99'), '--ssh-host-keys', 'accept-new']),
      area: 'host',
      says: [/\.99/],
      withinSeconds: 30,
    },
    {
      title: 'SSH with an unknown host key',
      run: () => overSsh([node1.address]),
      area: 'host',
      says: [/key ssh-ed25519 SHA256:/, /ssh-keyscan/, /--ssh-host-keys=accept-new/],
    },
    {
      title: 'SSH with a key that is not let in',
      run: async () => {
        await cp.exec([
          'sh',
          '-c',
          'mv /root/.ssh/id_ed25519 /root/.ssh/away; ssh-keygen -q -t ed25519 -N "" -f /root/other',
        ]);
        const result = await overSsh([
          node1.address,
          '--ssh-host-keys',
          'accept-new',
          '--ssh-identity',
          '/root/other',
        ]);
        await cp.exec(['mv', '/root/.ssh/away', '/root/.ssh/id_ed25519']);
        return result;
      },
      area: 'host',
      says: [new RegExp(`root@${node1.address.replaceAll('.', '\\.')}`), /key|authenticat/i],
    },
    {
      title: 'SSH with a host key that has changed',
      run: async () => {
        await cp.exec(
          [
            'sh',
            '-c',
            'ssh-keygen -q -t ed25519 -N "" -f /root/fake; mkdir -p /root/.ssh; cat > /root/.ssh/known_hosts',
          ],
          { input: '' },
        );
        const key = (await cp.exec(['cat', '/root/fake.pub'])).stdout.split(' ').slice(0, 2).join(' ');
        await cp.exec(['sh', '-c', 'cat > /root/.ssh/known_hosts'], { input: `${node1.address} ${key}\n` });
        const result = await overSsh([node1.address, '--ssh-host-keys', 'accept-new']);
        await cp.exec(['rm', '/root/.ssh/known_hosts']);
        return result;
      },
      area: 'host',
      says: [/key ssh-ed25519 SHA256:\S+ differs/, /ssh-keygen -R/],
    },
    {
      title: 'SSH to a machine that cannot be a node',
      run: async () => {
        const listen =
          'import socket, time; s = socket.socket(); s.bind(("", 10250)); s.listen(); time.sleep(100)';
        const script = `python3 -c '${listen}' > /dev/null 2>&1 & echo $!; sleep 1`;
        const { stdout } = await node2.exec(['sh', '-c', script]);
        const result = await overSsh([node2.address, '--ssh-host-keys', 'accept-new']);
        await node2.exec(['kill', stdout.trim()]);
        return result;
      },
      area: 'preflight',
      says: [/Port-10250/, /python3/],
    },
  ];
  for (const row of badJoins) await check(t, row);

  await t.test('nothing is left of that: the right command works at once', async (t) => {
    for (const path of ['kubelet.conf', 'bootstrap-kubelet.conf', 'pki/ca.crt'])
      t.not((await node1.exec(['ls', `/etc/kubernetes/${path}`])).exitCode, 0, `no ${path}`);
    const sent = await node2.exec(['sh', '-c', 'ls -A /var/lib/tkadm/bundle 2>/dev/null']);
    t.equal(sent.stdout, '', 'nothing was left of a bundle that was on its way');
    const direct = await joinWith({});
    t.equal(direct.exitCode, 0, direct.all);
    const remote = await overSsh([node2.address, '--ssh-host-keys', 'accept-new']);
    t.equal(remote.exitCode, 0, remote.all);
    t.same(await readyNodes(cp), ['cp', 'node1', 'node2']);
  });

  await t.test('a second join of a node finds it as it should be', async (t) => {
    const agents = await findPids(node1, AGENT);
    const direct = await joinWith({});
    t.equal(direct.exitCode, 0, direct.all);
    t.match(direct.stdout, /node "node1" of the cluster already: nothing was to be done/);
    t.same(await findPids(node1, AGENT), agents, 'the agent goes on');
    t.notMatch(direct.all, /\[warning\]/, 'advice was given by the first one');
    const remote = await overSsh([
      ...[node1.address, node2.address],
      ...['--ssh-host-keys', 'accept-new', '-o', 'json'],
    ]);
    t.equal(remote.exitCode, 0, remote.all);
    t.equal(remote.stdout.match(/"outcome":"unchanged"/g)?.length, 2, remote.stdout);
  });

  await t.test('and brings back what is missing', async (t) => {
    await tkadm(node1, ['service', 'stop']);
    await node1.exec(['rm', '/var/lib/kubelet/config.yaml']);
    const again = await joinWith({});
    t.equal(again.exitCode, 0, again.all);
    t.match(again.stdout, /"node1" of the cluster now/);
    t.same(await readyNodes(cp), ['cp', 'node1', 'node2']);
  });

  const second: readonly Case[] = [
    {
      title: 'a second join with a wrong token',
      run: () => joinWith({ token: 'abcdef.0123456789abcdef' }),
      area: 'discovery',
      says: [/token/i, next],
    },
    {
      title: 'a second join under another name',
      run: () => tkadm(node1, ['join', ...joinArguments(join), '--node-name', 'other']),
      area: 'cluster',
      says: [/"node1" of this cluster already/, /--node-name node1/],
    },
    {
      title: 'a second join, to another cluster',
      run: () => joinWith({ pin: `sha256:${'1'.repeat(64)}` }),
      area: 'preflight',
      says: [/kubelet\.conf/, /tkadm reset/],
    },
    {
      title: 'a join of a control-plane node as worker',
      run: () => tkadm(cp, ['join', ...joinArguments(join)]),
      area: 'preflight',
      says: [/kubelet\.conf/, /tkadm reset/],
    },
  ];
  for (const row of second) await check(t, row);
  await t.test('the exit codes are in the help', async (t) => {
    const { stdout } = await tkadm(cp, ['--help']);
    for (const [area, code] of Object.entries(EXIT)) t.match(stdout, new RegExp(`${code} ${area}`));
  });
});

async function check(t: Tap, { title, run, area, says, withinSeconds = 10 }: Case): Promise<void> {
  await t.test(title, async (t) => {
    const result = await run();
    t.equal(result.exitCode, EXIT[area], `exit code of "${area}": ${result.stderr}`);
    for (const pattern of says) t.match(result.stderr, pattern);
    t.ok(result.seconds < withinSeconds, `${result.seconds.toFixed(1)} s`);
    t.notMatch(result.stderr, /^\s+at .*:\d+:\d+/m, 'no stack trace');
  });
}

type Tap = Pick<typeof t, 'test'>;

/** The command as user 65534, who may read the clone but nothing else. */
async function asNobody(host: LabHost, args: readonly string[]): Promise<TimedOutput> {
  const startedAt = performance.now();
  const result = await host.exec(
    ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, TKADM, ...args],
    { timeoutMs: 30_000 },
  );
  return {
    ...result,
    all: `${result.stdout}${result.stderr}`,
    seconds: (performance.now() - startedAt) / 1000,
  };
}
