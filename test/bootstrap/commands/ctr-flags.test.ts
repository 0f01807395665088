import { Command } from 'commander';
import t from 'tap';
import { addCommand } from '../../../bootstrap/command-line/command.ts';
import { CTR_COMMANDS } from '../../../bootstrap/command-line/ctr.ts';
import { chooseTarget } from '../../../bootstrap/commands/ctr/cp.ts';
import { DetachFilter, parseDetachKeys } from '../../../bootstrap/commands/ctr/detach-keys.ts';
import { parseMount, parseTmpfs, parseVolume } from '../../../bootstrap/commands/ctr/mounts.ts';
import { parsePublish } from '../../../bootstrap/commands/ctr/ports.ts';
import { printDeleted } from '../../../bootstrap/commands/ctr/print-deleted.ts';
import { formatStatus } from '../../../bootstrap/commands/ctr/ps.ts';
import { buildOptions, type RunFlags } from '../../../bootstrap/commands/ctr/run-options.ts';
import { formatAge, formatBytes, parseBytes, parseMoment } from '../../../bootstrap/commands/ctr/units.ts';
import { describeOthers } from '../../../bootstrap/commands/reset.ts';
import { launchExitCode } from '../../../runtime/ctr/ctr-start.ts';
import { parseSignal } from '../../../runtime/ctr/signals.ts';
import { openCli } from './fixture.ts';

const NOW = new Date('2026-01-02T12:00:00Z');

t.test('parsePublish() reads addresses, ranges and protocols', (t) => {
  const port = (containerPort: number, hostPort = 0, hostIp = '', protocol = 'tcp') => {
    return { containerPort, hostPort, hostIp, protocol };
  };
  t.same(parsePublish('80'), [port(80)]);
  t.same(parsePublish('4000:80'), [port(80, 4000)]);
  t.same(parsePublish('127.0.0.1:4000:80/udp'), [port(80, 4000, '127.0.0.1', 'udp')]);
  t.same(parsePublish('127.0.0.1::80'), [port(80, 0, '127.0.0.1')]);
  t.same(parsePublish('8000-8001:80-81'), [port(80, 8000), port(81, 8001)]);
  t.same(parsePublish('8000-8010:80'), [{ ...port(80, 8000), lastHostPort: 8010 }]);
  for (const text of ['', 'x', '80:', '0:80', '70000:80', '8000-8002:80-81', 'host:80:80']) {
    t.throws(() => parsePublish(text), { code: 'USAGE' }, text);
  }
  t.throws(() => parsePublish('80/sctp'), { code: 'UNSUPPORTED' });
  t.throws(() => parsePublish('[::1]:80:80'), { code: 'UNSUPPORTED' });
  t.end();
});

t.test('parseVolume(), parseMount() and parseTmpfs() tell paths from names', (t) => {
  const common = { isReadonly: false };
  t.same(parseVolume('/w', '/a:/b'), {
    ...common,
    type: 'bind',
    source: '/a',
    target: '/b',
    makesSource: true,
  });
  t.match(parseVolume('/w', './a:/b:ro'), { type: 'bind', source: '/w/a', isReadonly: true });
  t.same(parseVolume('/w', 'data:/b'), { ...common, type: 'volume', source: 'data', target: '/b' });
  t.match(parseVolume('/w', '/b'), { type: 'volume', source: '', target: '/b' });
  t.throws(() => parseVolume('/w', 'a:/b:q'), { code: 'UNSUPPORTED', message: /"q"/ });
  t.throws(() => parseVolume('/w', 'a:b:c:d'), { code: 'USAGE' });
  t.same(parseMount('/w', 'type=bind,src=/a,dst=/b,ro'), {
    type: 'bind',
    source: '/a',
    target: '/b',
    isReadonly: true,
  });
  t.match(parseMount('/w', 'target=/b'), { type: 'volume', source: '' });
  t.throws(() => parseMount('/w', 'type=npipe,target=/b'), { code: 'UNSUPPORTED' });
  t.throws(() => parseMount('/w', 'type=tmpfs,target=/b,colour=red'), {
    code: 'UNSUPPORTED',
    message: /colour/,
  });
  t.same(parseTmpfs('/run:size=1m,mode=755').options, ['size=1m', 'mode=755']);
  t.end();
});

