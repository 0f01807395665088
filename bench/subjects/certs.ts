import type { LabHost } from '../../test/hosts/lab.ts';
import { tkadm, withLab } from '../cluster.ts';
import { type Bench, median, type Subject, timed } from '../measure.ts';

const ALGORITHMS = [
  { key: 'certs.rsa', name: 'RSA-2048' },
  { key: 'certs.ecdsa', name: 'ECDSA-P256' },
] as const;

/** `tkadm init phase certs`, the checks of init, and how long the command itself takes to start. */
export const certsSubject: Subject = {
  name: 'certs',
  rows: [
    { key: 'start.help', what: 'tkadm --help', unit: 'ms' },
    { key: 'preflight', what: 'preflight: all checks of init, without process start', unit: 'ms', bar: 300 },
    {
      key: 'certs.rsa',
      what: 'certs all, RSA-2048, above process start',
      unit: 'ms',
      bar: 900,
      peers: 'kubeadm 663',
    },
    {
      key: 'certs.ecdsa',
      what: 'certs all, ECDSA, above process start',
      unit: 'ms',
      bar: 200,
      peers: 'kubeadm 30',
    },
  ],
  async run(bench) {
    await withLab({ hostNames: ['bench-pki'] }, async (lab) => {
      const host = lab.hosts[0]!;
      const starts: number[] = [];
      for (let index = 0; index < bench.samples; index += 1) {
        const { ms } = await timed(() => tkadm(bench, host, ['--help']));
        bench.record('start.help', ms);
        starts.push(ms);
      }
      for (let index = 0; index < bench.samples; index += 1) {
        const checks = ['preflight', '--ignore-preflight-errors=all', '-o', 'json'];
        const report = await tkadm(bench, host, checks);
        bench.record('preflight', (JSON.parse(report) as { readonly durationMs: number }).durationMs);
      }
      for (const { key, name } of ALGORITHMS) {
        for (let index = 0; index < bench.samples; index += 1) {
          bench.record(key, (await makeCertificates(bench, host, name)) - median(starts));
        }
      }
    });
  },
};

async function makeCertificates(bench: Bench, host: LabHost, algorithm: string): Promise<number> {
  await host.exec(['rm', '-rf', '/etc/kubernetes/pki']);
  const config = [
    'apiVersion: kubeadm.k8s.io/v1beta4',
    'kind: ClusterConfiguration',
    `encryptionAlgorithm: ${algorithm}`,
    '',
  ].join('\n');
  await host.exec(['sh', '-c', 'cat > /tmp/bench.yaml'], { input: config });
  const { ms } = await timed(() =>
    tkadm(bench, host, ['init', 'phase', 'certs', '--config=/tmp/bench.yaml']),
  );
  return ms;
}
