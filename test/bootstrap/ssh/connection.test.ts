import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import t, { type Test } from 'tap';
import { connectSsh, type SshSettings } from '../../../bootstrap/ssh/connection.ts';
import { createSshHost } from '../../../bootstrap/ssh/host.ts';
import { type Ask, SshPrompts } from '../../../bootstrap/ssh/prompts.ts';
import type { SshTarget } from '../../../bootstrap/ssh/target.ts';
import { eventually } from '../../hosts/cluster.ts';
import { createPrivateMachine, type PrivateMachine } from '../../hosts/private-machine.ts';
import { relaySsh } from '../../hosts/ssh-relay.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const PASSWORD = `correct horse '"\\ staple`;
/** The sshd that listens on the machine itself: only its jump hosts reach it. */
const INNER = { host: '127.0.0.1', port: 2222 };

/** Users of many kinds, each with the same key; sshd as Debian has it but for paths. */
function setupOf(publicKey: string, password: string): string {
  const config = (name: string, lines: readonly string[]) =>
    `printf '${['HostKey /etc/ssh/test_key', 'AuthorizedKeysFile /run/keys/%%u', 'StrictModes no', ...lines].join('\\n')}\\n' > /etc/ssh/${name}`;
  return `
ln -s /bin/busybox /usr/bin/ash
useradd -M -d /tmp -s /bin/sh deploy; useradd -M -d /tmp -s /usr/bin/fish worker
useradd -M -d /tmp -s /usr/bin/ash doer; useradd -M -d /tmp -s /bin/sh asked
useradd -M -d /tmp -s /bin/bash guest
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/test; echo 'worker ALL=(ALL) ALL' >> /etc/sudoers.d/test
chmod 440 /etc/sudoers.d/test
printf 'permit nopass doer\\npermit asked\\n' > /etc/doas.conf; chmod 600 /etc/doas.conf
# The one who has doas shall not find sudo.
echo 'doer ALL=(ALL) !ALL' >> /etc/sudoers.d/test
mkdir -p /run/sshd /run/keys; for u in root deploy worker doer asked guest; do echo '${publicKey}' > /run/keys/$u; done
for u in root deploy worker doer asked guest; do usermod -p '${password}' $u; done
printf 'auth required pam_unix.so\\naccount required pam_permit.so\\nsession required pam_permit.so\\n' | tee /etc/pam.d/sshd /etc/pam.d/doas > /etc/pam.d/sudo
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/test_key
${config('test_config', ['UsePAM no', 'PasswordAuthentication yes', 'PermitRootLogin yes'])}
${config('interactive_config', ['UsePAM yes', 'PasswordAuthentication no', 'PubkeyAuthentication no', 'KbdInteractiveAuthentication yes'])}
/usr/sbin/sshd -f /etc/ssh/test_config -o ListenAddress=${INNER.host} -o Port=${INNER.port}
`;
}

interface World {
  readonly machine: PrivateMachine;
  readonly port: number;
  readonly home: string;
  readonly hostKey: string;
}

