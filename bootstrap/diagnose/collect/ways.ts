import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { isNodeReady } from '../../../runtime/api/node-ready.ts';
import type { Host } from '../../../runtime/base/host.ts';
import type { ClusterEvidence, MachineEvidence, PodPathEvidence, WayEvidence } from '../evidence.ts';
import { nodeAddress } from './cluster.ts';
import { outcomeOf } from './probes.ts';

export interface WayOptions {
  /** Node.js there. */
  readonly nodePath: string;
  readonly timeoutMs: number;
  readonly cluster: ClusterEvidence;
}

/** More say no more. */
const WAYS_AT_MOST = 16;
const AGENT_PORT = 10250;
const BRIDGE = 'tkadm0';
const ETHERNET_MTU = 1500;
/** Where nothing is declared: an answer of any kind comes from the pod. */
const ANY_PORT = 1;
/** Of the routes that the agent sets. */
const ROUTE_PROTOCOL = '116';

/** Tries the ways from a machine to the other nodes that are Ready; nothing is changed. */
export async function collectWays(
  host: Host,
  machine: MachineEvidence,
  { nodePath, timeoutMs, cluster }: WayOptions,
): Promise<readonly WayEvidence[]> {
  const others = selectOthers(machine, cluster);
  if (others.length === 0 || machine.role === 'none') return [];
  const bridge = machine.links.find(({ name }) => name === BRIDGE);
  const fullBytes = bridge?.mtu ?? ETHERNET_MTU;
  const agents = others.map(({ to, address }) => ({ to, host: address, port: AGENT_PORT }));
  const pods = others.flatMap(({ to, pod }) => (pod ? [{ to, host: pod.address, port: pod.port }] : []));
  const ask = async <T>(script: string, input: object): Promise<readonly T[]> => {
    // Two rounds, and the start of a program on a slow machine.
    const limits = { input: JSON.stringify(input), timeoutMs: 2 * timeoutMs + 10_000 };
    const { exitCode, stdout, stderr } = await host.run([nodePath, '-e', script], limits);
    if (exitCode !== 0) throw new Error(stderr.trim().split('\n').at(-1) || 'the way was not tried');
    return JSON.parse(stdout) as readonly T[];
  };
  const own = cluster.pods.filter(({ spec }) => spec?.nodeName === machine.name).flatMap(addressOf);
  const source = bridge?.addresses.find((address) => !address.includes(':'));
  const isOurs = machine.cni[0]?.path.endsWith('/10-tkadm.conflist') && !machine.cni[0].problem;
  const [packets, paths, routes] = await Promise.all([
    ask<PacketRow>(PACKET_SCRIPT, { ms: timeoutMs, fullBytes, targets: agents }),
    pods.length === 0 ? [] : ask<PathRow>(PATH_SCRIPT, { ms: timeoutMs, own, source, targets: pods }),
    isOurs ? listRoutes(host) : undefined,
  ]);
  return others.map(({ to, address, range, pod }): WayEvidence => {
    const packet = packets.find((row) => row.to === to);
    const path = paths.find((row) => row.to === to);
    return {
      to,
      address,
      range,
      hasRoute: routes && range ? routes.includes(`${range} ${address}`) : undefined,
      ...(packet?.isSmallAnswered
        ? { packets: { fullBytes, isAnswered: packet.isAnswered, passingBytes: packet.passingBytes } }
        : {}),
      pods: pod && path && describePath(pod, path),
    };
  });
}

interface Other {
  readonly to: string;
  readonly address: string;
  readonly range: string | undefined;
  readonly pod: Target | undefined;
}

interface Target {
  readonly podName: string;
  readonly address: string;
  readonly port: number;
}

/** Ready nodes, as a node that is not has its own cause, each with a pod that is to answer. */
function selectOthers({ name }: MachineEvidence, { nodes, pods }: ClusterEvidence): readonly Other[] {
  const others = nodes.filter((node) => node.metadata?.name !== name && isNodeReady(node));
  return others.slice(0, WAYS_AT_MOST).flatMap((node: Node) => {
    const [to = '', address] = [node.metadata?.name, nodeAddress(node)];
    if (!address || address.includes(':')) return [];
    const own = pods.filter(({ spec }) => spec?.nodeName === to).flatMap(targetOf);
    const pod = own.find(({ port }) => port !== ANY_PORT) ?? own[0];
    return [{ to, address, range: node.spec?.podCIDR, pod }];
  });
}

/** The IPv4 address of a pod that runs in a network of its own. */
function addressOf({ spec, status }: Pod): readonly string[] {
  const isThere = status?.phase === 'Running' && !spec?.hostNetwork;
  return isThere && status.podIP && !status.podIP.includes(':') ? [status.podIP] : [];
}

function targetOf(pod: Pod): readonly Target[] {
  const { metadata, spec, status } = pod;
  const isReady = status?.conditions?.some((row) => row.type === 'Ready' && row.status === 'True');
  const ports = spec?.containers.flatMap((container) => container.ports ?? []) ?? [];
  const port = ports.find(({ protocol = 'TCP' }) => protocol === 'TCP')?.containerPort ?? ANY_PORT;
  const podName = `${metadata?.namespace}/${metadata?.name}`;
  return isReady ? addressOf(pod).map((address) => ({ podName, address, port })) : [];
}

