import { readFile } from 'node:fs/promises';
import { VERSION } from '../base/version.ts';
import { parseCgroupHost } from '../container/cgroup/cgroup-host.ts';
import type { CtrContext } from './ctr-context.ts';
import { isRunning } from './ctr-lifecycle.ts';
import type { CtrInfo, CtrSummary, NetworkInfo, VolumeInfo } from './ctr-messages.ts';
import type { CtrRecord } from './ctr-record.ts';
import type { VolumeRecord } from './volume-store.ts';

/** With the image's first name, or its id once it has none. */
export function describeContainer({ images }: CtrContext, record: CtrRecord): CtrSummary {
  const image = images.resolve(record.imageId);
  return { ...record, imageName: image?.repoTags[0] ?? record.imageId };
}

/** A volume, with the names of those that have it. */
export function describeVolume({ volumes, records }: CtrContext, volume: VolumeRecord): VolumeInfo {
  const users = records.list().filter(({ mounts }) => mounts.some(({ name }) => name === volume.id));
  return {
    name: volume.id,
    path: volumes.path(volume.id),
    createdAt: volume.createdAt,
    labels: volume.labels,
    isAnonymous: volume.isAnonymous,
    usedBy: users.map(({ name }) => name),
  };
}

/** The three networks that there are, with the containers that run in them. */
export async function listNetworks(context: CtrContext): Promise<readonly NetworkInfo[]> {
  const members = (mode: string) =>
    context.records
      .list()
      .filter((record) => record.networkMode === mode && isRunning(record))
      .map(({ id, name, network }) => ({
        id,
        name,
        address: network?.address ?? '',
        mac: network?.mac ?? '',
      }));
  const subnet = await context.bridge.subnet();
  const gateway = context.records.list().find(({ network }) => network !== undefined)?.network?.gateway;
  const { interfaceName } = context.bridge;
  return [
    { name: 'bridge', driver: 'bridge', subnet, gateway, interfaceName, containers: members('bridge') },
    { name: 'host', driver: 'host', containers: members('host') },
    { name: 'none', driver: 'null', containers: members('none') },
  ];
}

/** What the service has. */
export async function describeService(context: CtrContext): Promise<CtrInfo> {
  const count = (...states: readonly string[]) =>
    context.records.list().filter(({ state }) => states.includes(state.status)).length;
  return {
    version: VERSION,
    root: context.root,
    containers: context.records.list().length,
    running: count('running', 'restarting'),
    paused: count('paused'),
    stopped: count('created', 'exited'),
    images: context.images.list().length,
    cgroupVersion: parseCgroupHost(await readFile('/proc/self/mountinfo', 'utf8')).version,
  };
}
