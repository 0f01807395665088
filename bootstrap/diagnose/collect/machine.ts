import { parseCertificate } from '../../../pki/certificate.ts';
import { createObserver } from '../../../preflight/observer.ts';
import { parseNameServers } from '../../../preflight/parse-network.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { PATHS } from '../../../runtime/base/paths.ts';
import type { CniEvidence, MachineEvidence, Role } from '../evidence.ts';
import { collectCertificates, type KubeconfigFacts, readKubeconfig } from './certificates.ts';
import { collectDisks, measureSync } from './disks.ts';
import { collectFilters } from './firewall.ts';
import type { Looker } from './looker.ts';
import { collectKernel, collectLinks, collectTakenPorts } from './network.ts';
import { type ProbeOptions, type ProbeTarget, probeAll } from './probes.ts';
import { collectServices, judgeBundle } from './services.ts';
import { COMPONENTS, collectStaticPods } from './static-pods.ts';

export interface MachineOptions extends ProbeOptions {
  readonly isLocal: boolean;
  readonly looker: Looker;
}

/** All that one machine tells of itself, without the ways to others; nothing on it is changed. */
export async function collectMachine(raw: Host, options: MachineOptions): Promise<MachineEvidence> {
  const host = createObserver(raw);
  const { looker, now, isLocal } = options;
  const prefix = isLocal ? '' : `${raw.name}: `;
  const look = <T>(what: string, work: () => Promise<T>, fallback: T) =>
    looker.look(`${prefix}${what}`, work, fallback);
  const kubelet = await look(
    'kubelet.conf',
    async () =>
      (await readKubeconfig(host, `${PATHS.kubernetes}/kubelet.conf`)) ??
      (await readKubeconfig(host, `${PATHS.kubernetes}/bootstrap-kubelet.conf`)),
    undefined,
  );
  const role = await look('role', () => findRole(host), 'none' as Role);
  const isControlPlane = role === 'control-plane';
  const isNode = role !== 'none';
  const { filters, ...seen } = await gather({
    name: look('name', () => findName(host, kubelet), 'this machine'),
    services: look('services', () => collectServices(host), []),
    bundleProblem: look('node bundle', async () => (isNode ? judgeBundle(host) : undefined), undefined),
    disks: look('disks', () => collectDisks(host), []),
    syncMs: look('disk latency', () => measureSync(host), undefined),
    kernel: look('kernel settings', () => collectKernel(host), {}),
    swaps: look('swap', () => listSwaps(host), []),
    memory: look('memory', () => readMemory(host), undefined),
    missingControllers: look('cgroups', () => findMissingControllers(host), []),
    cni: look('CNI', () => collectCni(host), []),
    certificates: look(
      'certificates',
      () => collectCertificates(host, { now: now(), kubelet, isControlPlane }),
      [],
    ),
    staticPods: look('static pods', async () => (isControlPlane ? collectStaticPods(host, now()) : []), []),
    takenPorts: look('ports', () => collectTakenPorts(host, PORTS[role]), []),
    probes: look('probes', () => probeAll(host, listTargets(kubelet, role), options), []),
    filters: look('firewall rules', () => collectFilters(host), { dropRules: [], nftTables: undefined }),
    links: look('interfaces', () => collectLinks(host), []),
    nameServers: look('resolv.conf', () => readNameServers(host), undefined),
  });
  return { ...seen, ...filters, isLocal, role, ways: [] };
}

/** Where a machine of each kind listens. */
const PORTS: Readonly<Record<Role, readonly number[]>> = {
  none: [],
  worker: [10250],
  'control-plane': [6443, 10250, 10257, 10259],
};

/** What all of them become, by their names. */
async function gather<T extends Readonly<Record<string, Promise<unknown>>>>(looks: T) {
  const rows = Object.entries(looks).map(async ([name, look]) => [name, await look] as const);
  return Object.fromEntries(await Promise.all(rows)) as { readonly [K in keyof T]: Awaited<T[K]> };
}

