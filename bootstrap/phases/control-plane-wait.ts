import { formatHostPort } from '../../runtime/base/cidr.ts';
import { resolveArgument } from '../../templates/arguments.ts';
import { buildClusterAdminsBinding } from '../addons/bootstrap-rbac.ts';
import type { ControlPlaneComponent, InitConfig } from '../config/types.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { readCaBundle } from './files.ts';
import { podLogHint, serviceLogHint } from './hints.ts';
import type { InitContext } from './init-context.ts';

/** Waits for the agent and the three components, as kubeadm's phase of that name. */
export const waitControlPlanePhase: Phase<InitContext> = {
  name: 'wait-control-plane',
  summary: 'Wait for the control plane',
  after: ['kubelet-start'],
  async plan({ config, host }) {
    const { timeouts, nodeRegistration, cluster } = config;
    const caPem = await readCaBundle(host, cluster.certificatesDir);
    const agentHint = await serviceLogHint(host, 'tkadm-agent');
    const [apiServer, ...others] = componentEndpoints(config).map(({ name, url }): Action => {
      const isApiServer = name === 'kube-apiserver';
      return {
        kind: 'wait',
        subject: `${name} at ${url}`,
        timeoutMs: timeouts.controlPlaneComponentHealthCheckMs,
        target: { kind: 'http', url, caPem: isApiServer ? caPem : undefined },
        hint: podLogHint(name, nodeRegistration.name),
      };
    });
    return [
      {
        kind: 'wait',
        subject: 'the agent at http://127.0.0.1:10248/healthz',
        timeoutMs: timeouts.kubeletHealthCheckMs,
        target: { kind: 'http', url: 'http://127.0.0.1:10248/healthz' },
        hint: agentHint,
      },
      apiServer!,
      { kind: 'apply-object', existing: 'keep', asSuperAdmin: true, object: buildClusterAdminsBinding() },
      ...others,
      {
        kind: 'wait',
        subject: `Node "${nodeRegistration.name}"`,
        timeoutMs: timeouts.controlPlaneComponentHealthCheckMs,
        target: { kind: 'node-registered', nodeName: nodeRegistration.name },
        hint: agentHint,
      },
    ];
  },
};

/** Where the three components answer; the user's arguments may have moved them. */
export function componentEndpoints({
  cluster,
  localAPIEndpoint,
}: Pick<InitConfig, 'cluster' | 'localAPIEndpoint'>): readonly {
  readonly name: string;
  readonly url: string;
}[] {
  const { advertiseAddress, bindPort } = localAPIEndpoint;
  const url = ({ extraArgs }: ControlPlaneComponent, fallback: number, path: string, address?: string) => {
    const port = Number(resolveArgument('secure-port', extraArgs, String(fallback)));
    const bound = address ?? reachable(resolveArgument('bind-address', extraArgs, '127.0.0.1'));
    return `https://${formatHostPort(bound, port)}${path}`;
  };
  return [
    { name: 'kube-apiserver', url: url(cluster.apiServer, bindPort, '/livez', advertiseAddress) },
    { name: 'kube-controller-manager', url: url(cluster.controllerManager, 10257, '/healthz') },
    { name: 'kube-scheduler', url: url(cluster.scheduler, 10259, '/livez') },
  ];
}

/** Every address is reached at the loopback of its family. */
function reachable(bindAddress: string): string {
  if (bindAddress === '0.0.0.0' || bindAddress === '') return '127.0.0.1';
  return bindAddress === '::' ? '::1' : bindAddress;
}
