import { basename, dirname, join } from 'node:path';
import { hostId } from '../id-mappings.ts';
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, MNT_DETACH } from '../kernel-constants.ts';
import type { OciLinux, OciSpec } from '../oci-spec.ts';
import { type DataRef, failed, type Section } from './program.ts';
import { moveMount, type RootPlaces } from './root-places.ts';

/** open_tree(2): OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC */
const OPEN_TREE = 1 | 0o2000000;

/** Device nodes of every container, runtime-spec config-linux.md "Default Devices". */
const DEFAULT_DEVICES = [
  { path: '/dev/null', type: 'c', major: 1, minor: 3 },
  { path: '/dev/zero', type: 'c', major: 1, minor: 5 },
  { path: '/dev/full', type: 'c', major: 1, minor: 7 },
  { path: '/dev/random', type: 'c', major: 1, minor: 8 },
  { path: '/dev/urandom', type: 'c', major: 1, minor: 9 },
  { path: '/dev/tty', type: 'c', major: 5, minor: 0 },
] as const;

const DEV_LINKS = [
  ['/proc/self/fd', '/dev/fd'],
  ['/proc/self/fd/0', '/dev/stdin'],
  ['/proc/self/fd/1', '/dev/stdout'],
  ['/proc/self/fd/2', '/dev/stderr'],
  ['pts/ptmx', '/dev/ptmx'],
] as const;

const DEVICE_TYPES = { c: 0o020000, u: 0o020000, b: 0o060000, p: 0o010000 } as const;
type Devices = NonNullable<OciLinux['devices']>;

export interface DeviceNodesOptions {
  readonly spec: OciSpec;
  /**
   * In a user namespace no device can be made. Those of the spec are here then, see openDevices(), by their paths; the
   * usual ones are the host's.
   */
  readonly opened: ReadonlyMap<string, DataRef> | undefined;
}

/** Makes the devices of a spec as the host's root, owned by who they belong to outside, and takes them along as mounts. */
export function openDevices(
  section: Section,
  { linux }: OciSpec,
  stagingDir: string,
): ReadonlyMap<string, DataRef> {
  const { devices = [], uidMappings = [], gidMappings = [] } = linux ?? {};
  const opened = new Map<string, DataRef>();
  if (devices.length === 0) return opened;
  const [directory, tmpfs] = [section.text(stagingDir), section.text('tmpfs')];
  section.step('make devices');
  section.call('mount', [tmpfs, directory, tmpfs, 0, section.text('mode=755')]);
  for (const [index, device] of devices.entries()) {
    const tree = section.room();
    const path = section.text(join(stagingDir, String(index)));
    const owner = [
      hostId(uidMappings, device.uid ?? 0) ?? 0,
      hostId(gidMappings, device.gid ?? 0) ?? 0,
    ] as const;
    section.step(`device "${device.path}"`);
    section.call('mknodat', [AT_FDCWD, path, modeOf(device), deviceNumber(device)]);
    section.call('fchownat', [AT_FDCWD, path, ...owner, AT_SYMLINK_NOFOLLOW]);
    section.call('open_tree', [AT_FDCWD, path, OPEN_TREE], { into: tree });
    opened.set(device.path, tree);
  }
  section.call('umount2', [directory, MNT_DETACH]);
  return opened;
}

/** Makes the devices of a container and the links that programs expect beside them. */
export function makeDeviceNodes(
  section: Section,
  places: RootPlaces,
  { spec, opened }: DeviceNodesOptions,
): void {
  const devices = spec.linux?.devices ?? [];
  const make = (rows: Devices) =>
    opened === undefined ? makeNodes(section, places, rows) : bindDevices(section, places, rows, opened);
  const hasOwnDev = (spec.mounts ?? []).some(
    ({ destination, type }) => destination === '/dev' && type === 'tmpfs',
  );
  const taken = new Set(devices.map((device) => device.path));
  if (hasOwnDev) make(DEFAULT_DEVICES.filter((device) => !taken.has(device.path)));
  make(devices);
  if (hasOwnDev) makeLinks(section, places);
}

function makeLinks(section: Section, places: RootPlaces): void {
  section.step('link in "/dev"');
  places.openTarget('/dev', true);
  for (const [target, path] of DEV_LINKS) {
    const next = section.label();
    section.call('symlinkat', [section.text(target), { at: places.target }, section.text(basename(path))], {
      on: [[failed('EEXIST'), next]],
    });
    section.place(next);
  }
  places.close(places.target);
}

function makeNodes(section: Section, places: RootPlaces, devices: Devices): void {
  for (const directory of new Set(devices.map(({ path }) => dirname(path)))) {
    section.step(`device in "${directory}"`);
    places.openTarget(directory, true);
    for (const device of devices.filter(({ path }) => dirname(path) === directory)) {
      section.step(`device "${device.path}"`);
      makeNode(section, places, device);
    }
    places.close(places.target);
  }
}

function makeNode(section: Section, places: RootPlaces, device: Devices[number]): void {
  const past = section.label();
  const name = section.text(basename(device.path));
  section.call('mknodat', [{ at: places.target }, name, modeOf(device), deviceNumber(device)], {
    on: [[failed('EEXIST'), past]],
  });
  if (device.uid || device.gid) {
    const owner = [device.uid ?? 0, device.gid ?? 0] as const;
    section.call('fchownat', [{ at: places.target }, name, ...owner, AT_SYMLINK_NOFOLLOW]);
  }
  section.place(past);
}

function modeOf({ type, fileMode = 0o666 }: Devices[number]): number {
  return DEVICE_TYPES[type] | fileMode;
}

function bindDevices(
  section: Section,
  places: RootPlaces,
  devices: Devices,
  opened: ReadonlyMap<string, DataRef>,
): void {
  for (const { path } of devices) {
    const own = opened.get(path);
    const tree = own ?? section.room();
    section.step(`device "${path}"`);
    if (own === undefined)
      section.call('open_tree', [AT_FDCWD, section.text(path), OPEN_TREE], { into: tree });
    places.openTarget(path, false);
    moveMount(section, tree, places);
  }
}

/** The kernel's number of a device, makedev(3). */
function deviceNumber({
  major = 0,
  minor = 0,
}: {
  readonly major?: number;
  readonly minor?: number;
}): number {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) * 4096);
}