const BAD_FLAGS: readonly (readonly [RunFlags, string, RegExp])[] = [
  [{ cpus: '0' }, 'USAGE', /--cpus 0/],
  [{ cpus: '1', cpuQuota: '1000' }, 'USAGE', /exclude each other/],
  [{ memory: 'lots' }, 'USAGE', /--memory lots/],
  [{ restart: 'on-failure:x' }, 'USAGE', /no policy/],
  [{ restart: 'always:3' }, 'USAGE', /no policy/],
  [{ ulimit: ['files=1'] }, 'USAGE', /--ulimit files=1/],
  [{ device: ['null'] }, 'USAGE', /--device null/],
  [{ addHost: ['db'] }, 'USAGE', /NAME:ADDRESS/],
  [{ sysctl: ['a.b'] }, 'USAGE', /NAME=VALUE/],
  [{ platform: 'linux/s390x' }, 'UNSUPPORTED', /s390x/],
  [{ securityOpt: ['label=type:x'] }, 'UNSUPPORTED', /label=type:x/],
  [{ securityOpt: ['seccomp=/nowhere.json'] }, 'FILE_READ', /nowhere/],
  [{ envFile: ['/nowhere.env'] }, 'FILE_READ', /nowhere/],
];

t.test('buildOptions() reads units and names what is wrong', async (t) => {
  const { context } = openCli({ env: { HERE: 'x' } });
  const flags = {
    cpus: '0.2',
    memory: '100m',
    env: ['HERE', 'GONE', 'A=b'],
    restart: 'on-failure:3',
    entrypoint: '',
  };
  t.match(await buildOptions(context, flags, ['image', 'cmd']), {
    image: 'image',
    command: ['cmd'],
    entrypoint: [],
    env: ['HERE=x', 'GONE', 'A=b'],
    resources: { cpuQuotaUs: 20_000, cpuPeriodUs: 100_000, memoryBytes: 104857600 },
    restart: { name: 'on-failure', maximumRetryCount: 3 },
  });
  for (const [bad, code, message] of BAD_FLAGS) {
    await t.rejects(buildOptions(context, bad, ['image']), { code, message }, JSON.stringify(bad));
  }
});

t.test('DetachFilter finds its keys in pieces and hands everything else on', (t) => {
  const run = (...chunks: readonly string[]) => {
    const filter = new DetachFilter(parseDetachKeys('ctrl-p,ctrl-q'));
    const results = chunks.map((chunk) => filter.push(Buffer.from(chunk)));
    return [
      results.map(({ bytes }) => bytes.toString()).join(''),
      results.some(({ isDetached }) => isDetached),
    ];
  };
  t.same(run('ls\n'), ['ls\n', false]);
  t.same(run('ls\u0010\u0011'), ['ls', true]);
  t.same(run('\u0010', '\u0011'), ['', true]);
  t.same(run('\u0010x'), ['\u0010x', false]);
  t.same(run('\u0010\u0010\u0011'), ['\u0010', true]);
  t.same([...parseDetachKeys('ctrl-a,d')], [1, 100]);
  t.throws(() => parseDetachKeys('hyper-x'), { code: 'USAGE' });
  t.end();
});

const COPIES = [
  ['/a/file', false, '/d', true, '/d', 'file', false],
  ['/a/file', false, '/d/new', undefined, '/d', 'new', false],
  ['/a/file', false, '/d/old', false, '/d', 'old', false],
  ['/a/dir', true, '/d', true, '/d', 'dir', false],
  ['/a/dir/.', true, '/d', true, '/d', '', false],
  ['/a/dir', true, '/d/new', undefined, '/d/new', '', true],
] as const;

t.test('chooseTarget() follows the rules of docker cp', (t) => {
  for (const [
    source,
    isSourceDirectory,
    target,
    isTargetDirectory,
    directory,
    name,
    makesDirectory,
  ] of COPIES) {
    const request = { source, isSourceDirectory, target, isTargetDirectory };
    t.same(chooseTarget(request), { directory, name, makesDirectory }, `${source} → ${target}`);
  }
  const missing = { source: '/f', isSourceDirectory: false, target: '/d/', isTargetDirectory: undefined };
  t.throws(() => chooseTarget(missing), { code: 'CTR_PATH' });
  const file = { source: '/d', isSourceDirectory: true, target: '/f', isTargetDirectory: false };
  t.throws(() => chooseTarget(file), { code: 'CTR_PATH' });
  t.end();
});

t.test('units are read and shown as docker does', (t) => {
  t.same(
    ['100m', '1g', '4096', '1.5k', '2GiB'].map((text) => parseBytes('-m', text)),
    [104857600, 2 ** 30, 4096, 1536, 2 ** 31],
  );
  t.same(
    [0, 999, 1980000, 13e8].map((bytes) => formatBytes(bytes, 1000)),
    ['0B', '999B', '1.98MB', '1.3GB'],
  );
  t.equal(formatBytes(304 * 1024, 1024), '304KiB');
  const ages = [0.5, 1, 45, 90, 600, 4000, 3 * 3600, 3 * 86400, 20 * 86400, 90 * 86400, 800 * 86400];
  t.same(
    ages.map((seconds) => formatAge(new Date(NOW.getTime() - seconds * 1000).toISOString(), NOW)),
    [
      'Less than a second',
      '1 second',
      '45 seconds',
      'About a minute',
      '10 minutes',
      'About an hour',
      '3 hours',
      '3 days',
      '2 weeks',
      '3 months',
      '2 years',
    ],
  );
  t.equal(parseMoment('--since', '10m', NOW), '2026-01-02T11:50:00.000Z');
  t.equal(parseMoment('--since', '1767355200', NOW), '2026-01-02T12:00:00.000Z');
  t.throws(() => parseMoment('--since', 'soon', NOW), { code: 'USAGE' });
  t.end();
});

