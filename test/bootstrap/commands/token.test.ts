import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import t from 'tap';
import { SECRETS } from '../../../runtime/api/kinds.ts';
import { startTestServer } from '../../runtime/controlplane/apiserver/test-server.ts';
import { parseLines, runTkadmWith, type TkadmOptions } from './tkadm.ts';

const KEY = 'ab'.repeat(32);

t.test('tkadm token', { timeout: 180_000 }, async (t) => {
  const server = await startTestServer(t, ['--enable-bootstrap-token-auth']);
  const admin = await server.client('admin');
  const token = (args: readonly string[], options: TkadmOptions = {}) =>
    runTkadmWith(['token', ...args, '--kubeconfig', server.kubeconfig], options);
  const read = async (id: string) => {
    const secret = await admin.find(SECRETS, { name: `bootstrap-token-${id}`, namespace: 'kube-system' });
    return (
      secret &&
      Object.fromEntries(
        Object.entries(secret.data ?? {}).map(([key, value]) => [
          key,
          Buffer.from(value, 'base64').toString(),
        ]),
      )
    );
  };
  const caPem = readFileSync(join(server.directory, 'ca.crt'), 'utf8');
  const spki = new X509Certificate(caPem).publicKey.export({ type: 'spki', format: 'der' });
  const pin = `sha256:${createHash('sha256').update(spki).digest('hex')}`;

  await t.test('create: a random token of a day', async (t) => {
    const { exitCode, stdout, stderr } = await token(['create']);
    t.equal(exitCode, 0, stderr);
    t.match(stdout, /^[a-z0-9]{6}\.[a-z0-9]{16}\n$/);
    const values = (await read(stdout.slice(0, 6)))!;
    t.match(values, {
      'token-secret': stdout.trim().slice(7),
      'usage-bootstrap-signing': 'true',
      'usage-bootstrap-authentication': 'true',
      'auth-extra-groups': 'system:bootstrappers:kubeadm:default-node-token',
      expiration: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
    });
    const lifeMs = Date.parse(values['expiration'] ?? '') - Date.now();
    t.ok(lifeMs > 86_300_000 && lifeMs <= 86_400_000, `${lifeMs} ms`);
  });

  await t.test('create: every setting', async (t) => {
    const args = ['--ttl', '0', '--usages', 'signing', '--description', 'for "me"', '-o', 'json'];
    const { exitCode, stdout, stderr } = await token(['create', 'aaaaaa.0123456789abcdee', ...args]);
    t.equal(exitCode, 0, stderr);
    t.same(JSON.parse(stdout), { token: 'aaaaaa.0123456789abcdee' });
    t.same(await read('aaaaaa'), {
      'token-id': 'aaaaaa',
      'token-secret': '0123456789abcdee',
      description: 'for "me"',
      'usage-bootstrap-signing': 'true',
    });
    const again = await token(['create', 'aaaaaa.0123456789abcdef', '-o', 'json']);
    t.equal(again.exitCode, 7);
    t.match(JSON.parse(again.stdout), { type: 'error', code: 'TOKEN_EXISTS', hint: /token delete aaaaaa/ });
  });

  await t.test('create --print-join-command: endpoint, pin, certificate key', async (t) => {
    const endpoint = `127.0.0.1:${server.port}`;
    const plain = await token(['create', 'bbbbbb.0123456789abcdef', '--print-join-command']);
    const command = `tkadm join ${endpoint} --token bbbbbb.0123456789abcdef --discovery-token-ca-cert-hash ${pin}`;
    t.equal(plain.stdout, `${command}\n`, plain.stderr);
    const args = ['--print-join-command', '--certificate-key', KEY, '--dry-run'];
    const dry = await token(['create', 'cccccc.0123456789abcdef', ...args]);
    t.match(dry.stdout, new RegExp(`--control-plane --certificate-key ${KEY}\n$`));
    t.match(dry.stderr, /would create Secret kube-system\/bootstrap-token-cccccc/);
    t.equal(await read('cccccc'), undefined, 'a dry run creates nothing');
    const noCluster = await runTkadmWith(['token', 'create', '--dry-run', '--kubeconfig', '/none']);
    t.match(noCluster, { exitCode: 0, stdout: /^\w{6}\.\w{16}\n$/ });
  });

  await t.test('create --config: the tokens of an InitConfiguration', async (t) => {
    const path = join(t.testdir(), 'init.yaml');
    writeFileSync(
      path,
      `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens:
  - {token: dddddd.0123456789abcdef, ttl: 1h, description: one}
  - {token: eeeeee.0123456789abcdef, usages: [signing], groups: []}
`,
    );
    const { exitCode, stdout, stderr } = await token(['create', '--config', path]);
    t.equal(exitCode, 0, stderr);
    t.equal(stdout, 'dddddd.0123456789abcdef\n');
    t.match(await read('dddddd'), { description: 'one' });
    const mixed = await token(['create', '--config', path, '--ttl', '2h', '--groups', 'x']);
    t.equal(mixed.exitCode, 2);
    t.match(mixed.stderr, /Cannot mix '--config' with arguments \[ttl groups\]/);
  });

  await t.test('create refuses before any request', async (t) => {
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [['secret'], /form "abcdef\.0123456789abcdef"/],
      [['Abcdef.0123456789abcdef'], /form/],
      [['--ttl', 'tomorrow'], /duration "tomorrow"/],
      [['--ttl=-1h'], /negative/],
      [['--ttl', '10ms'], /shorter than a second/],
      [['--usages', 'signing,eating'], /usage "eating"/],
      [['--usages', ''], /without usages/],
      [['--groups', 'system:masters'], /group "system:masters"/],
      [['--groups', 'system:bootstrappers:'], /group/],
      [['--groups', 'system:bootstrappers:UPPER'], /group/],
      [['--usages', 'signing', '--groups', 'system:bootstrappers:x'], /"authentication"/],
      [['--certificate-key', KEY], /--print-join-command/],
      [['--certificate-key', 'short', '--print-join-command'], /32 bytes in hexadecimal/],
    ];
    await Promise.all(
      cases.map(async ([args, expected]) => {
        const { exitCode, stderr } = await runTkadmWith([
          'token',
          'create',
          ...args,
          '--kubeconfig',
          '/none',
        ]);
        t.equal(exitCode, 2, args.join(' '));
        t.match(stderr, expected);
        t.notMatch(stderr, /secret'|short'/);
      }),
    );
  });

  await t.test('list: a table, and kubeadm documents', async (t) => {
    const [text, json, yaml] = await Promise.all([
      token(['list']),
      token(['list', '-o', 'json']),
      token(['list', '-o', 'yaml']),
    ]);
    t.match(text.stdout, /^TOKEN +TTL +EXPIRES +USAGES +DESCRIPTION +EXTRA GROUPS\n/);
    t.match(text.stdout, /aaaaaa\.0123456789abcdee +<forever> +<never> +signing +for "me" +<none>\n/);
    t.match(
      text.stdout,
      /dddddd\.0123456789abcdef +59m +\d{4}-\S+Z +signing,authentication +one +system:bootstrappers/,
    );
    const documents = parseLines<{ token: string }>(json.stdout);
    t.same(
      documents.find((row) => row.token.startsWith('aaaaaa')),
      {
        apiVersion: 'output.kubeadm.k8s.io/v1alpha3',
        kind: 'BootstrapToken',
        token: 'aaaaaa.0123456789abcdee',
        description: 'for "me"',
        usages: ['signing'],
      },
    );
    t.same(loadAll(yaml.stdout), documents);
  });

  await t.test('delete: by id and in full; all names are checked first', async (t) => {
    const wrong = await token(['delete', 'aaaaaa', 'nonsense!']);
    t.equal(wrong.exitCode, 2);
    t.ok(await read('aaaaaa'), 'nothing is deleted beside a wrong name');
    const dry = await token(['delete', 'aaaaaa', '--dry-run']);
    t.match(dry, { exitCode: 0, stdout: 'bootstrap token "aaaaaa" would be deleted\n' });
    t.ok(await read('aaaaaa'));
    const both = await token(['delete', 'aaaaaa', 'bbbbbb.0123456789abcdef', '-o', 'json']);
    t.match(both.exitCode, 0, both.stderr);
    t.same(JSON.parse(both.stdout), { deleted: ['aaaaaa', 'bbbbbb'] });
    t.equal(await read('aaaaaa'), undefined);
    const gone = await token(['delete', 'aaaaaa']);
    t.equal(gone.exitCode, 7);
    t.match(gone.stderr, /no|none with that id/);
  });

  await t.test('generate creates nothing', async (t) => {
    const { stdout } = await runTkadmWith(['token', 'generate', '-o', 'json']);
    const made = (JSON.parse(stdout) as { token: string }).token;
    t.match(made, /^[a-z0-9]{6}\.[a-z0-9]{16}$/);
    t.equal(await read(made.slice(0, 6)), undefined);
  });
});
