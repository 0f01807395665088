import { readScript } from '../../../preflight/observer.ts';
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

/** Chains of our own drop as well: they are listed by table, to be left out. */
const RULES_SCRIPT = `nft list ruleset 2>/dev/null | awk '
  /^table/ { table = $2 " " $3 }
  /^[ \\t]+(drop|reject)|[ \\t](drop|reject)([ \\t]|$)/ { if (table !~ /kube-proxy|tkadm/) { sub(/^[ \\t]+/, ""); print table ": " $0 } }'
iptables-legacy-save 2>/dev/null | awk '/-j (DROP|REJECT)/ { print "iptables: " $0 }'`;

/** Rules that drop or reject, and the tables of nftables. @throws where only root may look */
export async function collectFilters(host: Host): Promise<Pick<MachineEvidence, 'dropRules' | 'nftTables'>> {
  const [rules, tables] = await Promise.all([
    readScript(host, RULES_SCRIPT),
    host.run(['sh', '-c', 'PATH=$PATH:/usr/sbin:/sbin; exec nft list tables']),
  ]);
  if (tables.exitCode !== 0) throw new Error(tables.stderr.trim().split('\n')[0] || 'nft cannot list them');
  return {
    dropRules: [...new Set(rules.split('\n').filter(Boolean))],
    nftTables: tables.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => line.replace(/^table /, '')),
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
