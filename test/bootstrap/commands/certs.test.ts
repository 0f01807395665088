import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startTestServer } from '../../runtime/controlplane/apiserver/test-server.ts';
import { runTkadm } from './tkadm.ts';

interface ExpirationInfo {
  readonly apiVersion: string;
  readonly kind: string;
  readonly certificates: readonly Row[];
  readonly certificateAuthorities: readonly Row[];
}

interface Row {
  readonly name: string;
  readonly expirationDate?: string;
  readonly residualTime: number;
  readonly externallyManaged: boolean;
  readonly caName?: string;
  readonly missing: boolean;
}

function kubectl(kubeconfig: string, ...args: readonly string[]): string {
  return execFileSync('kubectl', ['--kubeconfig', kubeconfig, ...args], { encoding: 'utf8' });
}

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: 'pipe' });
}

/** Runs a command that must succeed. */
async function succeed(t: Test, ...args: readonly string[]) {
  const result = await runTkadm(...args);
  t.equal(result.exitCode, 0, `${args.slice(0, 3).join(' ')}: ${result.stderr}`);
  return result;
}

t.test(
  'certs and kubeconfig user at a real API server, whose certificate is renewed while it runs',
  async (t) => {
    const server = await startTestServer(t);
    const { directory } = server;
    const at = (name: string) => join(directory, name);
    const settings = ['--cert-dir', directory, '--kubeconfig-dir', directory];
    writeFileSync(
      at('config.yaml'),
      `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncontrolPlaneEndpoint: 127.0.0.1:${server.port}\nencryptionAlgorithm: ECDSA-P256\n`,
    );
    const issue = async (name: string, org: string, file: string) => {
      const config = ['--config', at('config.yaml'), ...settings];
      const { stdout } = await succeed(
        t,
        'kubeconfig',
        'user',
        '--client-name',
        name,
        '--org',
        org,
        ...config,
      );
      writeFileSync(at(file), stdout, { mode: 0o600 });
    };
    // What a control-plane node has beside the API server's files.
    await issue('kubernetes-admin', 'system:masters', 'admin.conf');
    await issue('system:kube-controller-manager', 'none', 'controller-manager.conf');

    t.match(kubectl(at('admin.conf'), 'auth', 'whoami'), /kubernetes-admin[\s\S]*system:masters/);
    t.match(kubectl(at('admin.conf'), 'get', 'namespaces', '-o', 'name'), /namespace\/kube-system/);
    await issue('jane', 'devs', 'jane.conf');
    t.match(
      kubectl(at('jane.conf'), 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo}'),
      /"devs".*"jane"/,
    );

    const before = openssl('x509', '-noout', '-serial', '-in', at('apiserver.crt'));
    const pid = server.pid;
    const { stdout } = await succeed(t, 'certs', 'renew', 'apiserver', ...settings, '-o', 'json');
    const [result] = JSON.parse(stdout).certificates;
    t.match(result, {
      name: 'apiserver',
      state: 'renewed',
      caName: 'ca',
      usedBy: 'kube-apiserver',
      inUse: `kube-apiserver at 127.0.0.1:${server.port} serves it`,
    });
    const served = execFileSync(
      'sh',
      [
        '-c',
        `openssl s_client -connect 127.0.0.1:${server.port} </dev/null 2>/dev/null | openssl x509 -noout -serial`,
      ],
      { encoding: 'utf8' },
    );
    t.not(served, before);
    t.equal(served, openssl('x509', '-noout', '-serial', '-in', at('apiserver.crt')));
    t.equal(server.pid, pid, 'the same process');
    t.match(openssl('verify', '-CAfile', at('ca.crt'), at('apiserver.crt')), /OK/);
    t.match(
      openssl('x509', '-noout', '-ext', 'subjectAltName', '-in', at('apiserver.crt')),
      'DNS:localhost, IP Address:127.0.0.1',
    );
    t.equal(statSync(at('apiserver.key')).mode & 0o777, 0o600);

    const oldKey = readFileSync(at('admin.conf'), 'utf8');
    const renewed = await succeed(t, 'certs', 'renew', 'admin.conf', ...settings);
    t.match(renewed.stdout, /^\[renewed\] admin\.conf: .*the API server knows it as "kubernetes-admin"/);
    t.not(readFileSync(at('admin.conf'), 'utf8'), oldKey);
    t.match(kubectl(at('admin.conf'), 'auth', 'whoami'), /kubernetes-admin/);

    const stale = await runTkadm('certs', 'renew', 'apiserver', ...settings, '--config', at('config.yaml'));
    t.match(stale.stdout, /serves it/, 'with a configuration, the names that it asks for are added');
    const names = openssl('x509', '-noout', '-ext', 'subjectAltName', '-in', at('apiserver.crt'));
    t.match(names, /DNS:kubernetes\.default\.svc\.cluster\.local/);
    t.match(names, /DNS:localhost/);
    t.match(openssl('x509', '-noout', '-text', '-in', at('apiserver.crt')), /id-ecPublicKey/);

    const all = await succeed(t, 'certs', 'renew', 'all', ...settings, '--no-wait', '-o', 'json');
    const states = Object.fromEntries(
      JSON.parse(all.stdout).certificates.map((row: { name: string; state: string }) => [
        row.name,
        row.state,
      ]),
    );
    t.same(states, {
      'admin.conf': 'renewed',
      apiserver: 'renewed',
      'apiserver-kubelet-client': 'missing',
      'controller-manager.conf': 'renewed',
      'front-proxy-client': 'missing',
      'scheduler.conf': 'missing',
      'super-admin.conf': 'missing',
    });

    await server.stop();
    const down = await succeed(t, 'certs', 'renew', 'apiserver', ...settings);
    t.match(
      down.stdout,
      /does not answer \(.*ECONNREFUSED.*\) and reads it when it starts/,
      'with the cluster down',
    );
    t.match(down.stderr, /configuration cannot be read; defaults are used/);
  },
);

