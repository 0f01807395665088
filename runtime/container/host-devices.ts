import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { OciLinux } from './oci-spec.ts';

export type OciDevice = NonNullable<OciLinux['devices']>[number];
export type OciDeviceRule = NonNullable<NonNullable<OciLinux['resources']>['devices']>[number];

/** A device of the host for a container; the fields of CRI's Device. */
export interface DeviceWish {
  readonly hostPath: string;
  /** The host's path when "". */
  readonly containerPath: string;
  /** "rwm" or some of it; all when "". */
  readonly permissions: string;
}

/** Entries of /dev that every container has of its own. */
const PRIVATE_ENTRIES = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', '.lxc', '.lxd-mounts', '.udev']);

/**
 * The devices that CRI asks for, with the cgroup rule of each; a directory means every device in it.
 * @throws CRI_INVALID when the host has no such device.
 */
export async function resolveDevices(
  wishes: readonly DeviceWish[],
): Promise<{ readonly devices: readonly OciDevice[]; readonly rules: readonly OciDeviceRule[] }> {
  const devices: OciDevice[] = [];
  const rules: OciDeviceRule[] = [];
  for (const wish of wishes) {
    const hostPath = await realpath(wish.hostPath).catch(() => wish.hostPath);
    const containerPath = wish.containerPath || wish.hostPath;
    const found = await findDevices(hostPath, containerPath, new Set());
    if (found.length === 0) {
      throw new TkadmError('CRI_INVALID', `Cannot give device "${wish.hostPath}" to a container: not found`);
    }
    devices.push(...found);
    for (const { type, major, minor } of found) {
      rules.push({ allow: true, type, major, minor, access: wish.permissions || 'rwm' });
    }
  }
  return { devices, rules };
}

/** Every device of the host, for privileged containers. */
export function listHostDevices(): Promise<readonly OciDevice[]> {
  return findDevices('/dev', '/dev', PRIVATE_ENTRIES);
}

async function findDevices(
  hostPath: string,
  containerPath: string,
  skipped: ReadonlySet<string>,
): Promise<readonly OciDevice[]> {
  const stats = await stat(hostPath).catch(() => undefined);
  if (stats?.isDirectory()) {
    const names = (await readdir(hostPath)).filter((name) => !skipped.has(name));
    const lists = await Promise.all(
      names.map((name) => findDevices(join(hostPath, name), join(containerPath, name), skipped)),
    );
    return lists.flat();
  }
  if (stats === undefined || !(stats.isCharacterDevice() || stats.isBlockDevice())) return [];
  return [
    {
      path: containerPath,
      type: stats.isBlockDevice() ? 'b' : 'c',
      // makedev(3) of glibc, low words
      major: (stats.rdev >>> 8) & 0xfff,
      minor: (stats.rdev & 0xff) | ((stats.rdev >>> 12) & 0xfff00),
      fileMode: stats.mode & 0o777,
      uid: stats.uid,
      gid: stats.gid,
    },
  ];
}