t.test('parseSignal() takes names, numbers and real-time signals', (t) => {
  t.same(['term', 'SIGKILL', '15', 'HUP'].map(parseSignal), ['SIGTERM', 'SIGKILL', 'SIGTERM', 'SIGHUP']);
  t.same(
    ['RTMIN+3', 'SIGRTMAX-1', '40'].map((text) => Number(parseSignal(text))),
    [37, 63, 40],
  );
  for (const text of ['NOTHING', '0', '99'])
    t.throws(() => parseSignal(text), { code: 'CTR_REQUEST_INVALID' }, text);
  t.end();
});

t.test('launchExitCode() is what shells answer', (t) => {
  t.equal(launchExitCode('exec: "x": executable file not found in $PATH'), 127);
  t.equal(launchExitCode('exec: "/x": stat /x: no such file or directory'), 127);
  t.equal(launchExitCode('exec: "/etc": is a directory'), 126);
  t.equal(launchExitCode('mount "/x": EINVAL'), 125);
  t.end();
});

t.test('formatStatus() tells of every state', (t) => {
  const state = { exitCode: 3, startedAt: '2026-01-02T11:59:00Z', finishedAt: '2026-01-02T11:59:50Z' };
  const rows = {
    created: 'Created',
    running: 'Up About a minute',
    paused: 'Up About a minute (Paused)',
    restarting: 'Restarting (3) 10 seconds ago',
    exited: 'Exited (3) 10 seconds ago',
  };
  for (const [status, text] of Object.entries(rows)) {
    t.equal(formatStatus({ state: { ...state, status } } as never, NOW), text);
  }
  t.end();
});

t.test("ctr run: what stands behind the image is the program's", async (t) => {
  const seen: unknown[] = [];
  const [row] = CTR_COMMANDS;
  const commands = row!.commands!.map((child) => ({
    ...child,
    run: (_context: unknown, ...words: readonly unknown[]) => void seen.push(words),
  }));
  const program = new Command('tkadm').exitOverride();
  addCommand(program, { ...row!, commands }, { context: openCli().context, setExitCode: () => {} });
  program.enablePositionalOptions();
  await program.parseAsync([
    'node',
    'tkadm',
    'ctr',
    'run',
    '-it',
    '--rm',
    '-p',
    '1:2',
    'img',
    'ls',
    '-l',
    '--rm=x',
    '-V',
  ]);
  t.match(seen, [
    [{ interactive: true, tty: true, rm: true, publish: ['1:2'] }, 'img', ['ls', '-l', '--rm=x', '-V']],
  ]);
});

t.test("docker's flags that are not there are refused by name, and not shown", async (t) => {
  const run = CTR_COMMANDS[0]?.commands?.find(({ usage }) => /^run /.test(usage));
  for (const argv of [
    ['--init', 'x'],
    ['--health-cmd', 'true', 'x'],
    ['--gpus=all', 'x'],
  ]) {
    const program = new Command('tkadm').exitOverride().enablePositionalOptions();
    addCommand(program, run!, { context: openCli().context, setExitCode: () => {} });
    await t.rejects(program.parseAsync(['node', 'tkadm', 'run', ...argv]), {
      code: 'UNSUPPORTED',
      message: `Cannot use "${argv[0]!.split('=')[0]}": it is not supported`,
    });
    t.notMatch(program.commands[0]?.helpInformation(), /--init|--gpus/);
  }
});

t.test('printDeleted() has the form of docker', async (t) => {
  const { context, take } = openCli();
  printDeleted(context, { Containers: [], Volumes: ['a', 'b'] }, 2_000);
  t.equal(take().out, 'Deleted Volumes:\na\nb\n\nTotal reclaimed space: 2kB\n');
});

t.test('describeOthers() names who is left without a control plane', async (t) => {
  t.equal(describeOthers([]), '');
  t.match(describeOthers(['w1']), /: node "w1" has no control plane/);
  t.match(describeOthers(['w1', 'w2', 'w3']), /"w1" and 2 more nodes have no control plane/);
});
