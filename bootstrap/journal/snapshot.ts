import { readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Host } from '../../runtime/base/host.ts';
import { parseModules, UNLOADABLE_MODULES } from '../../runtime/base/kernel-modules.ts';
import { listPackages, parseSwaps, readValue } from './change.ts';
import { digestContent } from './file-state.ts';
import { listFiles } from './list-files.ts';
import { CGROUPS, PARAMETER_DIRS, PARAMETERS, SHARED_DIRS, SHARED_FILES, STATE_DIRS } from './own.ts';

/** One side of a machine: a line for each thing, by its name. */
export type Facts = Readonly<Record<string, string>>;

/** Sides of a machine, in the order in which they are told. */
export const SECTIONS = [
  'files',
  'mounts',
  'links',
  'addresses',
  'routes',
  'rules',
  'nftables',
  'iptables',
  'kernel parameters',
  'kernel modules',
  'cgroups',
  'packages',
  'swap',
  'processes',
] as const;
export type Section = (typeof SECTIONS)[number];

/** State of a module that is loaded, and that nobody uses. */
export const UNUSED_MODULE = 'unused';

/** A machine as it was. A side that could not be looked at, such as nftables without nft, is absent. */
export interface Snapshot {
  /** RFC 3339 */
  readonly time: string;
  readonly sections: Readonly<Partial<Record<Section, Facts>>>;
}

/** Looks at a machine from all sides at once. Secrets are in it by their digests alone. */
export async function takeSnapshot(host: Host, now: () => Date): Promise<Snapshot> {
  const looks: Readonly<Record<Section, (host: Host) => Promise<Facts | undefined>>> = {
    files: () => listFiles(SHARED_DIRS, SHARED_FILES),
    mounts: lookAtMounts,
    links: lookAtLinks,
    addresses: lookAtAddresses,
    routes: lookAtRoutes,
    rules: lookAtRules,
    nftables: lookAtNftables,
    iptables: lookAtIptables,
    'kernel parameters': lookAtParameters,
    'kernel modules': lookAtModules,
    cgroups: () => lookAtCgroups('/sys/fs/cgroup'),
    packages: async () => toFacts([...(await listPackages(host))], 'installed'),
    swap: lookAtSwap,
    processes: lookAtProcesses,
  };
  const found = await Promise.all(SECTIONS.map(async (name) => [name, await looks[name](host)] as const));
  return { time: now().toISOString(), sections: Object.fromEntries(found.filter(([, facts]) => facts)) };
}

function toFacts(names: readonly string[], value: string): Facts {
  return Object.fromEntries([...names].sort().map((name) => [name, value]));
}

/** proc(5) mountinfo: mount point, file system and source; what lies over one another is numbered. */
async function lookAtMounts(host: Host): Promise<Facts> {
  const facts: Record<string, string> = {};
  for (const line of ((await host.readFile('/proc/self/mountinfo')) ?? '').split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const path = left.split(' ')[4];
    if (path === undefined) continue;
    const [type = '', source = ''] = right.split(' ');
    const layers = Object.keys(facts).filter((name) => name.split(' ')[0] === path).length;
    facts[layers === 0 ? path : `${path} (${layers + 1})`] = `${type} ${source}`;
  }
  return facts;
}

interface LinkRow {
  readonly ifname: string;
  readonly link_type: string;
  readonly mtu: number;
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly {
    readonly local?: string;
    readonly prefixlen?: number;
    readonly scope?: string;
  }[];
}

/** undefined when the command is not there or fails. */
async function lookJson<T>(host: Host, argv: readonly string[]): Promise<readonly T[] | undefined> {
  const { stdout, exitCode } = await host.run(argv);
  if (exitCode !== 0) return undefined;
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as readonly T[]);
}

async function lookAtLinks(host: Host): Promise<Facts | undefined> {
  const rows = await lookJson<LinkRow>(host, ['ip', '-d', '-j', 'link', 'show']);
  const format = (row: LinkRow) =>
    `${row.linkinfo?.info_kind ?? row.link_type} mtu ${row.mtu}${row.master ? ` master ${row.master}` : ''}`;
  return rows && Object.fromEntries(rows.map((row) => [row.ifname, format(row)]));
}

async function lookAtAddresses(host: Host): Promise<Facts | undefined> {
  const rows = await lookJson<LinkRow>(host, ['ip', '-j', 'addr', 'show']);
  return (
    rows &&
    Object.fromEntries(
      rows.flatMap((row) =>
        (row.addr_info ?? []).map(({ local, prefixlen, scope }) => [
          `${row.ifname} ${local}/${prefixlen}`,
          scope ?? '',
        ]),
      ),
    )
  );
}

type Row = Readonly<Record<string, unknown>>;

/** Fields of `ip -j route` and `ip -j rule` that say what one does; others count down or are about the moment. */
const ROUTE_FIELDS = [
  'type',
  'dst',
  'gateway',
  'via',
  'dev',
  'table',
  'protocol',
  'scope',
  'metric',
  'prefsrc',
];
const RULE_FIELDS = [
  'priority',
  'not',
  'src',
  'srclen',
  'dst',
  'dstlen',
  'fwmark',
  'iif',
  'oif',
  'table',
  'action',
];

function describeRow(row: Row, fields: readonly string[]): string {
  const parts = fields.flatMap((field) =>
    row[field] === undefined ? [] : [`${field} ${JSON.stringify(row[field])}`],
  );
  return parts.join(' ').replaceAll('"', '');
}

