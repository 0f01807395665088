import { cpus, totalmem } from 'node:os';
import { VERSION } from '../../../runtime/base/version.ts';
import { parseTemplate } from '../../render/go-template.ts';
import { formatTable } from '../../render/table.ts';
import type { CliContext } from '../context.ts';
import { ctr, image } from './call.ts';
import { type PruneFlags as ContainerPruneFlags, pruneContainers } from './containers.ts';
import { pruneImages } from './images.ts';
import { printDeleted } from './print-deleted.ts';
import { applyFilters, type ListFlags, printRows } from './print-rows.ts';
import { formatBytes } from './units.ts';
import { confirm, pruneVolumes } from './volumes.ts';

/** `tkadm ctr network ls` */
export async function runNetworkLs(
  context: CliContext,
  flags: ListFlags & { readonly filter?: readonly string[] },
): Promise<void> {
  const networks = applyFilters(
    await ctr(context, 'networkList', {}),
    { name: ({ name }, value) => name.includes(value), driver: ({ driver }, value) => driver === value },
    flags.filter,
  );
  const rows = networks.map(({ name, driver }) => ({ ID: name, Name: name, Driver: driver, Scope: 'local' }));
  const columns = [
    ['NETWORK ID', 'ID'],
    ['NAME', 'Name'],
    ['DRIVER', 'Driver'],
    ['SCOPE', 'Scope'],
  ] as const;
  printRows(context, { ...flags, rows, columns, idField: 'ID' });
}

/** `tkadm ctr system df` */
export async function runSystemDf(context: CliContext): Promise<void> {
  const [usage, images, containers] = await Promise.all([
    ctr(context, 'diskUsage', {}),
    image(context, 'list'),
    ctr(context, 'list', {}),
  ]);
  const sum = (rows: readonly { readonly bytes: number }[]) =>
    rows.reduce((total, { bytes }) => total + bytes, 0);
  const active = new Set(containers.map(({ imageId }) => imageId));
  const running = new Set(containers.filter(({ state }) => state.pid > 0).map(({ id }) => id));
  const usedVolumes = usage.volumes.filter(({ isUsed }) => isUsed);
  const row = (type: string, total: number, used: number, bytes: number) => [
    type,
    String(total),
    String(used),
    formatBytes(bytes, 1000),
  ];
  context.write(
    formatTable([
      ['TYPE', 'TOTAL', 'ACTIVE', 'SIZE'],
      row('Images', images.length, images.filter(({ id }) => active.has(id)).length, usage.imagesBytes),
      row('Containers', containers.length, running.size, sum(usage.containers)),
      row('Local Volumes', usage.volumes.length, usedVolumes.length, sum(usage.volumes)),
    ]),
  );
}

export interface SystemPruneFlags extends ContainerPruneFlags {
  readonly all?: boolean;
  readonly force?: boolean;
  readonly volumes?: boolean;
}

/** `tkadm ctr system prune` */
export async function runSystemPrune(context: CliContext, flags: SystemPruneFlags): Promise<void> {
  const volumesToo = flags.volumes ? ', volumes without a container' : '';
  await confirm(context, flags.force, `This removes all stopped containers${volumesToo} and unused images`);
  const before = await ctr(context, 'diskUsage', {});
  const ids = await pruneContainers(context, flags);
  const volumes = flags.volumes ? await pruneVolumes(context, {}) : { names: [], bytes: 0 };
  const images = await pruneImages(context, flags.all ?? false);
  const freed = bytesOf(before.containers, ids);
  const deleted = { Containers: ids, Volumes: volumes.names, Images: images.ids };
  printDeleted(context, deleted, freed + volumes.bytes + images.bytes);
}

/** `tkadm ctr container prune` */
export async function runContainerPrune(
  context: CliContext,
  flags: ContainerPruneFlags & { readonly force?: boolean },
): Promise<void> {
  await confirm(context, flags.force, 'This removes all stopped containers');
  const before = await ctr(context, 'diskUsage', {});
  const ids = await pruneContainers(context, flags);
  printDeleted(context, { Containers: ids }, bytesOf(before.containers, ids));
}

function bytesOf(
  rows: readonly { readonly id: string; readonly bytes: number }[],
  ids: readonly string[],
): number {
  return rows.filter(({ id }) => ids.includes(id)).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** `tkadm ctr image prune` */
export async function runImagePrune(
  context: CliContext,
  { all = false, force }: { readonly all?: boolean; readonly force?: boolean },
): Promise<void> {
  await confirm(context, force, `This removes all images without ${all ? 'a container' : 'a name'}`);
  const { ids, bytes } = await pruneImages(context, all);
  printDeleted(context, { Images: ids }, bytes);
}

/** `tkadm ctr info` */
export async function runInfo(context: CliContext, { format }: { readonly format?: string }): Promise<void> {
  const info = await ctr(context, 'info', {});
  const document = {
    Containers: info.containers,
    ContainersRunning: info.running,
    ContainersPaused: info.paused,
    ContainersStopped: info.stopped,
    Images: info.images,
    Driver: 'overlay2',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: String(info.cgroupVersion),
    DockerRootDir: info.root,
    NCPU: cpus().length,
    MemTotal: totalmem(),
    ServerVersion: info.version,
  };
  if (format !== undefined) {
    context.write(`${format === 'json' ? JSON.stringify(document) : parseTemplate(format)(document)}\n`);
    return;
  }
  const lines = [
    `Server version: ${info.version}`,
    `Containers: ${info.containers}`,
    ` Running: ${info.running}`,
    ` Paused: ${info.paused}`,
    ` Stopped: ${info.stopped}`,
    `Images: ${info.images}`,
    'Storage driver: overlay2',
    `Cgroup version: ${info.cgroupVersion}`,
    `Root directory: ${info.root}`,
    `CPUs: ${cpus().length}`,
    `Memory: ${formatBytes(totalmem(), 1024)}`,
  ];
  context.write(`${lines.join('\n')}\n`);
}

/** `tkadm ctr version` */
export async function runVersion(
  context: CliContext,
  { format }: { readonly format?: string },
): Promise<void> {
  const { version } = await ctr(context, 'info', {});
  const document = { Client: { Version: VERSION }, Server: { Version: version } };
  if (format === undefined) context.write(`Client: ${VERSION}\nServer: ${version}\n`);
  else context.write(`${format === 'json' ? JSON.stringify(document) : parseTemplate(format)(document)}\n`);
}
