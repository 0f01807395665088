import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { sleep } from '../../runtime/base/time.ts';
import { parseCgroupHost } from '../../runtime/container/cgroup/cgroup-host.ts';
import { type ContainerEngineOptions, createContainerEngine } from '../../runtime/container/create-engine.ts';
import { DEFAULT_MOUNTS } from '../../runtime/container/defaults.ts';
import type { ContainerEngine } from '../../runtime/container/engine.ts';
import type { OciLinux, OciProcess, OciSpec } from '../../runtime/container/oci-spec.ts';

const ROOT = join(import.meta.dirname ?? '.', '..', '..');
const BUSYBOX = '/bin/busybox';
const APPLETS = [
  'sh',
  'true',
  'false',
  'cat',
  'echo',
  'sleep',
  'hostname',
  'id',
  'ls',
  'mount',
  'grep',
  'head',
  'tr',
  'dd',
  'touch',
  'ps',
  'stty',
  'tty',
  'kill',
  'ip',
  'nproc',
  'umask',
  'seq',
  'readlink',
  'wc',
  'mkdir',
  'stat',
  'mknod',
  'uniq',
  'find',
  'mv',
  'sort',
  'pwd',
  'cut',
];

/** Why tests with the real kernel cannot run here; false when they can. */
export const skipReason: string | false =
  process.getuid?.() !== 0 ? 'needs root' : existsSync(BUSYBOX) ? false : 'needs busybox-static';

export interface Fixture {
  readonly directory: string;
  readonly stateDir: string;
  readonly rootfs: string;
  readonly cgroupParent: string;
  readonly logPath: (id: string) => string;
  openEngine(options?: Partial<ContainerEngineOptions>): Promise<ContainerEngine>;
  buildSpec(args: readonly string[], changes?: SpecChanges): OciSpec;
  removeCgroups(): void;
  remove(): void;
}

export interface SpecChanges {
  readonly process?: Partial<OciProcess>;
  readonly linux?: Partial<OciLinux>;
  readonly spec?: Partial<OciSpec>;
}

/** A busybox root file system and a cgroup parent of our own. */
export function createFixture(): Fixture {
  const directory = mkdtempSync('/tmp/tkadm-container-');
  const rootfs = join(directory, 'lower');
  const stateDir = join(directory, 'state');
  const cgroupParent = `/tkadm-test-${randomBytes(6).toString('hex')}`;
  for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root'])
    mkdirSync(join(rootfs, name), { recursive: true });
  copyFileSync(BUSYBOX, join(rootfs, 'bin/busybox'));
  for (const name of APPLETS) symlinkSync('busybox', join(rootfs, 'bin', name));
  writeFileSync(
    join(rootfs, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n',
  );
  let count = 0;
  return {
    directory,
    stateDir,
    rootfs,
    cgroupParent,
    logPath: (id) => join(directory, 'logs', `${id}.log`),
    openEngine: (options) =>
      createContainerEngine({ stateDir, log: SILENT_LOGGER, now: () => new Date(), ...options }),
    buildSpec(args, changes = {}) {
      count += 1;
      return {
        ociVersion: '1.2.0',
        hostname: 'box',
        ...changes.spec,
        mounts: [...DEFAULT_MOUNTS, ...(changes.spec?.mounts ?? [])],
        process: {
          args,
          cwd: '/',
          env: ['PATH=/bin'],
          user: { uid: 0, gid: 0 },
          noNewPrivileges: true,
          capabilities: {
            bounding: ['CAP_CHOWN', 'CAP_KILL'],
            effective: ['CAP_CHOWN', 'CAP_KILL'],
            permitted: ['CAP_CHOWN', 'CAP_KILL'],
          },
          ...changes.process,
        },
        linux: {
          cgroupsPath: `${cgroupParent}/c${count}`,
          namespaces: [
            { type: 'pid' },
            { type: 'mount' },
            { type: 'ipc' },
            { type: 'uts' },
            { type: 'network' },
            { type: 'cgroup' },
          ],
          maskedPaths: ['/proc/kcore', '/proc/timer_list', '/sys/firmware'],
          readonlyPaths: ['/proc/sys', '/proc/sysrq-trigger'],
          ...changes.linux,
        },
      };
    },
    removeCgroups() {
      const unified = unifiedDirectory(cgroupParent);
      for (const path of [...cgroupDirectories(cgroupParent), ...unified]) rmdirSync(path);
    },
    remove() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The existing directories of a cgroup path in every hierarchy. */
export function cgroupDirectories(path: string): readonly string[] {
  const host = parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'));
  const mounts =
    host.version === 2 ? [host.mountPoint] : host.hierarchies.map((hierarchy) => hierarchy.mountPoint);
  return mounts.map((mount) => join(mount, path)).filter((directory) => existsSync(directory));
}

/** That of the unified hierarchy beside those of version 1, which runc and systemd use. */
function unifiedDirectory(path: string): readonly string[] {
  const host = parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (host.version === 2 || host.unified === undefined) return [];
  return [join(host.unified, path)].filter((directory) => existsSync(directory));
}

/** Bundles a program of runtime/container as build.mjs does; koffi is found at its absolute path. */
export function buildProgram(directory: string, name: string): string {
  const koffi = createRequire(import.meta.url).resolve('koffi');
  const outfile = join(directory, `${name}.cjs`);
  buildSync({
    entryPoints: [join(ROOT, 'runtime/container', `${name}.ts`)],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    outfile,
    alias: { koffi },
    external: [koffi],
    define: { TKADM_VERSION: '"test"' },
  });
  return outfile;
}

/** Processes whose command line or working directory names `text`. */
export function findProcesses(text: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
      } catch {
        return false;
      }
    });
}

/** Processes whose working directory is below a directory: the monitors of an engine's containers. */
export function findMonitors(directory: string): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && pid !== process.pid && readlinkSync(`/proc/${pid}/cwd`).startsWith(directory);
      } catch {
        return false;
      }
    });
}

/** What a container has written, from its log. */
export function readOutput(logPath: string): string {
  return readFileSync(logPath, 'utf8')
    .split('\n')
    .map((line) => line.split(' ').slice(3).join(' '))
    .join('\n');
}

/** The monitors that are left when those that were killed have had the time to go. */
export async function remainingMonitors(directory: string): Promise<readonly number[]> {
  for (let tries = 0; tries < 500 && findMonitors(directory).length > 0; tries += 1) await sleep(10);
  return findMonitors(directory);
}
