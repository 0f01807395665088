import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, isServiceRunning, type ServiceName } from '../../runtime/host/services.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { serviceLogHint } from './hints.ts';

interface NodeContext {
  readonly host: Host;
  readonly isBundleInstalled: () => Promise<boolean>;
}

/** Lays the programs of a node out; the digest in their directory's name tells whether they are there. */
export const bundlePhase: Phase<NodeContext> = {
  name: 'bundle',
  summary: 'Install the node bundle',
  after: ['preflight'],
  plan: async ({ isBundleInstalled }) => ((await isBundleInstalled()) ? [] : [{ kind: 'install-bundle' }]),
};

/** Starts the container runtime. */
export const runtimePhase: Phase<NodeContext> = {
  name: 'runtime',
  summary: 'Start the container runtime',
  after: ['bundle'],
  plan: async ({ host }) => [
    ...(await planService(host, 'tkadm-runtime')),
    {
      kind: 'wait',
      subject: `the runtime's socket "${PATHS.runtimeSocket}"`,
      hint: await serviceLogHint(host, 'tkadm-runtime'),
      timeoutMs: 60_000,
      target: { kind: 'file', path: PATHS.runtimeSocket },
    },
  ],
};

/** Starts a service unless its process lives. */
export async function planService(host: Host, name: ServiceName): Promise<readonly Action[]> {
  const isRunning = await isServiceRunning(host, name, await detectInitSystem(host));
  return isRunning ? [] : [{ kind: 'start-service', name }];
}
