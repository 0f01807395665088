import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import type { Container, ContainerContext } from './container.ts';
import { setWindowSize, takeDescriptor } from './container-streams.ts';
import type { ExecOptions, ExecSession, LaunchTraits } from './engine.ts';
import type { Libc } from './libc.ts';
import { exitCode } from './monitor.ts';
import { missingHome } from './passwd.ts';
import { buildExecProgram } from './performer/exec-program.ts';
import { hasOwnMounts } from './performer/namespaces.ts';
import type { LinkedProgram } from './performer/program.ts';
import { explainFailure, isFailure, type Report, ReportChannel } from './performer/report-channel.ts';
import { REPORT } from './performer/report-program.ts';
import { sendListener } from './seccomp/listener.ts';
import { openMaster } from './terminal-master.ts';
import { hasUserNamespace, hostUid } from './user-mappings.ts';

/** The exit code when the parent of the process was killed. */
export const LOST_EXIT_CODE = 137;

/**
 * Runs a process in a container.
 * @throws CONTAINER_EXEC with the step that failed.
 */
export async function startExec(
  context: Pick<ContainerContext, 'libc' | 'performer' | 'filters'>,
  container: Container,
  options: ExecOptions,
): Promise<ExecSession> {
  const { libc } = context;
  const { id } = container.state;
  const { process: process_ } = options;
  const hasStdin = options.stdin ?? false;
  const program = buildProgramOf(context, container, options);
  const pipes = openPipes(libc);
  const { pid, control, masterFd } = await begin(context, {
    container,
    program,
    pipes,
    hasTerminal: process_.terminal ?? false,
  }).catch((error: Error) => {
    for (const stream of [pipes.stdin, pipes.stdout, pipes.stderr, pipes.control]) stream.destroy();
    const reason = error.message;
    throw new TkadmError('CONTAINER_EXEC', `Cannot run a process in container "${id}": ${reason}`, {
      cause: error,
    });
  });
  const kill = (signal: NodeJS.Signals) => {
    try {
      process.kill(pid, signal);
    } catch {}
  };
  const streams = masterFd === undefined ? usePipes(pipes, hasStdin) : openTerminal(pipes, masterFd);
  const abort = () => kill('SIGKILL');
  const exited = control.next().then((last) => {
    control.close();
    options.signal?.removeEventListener('abort', abort);
    return last?.kind === REPORT.exit ? exitCode(last.value) : LOST_EXIT_CODE;
  });
  if (options.signal?.aborted) abort();
  else options.signal?.addEventListener('abort', abort);
  return {
    ...streams,
    pid,
    exited,
    kill,
    resize: (columns, rows) => {
      if (masterFd !== undefined) setWindowSize(libc, masterFd, columns, rows);
    },
  };
}

/** The program of a process in a container; with traits the streams are those of this process. */
export function buildProgramOf(
  { libc, performer, filters }: Pick<ContainerContext, 'libc' | 'performer' | 'filters'>,
  container: Container,
  { process: process_, stdin = false }: Pick<ExecOptions, 'process' | 'stdin'>,
  traits?: LaunchTraits,
): LinkedProgram {
  const { pid } = container.state;
  const home = missingHome(libc, process_.env, { pid, uid: process_.user?.uid ?? 0 });
  return buildExecProgram({
    machine: performer.machine,
    pid,
    process: { ...process_, env: [...(process_.env ?? []), ...home] },
    hasUserNamespace: hasUserNamespace(container.spec),
    hasOwnMounts: hasOwnMounts(container.spec),
    hostUid: hostUid(container.spec, process_.user?.uid ?? 0),
    cgroupJoinFiles: container.cgroup?.joinFilesBelow(traits?.cgroups ?? []) ?? [],
    stdin,
    seccomp: filters.get(container.spec),
    inheritStreams: traits !== undefined,
    traits: traits ?? {},
  });
}

interface BeginOptions {
  readonly container: Container;
  readonly program: LinkedProgram;
  readonly pipes: Pipes;
  readonly hasTerminal: boolean;
}

interface BegunExec {
  readonly pid: number;
  /** Tells of the exit. */
  readonly control: ReportChannel;
  readonly masterFd: number | undefined;
}