/** Of every table but the kernel's own table "local", which follows the addresses. */
async function lookAtRoutes(host: Host): Promise<Facts | undefined> {
  return lookAtBothFamilies(host, ['route', 'show', 'table', 'all'], ROUTE_FIELDS);
}

async function lookAtRules(host: Host): Promise<Facts | undefined> {
  return lookAtBothFamilies(host, ['rule', 'show'], RULE_FIELDS);
}

async function lookAtBothFamilies(
  host: Host,
  argv: readonly string[],
  fields: readonly string[],
): Promise<Facts | undefined> {
  const families = ['-4', '-6'] as const;
  const answers = await Promise.all(
    families.map((family) => lookJson<Row>(host, ['ip', '-j', family, ...argv])),
  );
  if (answers[0] === undefined) return undefined;
  const names = answers.flatMap((rows, i) =>
    (rows ?? [])
      .filter((row) => row['table'] !== 'local' || argv[0] === 'rule')
      .map((row) => `${families[i]} ${describeRow(row, fields)}`),
  );
  return toFacts(names, 'there');
}

/** By table, without counters: `nft -s`. */
async function lookAtNftables(host: Host): Promise<Facts | undefined> {
  const { stdout, exitCode } = await host.run(['nft', '-s', 'list', 'ruleset']);
  if (exitCode !== 0) return undefined;
  const tables = stdout.split(/^(?=table )/m).filter((text) => text.startsWith('table '));
  return Object.fromEntries(tables.map((text) => [/^table (\S+ \S+)/.exec(text)![1]!, digestContent(text)]));
}

/** By table, without counters and comments: iptables-save(8). */
async function lookAtIptables(host: Host): Promise<Facts | undefined> {
  const commands = ['iptables-save', 'ip6tables-save'];
  const answers = await Promise.all(commands.map((command) => host.run([command])));
  if (answers[0]?.exitCode !== 0) return undefined;
  return Object.fromEntries(
    answers.flatMap(({ stdout }, i) => {
      const text = stdout.replace(/^#.*\n/gm, '').replace(/ ?\[\d+:\d+\]/g, '');
      const tables = text.split(/^(?=\*)/m).filter((part) => part.startsWith('*'));
      return tables.map((part) => [`${commands[i]} ${part.slice(1).split('\n')[0]}`, digestContent(part)]);
    }),
  );
}

async function lookAtParameters(): Promise<Facts> {
  const lists = await Promise.all(PARAMETER_DIRS.map((directory) => listIn(directory)));
  const links = await listIn('/proc/sys/net/ipv4/conf');
  const paths = [
    ...PARAMETERS,
    ...lists.flat(),
    ...links.flatMap((link) => [`${link}/forwarding`, `${link}/accept_redirects`]),
  ];
  const values = await Promise.all(
    [...new Set(paths)].map(async (path) => [path, await readValue(path)] as const),
  );
  return Object.fromEntries(values.filter(([, value]) => value !== ''));
}

async function listIn(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  return names.sort().map((name) => join(directory, name));
}

/** Of those that pods need; undefined with a kernel that has none, and in a container, which is not to change them. */
async function lookAtModules(host: Host): Promise<Facts | undefined> {
  const text = await host.readFile('/proc/modules');
  const release = (await host.readFile('/proc/sys/kernel/osrelease'))?.trim();
  if (text === undefined || !(await host.stat(`/lib/modules/${release}/modules.dep`))) return undefined;
  const loaded = parseModules(text);
  const names = UNLOADABLE_MODULES.filter((name) => loaded.has(name));
  return Object.fromEntries(names.map((name) => [name, loaded.get(name) === 0 ? UNUSED_MODULE : 'in use']));
}

/** Two levels of each hierarchy; below the slices of systemd, where all services come and go, our own alone. */
async function lookAtCgroups(root: string): Promise<Facts> {
  const top = await listDirectories(root);
  const isHierarchy = !top.some((path) => path.endsWith('.slice'));
  const second = await Promise.all(
    top.map(async (path) => {
      const below = await listDirectories(path);
      return path.endsWith('.slice')
        ? below.filter((name) => CGROUPS.some((own) => basename(name).startsWith(own)))
        : below;
    }),
  );
  const third = isHierarchy ? await Promise.all(second.flat().filter(isOwnCgroup).map(listDirectories)) : [];
  return toFacts([...top, ...second.flat(), ...third.flat()], 'there');
}

function isOwnCgroup(path: string): boolean {
  return CGROUPS.some((name) => basename(path) === name);
}

async function listDirectories(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
}

async function lookAtSwap(host: Host): Promise<Facts> {
  const swaps = parseSwaps((await host.readFile('/proc/swaps')) ?? '');
  return Object.fromEntries(Object.entries(swaps).map(([path, priority]) => [path, `priority ${priority}`]));
}

/** Of this installation: those that run one of its programs, and those in a cgroup of pods. */
async function lookAtProcesses(): Promise<Facts> {
  const own = await readlink('/proc/self');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== own);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const path = await readlink(`/proc/${pid}/exe`).catch(() => '');
      if (path === '') return [];
      const isOwn = STATE_DIRS.some((directory) => path.startsWith(`${directory}/`));
      if (!isOwn && !/:\/(kubepods|tkadm)(\/|$)/m.test(await readValue(`/proc/${pid}/cgroup`))) return [];
      return [[`pid ${pid}`, path] as const];
    }),
  );
  return Object.fromEntries(found.flat());
}
