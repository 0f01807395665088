import { mkdir } from 'node:fs/promises';
import { formatError, TkadmError } from '../base/errors.ts';
import type { ProcessStreams } from '../container/engine.ts';
import { rootfsOf } from '../image/container-files.ts';
import { raiseLoopback } from '../network/links.ts';
import {
  type CtrContext,
  containerFiles,
  containerPaths,
  engineId,
  latest,
  publishContainer,
  updateState,
} from './ctr-context.ts';
import type { CtrAttachment, CtrRecord, PortBinding } from './ctr-record.ts';
import { buildCtrSpec, shmData } from './ctr-spec.ts';
import { writeInjectedFiles } from './injected-files.ts';

const MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8;

/** The streams of a process, until they are given back. */
export type AttachedStreams = ProcessStreams & { close(): void };

/**
 * Runs a container that is not running; its restart policy begins anew. The streams are there before its first output.
 * @throws CTR_START with `details.exitCode` as shells have it, 127 without the program; CTR_PORT_TAKEN, CTR_STATE.
 */
export async function startContainer(
  context: CtrContext,
  id: string,
  onAttach?: (streams: AttachedStreams) => void,
): Promise<void> {
  await context.locks.run(id, async () => {
    const record = latest(context, id);
    const { status } = record.state;
    if (status === 'paused') {
      throw new TkadmError('CTR_STATE', `Cannot start container "${record.name}": it is paused`, {
        hint: `tkadm ctr unpause ${record.name}`,
      });
    }
    if (status === 'running') {
      onAttach?.(context.engine.attach(engineId(id)));
      return;
    }
    context.restarts.cancel(id);
    await updateState(context, id, { isStopped: false, restartCount: 0 });
    await runContainer(context, id, onAttach);
  });
}

const NEW_RUN = { status: 'running', exitCode: 0, isOomKilled: false, error: '' } as const;

/** The start itself; the caller holds the container's lock. */
export async function runContainer(
  context: CtrContext,
  id: string,
  onAttach?: (streams: AttachedStreams) => void,
): Promise<void> {
  const record = latest(context, id);
  let streams: AttachedStreams | undefined;
  try {
    await launch(context, record);
    const network = await connect(context, record);
    if (onAttach !== undefined) {
      streams = context.engine.attach(engineId(id));
      onAttach(streams);
    }
    const { pid = 0 } = context.engine.status(engineId(id)) ?? {};
    const { startedAt = context.now() } = await context.engine.start(engineId(id));
    const next = await updateState(
      context,
      id,
      { ...NEW_RUN, pid, startedAt: startedAt.toISOString() },
      { network },
    );
    publishContainer(context, next, 'start');
  } catch (error) {
    streams?.close();
    await cleanUp(context, record);
    throw await recordFailure(context, record, error);
  }
}

async function launch(context: CtrContext, record: CtrRecord): Promise<void> {
  const { id, options } = record;
  const paths = containerPaths(context, id);
  await writeInjectedFiles(context, record, undefined);
  if (options.ipcMode === 'shareable') await mountShm(context, record);
  const spec = await buildCtrSpec(context, record);
  await context.records.put({ ...latest(context, id), process: spec.process! });
  await context.engine.create({
    id: engineId(id),
    spec,
    rootfs: rootfsOf(containerFiles(context, record)),
    logPath: paths.log,
    logLimit: options.logLimit,
    stdin: options.hasStdin,
    stdinOnce: options.isStdinOnce,
  });
}

/** The network of a container that was created and has not started: its namespace is there by then. */
async function connect(context: CtrContext, record: CtrRecord): Promise<CtrAttachment | undefined> {
  const netns = `/proc/${context.engine.status(engineId(record.id))?.pid}/ns/net`;
  if (record.networkMode === 'none') await raiseLoopback(netns);
  if (record.networkMode !== 'bridge') return undefined;
  const attachment = await context.bridge.attach(record.id, netns, wantedPorts(record));
  await writeInjectedFiles(context, record, attachment);
  return attachment;
}

/** The published ports, and with -P those that are exposed and not published. */
function wantedPorts({ options, config }: CtrRecord): readonly PortBinding[] {
  if (!options.publishesAll) return options.ports;
  const exposed = config.exposedPorts.map((text): PortBinding => {
    const [port = '', protocol = 'tcp'] = text.split('/');
    const binding = { containerPort: Number(port), hostIp: '', hostPort: 0 };
    return { ...binding, protocol: protocol === 'udp' ? 'udp' : 'tcp' };
  });
  const isGiven = ({ containerPort, protocol }: PortBinding) =>
    options.ports.some((port) => port.containerPort === containerPort && port.protocol === protocol);
  return [...options.ports, ...exposed.filter((port) => !isGiven(port))];
}

async function mountShm(context: CtrContext, record: CtrRecord): Promise<void> {
  const { shm } = containerPaths(context, record.id);
  await mkdir(shm, { recursive: true });
  unmountShm(context, record);
  context.mounter.mount('shm', shm, 'tmpfs', MS_NOSUID_NODEV_NOEXEC, shmData(record.options));
}

function unmountShm(context: CtrContext, record: CtrRecord): void {
  if (record.options.ipcMode !== 'shareable') return;
  try {
    context.mounter.unmount(containerPaths(context, record.id).shm);
  } catch {
    // It was not mounted.
  }
}

/** Gives back what a run has of the machine: its container of the engine, address, ports and mounts. May be repeated. */
export async function cleanUp(context: CtrContext, record: CtrRecord): Promise<void> {
  const id = engineId(record.id);
  if (context.engine.status(id) !== undefined) await context.engine.delete(id, { force: true });
  if (record.networkMode === 'bridge') {
    // Ports of a start that failed are not in the record: all that leads to its address goes.
    const ports = record.network?.ports ?? wantedPorts(record);
    await context.bridge.detach(record.id, ports);
  }
  unmountShm(context, record);
}

/** What shells answer for a program that is not there, and for one that cannot be run. */
const EXIT_CODES = [
  { pattern: /executable file not found|no such file or directory/, exitCode: 127 },
  { pattern: /permission denied|is a directory|ENOEXEC|exec format/, exitCode: 126 },
] as const;

/** The exit code of a command that could not be started, after the engine's message. */
export function launchExitCode(message: string): number {
  return EXIT_CODES.find(({ pattern }) => pattern.test(message))?.exitCode ?? 125;
}

async function recordFailure(context: CtrContext, record: CtrRecord, error: unknown): Promise<unknown> {
  const reason = formatError(error).replace(/^Cannot (create|start) container "[^"]*": /, '');
  const isLaunch = error instanceof TkadmError && error.code === 'CONTAINER_LAUNCH';
  const exitCode = isLaunch ? launchExitCode(reason) : 128;
  await updateState(
    context,
    record.id,
    { status: record.state.startedAt === '' ? 'created' : 'exited', pid: 0, exitCode, error: reason },
    { network: undefined },
  );
  if (!isLaunch) return error;
  return new TkadmError('CTR_START', `Cannot start container "${record.name}": ${reason}`, {
    cause: error,
    details: { exitCode },
  });
}
