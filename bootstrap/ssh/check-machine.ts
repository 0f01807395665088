import { createBatchedHost } from '../../preflight/batch.ts';
import { preflightError } from '../../preflight/format.ts';
import { runPreflight, selectFatal } from '../../preflight/run.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, isServiceRunning } from '../../runtime/host/services.ts';
import { DEFAULT_BIND_PORT } from '../config/defaults.ts';
import { AGENT_PORTS, CONTROL_PLANE_PORTS } from '../phases/preflight.ts';

export interface MachineToJoin {
  readonly nodeName?: string | undefined;
  readonly apiServerEndpoint: string;
  readonly ignorePreflightErrors: readonly string[];
  /** What can be repaired is no obstacle. */
  readonly shouldFix: boolean;
  /** Set when the machine becomes a control-plane node. */
  readonly controlPlane?: object | undefined;
}

/**
 * Looks at a machine over SSH; nothing needs to be installed there. The `join` that runs there later looks again, with
 * all it knows, and repairs.
 * @throws PREFLIGHT_FAILED
 */
export async function checkMachine(machine: Host, input: MachineToJoin, signal: AbortSignal): Promise<void> {
  const host = createBatchedHost(machine);
  const [isOwnNode, hostname = ''] = await Promise.all([
    detectInitSystem(host).then((initSystem) => isServiceRunning(host, 'tkadm-agent', initSystem)),
    host.readFile('/proc/sys/kernel/hostname'),
  ]);
  const { findings } = await runPreflight(
    host,
    {
      scope: input.controlPlane ? 'join-control-plane' : 'join',
      nodeName: input.nodeName ?? hostname.trim().toLowerCase(),
      ports: input.controlPlane ? [DEFAULT_BIND_PORT, ...CONTROL_PLANE_PORTS, ...AGENT_PORTS] : AGENT_PORTS,
      isOwnNode,
      absentFiles: [`${PATHS.kubernetes}/kubelet.conf`],
      podCidrs: [],
      serviceCidrs: [],
      ignored: input.ignorePreflightErrors,
      apiServer: input.apiServerEndpoint,
    },
    { signal },
  );
  // A line that is slow or breaks tells nothing of the machine.
  const fatal = selectFatal(findings, input.shouldFix).filter((finding) => !finding.isBlind);
  if (fatal.length > 0) throw preflightError(fatal);
}
