import { closeSync, constants as fs, mkdirSync, openSync } from 'node:fs';
import { findProgram } from './launch-process.ts';
import { mountAll, protectRootfs } from './launch-rootfs.ts';
import { CLONE, type Libc, MS } from './libc.ts';
import type { OciMount } from './oci-spec.ts';

/** Mounts that touch each branch of the mounting code. */
const REHEARSAL_MOUNTS = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
  { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'size=64k'] },
  { destination: '/etc', type: 'bind', source: '/etc', options: ['rbind', 'ro', 'rprivate'] },
] as const satisfies readonly OciMount[];

/**
 * While nobody waits: loads and compiles what a launch will run, by mounting into a namespace that is
 * thrown away. Saves several milliseconds of each launch. Failures show again, with their step, at the launch.
 */
export function rehearse(libc: Libc, stagingDir: string): void {
  libc.warmUp();
  const host = openSync('/proc/self/ns/mnt', fs.O_RDONLY);
  try {
    libc.unshare(CLONE.FS | CLONE.NEWNS);
    libc.mount(null, '/', null, MS.PRIVATE | MS.REC, null);
    libc.mount('tmpfs', stagingDir, 'tmpfs', 0, 'size=64k');
    mkdirSync(`${stagingDir}/tmp`);
    const root = openSync(stagingDir, fs.O_DIRECTORY);
    mountAll(libc, root, { mounts: REHEARSAL_MOUNTS, cgroupMounts: { version: 1, hierarchies: [] } });
    protectRootfs(
      libc,
      { maskedPaths: [`${stagingDir}/proc/kcore`], readonlyPaths: [`${stagingDir}/proc/sys`] },
      false,
    );
    findProgram(['sh'], []);
    closeSync(root);
  } catch {
  } finally {
    libc.setns(host, CLONE.NEWNS, 'return to the host');
    closeSync(host);
  }
}
