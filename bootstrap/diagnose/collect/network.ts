import { parseListeningSockets } from '../../../preflight/parse-network.ts';
import { findSocketHolders, formatProcess } from '../../../preflight/processes.ts';
import type { Host } from '../../../runtime/base/host.ts';
import type { KernelEvidence, LinkEvidence, MachineEvidence } from '../evidence.ts';

/** Addresses and MTU of the interfaces, `ip -j addr`. */
export async function collectLinks(host: Host): Promise<readonly LinkEvidence[]> {
  interface Row {
    readonly ifname: string;
    readonly mtu: number;
    readonly addr_info?: readonly { readonly local?: string }[];
  }
  const { stdout, stderr, exitCode } = await host.run(['ip', '-j', 'addr']);
  if (exitCode !== 0) throw new Error(stderr.trim() || `exit code ${exitCode}`);
  return (JSON.parse(stdout) as readonly Row[]).map(({ ifname, mtu, addr_info = [] }) => ({
    name: ifname,
    mtu,
    addresses: addr_info.flatMap(({ local }) => local ?? []),
  }));
}

/** Those settings of the kernel on which the pods' network stands. */
export async function collectKernel(host: Host): Promise<KernelEvidence> {
  const [forward, count, max] = await Promise.all(
    [
      '/proc/sys/net/ipv4/ip_forward',
      '/proc/sys/net/netfilter/nf_conntrack_count',
      '/proc/sys/net/netfilter/nf_conntrack_max',
    ].map((path) => host.readFile(path)),
  );
  return {
    isForwarding: forward === undefined ? undefined : forward.trim() !== '0',
    ...(count && max ? { conntrack: { count: Number(count), max: Number(max) } } : {}),
  };
}

/** Ports of the cluster that are held by a program of somebody else. */
export async function collectTakenPorts(
  host: Host,
  ports: readonly number[],
): Promise<MachineEvidence['takenPorts']> {
  const texts = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((path) => host.readFile(path)));
  const sockets = texts.flatMap((text) => parseListeningSockets(text ?? ''));
  const ours = sockets.filter(({ port }) => ports.includes(port));
  const holders = await findSocketHolders(
    host,
    ours.map(({ inode }) => inode),
  );
  return ours.flatMap(({ port, inode }) => {
    const holder = holders.get(inode);
    return holder && !holder.isOwn ? [{ port, holder: formatProcess(holder) }] : [];
  });
}
