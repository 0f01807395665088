import { formatAge } from '../../runtime/api/printers/format.ts';
import type { ClusterStatus, NodeStatusRow, WorkloadRow } from '../status/cluster-status.ts';
import { formatTable } from './table.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** A cluster at a glance, for people. */
export function formatStatus(status: ClusterStatus, now: Date): string {
  const { server, version, api, nodes, podsNotReady, pods, warnings } = status;
  const sections = [
    `${server || 'cluster'}  ${version ?? ''}  ${api === 'ok' ? 'API ok' : `API: ${api}`}`.replace(/ +$/, ''),
    nodes.length > 0 && formatTable([HEADS, ...nodes.map(formatNode)]).trimEnd(),
    formatLine('control plane', status.components),
    formatLine('add-ons', status.addons),
    pods > 0 && `pods           ${pods - podsNotReady.length} of ${pods} ready`,
    ...podsNotReady.map(
      ({ namespace, name, reason, node }) => `  ${namespace}/${name}  ${reason}${node ? `  on ${node}` : ''}`,
    ),
    formatExpiry(status, now),
    status.storeBytes !== undefined && `store          ${formatMib(status.storeBytes)}`,
    warnings.length > 0 && 'warnings',
    ...warnings.map(
      ({ object, reason, message, ageSeconds }) =>
        `  ${formatAge(ageSeconds * 1000)}  ${object}  ${reason}: ${message.split('\n')[0]}`,
    ),
    !status.ok && 'what is wrong: tkadm why',
  ];
  return `${sections.filter((text) => typeof text === 'string' && text !== '').join('\n')}\n`;
}

const HEADS = ['NODE', 'STATUS', 'ROLES', 'AGE', 'REPORTED', 'VERSION', 'CPUS', 'MEMORY'];

function formatNode(row: NodeStatusRow): readonly string[] {
  const { memoryBytes, memoryUsedBytes, reportedSeconds } = row;
  const memory = memoryBytes === undefined ? '' : formatMib(memoryBytes);
  return [
    row.name,
    `${row.ready ? 'Ready' : 'NotReady'}${row.isCordoned ? ',SchedulingDisabled' : ''}`,
    row.roles.join(',') || '<none>',
    formatAge(row.ageSeconds * 1000),
    reportedSeconds === undefined ? '' : `${formatAge(reportedSeconds * 1000)} ago`,
    row.version,
    String(row.cpus ?? ''),
    memoryUsedBytes === undefined ? memory : formatShare(memoryUsedBytes, memory),
  ];
}

/** "add-ons        kube-proxy 2/2, coredns 1/1" */
function formatLine(title: string, rows: readonly WorkloadRow[]): string {
  if (rows.length === 0) return '';
  return title.padEnd(15) + rows.map(({ name, ready, wanted }) => `${name} ${ready}/${wanted}`).join(', ');
}

function formatExpiry({ nextExpiry }: ClusterStatus, now: Date): string {
  if (!nextExpiry) return '';
  const leftMs = Date.parse(nextExpiry.notAfter) - now.getTime();
  const when = leftMs < 0 ? 'has expired' : `ends in ${formatAge(leftMs)}`;
  return `certificates   ${nextExpiry.name} ${when}`;
}

/** "6.9 of 23.5 GiB": a unit that both have is told once. */
function formatShare(bytes: number, whole: string): string {
  const [unit] = whole.split(' ').slice(-1);
  const part = formatMib(bytes);
  return `${part.endsWith(` ${unit}`) ? part.slice(0, -` ${unit}`.length) : part} of ${whole}`;
}

function formatMib(bytes: number): string {
  if (bytes >= GIB) return `${(bytes / GIB).toFixed(1)} GiB`;
  return `${(bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0)} MiB`;
}
