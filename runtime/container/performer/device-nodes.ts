import { basename, dirname } from 'node:path';
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from '../kernel-constants.ts';
import type { OciLinux, OciSpec } from '../oci-spec.ts';
import { failed, type Section } from './program.ts';
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
  /** In a user namespace no device can be made: the host's, of the same path, is bound instead. */
  readonly areBound: boolean;
}

/** Makes the devices of a container and the links that programs expect beside them. */
export function makeDeviceNodes(
  section: Section,
  places: RootPlaces,
  { spec, areBound }: DeviceNodesOptions,
): void {
  const devices = spec.linux?.devices ?? [];
  const make = areBound ? bindDevices : makeNodes;
  const hasOwnDev = (spec.mounts ?? []).some(
    ({ destination, type }) => destination === '/dev' && type === 'tmpfs',
  );
  const taken = new Set(devices.map((device) => device.path));
  if (hasOwnDev)
    make(
      section,
      places,
      DEFAULT_DEVICES.filter((device) => !taken.has(device.path)),
    );
  make(section, places, devices);
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
  const mode = DEVICE_TYPES[device.type] | (device.fileMode ?? 0o666);
  section.call('mknodat', [{ at: places.target }, name, mode, deviceNumber(device)], {
    on: [[failed('EEXIST'), past]],
  });
  if (device.uid || device.gid) {
    const owner = [device.uid ?? 0, device.gid ?? 0] as const;
    section.call('fchownat', [{ at: places.target }, name, ...owner, AT_SYMLINK_NOFOLLOW]);
  }
  section.place(past);
}

function bindDevices(section: Section, places: RootPlaces, devices: Devices): void {
  for (const { path } of devices) {
    const tree = section.room();
    section.step(`device "${path}"`);
    section.call('open_tree', [AT_FDCWD, section.text(path), OPEN_TREE], { into: tree });
    places.openTarget(path, false);
    moveMount(section, tree, places);
  }
}

/** The kernel's number of a device, makedev(3). */
export function deviceNumber({
  major = 0,
  minor = 0,
}: {
  readonly major?: number;
  readonly minor?: number;
}): number {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) * 4096);
}
