import type { CtrSummary } from '../../../runtime/ctr/ctr-messages.ts';
import type { CliContext } from '../context.ts';
import { ctr } from './call.ts';
import { formatBinding } from './ports.ts';
import {
  applyFilters,
  type Column,
  type FilterTable,
  hasLabel,
  type ListFlags,
  printRows,
  type Row,
} from './print-rows.ts';
import { familiarName, formatAge, formatBytes, shortId } from './units.ts';

export interface PsFlags extends ListFlags {
  readonly all?: boolean;
  readonly filter?: readonly string[];
  readonly last?: string;
  readonly latest?: boolean;
  /** --no-trunc is false. */
  readonly trunc: boolean;
  readonly size?: boolean;
}

const COLUMNS: readonly Column[] = [
  ['CONTAINER ID', 'ID'],
  ['IMAGE', 'Image'],
  ['COMMAND', 'Command'],
  ['CREATED', 'RunningFor'],
  ['STATUS', 'Status'],
  ['PORTS', 'Ports'],
  ['NAMES', 'Names'],
];

const COMMAND_LENGTH = 20;

/** `tkadm ctr ps`: running containers, newest first; all with --all or a filter by status. */
export async function runPs(context: CliContext, flags: PsFlags): Promise<void> {
  const all = await ctr(context, 'list', {});
  const newestFirst = all.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt));
  const filters = flags.filter ?? [];
  const count = flags.latest ? 1 : flags.last === undefined ? undefined : Number(flags.last);
  const showsAll =
    flags.all || count !== undefined || filters.some((filter) => /^(status|exited)=/.test(filter));
  const shown = applyFilters(newestFirst, buildFilters(all), filters).filter(
    ({ state }) =>
      showsAll || state.status === 'running' || state.status === 'paused' || state.status === 'restarting',
  );
  const sizes = flags.size ? await readSizes(context) : undefined;
  const rows = shown
    .slice(0, count)
    .map((container) => describe(container, { ...flags, now: context.now(), sizes }));
  const columns: readonly Column[] = flags.size ? [...COLUMNS, ['SIZE', 'Size']] : COLUMNS;
  printRows(context, {
    ...flags,
    rows,
    columns,
    idField: 'ID',
    otherFields: ['CreatedAt', 'State', 'Labels', 'Mounts', 'Networks', 'LocalVolumes'],
    headers: { Names: 'NAMES', CreatedAt: 'CREATED AT' },
  });
}

async function readSizes(context: CliContext): Promise<ReadonlyMap<string, number>> {
  const { containers } = await ctr(context, 'diskUsage', {});
  return new Map(containers.map(({ id, bytes }) => [id, bytes]));
}

interface DescribeOptions {
  readonly trunc: boolean;
  readonly now: Date;
  readonly sizes: ReadonlyMap<string, number> | undefined;
}

function describe(container: CtrSummary, { trunc, now, sizes }: DescribeOptions): Row {
  const { id, name, config, createdAt, state, mounts, networkMode } = container;
  const command = config.args.map((arg) => (/\s/.test(arg) ? `'${arg}'` : arg)).join(' ');
  const isCut = trunc && command.length > COMMAND_LENGTH;
  return {
    ID: trunc ? shortId(id) : id,
    Image: describeImage(container),
    Command: `"${isCut ? `${command.slice(0, COMMAND_LENGTH - 1)}…` : command}"`,
    CreatedAt: createdAt,
    RunningFor: `${formatAge(createdAt, now)} ago`,
    State: state.status,
    Status: formatStatus(container, now),
    Ports: formatPorts(container),
    Names: name,
    Labels: Object.entries(config.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Mounts: mounts.map(({ name: volume, source, target }) => volume ?? (source || target)).join(','),
    Networks: networkMode,
    LocalVolumes: String(mounts.filter(({ type }) => type === 'volume').length),
    ...(sizes && { Size: formatBytes(sizes.get(id) ?? 0, 1000) }),
  };
}

/** The name as it was given, unless it names another image by now. */
function describeImage({ options, imageName, imageId }: CtrSummary): string {
  if (imageName === imageId) return shortId(imageId);
  return options.image.startsWith('sha256:') ? shortId(imageId) : options.image;
}

/** "Up 5 minutes (Paused)", "Exited (0) 2 hours ago", "Created". */
export function formatStatus({ state }: Pick<CtrSummary, 'state'>, now: Date): string {
  const { status, exitCode, startedAt, finishedAt } = state;
  if (status === 'created') return 'Created';
  if (status === 'running') return `Up ${formatAge(startedAt, now)}`;
  if (status === 'paused') return `Up ${formatAge(startedAt, now)} (Paused)`;
  const verb = status === 'restarting' ? 'Restarting' : 'Exited';
  return `${verb} (${exitCode}) ${finishedAt === '' ? '' : `${formatAge(finishedAt, now)} ago`}`.trimEnd();
}

/** "0.0.0.0:4000->80/tcp, 443/tcp": published ports, then those that are only exposed. */
function formatPorts({ network, config, state }: CtrSummary): string {
  if (state.status !== 'running' && state.status !== 'paused') return '';
  const published = network?.ports ?? [];
  const taken = new Set(published.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`));
  const exposed = config.exposedPorts.filter((port) => !taken.has(port));
  return [...published.map(formatBinding), ...exposed].join(', ');
}

function buildFilters(all: readonly CtrSummary[]): FilterTable<CtrSummary> {
  const createdAt = (text: string) =>
    all.find(({ id, name }) => name === text || id.startsWith(text))?.createdAt ?? '';
  return {
    id: ({ id }, value) => id.startsWith(value),
    name: ({ name }, value) => new RegExp(value.replace(/^\^\/?/, '^')).test(name),
    label: ({ config }, value) => hasLabel(config.labels, value),
    status: ({ state }, value) => state.status === value,
    exited: ({ state }, value) => state.status === 'exited' && state.exitCode === Number(value),
    ancestor: ({ options, imageName, imageId }, value) =>
      [options.image, imageName, familiarName(imageName)].some(
        (name) => name === value || name === `${value}:latest`,
      ) || imageId.replace('sha256:', '').startsWith(value.replace('sha256:', '')),
    before: (item, value) => item.createdAt < createdAt(value),
    since: (item, value) => createdAt(value) !== '' && item.createdAt > createdAt(value),
    volume: ({ mounts }, value) => mounts.some(({ name, target }) => name === value || target === value),
    network: ({ networkMode }, value) => networkMode === value,
  };
}
