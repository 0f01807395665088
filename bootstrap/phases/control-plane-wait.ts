import { load } from 'js-yaml';
import { hashStaticPod } from '../../runtime/api/static-pod-hash.ts';
import { formatHostPort } from '../../runtime/base/cidr.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { resolveArgument } from '../../templates/arguments.ts';
import { buildClusterAdminsBinding } from '../addons/bootstrap-rbac.ts';
import type { ControlPlaneComponent, InitConfig } from '../config/types.ts';
import { COMPONENTS } from '../diagnose/collect/static-pods.ts';
import type { Action, StaticPodRun } from '../workflow/action.ts';
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
    const runs = await readStaticPods(host, nodeRegistration.name);
    const [apiServer, ...others] = componentEndpoints(config).map(({ name, url }): Action => {
      const isApiServer = name === 'kube-apiserver';
      return {
        kind: 'wait',
        subject: `${name} at ${url}`,
        timeoutMs: timeouts.controlPlaneComponentHealthCheckMs,
        target: { kind: 'http', url, caPem: isApiServer ? caPem : undefined, staticPod: runs.get(name) },
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

/** The components' pods by the manifests that were written. One that cannot be read is the agent's to refuse. */
async function readStaticPods(host: Host, nodeName: string): Promise<ReadonlyMap<string, StaticPodRun>> {
  const runs = COMPONENTS.map(async (component) => {
    const path = `${PATHS.manifests}/${component}.yaml`;
    const text = await host.readFile(path);
    try {
      const hash = text === undefined ? undefined : hashStaticPod(load(text), { path, nodeName });
      return hash === undefined ? [] : [[component, { component, nodeName, hash }] as const];
    } catch {
      return [];
    }
  });
  return new Map((await Promise.all(runs)).flat());
}

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
