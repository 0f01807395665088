import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  detectInitSystem,
  isServiceRunning,
  SERVICES,
  type ServiceName,
  stopService,
} from '../../runtime/host/services.ts';
import { BOOTSTRAP_KUBECONFIG } from '../phases/join.ts';
import { KUBELET_KUBECONFIG } from '../phases/own-node.ts';

/** Files and directories that a join makes. */
const PLACES = [PATHS.bundle, PATHS.kubelet, KUBELET_KUBECONFIG, BOOTSTRAP_KUBECONFIG] as const;

/** What a join has made, or found, on a machine: paths, and services that run. */
export async function listJoinTraces(host: Host, caCertPath: string): Promise<readonly string[]> {
  const initSystem = await detectInitSystem(host);
  const places = await Promise.all(
    [...PLACES, caCertPath].map(async (path) => {
      const stat = await host.stat(path);
      const isThere = stat?.kind === 'directory' ? (await host.list(path)).length > 0 : stat !== undefined;
      return isThere ? [`"${path}"`] : [];
    }),
  );
  const services = await Promise.all(
    SERVICES.map(async ({ name }) =>
      (await isServiceRunning(host, name, initSystem)) ? [formatService(name)] : [],
    ),
  );
  return [...places, ...services].flat();
}

/**
 * Ends a join that has failed. An agent that has no certificate yet is stopped, or it would go on joining by itself;
 * what holds a token is removed. Returns what is left beside what was there before; undefined: nothing.
 */
export async function settleFailedJoin(
  host: Host,
  { before, caCertPath }: { readonly before: readonly string[]; readonly caCertPath: string },
): Promise<string | undefined> {
  const hasCertificate = async () => (await host.stat(KUBELET_KUBECONFIG)) !== undefined;
  const isNew = !before.includes(formatService('tkadm-agent'));
  if (isNew && !(await hasCertificate()))
    await stopService(host, 'tkadm-agent', await detectInitSystem(host));
  await host.remove(BOOTSTRAP_KUBECONFIG);
  const left = (await listJoinTraces(host, caCertPath)).filter((trace) => !before.includes(trace));
  if (left.length === 0) return undefined;
  return left.includes(`"${KUBELET_KUBECONFIG}"`)
    ? 'this machine has its certificate and goes on joining: "kubectl get nodes" shows it, "tkadm reset -f" undoes it'
    : `this join leaves ${left.join(', ')}: the same command goes on with it, "tkadm reset -f" removes it`;
}

function formatService(name: ServiceName): string {
  return `the running ${name}`;
}
