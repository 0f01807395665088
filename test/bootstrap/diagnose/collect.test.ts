import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { collectCertificates } from '../../../bootstrap/diagnose/collect/certificates.ts';
import { createLooker } from '../../../bootstrap/diagnose/collect/looker.ts';
import { probeAll } from '../../../bootstrap/diagnose/collect/probes.ts';
import { collectStaticPods } from '../../../bootstrap/diagnose/collect/static-pods.ts';
import { createCa, issueCertificate } from '../../../pki/issue.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { ago, NOW } from './fixture.ts';

const HOUR_MS = 3_600_000;
const times = (fromHours: number, toHours: number) => ({
  notBefore: new Date(NOW.getTime() + fromHours * HOUR_MS),
  notAfter: new Date(NOW.getTime() + toHours * HOUR_MS),
});

/** A machine that has these files. */
function hostOf(files: Readonly<Record<string, string>>): Host {
  const under = (path: string) =>
    Object.keys(files).flatMap((name) => (name.startsWith(`${path}/`) ? [name.slice(path.length + 1)] : []));
  return {
    ...createLocalHost(),
    readFile: async (path) => files[path],
    list: async (path) => [...new Set(under(path).map((name) => name.split('/')[0] ?? ''))].sort(),
    run: async (argv) => ({ exitCode: 0, stdout: files[argv.at(-1) ?? ''] ?? '', stderr: '' }),
  };
}

t.test('collectCertificates() judges time and issuer of each', async (t) => {
  const make = (commonName: string) => createCa({ commonName, algorithm: 'ECDSA-P256', ...times(-9, 99) });
  const [ca, other] = await Promise.all([make('kubernetes'), make('kubernetes')]);
  const issue = async (issuer: typeof ca, validity: ReturnType<typeof times>) =>
    (
      await issueCertificate({
        spec: { commonName: 'system:node:cp', organizations: [], usages: ['client auth'] },
        ca: issuer,
        algorithm: 'ECDSA-P256',
        ...validity,
      })
    ).certPem;
  const pki = '/etc/kubernetes/pki';
  const host = hostOf({
    [`${pki}/ca.crt`]: ca.certPem,
    [`${pki}/apiserver.crt`]: await issue(ca, times(-9, -1)),
    [`${pki}/apiserver-kubelet-client.crt`]: await issue(other, times(-9, 9)),
  });
  const found = await collectCertificates(host, {
    now: NOW,
    isControlPlane: true,
    kubelet: { server: '', caPem: other.certPem, certPem: await issue(ca, times(1, 9)) },
  });
  t.same(
    found.map(({ name, problems }) => [name, ...problems.map(({ kind }) => kind)]),
    [
      ['ca'],
      ['apiserver', 'expired'],
      ['apiserver-kubelet-client', 'signature'],
      ['node', 'not-yet-valid'],
      ['trust', 'other-ca'],
    ],
  );
});

t.test('collectStaticPods() counts starts by the last log, and not those of long ago', async (t) => {
  const logs = '/var/log/pods/kube-system_kube-scheduler-cp_1/kube-scheduler';
  const manifest = 'kind: Pod\nspec: {containers: [{name: a}]}\n';
  const scheduler = async (files: Readonly<Record<string, string>>) => {
    const host = hostOf({ '/etc/kubernetes/manifests/kube-scheduler.yaml': manifest, ...files });
    return (await collectStaticPods(host, NOW)).find(({ component }) => component === 'kube-scheduler');
  };
  const line = (seconds: number) => `${ago(seconds)} stderr F it went wrong\n`;
  t.match(await scheduler({ [`${logs}/3.log`]: line(5) }), { recentStarts: 4, log: ['it went wrong'] });
  t.match(await scheduler({ [`${logs}/3.log`]: line(9_000), [`${logs}/4.log`]: line(5) }), {
    recentStarts: 1,
  });
  t.match(await scheduler({ [`${logs}/9.log`]: line(9_000) }), { recentStarts: 0 });
  t.match(await scheduler({}), { recentStarts: 0, log: [], manifestProblem: undefined });
});

t.test('probeAll() tells an answer with its clock, a refusal and silence', async (t) => {
  const server = createServer((request, response) => {
    if (request.url === '/silent') return;
    response.setHeader('Date', new Date(NOW.getTime() - HOUR_MS).toUTCString());
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.closeAllConnections());
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const targets = [
    { name: 'a', url: `${url}/livez` },
    { name: 'b', url: `${url}/silent` },
    { name: 'c', url: 'http://127.0.0.1:1/' },
  ];
  const options = { nodePath: process.execPath, timeoutMs: 1_000, now: () => NOW };
  t.match(await probeAll(createLocalHost(), targets, options), [
    { name: 'a', outcome: 'answered', said: 'HTTP 200', skewMs: HOUR_MS },
    { name: 'b', outcome: 'silent' },
    { name: 'c', outcome: 'refused' },
  ]);
});

t.test('a looker goes on when a look fails or hangs, and remembers it', async (t) => {
  const looker = createLooker(20);
  const hung = looker.look('disks', () => new Promise<string>(() => {}), 'none');
  const failed = looker.look('ports', async () => Promise.reject(new Error('denied')), 'none');
  t.same(await Promise.all([hung, failed]), ['none', 'none']);
  t.same([...looker.unseen].sort(), ['disks: no answer within 20 ms', 'ports: denied']);
});
