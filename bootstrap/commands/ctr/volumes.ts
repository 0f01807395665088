import { createInterface } from 'node:readline/promises';
import { TkadmError } from '../../../runtime/base/errors.ts';
import type { VolumeInfo } from '../../../runtime/ctr/ctr-messages.ts';
import type { CliContext } from '../context.ts';
import { ctr, forEach } from './call.ts';
import { runInspect } from './inspect.ts';
import { printDeleted } from './print-deleted.ts';
import { applyFilters, type FilterTable, hasLabel, type ListFlags, printRows } from './print-rows.ts';
import { parseLabel } from './run-options.ts';

const FILTERS: FilterTable<VolumeInfo> = {
  dangling: ({ usedBy }, value) => (usedBy.length === 0) === (value === 'true'),
  driver: (_volume, value) => value === 'local',
  label: ({ labels }, value) => hasLabel(labels, value),
  name: ({ name }, value) => name.includes(value),
};

/** `tkadm ctr volume create [NAME]` */
export async function runVolumeCreate(
  context: CliContext,
  { driver = 'local', label = [] }: { readonly driver?: string; readonly label?: readonly string[] },
  name: string | undefined,
): Promise<void> {
  if (driver !== 'local') {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot make a volume with driver "${driver}": only "local" is supported`,
    );
  }
  const volume = await ctr(context, 'volumeCreate', {
    name,
    labels: Object.fromEntries(label.map(parseLabel)),
  });
  context.write(`${volume.name}\n`);
}

/** `tkadm ctr volume ls` */
export async function runVolumeLs(
  context: CliContext,
  flags: ListFlags & { readonly filter?: readonly string[] },
): Promise<void> {
  const volumes = applyFilters(await ctr(context, 'volumeList', {}), FILTERS, flags.filter);
  const rows = volumes
    .map(({ name, path, labels }) => ({
      Driver: 'local',
      Name: name,
      Mountpoint: path,
      Labels: Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
    }))
    .toSorted((a, b) => a.Name.localeCompare(b.Name));
  const columns = [
    ['DRIVER', 'Driver'],
    ['VOLUME NAME', 'Name'],
  ] as const;
  printRows(context, { ...flags, rows, columns, idField: 'Name', otherFields: ['Mountpoint', 'Labels'] });
}

/** `tkadm ctr volume inspect`, `network inspect` */
export function runInspectOf(
  context: CliContext,
  type: 'volume' | 'network' | 'container' | 'image',
  flags: { readonly format?: string; readonly size?: boolean },
  names: readonly string[],
): Promise<number> {
  return runInspect(context, { ...flags, type }, names);
}

/** `tkadm ctr volume rm` */
export function runVolumeRm(
  context: CliContext,
  { force = false }: { readonly force?: boolean },
  names: readonly string[],
): Promise<number> {
  return forEach(context, names, async (name) => {
    await ctr(context, 'volumeRemove', { name, isForced: force });
    return name;
  });
}

export interface PruneFlags {
  readonly all?: boolean;
  readonly filter?: readonly string[];
  readonly force?: boolean;
}

/** `tkadm ctr volume prune`: without --all those that were made for one container. */
export async function runVolumePrune(context: CliContext, flags: PruneFlags): Promise<void> {
  await confirm(
    context,
    flags.force,
    `This removes all volumes ${flags.all ? '' : 'without a name '}that no container has`,
  );
  const { names, bytes } = await pruneVolumes(context, flags);
  printDeleted(context, { Volumes: names }, bytes);
}

/** Removes volumes without a container; returns their names and what they took. */
export async function pruneVolumes(context: CliContext, { all, filter }: PruneFlags) {
  const unused = (await ctr(context, 'volumeList', {})).filter(
    ({ usedBy, isAnonymous }) => usedBy.length === 0 && (isAnonymous || all),
  );
  const chosen = applyFilters(unused, { label: FILTERS['label']! }, filter);
  const usage = await ctr(context, 'diskUsage', {});
  for (const { name } of chosen) await ctr(context, 'volumeRemove', { name, isForced: false });
  const names = chosen.map(({ name }) => name);
  const bytes = usage.volumes
    .filter(({ name }) => names.includes(name))
    .reduce((sum, row) => sum + row.bytes, 0);
  return { names, bytes };
}

/** Asks before something is removed. @throws USAGE when the answer is no, or cannot be given */
export async function confirm(
  context: CliContext,
  isForced: boolean | undefined,
  what: string,
): Promise<void> {
  if (isForced) return;
  if (!context.isInputTerminal) {
    throw new TkadmError('USAGE', 'Cannot remove without an answer: standard input is no terminal', {
      hint: '--force',
    });
  }
  const prompt = createInterface({
    input: context.stdin as never,
    output: { write: context.write } as never,
  });
  const answer = await prompt.question(`${what}. Go on? [y/N] `);
  prompt.close();
  if (!/^y(es)?$/i.test(answer.trim()))
    throw new TkadmError('USAGE', 'Cannot remove: the answer was not "y"');
}
