import { writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { readFileIfExists } from '../base/files.ts';
import type { OciMount } from '../container/oci-spec.ts';
import { type CtrContext, containerPaths } from './ctr-context.ts';
import type { CtrAttachment, CtrOptions, CtrRecord } from './ctr-record.ts';

/** Where systemd-resolved tells the servers that it asks itself. */
const UPSTREAM_RESOLV_CONF = '/run/systemd/resolve/resolv.conf';
const HOSTS_HEAD = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::0\tip6-localnet',
  'ff00::0\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
] as const;

/**
 * Writes /etc/hosts, /etc/hostname and /etc/resolv.conf of a container, in place: other containers may have them
 * mounted as well.
 */
export async function writeInjectedFiles(
  context: Pick<CtrContext, 'records'>,
  record: CtrRecord,
  network: CtrAttachment | undefined,
): Promise<void> {
  const paths = containerPaths(context, record.id);
  const isHost = record.networkMode === 'host';
  const own = isHost ? ((await readFileIfExists('/etc/hosts')) ?? '') : `${HOSTS_HEAD.join('\n')}\n`;
  const mode = { mode: 0o644 };
  await Promise.all([
    writeFile(paths.hosts, `${own}${formatHosts(record, network)}`, mode),
    writeFile(paths.hostname, `${record.config.hostname}\n`, mode),
    writeFile(paths.resolvConf, await buildResolvConf(record.options, isHost), mode),
  ]);
}

/** The mounts of these files; a container that joins another's network has the other's. */
export function injectedMounts(context: Pick<CtrContext, 'records'>, ownerId: string): readonly OciMount[] {
  const paths = containerPaths(context, ownerId);
  const rows = [
    ['/etc/hosts', paths.hosts],
    ['/etc/hostname', paths.hostname],
    ['/etc/resolv.conf', paths.resolvConf],
  ] as const;
  return rows.map(([destination, source]) => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate', 'rw'],
  }));
}

/** "box.example.com box", or "box" without a domain name. */
function hostNames({ options: { domainname }, config: { hostname: name } }: CtrRecord): string {
  return domainname === undefined ? name : `${name}.${domainname} ${name}`;
}

function formatHosts(record: CtrRecord, network: CtrAttachment | undefined): string {
  const { options } = record;
  const extra = options.extraHosts.map((entry) => {
    const at = entry.search(/[:=]/);
    const address = entry.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
    return `${address === 'host-gateway' ? (network?.gateway ?? '127.0.0.1') : address}\t${entry.slice(0, at)}`;
  });
  const own = network === undefined ? [] : [`${network.address}\t${hostNames(record)}`];
  return [...extra, ...own].map((line) => `${line}\n`).join('');
}

/** resolv.conf(5): the host's with the options over it; servers at the host's loopback are out of a container's reach. */
async function buildResolvConf(options: CtrOptions, isHost: boolean): Promise<string> {
  const lines = (await readHostResolvConf(isHost)).split('\n').filter((line) => line.trim() !== '');
  const isKind = (line: string, kind: string) => new RegExp(`^\\s*${kind}\\s`).test(line);
  const rows = [
    { kinds: ['nameserver'], given: options.dns, format: () => options.dns.map((ip) => `nameserver ${ip}`) },
    {
      kinds: ['search', 'domain'],
      given: options.dnsSearch,
      format: () => (options.dnsSearch.includes('.') ? [] : [`search ${options.dnsSearch.join(' ')}`]),
    },
    {
      kinds: ['options'],
      given: options.dnsOptions,
      format: () => [`options ${options.dnsOptions.join(' ')}`],
    },
  ];
  const result = rows.flatMap(({ kinds, given, format }) =>
    given.length > 0 ? format() : lines.filter((line) => kinds.some((kind) => isKind(line, kind))),
  );
  return `${result.join('\n')}\n`;
}

async function readHostResolvConf(isHost: boolean): Promise<string> {
  const text = (await readFileIfExists('/etc/resolv.conf')) ?? '';
  if (isHost) return text;
  const reachable = withoutLoopback(text);
  if (/^\s*nameserver\s/m.test(reachable)) return reachable;
  return withoutLoopback((await readFileIfExists(UPSTREAM_RESOLV_CONF)) ?? text);
}

function withoutLoopback(text: string): string {
  return text
    .split('\n')
    .filter((line) => !/^\s*nameserver\s+(127\.|::1\s*$)/.test(line))
    .join('\n');
}

/** The name of a container that was given none: the host's with the host's network, else the id's beginning. */
export function defaultHostname(id: string, networkMode: string): string {
  return networkMode === 'host' ? hostname() : id.slice(0, 12);
}
