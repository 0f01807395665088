import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { load, loadAll } from 'js-yaml';
import t from 'tap';
import { EXAMPLES } from '../../../bootstrap/commands/examples.ts';
import { reportError } from '../../../bootstrap/render/error-event.ts';
import { createCa, validityFrom } from '../../../pki/issue.ts';
import { ERRORS, type ErrorCode, EXIT_CODES, TkadmError } from '../../../runtime/base/errors.ts';
import { parseLines, runTkadmWith } from './tkadm.ts';

const OUTPUT_DOC = readFileSync(join(import.meta.dirname, '../../../docs/output.md'), 'utf8');

/** Commands without -o, and why. */
const WITHOUT_OUTPUT: Readonly<Record<string, string>> = {
  'bundle complete': 'tkadm itself runs it, over SSH',
  completion: 'its output is a program for the shell',
  'config migrate': 'its output is configuration documents',
  'config print': 'its output is configuration documents',
  'kubeconfig user': 'its output is a kubeconfig',
  upgrade: 'it is refused',
};

interface ErrorLine {
  readonly time: string;
  readonly type: string;
  readonly command: string;
  readonly host: string;
  readonly phase: string | null;
  readonly code: string;
  readonly exitCode: number;
  readonly message: string;
  readonly hint?: string;
}

const needsRoot = process.getuid?.() !== 0 && 'needs root';

/** Every command with its sub-commands and flags, as completion knows them. */
async function listCommands() {
  const { stdout } = await runTkadmWith(['completion', 'bash']);
  return [...stdout.matchAll(/^ {4}"([^"]*)"\) words="([^"]*)"/gm)].map(([, path = '', words = '']) => ({
    path,
    words: words.split(' '),
  }));
}

t.test('EXAMPLES name commands and flags that are there', async (t) => {
  const rows = await listCommands();
  for (const [path, lines] of Object.entries(EXAMPLES)) {
    const row = rows.find((entry) => entry.path === path);
    t.ok(row, path);
    for (const line of lines) {
      const flags = line.split(/[ =]/).filter((word) => word.startsWith('--'));
      for (const flag of flags) t.ok(row?.words.includes(flag), `${line}: ${flag}`);
      t.ok(line.includes(`tkadm ${path}`), line);
    }
  }
  t.match((await runTkadmWith(['join', '--help'])).stdout, /Examples:\n {2}tkadm join root@/);
});

t.test('every command has -o', async (t) => {
  const rows = await listCommands();
  t.ok(rows.length > 20, 'the table of commands');
  const leaves = rows.filter(
    ({ path }) => !rows.some((other) => other.path.startsWith(`${path} `)) && path !== '',
  );
  for (const { path, words } of leaves) {
    // Docker's commands have docker's --format.
    if (path in WITHOUT_OUTPUT || path.startsWith('ctr ')) continue;
    t.ok(words.includes('--output'), `tkadm ${path}`);
    const isRun = /^(init|join|reset|upgrade apply|upgrade node)( |$)/.test(path);
    t.ok(isRun || OUTPUT_DOC.includes(`\`${path}\``), `docs/output.md: ${path}`);
  }
});

const USAGE: readonly (readonly [readonly string[], RegExp, RegExp, string])[] = [
  [['init', '--node-nam', 'x'], /unknown option '--node-nam'/, /--node-name/, 'init'],
  [['jion'], /unknown command 'jion'/, /join/, ''],
  [['tokn', 'list'], /unknown command 'tokn'/, /token/, ''],
  [['token', 'lst'], /unknown command 'lst'/, /list/, 'token'],
  [['token', 'create', '--tll', '1h'], /unknown option '--tll'/, /--ttl/, 'token create'],
  [['token', 'delete'], /missing required argument 'tokens'/, /help/, 'token delete'],
  [['image', 'build', '.'], /required option '-t, --tag <name>'/, /help/, 'image build'],
  [['version', 'much'], /too many arguments/, /help/, 'version'],
];

