import { randomBytes } from 'node:crypto';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { runningScript, SERVICES } from '../../runtime/host/services.ts';
import { KUBELET_KUBECONFIG } from '../phases/own-node.ts';
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

/** What is told of a machine: a mark before each part. */
const SCRIPT = `m=$1; say() { printf '\\n%s\\n' "$m"; }
cat /proc/sys/kernel/hostname
say; cat ${PATHS.kubelet}/kubeadm-flags.env
say; [ -e ${KUBELET_KUBECONFIG} ] && cat ${PATHS.kubernetes}/pki/ca.crt
say; ${SERVICES.map(({ name }) => runningScript(name)).join(' && ')} && echo running
say`;

/**
 * Looks at a machine in one session; nothing needs to be installed there.
 * @throws COMMAND_FAILED when the machine does not answer
 */
export async function inspectMachine(machine: Pick<Host, 'run' | 'name'>): Promise<MachineState> {
  const mark = randomBytes(9).toString('hex');
  const { stdout, stderr } = await machine.run(['sh', '-c', `exec 2>/dev/null; ${SCRIPT}`, 'sh', mark]);
  const [hostname, flags = '', caPem = '', services = '', end] = stdout.split(`\n${mark}\n`);
  if (hostname === undefined || end === undefined)
    throw new TkadmError(
      'COMMAND_FAILED',
      `Cannot look at "${machine.name}": ${stderr.trim() || 'no answer'}`,
    );
  return {
    nodeName: /--hostname-override=([^\s"]+)/.exec(flags)?.[1] ?? hostname.trim().toLowerCase(),
    pins: pinsOf(caPem),
    isRunning: services.includes('running'),
  };
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
