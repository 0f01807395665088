import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { EXIT_CODES } from '../../../runtime/base/errors.ts';
import { parseLines, runTkadmWith } from './tkadm.ts';

const TOKEN = 'abcdef.0123456789abcdee';
const PIN = `sha256:${'1'.repeat(64)}`;
const CLUSTER = '127.0.0.1:1';
const MACHINE = 'root@192.0.2.1';

interface Row {
  readonly title: string;
  readonly args: readonly string[];
  readonly code: string;
  readonly message: RegExp;
  readonly hint?: RegExp;
}

const TOKEN_HINT = /token create --print-join-command/;

const REFUSALS: readonly Row[] = [
  {
    title: 'a machine that is named twice',
    args: [MACHINE, MACHINE],
    code: 'USAGE',
    message: /"192\.0\.2\.1" twice/,
  },
  {
    title: 'a malformed token',
    args: [CLUSTER, '--token', 'bad', '--discovery-token-ca-cert-hash', PIN],
    code: 'CONFIG_INVALID',
    message: /token.*form/,
    hint: TOKEN_HINT,
  },
  {
    title: 'a malformed pin',
    args: [CLUSTER, '--token', TOKEN, '--discovery-token-ca-cert-hash', 'sha256:12'],
    code: 'CONFIG_INVALID',
    message: /"sha256:12": it has 2 hexadecimal digits instead of 64/,
    hint: TOKEN_HINT,
  },
  {
    title: 'one malformed pin of two',
    args: [
      CLUSTER,
      '--token',
      TOKEN,
      ...[PIN, 'md5:ab'].flatMap((pin) => ['--discovery-token-ca-cert-hash', pin]),
    ],
    code: 'CONFIG_INVALID',
    message: /"md5:ab"/,
  },
  { title: 'no pin', args: [CLUSTER, '--token', TOKEN], code: 'CONFIG_INVALID', message: /caCertHashes/ },
  {
    title: 'a file and a token at once',
    args: [CLUSTER, '--token', TOKEN, '--discovery-file', '/x', '--discovery-token-ca-cert-hash', PIN],
    code: 'CONFIG_INVALID',
    message: /exclude each other/,
  },
  {
    title: 'over SSH: a flag that is for the machine itself',
    args: [MACHINE, '--discovery-file', '/x'],
    code: 'USAGE',
    message: /--discovery-file in a join over SSH/,
  },
  {
    title: 'over SSH: a malformed token',
    args: [MACHINE, '--token', 'bad', '--api-server', 'x:1'],
    code: 'TOKEN_INVALID',
    message: /form/,
  },
  {
    title: 'over SSH: a malformed pin',
    args: [MACHINE, '--token', TOKEN, '--api-server', 'x:1', '--discovery-token-ca-cert-hash', 'x'],
    code: 'CA_PIN_INVALID',
    message: /"x"/,
    hint: TOKEN_HINT,
  },
  {
    title: 'over SSH: no pin',
    args: [MACHINE, '--token', TOKEN, '--api-server', 'x:1'],
    code: 'CA_PIN_INVALID',
    message: /no kubeconfig whose CA/,
    hint: TOKEN_HINT,
  },
  {
    title: 'over SSH: no API server',
    args: [MACHINE, '--token', TOKEN],
    code: 'USAGE',
    message: /where the API server is/,
    hint: /--api-server/,
  },
];

t.test('join refuses wrong input before any request', async (t) => {
  const env = { KUBECONFIG: '/none' };
  await Promise.all(
    REFUSALS.map(async ({ title, args, code, message, hint }) => {
      const startedAt = performance.now();
      const result = await runTkadmWith(['join', ...args, '-o', 'json'], { env });
      t.equal(result.exitCode, EXIT_CODES.usage, title);
      const [line] = parseLines(result.stdout);
      t.match(line, { type: 'error', code, message, ...(hint ? { hint } : {}) }, title);
      t.ok(performance.now() - startedAt < 20_000, `${title}: nothing was waited for`);
      t.notMatch(result.stdout, /0123456789abcdee|"bad"/, title);
    }),
  );
});

t.test(
  'join names a discovery file that cannot be used',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async (t) => {
    const path = join(t.testdir(), 'discovery.conf');
    const user = { exec: { command: 'aws', apiVersion: 'client.authentication.k8s.io/v1' } };
    const cluster = {
      server: 'https://127.0.0.1:1',
      'certificate-authority-data': Buffer.from('PEM').toString('base64'),
    };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'c',
    };
    writeFileSync(path, JSON.stringify(config));
    const args = [
      'join',
      '--discovery-file',
      path,
      '--dry-run',
      '--ignore-preflight-errors',
      'all',
      '-o',
      'json',
    ];
    const result = await runTkadmWith(args);
    t.equal(result.exitCode, EXIT_CODES.discovery);
    t.match(parseLines(result.stdout).at(-1), {
      code: 'DISCOVERY_FILE_INVALID',
      message: /its user has "exec"/,
      hint: /client certificate, a token or a tokenFile/,
    });
  },
);
