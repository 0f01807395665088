import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import type { Node } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { createCertificateRequest, parseCertificateRequest } from '../../../../pki/csr.ts';
import { generateKeyPair } from '../../../../pki/keys.ts';
import { findServingObstacle } from '../../../../runtime/controlplane/controllers/kubelet-serving.ts';

function node(name: string, addresses: readonly string[], labels: Record<string, string> = {}): Node {
  return {
    metadata: { name, labels },
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}

const CONTEXT = {
  nodes: [
    node('cp', ['192.0.2.1'], { 'node-role.kubernetes.io/control-plane': '' }),
    node('n1', ['192.0.2.2', '127.0.0.1']),
    // It says that it has the addresses of others.
    node('evil', ['192.0.2.3', '192.0.2.1', '192.0.2.2', '192.0.2.9', '10.96.0.1', '198.51.100.1']),
  ],
  services: [
    {
      metadata: { name: 'kubernetes' },
      spec: { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], externalIPs: ['198.51.100.1'] },
    },
  ],
  apiServerAddresses: ['192.0.2.1', '192.0.2.9'],
};

const CASES = [
  { title: 'own name and address', sender: 'n1', names: ['n1', '192.0.2.2'], obstacle: /Node "evil" too/ },
  { title: 'own name alone', sender: 'n1', names: ['n1'], obstacle: undefined },
  { title: 'an address of its own', sender: 'evil', names: ['evil', '192.0.2.3'], obstacle: undefined },
  {
    title: 'a name of another node',
    sender: 'n1',
    names: ['n1', 'cp'],
    obstacle: /"cp" is not the node's name/,
  },
  {
    title: 'the name of the API server',
    sender: 'n1',
    names: ['kubernetes.default.svc'],
    obstacle: /is not the node's name/,
  },
  {
    title: 'an address it does not have',
    sender: 'n1',
    names: ['192.0.2.44'],
    obstacle: /no address of the node/,
  },
  { title: 'loopback', sender: 'n1', names: ['127.0.0.1'], obstacle: /every machine/ },
  { title: "another node's address", sender: 'evil', names: ['192.0.2.1'], obstacle: /Node "cp" too/ },
  { title: "a Service's address", sender: 'evil', names: ['10.96.0.1'], obstacle: /Service "kubernetes"/ },
  {
    title: "a Service's external address",
    sender: 'evil',
    names: ['198.51.100.1'],
    obstacle: /Service "kubernetes"/,
  },
  {
    title: "the API server's address",
    sender: 'evil',
    names: ['192.0.2.9'],
    obstacle: /API server's address/,
  },
  { title: 'the subject of another', sender: 'n1', subject: 'cp', names: ['n1'], obstacle: /not its sender/ },
  { title: 'a node that is not there', sender: 'n9', names: ['n9'], obstacle: /no Node "n9"/ },
] as const;

t.test('findServingObstacle() lets a node have its own names alone', async (t) => {
  const keyPem = (await generateKeyPair('ECDSA-P256')).privateKeyPem;
  for (const { title, sender, names, obstacle, ...row } of CASES) {
    const commonName = `system:node:${'subject' in row ? row.subject : sender}`;
    const isAddress = (name: string) => /^[\d.]+$/.test(name);
    const csrPem = createCertificateRequest({
      keyPem,
      subject: { commonName, organizations: ['system:nodes'] },
      subjectAltNames: {
        dnsNames: names.filter((name) => !isAddress(name)),
        ipAddresses: names.filter(isAddress),
      },
    });
    const request: CertificateSigningRequest = {
      spec: { request: '', signerName: '', username: `system:node:${sender}`, groups: ['system:nodes'] },
    };
    const found = findServingObstacle(request, parseCertificateRequest(csrPem), CONTEXT);
    if (obstacle) t.match(found, obstacle, title);
    else t.equal(found, undefined, title);
    const stranger = { spec: { ...request.spec, groups: ['system:authenticated'] } };
    t.match(findServingObstacle(stranger, parseCertificateRequest(csrPem), CONTEXT), /no node/);
  }
  const cp = { spec: { request: '', signerName: '', username: 'system:node:cp', groups: ['system:nodes'] } };
  const csrPem = createCertificateRequest({
    keyPem,
    subject: { commonName: 'system:node:cp', organizations: ['system:nodes'] },
    subjectAltNames: { dnsNames: ['cp'], ipAddresses: ['192.0.2.1'] },
  });
  const alone = { ...CONTEXT, nodes: CONTEXT.nodes.slice(0, 2) };
  t.equal(findServingObstacle(cp, parseCertificateRequest(csrPem), alone), undefined, 'a control-plane node');
});