t.test('wrong flags and commands: a suggestion, exit code 2, in the format asked for', async (t) => {
  await Promise.all(
    USAGE.map(async ([args, message, hint, command]) => {
      const text = await runTkadmWith(args);
      t.equal(text.exitCode, EXIT_CODES.usage, args.join(' '));
      t.equal(text.stdout, '');
      t.match(text.stderr, message);
      t.match(text.stderr, hint);
      const json = await runTkadmWith([...args, '--output=json']);
      t.equal(json.exitCode, EXIT_CODES.usage);
      t.equal(json.stderr, '', 'nothing beside the line');
      const lines = parseLines<ErrorLine>(json.stdout);
      t.equal(lines.length, 1);
      t.match(lines[0], { type: 'error', code: 'USAGE', exitCode: 2, message, hint, command, phase: null });
    }),
  );
  const yaml = await runTkadmWith(['init', '--node-nam', 'x', '-oyaml']);
  t.match(load(yaml.stdout), { type: 'error', code: 'USAGE', exitCode: 2 });
});

t.test('a group without a command prints its help', async (t) => {
  const { exitCode, stderr } = await runTkadmWith(['token']);
  t.equal(exitCode, EXIT_CODES.usage);
  for (const name of ['create', 'list', 'delete', 'generate'])
    t.match(stderr, new RegExp(`^  ${name} `, 'm'));
});

t.test('-o json and yaml of commands that need no cluster', async (t) => {
  const version = await runTkadmWith(['version', '-o', 'json']);
  t.match(JSON.parse(version.stdout), { kubernetes: /^v1\./ });
  const token = await runTkadmWith(['token', 'generate', '-o', 'yaml']);
  t.match(load(token.stdout), { token: /^\w{6}\.\w{16}$/ });
  const status = await runTkadmWith(['service', 'status', '-o', 'json']);
  t.match(JSON.parse(status.stdout), { services: [{ name: 'tkadm-runtime' }, { name: 'tkadm-agent' }] });
});

t.test('the head of every event is the same', { skip: needsRoot }, async (t) => {
  for (const format of ['json', 'yaml']) {
    const { exitCode, stdout } = await runTkadmWith([
      'init',
      '--dry-run',
      '--ignore-preflight-errors',
      'all',
      '-o',
      format,
    ]);
    t.equal(exitCode, 0, stdout.slice(-500));
    const events = format === 'json' ? parseLines<ErrorLine>(stdout) : (loadAll(stdout) as ErrorLine[]);
    t.ok(events.length > 10);
    for (const event of events) {
      t.same(Object.keys(event).slice(0, 5), ['time', 'type', 'command', 'host', 'phase']);
      t.match(event.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      t.equal(event.command, 'init');
      t.ok(event.host);
      t.equal(event.phase === null, ['note', 'result', 'error'].includes(event.type), event.type);
    }
    t.equal(events.at(-1)?.type, 'result');
    t.notMatch(stdout, /PRIVATE KEY-----\s*(?!\\n|\+\(secret|\s)[\w/+]{16}/);
  }
});

const PIN = `sha256:${'1'.repeat(64)}`;
const join4 = [
  'join',
  '127.0.0.1:1',
  '--token',
  'qwerty.asdfghjklzxcvbnm',
  '--discovery-token-ca-cert-hash',
  PIN,
];
/** Waits for an API server that is not there. */
const formatWait = (certificatesDir: string, limit: string) => `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {bindPort: 65001}
timeouts: {controlPlaneComponentHealthCheck: ${limit}, kubeletHealthCheck: ${limit}, kubernetesAPICall: ${limit}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
certificatesDir: ${certificatesDir}
`;

interface ExitCase {
  readonly area: keyof typeof EXIT_CODES;
  readonly args: readonly string[];
  readonly code: ErrorCode;
  readonly uid?: number;
}

t.test('exit codes', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const directory = t.testdir();
  const wait = join(directory, 'wait.yaml');
  writeFileSync(wait, formatWait(directory, '1s'));
  const ca = await createCa({ commonName: 'c', algorithm: 'ECDSA-P256', ...validityFrom(new Date(), 1e9) });
  writeFileSync(join(directory, 'ca.crt'), ca.certPem);
  const refused = join(directory, 'refused.conf');
  const cluster = { server: 'https://127.0.0.1:1' };
  writeFileSync(
    refused,
    JSON.stringify({
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: '' } }],
      'current-context': 'c',
    }),
  );
  const cases: readonly ExitCase[] = [
    { area: 'usage', args: ['token', 'create', 'nonsense', '--kubeconfig', refused], code: 'TOKEN_INVALID' },
    { area: 'preflight', args: ['reset', '-f'], code: 'NOT_ROOT', uid: 65_534 },
    {
      area: 'discovery',
      args: [...join4, '--dry-run', '--ignore-preflight-errors', 'all'],
      code: 'DISCOVERY_UNREACHABLE',
    },
    { area: 'host', args: ['init', '--config', '/none.yaml'], code: 'FILE_READ' },
    { area: 'cluster', args: ['token', 'list', '--kubeconfig', refused], code: 'API_UNREACHABLE' },
  ];
  for (const { area, args, code, uid } of cases) {
    await t.test(area, async (t) => {
      const result = await runTkadmWith([...args, '-o', 'json'], uid === undefined ? {} : { uid });
      t.equal(result.exitCode, EXIT_CODES[area], result.stderr);
      t.match(parseLines<ErrorLine>(result.stdout).at(-1), {
        type: 'error',
        code,
        exitCode: EXIT_CODES[area],
      });
    });
  }
  await t.test('timeout', async (t) => {
    const result = await runTkadmWith(['init', 'phase', 'wait-control-plane', '--config', wait]);
    t.equal(result.exitCode, EXIT_CODES.timeout, result.stderr);
    t.match(result.stderr, /error: Cannot see .* after 1000 ms/);
  });
  await t.test('interrupted', async (t) => {
    const slow = join(directory, 'slow.yaml');
    writeFileSync(slow, formatWait(directory, '1m'));
    const args = ['init', 'phase', 'wait-control-plane', '--config', slow];
    const result = await runTkadmWith(args, { interruptAt: /wait for/ });
    t.equal(result.exitCode, EXIT_CODES.interrupted, result.stderr);
    t.match(result.stderr, /Interrupted; run the same command again/);
  });
  t.match(
    (await runTkadmWith(['--help'])).stdout,
    /2 usage, 3 preflight, 4 discovery, 5 timeout, 6 host, 7 cluster, 130 inter/,
  );
});

