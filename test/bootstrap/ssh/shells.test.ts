import { join } from 'node:path';
import { execa } from 'execa';
import t, { type Test } from 'tap';
import { waitForExit } from '../../../bootstrap/ssh/channel.ts';
import { connectSsh, type SshConnection } from '../../../bootstrap/ssh/connection.ts';
import { createSshHost } from '../../../bootstrap/ssh/host.ts';
import { SshPrompts } from '../../../bootstrap/ssh/prompts.ts';
import { createPrivateMachine } from '../../hosts/private-machine.ts';
import { relaySsh } from '../../hosts/ssh-relay.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
/** What a login shell may say before any command. */
const NOISE = 'echo Welcome; echo Careful >&2';

const setupOf = (publicKey: string) => `
mkdir -p /run/sshd /run/keys; echo '${publicKey}' > /run/keys/root
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/test_key
printf 'HostKey /etc/ssh/test_key\\nAuthorizedKeysFile /run/keys/%%u\\nStrictModes no\\n' > /etc/ssh/many
{ cat /etc/ssh/many; echo MaxSessions 1; } > /etc/ssh/few
`;

t.test('commands of a machine behind SSH', { skip }, async (t) => {
  const home = t.testdir({ '.ssh': {} });
  const keyPath = join(home, '.ssh/id_ed25519');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyPath]);
  const { stdout: publicKey } = await execa('cat', [`${keyPath}.pub`]);
  const machine = await createPrivateMachine({ setup: setupOf(publicKey) });
  t.teardown(() => machine.close());
  const login = async (t: Test, config: string) => {
    const port = await relaySsh(t, machine, `/etc/ssh/${config}`);
    return openCounted(t, home, port);
  };

  await t.test('share few sessions, and each has its own output and exit code', async (t) => {
    const { host, sessions } = await login(t, 'many');
    const numbers = Array.from({ length: 30 }, (_, index) => index);
    const script = 'printf "%s\\n\\n" "$1"; printf "to %s" "$1" >&2; cat; exit "$1"';
    const results = await Promise.all(numbers.map((n) => host.run(['sh', '-c', script, 'sh', String(n)])));
    t.same(
      results,
      numbers.map((n) => ({ exitCode: n, stdout: `${n}\n\n`, stderr: `to ${n}` })),
    );
    t.ok(sessions() <= 4, `${sessions()} sessions`);
    const long = 'ä'.repeat(200_000);
    await host.writeFile('/run/long', long);
    t.equal(await host.readFile('/run/long'), long);
    const leaving = ['sh', '-c', 'while sleep 0.01; do echo late; echo late >&2; done & echo $!'];
    const { stdout: pid } = await host.run(leaving);
    t.match(pid, /^(late\n)*\d+\n/, 'what goes on talking does not hold the answer back');
    await host.run(['kill', /\d+/.exec(pid)?.[0] ?? '']);
    t.equal((await host.run(['sh', '-c', 'kill -TERM $$'])).exitCode, 143);
    t.equal((await host.run(['no-such-program'])).exitCode, 127);
  });

  await t.test('that are ended do not disturb the next', async (t) => {
    const { host } = await login(t, 'many');
    t.not((await host.run(['sleep', '600'], { timeoutMs: 100 })).exitCode, 0);
    const stop = new AbortController();
    const sleeping = host.run(['sleep', '600'], { signal: stop.signal });
    stop.abort(new Error('enough'));
    await t.rejects(sleeping, { message: 'enough' });
    t.equal((await host.run(['echo', 'there'])).stdout, 'there\n');
    t.equal((await host.run(['sh', '-c', 'kill -KILL $PPID'])).exitCode, 143, 'its shell is lost');
    t.equal((await host.run(['echo', 'there'])).stdout, 'there\n');
  });

  await t.test('do with the one session that a machine allows', async (t) => {
    const { host } = await login(t, 'few');
    const both = await Promise.all([host.run(['echo', 'one']), host.run(['echo', 'two'])]);
    t.same(
      both.map(({ stdout }) => stdout),
      ['one\n', 'two\n'],
    );
    const channel = await host.openStream(['sh', '-c', 'cat; exit 3'], { input: 'three' });
    channel.resume();
    t.equal(await waitForExit(channel), 3);
    t.equal((await host.run(['echo', 'four'])).stdout, 'four\n');
  });
});

/** The machine over a connection whose sessions are counted, and whose login shell speaks. */
async function openCounted(t: Test, home: string, port: number) {
  const connection = await connectSsh(
    { host: '127.0.0.1', port },
    {
      person: { home, cwd: home, name: 'root', uid: 0, hostname: 'here', env: {} },
      prompts: new SshPrompts(undefined),
      defaultUser: 'root',
      hostKeyPolicy: 'accept-new',
    },
  );
  t.teardown(() => connection.close());
  let sessions = 0;
  const counted: SshConnection = {
    ...connection,
    start(commandLine, options) {
      sessions += 1;
      return connection.start(`${NOISE}; ${commandLine}`, options);
    },
  };
  return { host: createSshHost(counted), sessions: () => sessions };
}
