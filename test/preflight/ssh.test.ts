import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { checkMachine } from '../../bootstrap/ssh/check-machine.ts';
import { connectSsh } from '../../bootstrap/ssh/connection.ts';
import { createSshHost } from '../../bootstrap/ssh/host.ts';
import { SshPrompts } from '../../bootstrap/ssh/prompts.ts';
import { createBatchedHost } from '../../preflight/batch.ts';
import type { PreflightInput } from '../../preflight/finding.ts';
import { runPreflight } from '../../preflight/run.ts';
import { createPrivateMachine } from '../hosts/private-machine.ts';
import { relaySsh } from '../hosts/ssh-relay.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const INPUT: PreflightInput = {
  scope: 'join',
  nodeName: 'node-1',
  ports: [10250],
  absentFiles: ['/etc/kubernetes/kubelet.conf'],
  podCidrs: [],
  serviceCidrs: [],
  ignored: [],
  advertiseAddress: '10.9.0.5',
};

/** A user who may become root by sudo, sshd's own settings but for paths, and no Node.js. */
function setupOf(publicKey: string, nodePath: string): string {
  return `useradd -M -d /tmp -s /bin/sh deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy; chmod 440 /etc/sudoers.d/deploy
mkdir -p /run/sshd /run/keys; echo '${publicKey}' > /run/keys/deploy
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/test_key
printf 'HostKey /etc/ssh/test_key\\nAuthorizedKeysFile /run/keys/%%u\\nStrictModes no\\nUsePAM no\\n' > /etc/ssh/test_config
usermod -p '*' deploy
mount --bind /dev/null ${nodePath}
echo 0 > /proc/sys/net/ipv4/ip_forward`;
}

t.test('every check works over SSH, for a user with sudo, without Node.js there', { skip }, async (t) => {
  const directory = t.testdir();
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, 'id_ed25519')]);
  await mkdir(join(directory, '.ssh'));
  const publicKey = (await readFile(join(directory, 'id_ed25519.pub'), 'utf8')).trim();
  const machine = await createPrivateMachine({ setup: setupOf(publicKey, process.execPath) });
  t.teardown(() => machine.close());
  const connection = await connectSsh(
    { host: '127.0.0.1', port: await relaySsh(t, machine, '/etc/ssh/test_config'), user: 'deploy' },
    {
      person: {
        home: directory,
        cwd: directory,
        name: 'root',
        uid: 0,
        hostname: 'here',
        env: {},
        configPath: 'none',
      },
      prompts: new SshPrompts(undefined),
      defaultUser: 'root',
      identityFiles: [join(directory, 'id_ed25519')],
      hostKeyPolicy: 'accept-new',
    },
  );
  t.teardown(() => connection.close());
  const host = createSshHost(connection);
  t.equal((await host.run(['id', '-u'])).stdout, '0\n', 'sudo');
  t.not((await host.run(['node', '--version'])).exitCode, 0, 'no Node.js');
  const over = await runPreflight(createBatchedHost(host), INPUT);
  t.comment(`${over.checks.length} checks over SSH: ${over.durationMs} ms`);
  const direct = await runPreflight(machine.host, INPUT);
  const brief = (report: typeof over) =>
    report.findings.map((row) => `${row.severity} ${row.check}: ${row.reason}`);
  t.same(brief(over), brief(direct), 'it is the same as on the machine');
  t.same(
    over.findings.filter((row) => row.severity === 'error').map((row) => row.check),
    ['FileContent--proc-sys-net-ipv4-ip_forward'],
  );
  t.notOk(over.findings.some((row) => row.isBlind));
  const machineToJoin = { nodeName: 'node-1', apiServerEndpoint: '10.9.0.1:6443', ignorePreflightErrors: [] };
  const { signal } = new AbortController();
  await checkMachine(host, { ...machineToJoin, shouldFix: true }, signal);
  await t.rejects(checkMachine(host, { ...machineToJoin, shouldFix: false }, signal), {
    code: 'PREFLIGHT_FAILED',
    message: /ip_forward is 0/,
  });
  await host.writeFile('/etc/kubernetes/kubelet.conf', '');
  await t.rejects(checkMachine(host, { ...machineToJoin, shouldFix: true }, signal), {
    code: 'PREFLIGHT_FAILED',
    message: /kubelet\.conf" is there already/,
  });
  const results = await Promise.all(Array.from({ length: 30 }, () => host.run(['echo', 'here'])));
  t.equal(
    results.filter((row) => row.stdout === 'here\n').length,
    30,
    'more commands than sshd has sessions',
  );
});