t.test(
  'a crash is an event too, without the secret in it',
  { skip: needsRoot, timeout: 30_000 },
  async (t) => {
    const directory = t.testdir();
    const ca = await createCa({ commonName: 'c', algorithm: 'ECDSA-P256', ...validityFrom(new Date(), 1e9) });
    writeFileSync(join(directory, 'ca.crt'), ca.certPem);
    const slow = join(directory, 'slow.yaml');
    writeFileSync(slow, formatWait(directory, '1m'));
    // A mistake somewhere in the program: a promise that nobody waits for.
    const crash = join(directory, 'crash.mjs');
    const failure = "Promise.reject(new Error('no such thing: abcxyz.q7w8e9r0t1y2u3i4'))";
    writeFileSync(crash, `setTimeout(() => { if (process.argv[1]?.includes('tkadm')) ${failure}; }, 2500);`);
    const env = { NODE_OPTIONS: `--import=${crash}` };
    for (const format of ['json', 'text']) {
      const args = ['init', 'phase', 'wait-control-plane', '--config', slow, '-o', format];
      const { exitCode, stdout, stderr } = await runTkadmWith(args, { env });
      t.equal(exitCode, EXIT_CODES.internal, stderr);
      t.notMatch(stdout + stderr, /q7w8e9r0/);
      if (format === 'text') t.match(stderr, /error: Error: no such thing: abcxyz\.<redacted>\n +at /);
      else t.match(parseLines<ErrorLine>(stdout).at(-1), { type: 'error', code: 'INTERNAL', exitCode: 1 });
    }
  },
);

t.test('docs/output.md has every exit code, area and discovery failure', (t) => {
  for (const [area, code] of Object.entries(EXIT_CODES))
    t.match(OUTPUT_DOC, new RegExp(`^\\| ${code} +\\| \`${area}\` `, 'm'), area);
  for (const [code, area] of Object.entries(ERRORS))
    if (area === 'discovery') t.match(OUTPUT_DOC, `| \`${code}\``, code);
  t.end();
});

