import { fstatSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { copyUp } from './copy-up.ts';
import type { CreateContainerOptions } from './engine.ts';
import type { CgroupMounts, StoredFilter } from './launch-bundle.ts';
import type { Libc } from './libc.ts';
import { killTree, readStartTime } from './monitor.ts';
import { buildContainerProgram } from './performer/container-program.ts';
import { NO_STREAMS, type Performer } from './performer/performer.ts';
import { explainFailure, isFailure } from './performer/report-channel.ts';
import { REPORT } from './performer/report-program.ts';
import { listBindSources } from './performer/rootfs-program.ts';
import { hostUid } from './user-mappings.ts';

export interface LaunchOptions {
  readonly request: CreateContainerOptions;
  /** The container's directory, with its FIFOs and the staging directory. */
  readonly directory: string;
  readonly stagingDir: string;
  readonly cgroupJoinFiles: readonly string[];
  readonly cgroupMounts: CgroupMounts;
  readonly seccomp: StoredFilter | undefined;
  /** What is to be done when the container's namespaces are complete and its root is not entered yet. */
  readonly atStage: ((pid: number) => Promise<void>) | undefined;
}

export interface LaunchedContainer {
  readonly monitorPid: number;
  /** See readStartTime(). */
  readonly monitorStart: string;
  readonly pid: number;
  /** Where the records begin that run at the start. */
  readonly startAddress: number;
  readonly warnings: readonly string[];
}

/**
 * Starts a monitor and its container, which waits for its start.
 * @throws Error with the step that failed; nothing runs any more then.
 */
export async function launchContainer(
  { libc, performer }: { readonly libc: Libc; readonly performer: Performer },
  { request, directory, atStage, ...rest }: LaunchOptions,
): Promise<LaunchedContainer> {
  const { spec, rootfs, stdin = false, inheritStreams = false } = request;
  const program = buildContainerProgram({
    machine: performer.machine,
    spec,
    rootfs,
    directory,
    stdin,
    inheritStreams,
    ownedStreams: inheritStreams ? [0, 1, 2].filter(isOwnable) : stdin ? [0, 1, 2] : [1, 2],
    traits: request.traits ?? {},
    hasStage: atStage !== undefined,
    hostUid: hostUid(spec, spec.process?.user?.uid ?? 0),
    directories: await findDirectories(listBindSources(spec)),
    ...rest,
  });
  const reports = performer.perform(program.bytes, {
    name: 'tkadm-monitor',
    streams: inheritStreams ? [0, 1, 2] : NO_STREAMS,
  });
  const warnings: string[] = [];
  let monitor: { readonly monitorPid: number; readonly monitorStart: string } | undefined;
  let pid: number | undefined;
  let isReady = false;
  /** What the container waits for. */
  let waiting: number | undefined;
  try {
    while (!isReady || monitor === undefined || pid === undefined) {
      const report = await reports.next();
      if (report === undefined) throw new Error('the process ended');
      const { kind, value } = report;
      if (isFailure(report)) throw new Error(explainFailure(program, report));
      if (kind === REPORT.monitor) monitor = { monitorPid: value, monitorStart: readStartTime(value) ?? '' };
      else if (kind === REPORT.pid) pid = value;
      else if (kind === REPORT.ready) isReady = true;
      else if (kind === REPORT.stage || kind === REPORT.copyUp) waiting = kind;
      else warnings.push(program.warnings[kind - REPORT.warnings]?.what ?? '');
      if (waiting === undefined || pid === undefined) continue;
      if (waiting === REPORT.copyUp) copyUp(libc, pid);
      else await atStage?.(pid);
      waiting = undefined;
      reports.send('1');
    }
    return { ...monitor, pid, startAddress: program.startAddress, warnings };
  } catch (error) {
    // Another process may have the number by now.
    if (monitor !== undefined && readStartTime(monitor.monitorPid) === monitor.monitorStart)
      killTree(monitor.monitorPid);
    if (pid !== undefined && request.traits?.reaper === 'caller') killTree(pid);
    throw error;
  } finally {
    reports.close();
  }
}

async function findDirectories(paths: readonly string[]): Promise<ReadonlySet<string>> {
  const found = await Promise.all(
    paths.map(async (path) => {
      const isDirectory = await stat(path).then(
        (stats) => stats.isDirectory(),
        () => false,
      );
      return isDirectory ? [path] : [];
    }),
  );
  return new Set(found.flat());
}

/** A stream that a container's user may own: not a device such as /dev/null. */
function isOwnable(fd: number): boolean {
  try {
    return !fstatSync(fd).isCharacterDevice();
  } catch {
    return false;
  }
}
