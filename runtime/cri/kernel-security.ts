import { readFile, stat } from 'node:fs/promises';

/** Which security modules this kernel has switched on. */
export interface KernelSecurity {
  readonly hasAppArmor: boolean;
  readonly hasSelinux: boolean;
}

/** Looks at /sys/module/apparmor/parameters/enabled ("Y") and at SELinux' file system. */
export async function readKernelSecurity(sysRoot = '/sys'): Promise<KernelSecurity> {
  const apparmor = await readFile(`${sysRoot}/module/apparmor/parameters/enabled`, 'utf8').catch(() => '');
  const selinux = await stat(`${sysRoot}/fs/selinux/enforce`).catch(() => undefined);
  return { hasAppArmor: apparmor.trim() === 'Y', hasSelinux: selinux !== undefined };
}
