import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCertificateEnds } from '../../pki/expiry-warning.ts';
import { createCa, issueCertificate, validityFrom } from '../../pki/issue.ts';
import { buildKubeconfig } from '../../templates/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';
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
    {
      key: 'certs.ends',
      what: 'ends of all certificates of a node read, before a warning',
      unit: 'ms',
      bar: 5,
    },
  ],
  async run(bench) {
    await measureEnds(bench);
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

/** Three CAs, seven leaves and five kubeconfigs, as a control plane has them. */
async function measureEnds({ scratch, samples, record }: Bench): Promise<void> {
  const kubernetes = join(scratch, 'kubernetes');
  mkdirSync(join(kubernetes, 'pki/etcd'), { recursive: true });
  const year = validityFrom(new Date(), 365 * 86_400_000);
  const algorithm = 'ECDSA-P256';
  const ca = await createCa({ commonName: 'kubernetes', algorithm, ...year });
  const spec = { commonName: 'x', organizations: [], usages: ['client auth' as const] };
  const leaf = await issueCertificate({ spec, ca, algorithm, ...year });
  for (const name of ['ca', 'front-proxy-ca', 'etcd/ca'])
    writeFileSync(join(kubernetes, `pki/${name}.crt`), ca.certPem);
  for (let index = 0; index < 7; index += 1)
    writeFileSync(join(kubernetes, `pki/leaf${index}.crt`), leaf.certPem);
  const kubeconfig = buildKubeconfig({
    clusterName: 'k',
    server: 'https://a',
    caPem: ca.certPem,
    user: 'u',
    credentials: leaf,
  });
  for (let index = 0; index < 5; index += 1)
    writeFileSync(join(kubernetes, `user${index}.conf`), renderYaml(kubeconfig));
  for (let index = 0; index < samples; index += 1) {
    const { ms } = await timed(async () => readCertificateEnds(kubernetes, join(scratch, 'kubelet')));
    record('certs.ends', ms);
  }
}
