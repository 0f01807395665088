import { execFile } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { TkadmError } from '../base/errors.ts';
import type { CreateContainerOptions } from './engine.ts';
import { SLOT_FILES } from './launch-bundle.ts';
import type { LaunchedContainer } from './launch-container.ts';
import { killTree, readStartTime, writeFifo } from './monitor.ts';
import type { OciSpec } from './oci-spec.ts';
import { buildForeignProgram, CONSOLE_SOCKET } from './performer/foreign-program.ts';
import { NO_STREAMS, type Performer } from './performer/performer.ts';
import { explainFailure, isFailure } from './performer/report-channel.ts';

const run = promisify(execFile);

/** Files in the container's directory: the runtime's own state, its messages, the container's pid. */
const FILES = { root: 'oci', log: 'oci.log', pid: 'oci.pid' } as const;

/** The newest version that every release of runc and crun takes; what they do not know they refuse or pass over. */
const OCI_VERSION = '1.0.2';

/**
 * True when the engine makes the cgroup and the runtime is born in it: crun refuses machines on which both cgroup versions
 * have controllers, so it is told to have nothing to do with cgroups. runc is too big for a container's limits.
 */
export function isBornInCgroup(runtimePath: string): boolean {
  return basename(runtimePath) === 'crun';
}

/** The spec as other runtimes take it. */
export function buildForeignSpec(spec: OciSpec, runtimePath: string): OciSpec {
  if (!isBornInCgroup(runtimePath)) return { ...spec, ociVersion: OCI_VERSION };
  const { resources: _, ...linux } = spec.linux ?? {};
  return { ...spec, ociVersion: OCI_VERSION, linux };
}

/** What every call of a runtime with runc's command line begins with. */
function globalFlags(runtimePath: string, directory: string): readonly string[] {
  const log = join(directory, FILES.log);
  const cgroup = isBornInCgroup(runtimePath) ? ['--cgroup-manager', 'disabled'] : [];
  return ['--root', join(directory, FILES.root), '--log', log, '--log-format', 'json', ...cgroup];
}

export interface ForeignLaunch {
  readonly request: CreateContainerOptions;
  readonly directory: string;
  /** Files of the cgroup that the engine made. */
  readonly cgroupJoinFiles: readonly string[];
}

/**
 * Has another runtime create a container whose monitor, streams and exit are ours. The bundle is the container's directory.
 * @throws Error with the runtime's last message; nothing runs any more then.
 */
export async function launchForeign(
  performer: Performer,
  { request, directory, cgroupJoinFiles }: ForeignLaunch,
): Promise<LaunchedContainer> {
  const { id, spec, rootfs, stdin = false, runtimePath = '' } = request;
  const terminal = spec.process?.terminal ?? false;
  const console = terminal ? ['--console-socket', CONSOLE_SOCKET] : [];
  const create = ['create', '--bundle', directory, '--pid-file', join(directory, FILES.pid), ...console, id];
  const program = buildForeignProgram({
    machine: performer.machine,
    rootfs,
    directory,
    argv: [runtimePath, ...globalFlags(runtimePath, directory), ...create],
    cgroupJoinFiles: isBornInCgroup(runtimePath) ? cgroupJoinFiles : [],
    terminal,
    stdin,
  });
  const reports = performer.perform(program.bytes, { name: 'tkadm-monitor', streams: NO_STREAMS });
  const next = async () => {
    const report = await reports.next();
    if (report === undefined) throw new Error('the process ended');
    if (isFailure(report)) throw new Error(explainFailure(program, report));
    return report.value;
  };
  let monitor: { readonly monitorPid: number; readonly monitorStart: string } | undefined;
  try {
    const monitorPid = await next();
    monitor = { monitorPid, monitorStart: readStartTime(monitorPid) ?? '' };
    const status = await next();
    if (status !== 0) {
      throw new Error(readMessage(directory) ?? `"${runtimePath}" failed: wait status ${status}`);
    }
    const pid = Number(readFileSync(join(directory, FILES.pid), 'utf8'));
    writeFifo(join(directory, SLOT_FILES.start), formatPid(pid));
    await next();
    return { ...monitor, pid, startAddress: 0, warnings: [] };
  } catch (error) {
    // Another process may have the number by now.
    if (monitor !== undefined && readStartTime(monitor.monitorPid) === monitor.monitorStart) {
      killTree(monitor.monitorPid);
    }
    await deleteForeign(runtimePath, directory, id);
    throw error;
  } finally {
    reports.close();
  }
}

/** Lets a created container become its program. @throws CONTAINER_LAUNCH */
export async function startForeign(runtimePath: string, directory: string, id: string): Promise<void> {
  try {
    await run(runtimePath, [...globalFlags(runtimePath, directory), 'start', id]);
  } catch (error) {
    const reason = readMessage(directory) ?? (error as Error).message;
    throw new TkadmError('CONTAINER_LAUNCH', `Cannot start container "${id}": ${reason}`, { cause: error });
  }
}

/** Has the runtime take down what it made; it may have made nothing. */
export async function deleteForeign(runtimePath: string, directory: string, id: string): Promise<void> {
  await run(runtimePath, [...globalFlags(runtimePath, directory), 'delete', '--force', id]).catch(() => {});
  rmSync(join(directory, FILES.root), { recursive: true, force: true });
}

/** True until the container was started: runc and crun keep a FIFO of this name meanwhile. */
export function isForeignWaiting(directory: string, id: string): boolean {
  return existsSync(join(directory, FILES.root, id, 'exec.fifo'));
}

/** The last message in the runtime's log: lines of JSON with "msg". */
function readMessage(directory: string): string | undefined {
  try {
    const lines = readFileSync(join(directory, FILES.log), 'utf8').trim().split('\n');
    const { msg } = JSON.parse(lines.at(-1) ?? '') as { readonly msg?: string };
    return msg;
  } catch {
    return undefined;
  }
}

function formatPid(pid: number): Buffer {
  const word = Buffer.alloc(8);
  word.writeUInt32LE(pid);
  return word;
}
