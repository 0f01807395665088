import { createBatchedHost } from '../../preflight/batch.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, isServiceRunning, SERVICES } from '../../runtime/host/services.ts';
import { KUBELET_KUBECONFIG } from '../phases/join.ts';
import { pinsOf } from '../tokens/pin.ts';
import type { FleetHost } from './cluster-file.ts';

/** What a machine is, seen over its connection. */
export interface MachineState {
  /** The name that it has as a node, or would have. */
  readonly nodeName: string;
  /** Pins of the cluster whose node it is; empty for a machine that is none. */
  readonly pins: readonly string[];
  /** Both services run. */
  readonly isRunning: boolean;
}

/** Looks at a machine; nothing needs to be installed there. */
export async function inspectMachine(machine: Host): Promise<MachineState> {
  const host = createBatchedHost(machine);
  const [kubeconfig, caPem, flags, hostname = '', isRunning] = await Promise.all([
    host.stat(KUBELET_KUBECONFIG),
    host.readFile(`${PATHS.kubernetes}/pki/ca.crt`),
    host.readFile(`${PATHS.kubelet}/kubeadm-flags.env`),
    host.readFile('/proc/sys/kernel/hostname'),
    areServicesRunning(host),
  ]);
  return {
    nodeName: /--hostname-override=([^\s"]+)/.exec(flags ?? '')?.[1] ?? hostname.trim().toLowerCase(),
    pins: kubeconfig && caPem !== undefined ? pinsOf(caPem) : [],
    isRunning,
  };
}

async function areServicesRunning(host: Host): Promise<boolean> {
  const initSystem = await detectInitSystem(host);
  const running = await Promise.all(SERVICES.map(({ name }) => isServiceRunning(host, name, initSystem)));
  return running.every(Boolean);
}

/**
 * The address that a node is to have, as the file says; undefined: the machine chooses.
 * @throws NO_ADDRESS when its interface has none
 */
export async function findNodeIp(
  machine: Pick<Host, 'run' | 'name'>,
  { nodeIP, interface: name }: Pick<FleetHost, 'nodeIP' | 'interface'>,
): Promise<string | undefined> {
  if (nodeIP !== undefined || name === undefined) return nodeIP;
  const { stdout } = await machine.run(['ip', '-o', '-4', 'addr', 'show', 'dev', name, 'scope', 'global']);
  const address = /\sinet\s([\d.]+)/.exec(stdout)?.[1];
  if (address !== undefined) return address;
  throw new TkadmError(
    'NO_ADDRESS',
    `Cannot use interface "${name}" of "${machine.name}": it has no IPv4 address`,
    {
      hint: `ip -4 address show, on ${machine.name}; then "interface" or "nodeIP" of the host`,
    },
  );
}