t.test(
  'certs check-expiration shows every certificate, as a table and as CertificateExpirationInfo',
  async (t) => {
    const dir = t.testdir({ pki: {} });
    const settings = ['--cert-dir', join(dir, 'pki'), '--kubeconfig-dir', dir];
    await succeed(t, 'init', 'phase', 'certs', '--cert-dir', join(dir, 'pki'));
    for (const name of ['admin', 'kubelet']) {
      const { stdout } = await succeed(t, 'kubeconfig', 'user', '--client-name', name, ...settings);
      writeFileSync(join(dir, `${name}.conf`), stdout);
    }
    const json = await succeed(t, 'certs', 'check-expiration', ...settings, '-o', 'json');
    const info = JSON.parse(json.stdout) as ExpirationInfo;
    t.equal(info.apiVersion, 'output.kubeadm.k8s.io/v1alpha3');
    t.equal(info.kind, 'CertificateExpirationInfo');
    t.same(
      info.certificates.map((row) => `${row.name} ${row.caName} ${row.missing}`),
      [
        'admin.conf ca false',
        'apiserver ca false',
        'apiserver-kubelet-client ca false',
        'controller-manager.conf ca true',
        'front-proxy-client front-proxy-ca false',
        'kubelet.conf ca false',
        'scheduler.conf ca true',
        'super-admin.conf ca true',
      ],
    );
    const text = openssl('x509', '-noout', '-enddate', '-in', join(dir, 'pki/apiserver.crt')).trim();
    const end = Date.parse(text.split('=')[1]!);
    const row = info.certificates.find(({ name }) => name === 'apiserver')!;
    t.equal(Date.parse(row.expirationDate!), end);
    t.ok(Math.abs(row.residualTime - (end - Date.now()) / 1000) < 30, 'seconds');
    t.same(
      info.certificateAuthorities.map((ca) => [ca.name, ca.externallyManaged, ca.missing]),
      [
        ['ca', false, false],
        ['front-proxy-ca', false, false],
      ],
    );
    rmSync(join(dir, 'pki/front-proxy-ca.key'));
    const table = (await succeed(t, 'certificates', 'check-expiration', ...settings)).stdout;
    t.match(table, /^CERTIFICATE +EXPIRES +RESIDUAL TIME +CERTIFICATE AUTHORITY +EXTERNALLY MANAGED\n/);
    t.match(table, /^apiserver +\w{3} \d\d, \d{4} \d\d:\d\d UTC +36\dd +ca +no$/m);
    t.match(table, /^front-proxy-client +.* +front-proxy-ca +yes$/m);
    t.match(table, /^!MISSING! scheduler\.conf$/m);
    t.match(table, /\nCERTIFICATE AUTHORITY +EXPIRES +RESIDUAL TIME +EXTERNALLY MANAGED\nca +.*9y +no\n/);
    const renew = await runTkadm('certs', 'renew', 'front-proxy-client', ...settings);
    t.equal(renew.exitCode, 6);
    t.match(renew.stderr, /"front-proxy-client": the key of its CA "front-proxy-ca" is not on this machine/);
    const all = await succeed(t, 'certs', 'renew', 'all', ...settings, '--no-wait');
    t.match(all.stdout, /^\[external\] front-proxy-client:/m);
    t.match(all.stdout, /^\[renewed\] apiserver:/m);
  },
);

t.test('certs check-expiration on a worker shows what a worker has', async (t) => {
  const dir = t.testdir({ pki: {} });
  const settings = ['--cert-dir', join(dir, 'pki'), '--kubeconfig-dir', dir];
  await succeed(t, 'init', 'phase', 'certs', 'ca', '--cert-dir', join(dir, 'pki'));
  const { stdout } = await succeed(t, 'kubeconfig', 'user', '--client-name', 'system:node:n1', ...settings);
  writeFileSync(join(dir, 'kubelet.conf'), stdout);
  rmSync(join(dir, 'pki/ca.key'));
  const info = JSON.parse(
    (await succeed(t, 'certs', 'check-expiration', ...settings, '-o', 'json')).stdout,
  ) as ExpirationInfo;
  t.match(info.certificates, [{ name: 'kubelet.conf', missing: false, externallyManaged: true }]);
  t.match(info.certificateAuthorities, [{ name: 'ca', missing: false }]);
  t.equal(info.certificates.length + info.certificateAuthorities.length, 2);
});

