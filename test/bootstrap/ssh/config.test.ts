import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { execa, execaSync } from 'execa';
import t from 'tap';
import { type ResolvedHost, resolveSshHost, type SshUser } from '../../../bootstrap/ssh/config-resolve.ts';
import { createRandom, type Random } from '../../random.ts';

/** `ssh -G` prints what OpenSSH itself makes of a configuration. */
const HAS_SSH = execaSync('ssh', ['-V'], { reject: false }).exitCode === 0;
const SEED = 20_261_121;

t.test('resolveSshHost() reads what ssh reads', { skip: HAS_SSH ? false : 'needs ssh' }, async (t) => {
  const CASES: readonly { readonly title: string; readonly config: string; readonly host: string }[] = [
    {
      title: 'the first value wins',
      config: 'Host web\n Port 2201\nHost *\n Port 2202\n User all',
      host: 'web',
    },
    { title: 'a negated pattern', config: 'Host * !web\n Port 2201\nHost w?b\n Port 2202', host: 'web' },
    { title: 'HostName with %h', config: 'Host w*\n HostName %h.example.org', host: 'web' },
    {
      title: 'quotes, equals signs and comments',
      config: 'Host=web # c\n\tIdentityFile = "/a b/c#d"\n#x\n User\t"u"',
      host: 'web',
    },
    { title: 'a name in quotes', config: 'Host "web" other\n Port 99', host: 'web' },
    {
      title: 'Match of host, user and originalhost',
      config:
        'Host web\n HostName real\n User u\nMatch host real user u originalhost web\n Port 7\nMatch host web\n Port 8',
      host: 'web',
    },
    { title: 'a negated Match', config: 'Match !host a,b\n Port 9\nMatch all\n Port 10', host: 'web' },
    {
      title: 'Match exec',
      config: 'Match exec "test %h = web"\n Port 11\nMatch exec "false"\n User no',
      host: 'web',
    },
    {
      title: 'Match final',
      config: 'Match final host real\n User last\nHost real\n Port 12\nHost web\n HostName real',
      host: 'web',
    },
    {
      title: 'several identities',
      config:
        'Host web\n IdentityFile ~/.ssh/one\n IdentityFile /two\nHost *\n IdentityFile /%h/%r/%n\n IdentityFile /two',
      host: 'web',
    },
    {
      title: 'ProxyJump before ProxyCommand',
      config: 'Host web\n ProxyJump a,b@c:22\n ProxyCommand nc %h %p',
      host: 'web',
    },
    {
      title: 'ProxyCommand before ProxyJump',
      config: 'Host web\n ProxyCommand nc "%h" %p # x\n ProxyJump a',
      host: 'web',
    },
    { title: 'ProxyJump none', config: 'Host web\n ProxyJump none\nHost *\n ProxyJump bastion', host: 'web' },
    { title: 'Include', config: 'Include inc*.conf\nHost *\n Port 1', host: 'web' },
    {
      title: 'Include in a block for others',
      config: 'Host other\n Include inc-a.conf\nHost web\n Port 5',
      host: 'web',
    },
    {
      title: 'known hosts and checks',
      config:
        'Host *\n UserKnownHostsFile /a "/b c"\n StrictHostKeyChecking accept-new\n ConnectTimeout 1m5s\n ServerAliveInterval 7\n ServerAliveCountMax 2\n HostKeyAlias x',
      host: 'web',
    },
  ];
  for (const { title, config, host } of CASES) {
    await t.test(title, async (t) => {
      const home = t.testdir({
        '.ssh': {
          config,
          'inc-a.conf': 'Host web\n User included\n IdentityFile ~/in-a',
          'inc-b.conf': 'User second\nHost nothing\n Port 3',
        },
      });
      await compare(t, home, host);
    });
  }

  await t.test('random configurations', async (t) => {
    const random = createRandom(SEED);
    for (let round = 0; round < 40; round += 1) {
      const config = randomConfig(random);
      const home = t.testdir({ '.ssh': { config, 'inc-a.conf': randomConfig(random) } });
      await compare(t, home, random.pick(['web', 'db1', 'real', 'x.example.org']), config);
    }
  });
});

