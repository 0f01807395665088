import { existsSync, readFileSync } from 'node:fs';
import type { OciSpec } from './oci-spec.ts';

/** True where the kernel applies AppArmor's profiles. */
export function hasAppArmor(parameter = '/sys/module/apparmor/parameters/enabled'): boolean {
  try {
    return readFileSync(parameter, 'utf8').startsWith('Y');
  } catch {
    return false;
  }
}

/** True where SELinux is on: its file system is mounted. */
export function hasSelinux(directory = '/sys/fs/selinux'): boolean {
  return existsSync(`${directory}/enforce`);
}

/** A field that needs what this kernel has not; undefined when there is none. */
export function findMissingLabel({ process, linux }: Pick<OciSpec, 'process' | 'linux'>): string | undefined {
  const profile = process?.apparmorProfile;
  // "unconfined" is what a kernel without AppArmor does.
  if (profile && profile !== 'unconfined' && !hasAppArmor())
    return 'process.apparmorProfile" needs "AppArmor';
  if (process?.selinuxLabel && !hasSelinux()) return 'process.selinuxLabel" needs "SELinux';
  if (linux?.mountLabel && !hasSelinux()) return 'linux.mountLabel" needs "SELinux';
  return undefined;
}