/** Runs the program up to its execve(2). @throws Error with the step that failed. */
async function begin(
  { libc, performer }: Pick<ContainerContext, 'libc' | 'performer'>,
  { container, program, pipes, hasTerminal }: BeginOptions,
): Promise<BegunExec> {
  const control = new ReportChannel(pipes.control);
  const reports = perform({ libc, performer }, program, pipes);
  let masterFd: number | undefined;
  try {
    const born = await control.next();
    const pid = born?.value ?? 0;
    let report = await nextReport(reports);
    if (report?.kind === REPORT.terminal) {
      masterFd = takeDescriptor(libc, pid, report.value);
      reports.send('1');
      report = await nextReport(reports);
    }
    report = await passListener(libc, container, { reports, pid, report });
    // The descriptor ends with execve(2): no report is the good one.
    if (report !== undefined) throw new Error(explainFailure(program, report));
    if (born === undefined) throw new Error('the process ended');
    if (hasTerminal && masterFd === undefined) throw new Error('the terminal was lost');
    return { pid, control, masterFd };
  } catch (error) {
    if (masterFd !== undefined) closeSync(masterFd);
    throw error;
  } finally {
    reports.close();
  }
}

/** Starts the process, which has the other ends of the pipes from then on. */
function perform(
  { libc, performer }: Pick<ContainerContext, 'libc' | 'performer'>,
  program: LinkedProgram,
  { theirs, theirControl }: Pipes,
): ReportChannel {
  try {
    return performer.perform(program.bytes, { name: 'tkadm-exec', streams: theirs, control: theirControl });
  } finally {
    for (const fd of [...theirs, theirControl]) libc.close(fd);
  }
}

/** Gives the descriptor of the process's filter to those who decide on its calls, if there are any. */
export async function passListener(
  libc: Libc,
  { state, spec }: Container,
  {
    reports,
    pid,
    report,
  }: { readonly reports: ReportChannel; readonly pid: number; readonly report: Report | undefined },
): Promise<Report | undefined> {
  if (report?.kind !== REPORT.listener) return report;
  const { id, pid: containerPid, bundle = '', annotations } = state;
  const status = 'running';
  sendListener(libc, { spec, id, status, pid, containerPid, bundle, annotations }, report.value);
  reports.send('1');
  return nextReport(reports);
}

/** Passes over limits that were not applied. */
export async function nextReport(reports: ReportChannel): Promise<Report | undefined> {
  for (;;) {
    const report = await reports.next();
    if (report === undefined || isFailure(report) || report.kind < REPORT.warnings) return report;
  }
}

interface Pipes {
  readonly stdin: Socket;
  readonly stdout: Socket;
  readonly stderr: Socket;
  /** Reports of the pid and of the exit. */
  readonly control: Socket;
  readonly theirs: readonly [number, number, number];
  readonly theirControl: number;
}

/** Pipes and not sockets: programs open /dev/stdout by its path. */
function openPipes(libc: Libc): Pipes {
  const [stdinRead, stdinWrite] = libc.pipe();
  const [stdoutRead, stdoutWrite] = libc.pipe();
  const [stderrRead, stderrWrite] = libc.pipe();
  const [controlRead, controlWrite] = libc.pipe();
  return {
    stdin: new Socket({ fd: stdinWrite, readable: false, writable: true }),
    stdout: new Socket({ fd: stdoutRead, readable: true, writable: false }),
    stderr: new Socket({ fd: stderrRead, readable: true, writable: false }),
    control: new Socket({ fd: controlRead, readable: true, writable: false }),
    theirs: [stdinRead, stdoutWrite, stderrWrite],
    theirControl: controlWrite,
  };
}

interface OpenStreams {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable | undefined;
}

function usePipes({ stdin, stdout, stderr }: Pipes, hasStdin: boolean): OpenStreams {
  if (!hasStdin) stdin.destroy();
  // The reader may go before the writer: that is no failure of the session.
  stdin.on('error', () => {});
  return { stdin: hasStdin ? stdin : undefined, stdout, stderr };
}

function openTerminal(pipes: Pipes, masterFd: number): OpenStreams {
  for (const stream of [pipes.stdin, pipes.stdout, pipes.stderr]) stream.destroy();
  const { input, output } = openMaster(masterFd);
  return { stdin: input, stdout: output, stderr: undefined };
}
