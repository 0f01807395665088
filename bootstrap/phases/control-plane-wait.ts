import { buildClusterAdminsBinding } from '../addons/bootstrap-rbac.ts';
import type { Phase } from '../workflow/phase.ts';
import { readCaBundle } from './files.ts';
import type { InitContext } from './init-context.ts';

/** Waits for the agent and the three components, as kubeadm's phase of that name. */
export const waitControlPlanePhase: Phase<InitContext> = {
  name: 'wait-control-plane',
  summary: 'Wait for the control plane',
  after: ['kubelet-start'],
  async plan({ config, host }) {
    const { timeouts, localAPIEndpoint, nodeRegistration, cluster } = config;
    const { advertiseAddress, bindPort } = localAPIEndpoint;
    const caPem = await readCaBundle(host, cluster.certificatesDir);
    const address = advertiseAddress.includes(':') ? `[${advertiseAddress}]` : advertiseAddress;
    const timeoutMs = timeouts.controlPlaneComponentHealthCheckMs;
    const component = (name: string, url: string, ca?: string) =>
      ({
        kind: 'wait',
        subject: `${name} at ${url}`,
        timeoutMs,
        target: { kind: 'http', url, caPem: ca },
      }) as const;
    return [
      {
        ...component('the agent', 'http://127.0.0.1:10248/healthz'),
        timeoutMs: timeouts.kubeletHealthCheckMs,
      },
      component('kube-apiserver', `https://${address}:${bindPort}/livez`, caPem),
      {
        kind: 'apply-object',
        existing: 'keep',
        asSuperAdmin: true,
        object: buildClusterAdminsBinding(),
      },
      component('kube-controller-manager', 'https://127.0.0.1:10257/healthz'),
      component('kube-scheduler', 'https://127.0.0.1:10259/livez'),
      {
        kind: 'wait',
        subject: `Node "${nodeRegistration.name}"`,
        timeoutMs,
        target: { kind: 'node-registered', nodeName: nodeRegistration.name },
      },
    ];
  },
};