t.test('a name that a certificate lacks is an error, and the command that it names ends that', async (t) => {
  const dir = t.testdir();
  const config = (name: string, names: string) => {
    const text = `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncertificatesDir: ${dir}/pki\nencryptionAlgorithm: ECDSA-P384\napiServer: {certSANs: [${names}]}\n`;
    writeFileSync(join(dir, name), text);
    return ['--config', join(dir, name)];
  };
  const [first, second] = [
    config('1.yaml', 'a.example'),
    config('2.yaml', 'a.example, b.example, 192.0.2.7'),
  ];
  const phase = ['init', 'phase', 'certs', 'all'];
  await succeed(t, ...phase, ...first);
  const again = await succeed(t, ...phase, ...first);
  t.match(again.stdout, /\[certs\/apiserver\] Already there/);
  const stale = await runTkadm(...phase, ...second);
  t.equal(stale.exitCode, 6);
  t.match(stale.stderr, /apiserver\.crt": it is not valid for "b\.example", "192\.0\.2\.7"/);
  t.match(stale.stderr, /try: tkadm certs renew apiserver --config FILE/);
  await succeed(t, 'certs', 'renew', 'apiserver', '--no-wait', ...second);
  await succeed(t, ...phase, ...second);
  const names = openssl('x509', '-noout', '-ext', 'subjectAltName', '-in', join(dir, 'pki/apiserver.crt'));
  t.match(names, /DNS:a\.example, DNS:b\.example, .*IP Address:192\.0\.2\.7/);
});

t.test('certs refuses by name', async (t) => {
  for (const [name, exitCode, message] of [
    ['nonsense', 2, /it is none of all, admin\.conf/],
    ['ca', 2, /it is none of/],
    ['kubelet.conf', 2, /it is none of/],
    ['etcd-server', 6, /this cluster has no etcd of its own/],
    ['apiserver', 6, /apiserver\.crt" is not there/],
  ] as const) {
    const empty = t.testdir();
    const result = await runTkadm('certs', 'renew', name, '--cert-dir', empty, '--kubeconfig-dir', empty);
    t.equal(result.exitCode, exitCode, name);
    t.match(result.stderr, message, name);
  }
});

t.test('certs certificate-key prints 32 random bytes', async (t) => {
  const [a, b] = await Promise.all([1, 2].map(() => succeed(t, 'certs', 'certificate-key')));
  t.match(a!.stdout, /^[0-9a-f]{64}$/);
  const json = await succeed(t, 'certs', 'certificate-key', '-o', 'json');
  t.match(JSON.parse(json.stdout), { certificateKey: /^[0-9a-f]{64}$/ });
  t.not(a!.stdout, b!.stdout);
});

t.test('kubeconfig user takes a token, and a shorter life', async (t) => {
  const dir = t.testdir();
  const settings = ['--cert-dir', dir, '--kubeconfig-dir', dir];
  await succeed(t, 'init', 'phase', 'certs', '--cert-dir', dir);
  const short = ['kubeconfig', 'user', '--client-name', 'bot', '--validity-period', '1h', ...settings];
  const data = /client-certificate-data: (\S+)/.exec((await succeed(t, ...short)).stdout)![1]!;
  writeFileSync(join(dir, 'bot.crt'), Buffer.from(data, 'base64'));
  const end = openssl('x509', '-noout', '-enddate', '-in', join(dir, 'bot.crt')).trim().split('=')[1]!;
  t.ok(Math.abs(Date.parse(end) - Date.now() - 3600_000) < 60_000);
  rmSync(join(dir, 'ca.key'));
  const withToken = ['kubeconfig', 'user', '--client-name', 'bot', '--token', 'a.b', ...settings];
  const byToken = (await succeed(t, ...withToken)).stdout;
  t.match(byToken, /token: a\.b/);
  const json = JSON.parse((await succeed(t, ...withToken, '-o', 'json')).stdout);
  t.match(json, { kind: 'Config', users: [{ name: 'bot', user: { token: 'a.b' } }] });
  t.notMatch(byToken, /client-/);
  const refused = await runTkadm('kubeconfig', 'user', '--client-name', 'bot', ...settings);
  t.equal(refused.exitCode, 6);
  t.match(refused.stderr, /nothing at ".*\/ca\.key"/, 'an external CA signs nothing here');
  t.equal((await runTkadm(...withToken, '--org', 'x')).exitCode, 2);
  t.ok(existsSync(join(dir, 'ca.crt')));
});
