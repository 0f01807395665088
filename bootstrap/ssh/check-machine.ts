import { createBatchedHost } from '../../preflight/batch.ts';
import { IDENTITY_CHECKS } from '../../preflight/checks/identity.ts';
import type { Finding, PreflightInput } from '../../preflight/finding.ts';
import { preflightError } from '../../preflight/format.ts';
import { runPreflight, selectFatal } from '../../preflight/run.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, isServiceRunning } from '../../runtime/host/services.ts';
import { DEFAULT_BIND_PORT } from '../config/defaults.ts';
import { findOwnNode, KUBELET_KUBECONFIG } from '../phases/own-node.ts';
import { AGENT_PORTS, CONTROL_PLANE_PORTS } from '../phases/preflight.ts';

export interface MachineToJoin {
  readonly nodeName?: string | undefined;
  /** Undefined while the cluster is made. */
  readonly apiServerEndpoint?: string | undefined;
  /** Pins of the cluster; undefined while it is made. */
  readonly caCertHashes?: readonly string[] | undefined;
  readonly ignorePreflightErrors: readonly string[];
  /** What can be repaired is no obstacle. */
  readonly shouldFix: boolean;
  /** The administrator's client. */
  readonly api?: PreflightInput['api'];
  /** Set when the machine becomes a control-plane node. */
  readonly controlPlane?: object | undefined;
}

/**
 * Looks at a machine over SSH and returns what it found; nothing needs to be installed there. The `join` that runs there later looks again, with
 * all it knows, and repairs.
 * @throws PREFLIGHT_FAILED
 */
export async function checkMachine(
  machine: Host,
  input: MachineToJoin,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const host = createBatchedHost(machine);
  const { findings } = await runPreflight(host, await buildMachineInput(host, input), { signal });
  // A line that is slow or breaks tells nothing of the machine.
  const fatal = selectFatal(findings, input.shouldFix).filter((finding) => !finding.isBlind);
  if (fatal.length > 0) throw preflightError(fatal);
  return findings;
}

/** Nodes of the cluster that the machine may be a copy of. What cannot be seen is passed over. */
export async function findTwin(
  machine: Host,
  input: MachineToJoin,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const host = createBatchedHost(machine);
  const preflightInput = await buildMachineInput(host, input);
  const { findings } = await runPreflight(host, preflightInput, { checks: IDENTITY_CHECKS, signal });
  return findings.filter((finding) => finding.severity === 'warning' && !finding.isBlind);
}

async function buildMachineInput(host: Host, input: MachineToJoin): Promise<PreflightInput> {
  const { controlPlane, caCertHashes = [] } = input;
  const config = { caCertPath: `${PATHS.pki}/ca.crt`, controlPlane };
  const [isRunning, ownNode, hostname = ''] = await Promise.all([
    detectInitSystem(host).then((initSystem) => isServiceRunning(host, 'tkadm-agent', initSystem)),
    findOwnNode({ host, config }),
    host.readFile('/proc/sys/kernel/hostname'),
  ]);
  const isMember = ownNode?.pins.some((pin) => caCertHashes.includes(pin)) ?? false;
  return {
    scope: controlPlane ? 'join-control-plane' : 'join',
    nodeName: input.nodeName ?? hostname.trim().toLowerCase(),
    ports: controlPlane ? [DEFAULT_BIND_PORT, ...CONTROL_PLANE_PORTS, ...AGENT_PORTS] : AGENT_PORTS,
    isOwnNode: isRunning || isMember,
    absentFiles: isMember ? [] : [KUBELET_KUBECONFIG],
    podCidrs: [],
    serviceCidrs: [],
    ignored: input.ignorePreflightErrors,
    apiServer: input.apiServerEndpoint,
    api: input.api,
  };
}