t.test('resolveSshHost() refuses with file and line', (t) => {
  const CASES: readonly (readonly [config: string, message: RegExp])[] = [
    ['Host web\n Port', /config:2": "Port" has no argument/],
    ['Host web\n IdentityFile "a', /config:2": a quote is not closed/],
    ['Match weather fine\n Port 2', /config:1": "Match weather fine" is not supported/],
    ['Host *\n Port 7x', /"port": "7x" is no number/],
    ['ConnectTimeout soon', /"connecttimeout": "soon" is no time/],
    ['Include config', /included too deeply/],
  ];
  for (const [config, message] of CASES) {
    const home = t.testdir({ '.ssh': { config } });
    t.throws(() => resolveSshHost({ host: 'web' }, personAt(home)), { code: 'SSH_CONFIG', message });
  }
  t.throws(() => resolveSshHost({ host: 'web' }, { ...personAt('/'), configPath: '/nowhere' }), {
    message: /"\/nowhere": there is no such file/,
  });
  t.end();
});

t.test('resolveSshHost() refuses a file that others may write', async (t) => {
  const home = t.testdir({ '.ssh': { config: 'Port 2' } });
  await execa('chmod', ['g+w', join(home, '.ssh/config')]);
  t.throws(() => resolveSshHost({ host: 'web' }, personAt(home)), { message: /mode 664 let others write/ });
});

t.test('resolveSshHost() lets what was typed go first, and names what it cannot do', (t) => {
  const config =
    'Host *\n User file\n Port 9\n BindAddress 10.0.0.1\n CertificateFile ~/c\n AddressFamily any';
  const resolved = resolveSshHost(
    { host: 'web', user: 'typed', port: 22 },
    personAt(t.testdir({ '.ssh': { config } })),
  );
  t.match(resolved, { user: 'typed', port: 22 });
  t.match(resolved.refused, [/^BindAddress \(.*config:4\)$/, /^CertificateFile/]);
  t.equal(resolved.refused.length, 2);
  t.end();
});

function personAt(home: string): SshUser {
  const { username, uid } = userInfo();
  return { home, cwd: home, name: username, uid, hostname: hostname(), env: {} };
}

/** Both sides with the same file: ssh takes the home folder from the password file, so the paths are made absolute. */
async function compare(t: Tap, home: string, host: string, title = 'the same as ssh'): Promise<void> {
  const path = join(home, '.ssh/config');
  const { home: realHome } = { home: userInfo().homedir };
  const text = (await execa('cat', [path])).stdout;
  const moved = text.replaceAll('Include inc', `Include ${home}/.ssh/inc`);
  await execa('tee', [path], { input: moved, stdout: 'ignore' });
  const { stdout, exitCode, stderr } = await execa('ssh', ['-G', '-F', path, host], {
    reject: false,
    cwd: home,
  });
  t.equal(exitCode, 0, stderr);
  const resolved = resolveSshHost({ host }, { ...personAt(realHome), cwd: home, configPath: path });
  t.same(formatOurs(resolved, realHome), readTheirs(stdout, realHome), title);
}

type Tap = Pick<typeof t, 'equal' | 'same'>;

/** What both sides tell, in one form. */
interface Comparable {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly identityFiles: readonly string[];
  readonly jump: string;
  readonly command: string;
  readonly knownHosts: string;
  readonly alias: string;
  readonly interval: number;
}

function formatOurs(resolved: ResolvedHost, home: string): Comparable {
  const ownFiles = resolved.knownHostsPaths.filter((path) => !path.startsWith('/etc/ssh/'));
  return {
    host: resolved.host,
    port: resolved.port,
    user: resolved.user ?? userInfo().username,
    identityFiles: resolved.identityFiles.map((path) => path.replace(home, '~')),
    jump: resolved.jumps.join(','),
    command: resolved.proxyCommand ?? '',
    knownHosts: ownFiles.join(' '),
    alias: resolved.hostKeyAlias ?? '',
    interval: (resolved.keepaliveIntervalMs ?? 0) / 1000,
  };
}

function readTheirs(text: string, home: string): Comparable {
  const lines = text.split('\n').map((line) => /^(\S+) (.*)$/.exec(line)?.slice(1) ?? []);
  const all = (name: string) => lines.filter(([keyword]) => keyword === name).map(([, value = '']) => value);
  const one = (name: string) => all(name)[0] ?? '';
  const host = one('hostname');
  const tokens: Readonly<Record<string, string>> = { h: host, p: one('port'), r: one('user') };
  const expand = (value: string) => value.replace(/%([hpr])/g, (_, letter: string) => tokens[letter] ?? '');
  return {
    host,
    port: Number(one('port')),
    user: one('user'),
    // Without an IdentityFile, ssh prints its defaults.
    identityFiles: all('identityfile')
      .filter((file) => !/^~\/\.ssh\/id_(rsa|dsa|ecdsa|ed25519|xmss|ecdsa_sk|ed25519_sk)$/.test(file))
      .map((file) => expand(file).replace('%n', 'web').replace(home, '~')),
    jump: one('proxyjump'),
    command: expand(one('proxycommand')),
    knownHosts: one('userknownhostsfile'),
    alias: one('hostkeyalias'),
    interval: Number(one('serveraliveinterval')),
  };
}

function randomConfig(random: Random): string {
  const hosts = ['web', 'db*', 'real', '*.example.org', '!web', '*', 'd?1', 'x.*'];
  const settings = [
    () => `Port ${1 + random.int(65_000)}`,
    () => `User u${random.int(9)}`,
    () => `HostName ${random.pick(['real', '%h.example.org', '10.0.0.1'])}`,
    () => `IdentityFile ${random.pick(['~/k1', '/k2', '"/with blank"', '/%h'])}`,
    () => `ProxyJump ${random.pick(['none', 'bastion', 'u@a:2,b'])}`,
    () => `ProxyCommand ${random.pick(['none', 'nc %h %p'])}`,
    () => `ServerAliveInterval=${random.int(60)}`,
    () => `HostKeyAlias "a${random.int(5)}"`,
    () => 'ForwardAgent yes',
    () => `# ${random.int(5)}`,
  ];
  const block = () => {
    const head = random.pick([
      () => `Host ${random.pick(hosts)} ${random.pick(hosts)}`,
      () => `Match host ${random.pick(['real', 'web,db*', '*'])}`,
      () => `Match originalhost ${random.pick(['web', 'db1'])} user ${random.pick(['u1', '*', '!u2,*'])}`,
      () => 'Match all',
      () => `Match !host ${random.pick(['real', 'w*'])}`,
    ])();
    const lines = Array.from({ length: 1 + random.int(4) }, () => `  ${random.pick(settings)()}`);
    return [head, ...lines, ...(random.chance(0.1) ? ['  Include inc-b*.conf'] : [])].join('\n');
  };
  const head = random.chance(0.2) ? `${random.pick(settings)()}\n` : '';
  return `${head}${Array.from({ length: 1 + random.int(5) }, block).join('\n')}\n`;
}