/** What init and join leave tells what the machine is, whoever asks. */
async function findRole(host: Host): Promise<Role> {
  const has = async (path: string) => (await host.stat(path)) !== undefined;
  if ((await has(`${PATHS.kubernetes}/admin.conf`)) || (await has(`${PATHS.pki}/apiserver.crt`)))
    return 'control-plane';
  const traces = ['kubelet.conf', 'bootstrap-kubelet.conf'].map((file) => has(`${PATHS.kubernetes}/${file}`));
  return (await Promise.all(traces)).includes(true) ? 'worker' : 'none';
}

/** The agent's certificate knows the Node's name; else it is the host's, in lower case. */
async function findName(host: Host, kubelet: KubeconfigFacts | undefined): Promise<string> {
  if (kubelet?.certPem) {
    try {
      const { commonName } = parseCertificate(kubelet.certPem).subject;
      if (commonName?.startsWith('system:node:')) return commonName.slice('system:node:'.length);
    } catch {}
  }
  return ((await host.readFile('/proc/sys/kernel/hostname')) ?? '').trim().toLowerCase();
}

function listTargets(kubelet: KubeconfigFacts | undefined, role: Role): readonly ProbeTarget[] {
  if (role === 'none') return [];
  const caPath = `${PATHS.pki}/ca.crt`;
  const [, ...others] = COMPONENTS;
  return [
    ...(kubelet?.server ? [{ name: 'kube-apiserver', url: `${kubelet.server}/readyz`, caPath }] : []),
    { name: 'agent', url: 'http://127.0.0.1:10248/healthz' },
    ...(role === 'control-plane'
      ? others.map((name, i) => ({ name, url: `https://127.0.0.1:${[10257, 10259][i]}/healthz` }))
      : []),
  ];
}

async function listSwaps(host: Host): Promise<readonly string[]> {
  const lines = ((await host.readFile('/proc/swaps')) ?? '').trimEnd().split('\n').slice(1);
  return lines.map((line) => line.split(/\s/)[0] ?? '').filter(Boolean);
}

async function readMemory(host: Host): Promise<MachineEvidence['memory']> {
  const text = (await host.readFile('/proc/meminfo')) ?? '';
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) * 1024;
  return { totalBytes: bytes('MemTotal'), availableBytes: bytes('MemAvailable') };
}

const CONTROLLERS = ['cpu', 'memory', 'pids'];

async function findMissingControllers(host: Host): Promise<readonly string[]> {
  const unified = (await host.readFile('/sys/fs/cgroup/cgroup.controllers'))?.trim().split(/\s+/);
  const mounts = (await host.readFile('/proc/self/mountinfo')) ?? '';
  const found =
    unified ?? [...mounts.matchAll(/ - cgroup \S+ (\S+)$/gm)].flatMap((match) => match[1]!.split(','));
  return CONTROLLERS.filter((name) => !found.includes(name));
}

async function readNameServers(host: Host): Promise<readonly string[] | undefined> {
  const text = await host.readFile('/etc/resolv.conf');
  return text === undefined ? [] : parseNameServers(text);
}

/** The network configurations, and whether their plugins are there. Our own is part of the runtime. */
async function collectCni(host: Host): Promise<readonly CniEvidence[]> {
  const names = (await host.list(PATHS.cniConfig)).filter((name) => /\.(conf|conflist|json)$/.test(name));
  const plugins = await host.list(PATHS.cniBin);
  return Promise.all(
    names.map(async (name) => {
      const path = `${PATHS.cniConfig}/${name}`;
      return { path, problem: judgeCni((await host.readFile(path)) ?? '', plugins) };
    }),
  );
}

function judgeCni(text: string, installed: readonly string[]): string | undefined {
  try {
    const list = JSON.parse(text) as { type?: string; plugins?: readonly { type?: string }[] };
    const types = (list.plugins ?? [list]).map(({ type = '' }) => type);
    const missing = types.find((type) => type !== 'tkadm-bridge' && !installed.includes(type));
    return missing === undefined ? undefined : `there is no plugin "${missing}" in ${PATHS.cniBin}`;
  } catch (error) {
    return `it is no JSON: ${(error as Error).message}`;
  }
}