t.test('reportError() gives each code the exit code of its area', (t) => {
  const options = { isInterrupted: false, secrets: [] };
  for (const [code, area] of Object.entries(ERRORS)) {
    const report = reportError(new TkadmError(code as ErrorCode, 'x'), options);
    t.match(report, { code, area, exitCode: EXIT_CODES[area] });
  }
  t.match(reportError(new TypeError('x is not a function'), options), { code: 'INTERNAL', exitCode: 1 });
  t.match(reportError('text', options), { code: 'INTERNAL', message: 'text' });
  t.match(reportError(new Error('x'), { ...options, isInterrupted: true }), { exitCode: 130 });
  t.equal(new Set(Object.values(EXIT_CODES)).size, Object.keys(EXIT_CODES).length);
  t.end();
});

t.test('completion: scripts that their shells can read and that complete', async (t) => {
  const bash = await runTkadmWith(['completion', 'bash']);
  const complete = (line: readonly string[]) => {
    const words = line.map((word) => `'${word}'`).join(' ');
    const script = `${bash.stdout}\nCOMP_WORDS=(${words}); COMP_CWORD=${line.length - 1}; _tkadm; echo "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim().split(' ');
  };
  t.same(complete(['tkadm', 'tok']), ['token']);
  t.same(complete(['tkadm', 'token', 'cr']), ['create']);
  t.same(complete(['tkadm', 'token', 'create', '--print']), ['--print-join-command']);
  const wrong = await runTkadmWith(['completion', 'fish']);
  t.equal(wrong.exitCode, EXIT_CODES.usage);
});

const zshObstacle = !existsSync('/usr/bin/zsh') && 'needs apt-get install zsh';

t.test('completion: zsh completes what is typed', { skip: zshObstacle, timeout: 30_000 }, async (t) => {
  const path = join(t.testdir(), 'setup.zsh');
  const { stdout } = await runTkadmWith(['completion', 'zsh']);
  writeFileSync(path, `autoload -U compinit; compinit -u -D\n${stdout}\necho set-up-done\n`);
  const keys = [`source ${path}\\n`, 'tkadm tok\\t', 'cr\\t', '--print\\t', '\\nexit\\n'];
  const typed = keys.map((text) => `sleep 1.5; printf -- '${text}'`).join('; ');
  const terminal = spawnSync('sh', ['-c', `(${typed}) | script -qec 'zsh -f -i' /dev/null`], {
    encoding: 'utf8',
    timeout: 25_000,
    env: { ...process.env, TERM: 'dumb' },
  });
  const shown = terminal.stdout.replace(/\u001b\[[\d;?]*[a-zA-Z]|[\b\r]/g, '');
  t.match(shown, /set-up-done/);
  t.match(shown, /tkadm token +create +--print-join-command/);
});

t.test('apply --print-example prints a file that apply takes', async (t) => {
  const example = await runTkadmWith(['apply', '--print-example']);
  t.match(example, { exitCode: 0, stderr: '' });
  t.match(loadAll(example.stdout), [{ kind: 'Cluster' }, { kind: 'ClusterConfiguration' }]);
});

t.test('status --interval refuses what is no number of seconds', async (t) => {
  for (const value of ['soon', '0', '-1']) {
    const result = await runTkadmWith(['status', `--interval=${value}`]);
    t.match(result, { exitCode: EXIT_CODES.usage, stderr: /it is no number of seconds/ }, value);
  }
});

t.test('service start and stop need root', { skip: needsRoot }, async (t) => {
  for (const args of [['start'], ['start', 'runtime'], ['stop'], ['stop', '--all']]) {
    const result = await runTkadmWith(['service', ...args], { uid: 65_534 });
    t.match(result, { exitCode: EXIT_CODES.preflight, stderr: /root is needed/ }, args.join(' '));
  }
});

t.test('an empty KUBECONFIG is none', async (t) => {
  const result = await runTkadmWith(['token', 'list'], { env: { KUBECONFIG: '' } });
  t.notMatch(result.stderr, /""/);
});
