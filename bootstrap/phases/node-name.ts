import { hostname } from 'node:os';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';

/** The name of this node: that in the flags file of the agent, else the host's. */
export async function findNodeName(host: Pick<Host, 'readFile'>): Promise<string> {
  const flags = (await host.readFile(`${PATHS.kubelet}/kubeadm-flags.env`)) ?? '';
  return /--hostname-override=([^\s"]+)/.exec(flags)?.[1] ?? hostname().toLowerCase();
}