t.test('connectSsh() and what runs behind it', { skip }, async (t) => {
  const home = t.testdir({ '.ssh': {} });
  const keyPath = join(home, '.ssh/id_ed25519');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyPath]);
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'open sesame', '-f', join(home, 'locked')]);
  const keys = await Promise.all(
    [keyPath, join(home, 'locked')].map((path) => readFile(`${path}.pub`, 'utf8')),
  );
  const { stdout: hash } = await execa('openssl', ['passwd', '-6', '-stdin'], { input: PASSWORD });
  const machine = await createPrivateMachine({ setup: setupOf(keys.join('').trim(), hash) });
  t.teardown(() => machine.close());
  const port = await relaySsh(t, machine, '/etc/ssh/test_config');
  const key = (await machine.host.readFile('/etc/ssh/test_key.pub')) ?? '';
  const world: World = { machine, port, home, hostKey: key.split(' ').slice(0, 2).join(' ') };

  await t.test('host keys: strict, asked, recorded, pinned, changed', async (t) => {
    const known = join(home, '.ssh/known_hosts');
    const connect = (settings: Partial<SshSettings>) =>
      open(t, world, { user: 'root' }, { hostKeyPolicy: 'strict', ...settings });
    const fingerprint = await fingerprintOf(machine);
    await t.rejects(connect({}), {
      code: 'SSH_HOST_KEY',
      message: new RegExp(`${fingerprint.replaceAll('+', '\\+')} is not in known_hosts`),
      hint: new RegExp(`ssh-keyscan -p ${port}`),
    });
    const asked: string[] = [];
    const ask =
      (answer: string): Ask =>
      async (question) => {
        asked.push(question);
        return answer;
      };
    await t.rejects(connect({ hostKeyPolicy: 'ask', prompts: new SshPrompts(ask('no')) }), {
      code: 'SSH_HOST_KEY',
    });
    await t.rejects(readFile(known), { code: 'ENOENT' }, 'a key that was refused is not recorded');
    await connect({ pinnedFingerprint: fingerprint });
    await t.rejects(connect({ pinnedFingerprint: 'SHA256:other' }), {
      code: 'SSH_HOST_KEY',
      message: /not the one with the given/,
    });
    const notices: string[] = [];
    await connect({
      hostKeyPolicy: 'ask',
      prompts: new SshPrompts(ask('yes')),
      onNotice: (text) => notices.push(text),
    });
    t.match(asked.at(-1), fingerprint);
    t.match(notices, [/recorded host key ssh-ed25519 SHA256:/]);
    t.equal(await readFile(known, 'utf8'), `[127.0.0.1]:${port} ${world.hostKey}\n`);
    await connect({});
    const other = (await readFile(`${keyPath}.pub`, 'utf8')).split(' ').slice(0, 2).join(' ');
    await writeFile(known, `[127.0.0.1]:${port} ${other}\n`);
    for (const hostKeyPolicy of ['strict', 'ask', 'accept-new'] as const) {
      await t.rejects(connect({ hostKeyPolicy, prompts: new SshPrompts(ask('yes')) }), {
        code: 'SSH_HOST_KEY',
        message: /differs/,
        hint: /ssh-keygen -R/,
      });
    }
    await writeFile(known, `[127.0.0.1]:${port} ${world.hostKey}\n`);
  });

  await t.test('becomes root, whatever the user, its shell and its way', async (t) => {
    const rows = [
      { user: 'root', text: 'login as root' },
      { user: 'deploy', text: 'sudo without a password, sh' },
      { user: 'doer', text: 'doas, ash' },
      { user: 'worker', text: 'sudo with a password, fish' },
      { user: 'asked', text: 'doas with a password', become: 'doas' },
    ] as const;
    for (const { user, text, ...rest } of rows) {
      const connection = await open(t, world, { user });
      const host = createSshHost(connection, { becomePassword: async () => PASSWORD, ...rest });
      const words = ['a b', `it's`, 'back\\slash\\', '$HOME `id` "x"', '', '*', 'ä'];
      const said = await host.run(
        ['sh', '-c', 'id -u; printf "<%s>" "$@"; cat; echo err >&2; exit 7', 'sh', ...words],
        {
          input: `${PASSWORD}\nline\n`,
        },
      );
      t.same(
        said,
        {
          exitCode: 7,
          stdout: `0\n${words.map((word) => `<${word}>`).join('')}${PASSWORD}\nline\n`,
          stderr: 'err\n',
        },
        text,
      );
      t.equal((await host.run(['true'])).exitCode, 0, 'a command that ends at once');
      await host.writeFile('/run/written', 'content');
      t.equal(await machine.host.readFile('/run/written'), 'content');
      const arguments_ = await machine.host.run(['sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "']);
      t.notMatch(arguments_.stdout, /correct horse/, 'no process has the password among its arguments');
    }
  });

  await t.test('says why a user cannot become root', async (t) => {
    const guest = createSshHost(await open(t, world, { user: 'guest' }), {
      becomePassword: async () => PASSWORD,
    });
    await t.rejects(guest.run(['true']), {
      code: 'SSH_AUTHENTICATION',
      message: /guest.*not in the sudoers file/s,
    });
    const worker = await open(t, world, { user: 'worker' });
    await t.rejects(createSshHost(worker).run(['true']), {
      message: /sudo wants a password/,
      hint: /TKADM_SUDO_PASSWORD/,
    });
    await t.rejects(createSshHost(worker, { becomePassword: async () => 'wrong' }).run(['true']), {
      message: /sudo refused the password/,
    });
    const asked = await open(t, world, { user: 'asked' });
    await t.rejects(createSshHost(asked, { become: 'doas' }).run(['true']), {
      message: /doas wants a password/,
    });
    await t.rejects(
      createSshHost(asked, { become: 'doas', becomePassword: async () => 'wrong' }).run(['true']),
      { code: 'SSH_AUTHENTICATION', message: /root on "asked@.*": doas: Authentication failed/ },
    );
    const left = await eventually('nothing of doas is left', 10_000, async () => {
      const { stdout } = await machine.host.run(['sh', '-c', 'ls -d /tmp/tmp.*; pgrep -xu asked sh']);
      return stdout === '' && 'nothing';
    });
    t.equal(left, 'nothing', 'no pipe and no process stays');
  });

  await t.test('a passphrase and a password are asked for once, and tried again when wrong', async (t) => {
    const empty = t.testdir({ '.ssh': { known_hosts: `[127.0.0.1]:${port} ${world.hostKey}\n` } });
    const asked: string[] = [];
    const answers = new Map([
      ['Passphrase', ['wrong', 'open sesame']],
      ['Password', ['wrong', PASSWORD]],
    ]);
    const prompts = new SshPrompts(async (question, { isSecret }) => {
      asked.push(question);
      t.ok(isSecret);
      return answers.get(question.split(' ')[0] ?? '')?.shift();
    });
    const withKey = { identityFiles: [join(home, 'locked')], prompts };
    await Promise.all([1, 2].map(() => open(t, { ...world, home: empty }, { user: 'root' }, withKey)));
    t.equal(asked.length, 2, 'both connections, one question and one more after the wrong answer');
    await open(t, { ...world, home: empty }, { user: 'guest' }, { prompts });
    t.same(asked.slice(2), ['Password of guest@127.0.0.1: ', 'Password of guest@127.0.0.1: ']);
    await t.rejects(open(t, { ...world, home: empty }, { user: 'guest' }), {
      code: 'SSH_AUTHENTICATION',
      hint: /ssh-copy-id/,
    });
    await open(t, { ...world, home: empty }, { user: 'guest' }, { password: PASSWORD });
  });

  await t.test('keyboard-interactive, with the password or with answers', async (t) => {
    const interactive = { ...world, port: await relaySsh(t, machine, '/etc/ssh/interactive_config') };
    const asked: string[] = [];
    const prompts = new SshPrompts(async (question) => {
      asked.push(question);
      return PASSWORD;
    });
    const settings = { hostKeyPolicy: 'accept-new' } as const;
    await open(t, interactive, { user: 'guest' }, { ...settings, password: PASSWORD });
    await open(t, interactive, { user: 'guest' }, { ...settings, prompts });
    t.match(asked, [/^127\.0\.0\.1: .*[Pp]assword/]);
    await t.rejects(open(t, interactive, { user: 'guest' }, settings), { code: 'SSH_AUTHENTICATION' });
  });

  await t.test('jump hosts, of the configuration and of the command line', async (t) => {
    const config = join(home, '.ssh/config');
    await writeFile(
      config,
      `Host first
  HostName 127.0.0.1
  Port ${port}
  User guest
Host second
  HostName ${INNER.host}
  Port ${INNER.port}
  User deploy
  HostKeyAlias inner
  ProxyJump first
Host last
  HostName ${INNER.host}
  Port ${INNER.port}
  HostKeyAlias inner
  ProxyJump second
  User doer
Host round
  ProxyJump round
Host command
  ProxyCommand nsenter -t ${pidOf(machine)} -n bash -c 'exec 3<>/dev/tcp/${INNER.host}/${INNER.port}; cat <&3 & cat >&3; kill $!'
  HostKeyAlias inner
Host bound
  BindAddress 10.0.0.1
`,
      { mode: 0o600 },
    );
    const named = { ...world, home, port: undefined };
    const settings = { hostKeyPolicy: 'accept-new' } as const;
    const last = createSshHost(await open(t, named, { host: 'last' }, settings));
    t.equal((await last.run(['id', '-u'])).stdout, '0\n', 'three hops, each with its own user');
    t.match(await readFile(join(home, '.ssh/known_hosts'), 'utf8'), /^inner ssh-ed25519/m);
    const direct = { host: INNER.host, port: INNER.port, user: 'root' };
    const jumped = await open(t, named, direct, {
      ...settings,
      jumps: [`deploy@127.0.0.1:${port}`, `guest@${INNER.host}:${INNER.port}`],
    });
    t.equal((await createSshHost(jumped).run(['echo', 'there'])).stdout, 'there\n');
    const through = await open(t, named, { host: 'command', user: 'deploy' }, settings);
    t.equal((await createSshHost(through).run(['id', '-u'])).stdout, '0\n', 'ProxyCommand');
    await t.rejects(open(t, named, { host: 'round' }, settings), { code: 'SSH_CONFIG', message: /circle/ });
    await t.rejects(open(t, named, { host: 'bound' }, settings), {
      code: 'SSH_CONFIG',
      message: /BindAddress \(.*config:\d+\)/,
    });
    await t.rejects(
      open(t, named, { host: INNER.host, port: 9, user: 'root' }, { ...settings, jumps: ['first'] }),
      {
        code: 'SSH_CONNECT',
        message: /Cannot reach "127\.0\.0\.1" port 9 from jump host "first"/,
      },
    );
  });

  await t.test('an address that is wrong shows at once', async (t) => {
    await t.rejects(open(t, world, { host: 'no-such-host.invalid' }), {
      code: 'SSH_CONNECT',
      message: /the name (is not known|service)/,
    });
    await t.rejects(open(t, world, { host: '127.0.0.1', port: 1 }), {
      message: /port 1: nothing listens there/,
    });
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    t.teardown(() => silent.close());
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port: silentPort } = silent.address() as { port: number };
    await t.rejects(open(t, world, { host: '127.0.0.1', port: silentPort }, { timeoutMs: 300 }), {
      code: 'SSH_CONNECT',
      message: /[Tt]imed out/,
    });
    const mistyped = t.testdir({
      '.ssh': {
        config: `Host web
  HostName 127.0.0.1
  Port ${silentPort}
  ConnectTimeout 1
Host gone
  HostName no-such-host.invalid
`,
      },
    });
    const named = { home: mistyped };
    // As a router that accepts for a machine that is not there.
    await t.rejects(open(t, named, { host: 'web' }), {
      code: 'SSH_CONNECT',
      message: /"web", which is "127\.0\.0\.1" \(HostName at .*config:2\): no SSH server answered within 1 s/,
    });
    await t.rejects(open(t, named, { host: 'gone' }), {
      message: /"no-such-host\.invalid" \(HostName at .*config:6\) port 22: the name/,
    });
  });
});

interface Where {
  readonly home: string;
  readonly port?: number | undefined;
}

/** A connection that is closed with the test; with the settings of somebody who has `home` and no terminal. */
async function open(
  t: Test,
  { home, port }: Where,
  target: Partial<SshTarget>,
  settings: Partial<SshSettings> = {},
) {
  await mkdir(join(home, '.ssh'), { recursive: true });
  const connection = await connectSsh(
    { host: '127.0.0.1', ...(port === undefined ? {} : { port }), ...target },
    {
      person: { home, cwd: home, name: 'root', uid: 0, hostname: 'here', env: {} },
      prompts: new SshPrompts(undefined),
      defaultUser: 'root',
      pinnedFingerprint: undefined,
      ...settings,
    },
  );
  t.teardown(() => connection.close());
  return connection;
}

async function fingerprintOf(machine: PrivateMachine): Promise<string> {
  const { stdout } = await machine.host.run(['ssh-keygen', '-lf', '/etc/ssh/test_key.pub']);
  return stdout.split(' ')[1] ?? '';
}

function pidOf(machine: PrivateMachine): string {
  return machine.enter[machine.enter.indexOf('-t') + 1] ?? '';
}
