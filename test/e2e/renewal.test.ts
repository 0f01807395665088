import { X509Certificate } from 'node:crypto';
import t from 'tap';
import type { CaPair } from '../../pki/issue.ts';
import { planKubeconfigRenewal } from '../../templates/kubeconfig-renewal.ts';
import {
  eventually,
  follow,
  getJson,
  getPods,
  initCluster,
  kubectlText,
  labObstacle,
  type PodFacts,
  readyNodes,
  readyPods,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

const YEAR_MS = 365 * 86_400_000;
const PKI = '/etc/kubernetes/pki';

const options = (ca: CaPair) => ({
  ca,
  algorithm: 'ECDSA-P256' as const,
  certificateValidityMs: YEAR_MS,
  now: new Date(),
});

async function read(host: LabHost, path: string): Promise<string> {
  const { stdout, stderr, exitCode } = await host.exec(['cat', path]);
  if (exitCode === 0) return stdout;
  throw new Error(stderr);
}

/** `tkadm certs renew`, which must succeed. */
async function renew(host: LabHost, name: string): Promise<void> {
  const { exitCode, all } = await tkadm(host, ['certs', 'renew', name]);
  if (exitCode !== 0) throw new Error(`certs renew ${name}: ${all}`);
}

/** Keeps the inode, as an editor may. */
async function renewInPlace(host: LabHost, name: string, ca: CaPair): Promise<void> {
  const path = `/etc/kubernetes/${name}.conf`;
  const { content } = await planKubeconfigRenewal(path, await read(host, path), options(ca));
  const { exitCode, stderr } = await host.exec(['sh', '-c', 'cat > "$1"', 'write', path], {
    input: String(content),
  });
  if (exitCode !== 0) throw new Error(stderr);
}

async function servedSerial(host: LabHost): Promise<string> {
  const command =
    'openssl s_client -connect 127.0.0.1:6443 </dev/null 2>/dev/null | openssl x509 -noout -serial';
  return (await host.exec(['sh', '-c', command])).stdout.trim().replace('serial=', '');
}

/** Restarts of a control-plane component's container. */
async function restartsOf(host: LabHost, component: string): Promise<number> {
  const pods = await getPods(host, ['-n', 'kube-system', '-l', `component=${component}`]);
  return (pods[0] as PodFacts).status.containerStatuses?.[0]?.restartCount ?? -1;
}

async function logOf(host: LabHost, component: string): Promise<string> {
  return kubectlText(host, ['logs', '-n', 'kube-system', '-l', `component=${component}`, '--tail=-1']);
}

const isFound = async (text: Promise<string>, pattern: RegExp) => pattern.test(await text) || undefined;

t.test(
  'a cluster takes renewed files while it runs',
  { skip: labObstacle(), timeout: 180_000 },
  async (t) => {
    const lab = await createLab({ hostNames: ['cp'] });
    t.teardown(() => lab.close());
    const [cp] = lab.hosts as [LabHost];
    await initCluster(cp);
    await readyPods(cp, ['-n', 'kube-system'], { count: 5, timeoutMs: 30_000 });
    const ca = { certPem: await read(cp, `${PKI}/ca.crt`), keyPem: await read(cp, `${PKI}/ca.key`) };

    await t.test('the serving certificate and that for kubelets, with a watch open', async (t) => {
      const watch = follow(cp, ['kubectl', 'get', 'configmaps', '-n', 'default', '-w', '-o', 'name']);
      t.teardown(() => watch.stop());
      await eventually('the watch', 10_000, async () => /kube-root-ca/.test(watch.text()));
      const before = await servedSerial(cp);
      await renew(cp, 'apiserver-kubelet-client');
      await renew(cp, 'apiserver');
      const { serialNumber } = new X509Certificate(await read(cp, `${PKI}/apiserver.crt`));
      t.not(serialNumber, before);
      await eventually('the new serial', 5_000, async () => (await servedSerial(cp)) === serialNumber);
      await kubectlText(cp, ['create', 'configmap', 'after']);
      await eventually('its event', 5_000, async () => /configmap\/after/.test(watch.text()));
      t.match(await logOf(cp, 'kube-apiserver'), /Took the new kubelet client certificate/);
      t.equal(await restartsOf(cp, 'kube-apiserver'), 0);
    });

    await t.test("a kubeconfig's new certificate, written in place", async (t) => {
      await renewInPlace(cp, 'scheduler', ca);
      await eventually('the log', 5_000, () =>
        isFound(logOf(cp, 'kube-scheduler'), /Took the new credentials/),
      );
      t.equal(await restartsOf(cp, 'kube-scheduler'), 0);
    });

    await t.test('the same, renamed over a file that a container mounts', async (t) => {
      await renew(cp, 'controller-manager.conf');
      await eventually(
        'a new start',
        20_000,
        async () => (await restartsOf(cp, 'kube-controller-manager')) === 1,
      );
      await kubectlText(cp, ['create', 'namespace', 'made-after']);
      await eventually('a controller at work', 20_000, async () => {
        const { items } = await getJson<{ items: unknown[] }>(cp, ['serviceaccounts', '-n', 'made-after']);
        return items.length === 1;
      });
      t.same(await readyNodes(cp), ['cp']);
    });

    await t.test("the agent's certificate is where it can be renewed", async (t) => {
      const link = '/var/lib/kubelet/pki/kubelet-client-current.pem';
      t.match(await read(cp, '/etc/kubernetes/kubelet.conf'), `client-certificate: ${link}`);
      const text = await read(cp, link);
      t.match(new X509Certificate(text).subject, 'CN=system:node:cp');
    });
  },
);