/** "10.244.1.0/24 192.0.2.7" of each route of the agent's. */
async function listRoutes(host: Host): Promise<readonly string[]> {
  const { exitCode, stdout } = await host.run(['ip', '-j', 'route', 'show', 'proto', ROUTE_PROTOCOL]);
  if (exitCode !== 0) throw new Error('ip route cannot list the routes');
  const rows = JSON.parse(stdout || '[]') as readonly { readonly dst: string; readonly gateway?: string }[];
  return rows.map(({ dst, gateway = '' }) => `${dst} ${gateway}`);
}

function describePath(pod: Target, { from, code, message }: PathRow): PodPathEvidence {
  return { ...pod, from, outcome: code === '' ? 'answered' : outcomeOf(code), said: message };
}

interface PacketRow {
  readonly to: string;
  readonly isSmallAnswered: boolean;
  readonly isAnswered: boolean;
  readonly passingBytes?: number;
}

/**
 * Standard input: milliseconds, the full size and targets, as JSON. TCP sends with the flag "do not fragment"; a request that
 * fits into one packet is not cut up by the network card either: it is the second one of its connection, as the first may go
 * together with the end of the handshake. In the packet come before the request: IP header 20 bytes, TCP
 * header 20 and time stamps 12, TLS 1.3 record 22 (RFC 8446 §5.2: header 5, type 1, tag 16).
 */
const PACKET_SCRIPT = `
const { connect } = require('tls');
const { ms, fullBytes, targets } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const SIZES = [1492, 1480, 1450, 1420, 1400, 1380, 1280, 1000];
const isAnswered = ({ host, port }, bytes) => new Promise((end) => {
  const socket = connect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
  let answers = 0, said = '';
  const tell = () => { end({ small: answers > 0, full: answers > 1 }); socket.destroy(); };
  const ask = (length) => {
    const head = 'GET /healthz HTTP/1.1\\r\\nHost: node\\r\\nX-Fill: ';
    socket.write(head + 'x'.repeat(Math.max(0, length - 74 - head.length - 4)) + '\\r\\n\\r\\n');
  };
  socket.setNoDelay(true);
  socket.on('secureConnect', () => ask(0)).on('error', tell).on('close', tell);
  socket.on('data', (data) => {
    said += data;
    const count = said.split('HTTP/1.1 ').length - 1;
    if (answers === 0 && count > 0) ask(bytes);
    answers = count;
    if (answers > 1) tell();
  });
  setTimeout(tell, ms).unref();
});
const look = async (target) => {
  const { small, full } = await isAnswered(target, fullBytes);
  const sizes = small && !full ? SIZES.filter((size) => size < fullBytes) : [];
  const passed = await Promise.all(sizes.map((size) => isAnswered(target, size)));
  return { to: target.to, isSmallAnswered: small, isAnswered: full, passingBytes: sizes.find((_, i) => passed[i].full) };
};
Promise.all(targets.map(look)).then((rows) => require('fs').writeSync(1, JSON.stringify(rows)));
`;

interface PathRow {
  readonly to: string;
  readonly from: PodPathEvidence['from'];
  /** "" of a connection that was made. */
  readonly code: string;
  readonly message: string;
}

/**
 * Standard input: milliseconds, addresses of the machine's own pods, an address of its bridge, targets, as JSON. Finds a process in
 * the network of one of these pods, by the addresses in /proc/PID/net/fib_trie (proc(5)), and connects from there.
 */
const PATH_SCRIPT = `
const fs = require('fs');
const input = fs.readFileSync(0, 'utf8');
const { ms, own, source, from, targets } = JSON.parse(input);
const read = (work) => { try { return work(); } catch { return ''; } };
const findPod = () => {
  const seen = new Set([read(() => fs.readlinkSync('/proc/self/ns/net'))]);
  return fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).find((pid) => {
    const network = read(() => fs.readlinkSync('/proc/' + pid + '/ns/net'));
    if (network === '' || seen.has(network)) return false;
    seen.add(network);
    const table = read(() => fs.readFileSync('/proc/' + pid + '/net/fib_trie', 'utf8'));
    return own.some((address) => table.includes('-- ' + address + '\\n'));
  });
};
const reach = ({ to, host, port }) => new Promise((end) => {
  const tell = (code, message) => { end({ to, from: from || 'bridge', code, message }); socket.destroy(); };
  const socket = require('net').connect({ host, port, ...(from || !source ? {} : { localAddress: source }) });
  socket.on('connect', () => tell('', 'connected')).on('error', (error) => tell(error.code || 'BROKEN', error.message));
  setTimeout(() => tell('SILENT', 'no answer within ' + ms + ' ms'), ms).unref();
});
const pid = from ? undefined : findPod();
if (pid) {
  const argv = ['--net=/proc/' + pid + '/ns/net', process.execPath, ...process.execArgv];
  const child = require('child_process').spawnSync('nsenter', argv, { input: JSON.stringify({ ms, from: 'pod', targets }), stdio: ['pipe', 'inherit', 'inherit'] });
  if (child.status !== 0) throw new Error('nsenter: exit code ' + child.status);
} else Promise.all(targets.map(reach)).then((rows) => fs.writeSync(1, JSON.stringify(rows)));
`;
