import t from 'tap';
import { AGENT_CERTIFICATE, findOwnNode, KUBELET_KUBECONFIG } from '../../../bootstrap/phases/own-node.ts';
import { pinsOf } from '../../../bootstrap/tokens/pin.ts';
import { createCa, issueCertificate, validityFrom } from '../../../pki/issue.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { PATHS } from '../../../runtime/base/paths.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { createPlannedHost } from '../../../runtime/host/planned.ts';

const algorithm = 'ECDSA-P256' as const;
const DAY_MS = 24 * 3600_000;
const NOW = new Date('2026-01-01T00:00:00Z');
const CA_PATH = `${PATHS.pki}/ca.crt`;

/** A machine with these files, whose commands read them. */
async function hostWith(files: Readonly<Record<string, string>>): Promise<Host> {
  const host = createPlannedHost(createLocalHost());
  for (const [path, text] of Object.entries(files)) await host.writeFile(path, text);
  return {
    ...host,
    run: async (argv) => ({ exitCode: 0, stdout: (await host.readFile(argv.at(-1)!)) ?? '', stderr: '' }),
  };
}

t.test('findOwnNode() knows a node by the certificate of its agent', async (t) => {
  const validity = validityFrom(NOW, 4000 * DAY_MS);
  const [ca, other] = await Promise.all([
    createCa({ commonName: 'kubernetes', algorithm, ...validity }),
    createCa({ commonName: 'kubernetes', algorithm, ...validity }),
  ]);
  const issue = async (commonName: string) =>
    (
      await issueCertificate({
        spec: { commonName, organizations: ['system:nodes'], usages: ['client auth'] },
        ca,
        algorithm,
        ...validityFrom(NOW, DAY_MS),
      })
    ).certPem;
  const node = {
    [KUBELET_KUBECONFIG]: `client-certificate: ${AGENT_CERTIFICATE}`,
    [AGENT_CERTIFICATE]: await issue('system:node:one'),
    [CA_PATH]: ca.certPem,
  };
  const apiServer = { [`${PATHS.manifests}/kube-apiserver.yaml`]: 'kind: Pod' };
  const own = { nodeName: 'one', pins: pinsOf(ca.certPem) };
  const rows = [
    { title: 'a bare machine', files: {}, found: undefined },
    { title: 'a node', files: node, found: own },
    { title: 'a control-plane node', files: { ...node, ...apiServer }, controlPlane: {}, found: own },
    { title: 'a worker that is to be a control plane', files: node, controlPlane: {}, found: undefined },
    { title: 'a control plane that is to be a worker', files: { ...node, ...apiServer }, found: undefined },
    { title: 'the CA of elsewhere', files: { ...node, [CA_PATH]: other.certPem }, found: undefined },
    {
      title: 'an agent without a certificate',
      files: { ...node, [AGENT_CERTIFICATE]: '' },
      found: undefined,
    },
    {
      title: "somebody else's certificate",
      files: { ...node, [AGENT_CERTIFICATE]: await issue('admin') },
      found: undefined,
    },
    {
      title: 'a certificate that has ended',
      files: node,
      now: () => new Date(NOW.getTime() + 2 * DAY_MS),
      found: undefined,
    },
  ];
  for (const { title, files, found, controlPlane, now = () => NOW } of rows) {
    const config = { caCertPath: CA_PATH, controlPlane };
    t.same(await findOwnNode({ host: await hostWith(files), config, now }), found, title);
  }
});
