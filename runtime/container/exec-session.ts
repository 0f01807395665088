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
import { buildExecProgram, EXEC_CONTROL_FD } from './performer/exec-program.ts';
import { REPORT } from './performer/process-program.ts';
import type { LinkedProgram } from './performer/program.ts';
import { isFailure, type Report, ReportChannel } from './performer/report-channel.ts';
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
  const { libc, performer } = context;
  const { id } = container.state;
  const { process: process_ } = options;
  const hasStdin = options.stdin ?? false;
  const program = buildProgramOf(context, container, options);
  const pipes = openPipes(libc);
  const { child, reports } = performer.perform(program.bytes, {
    name: 'tkadm-exec',
    cwd: '/',
    streams: pipes.theirs,
    more: ['pipe'],
  });
  for (const fd of pipes.theirs) libc.close(fd);
  const control = new ReportChannel((child.stdio as readonly unknown[])[EXEC_CONTROL_FD] as Readable);
  let masterFd: number | undefined;
  const born = await control.next();
  const pid = born?.value ?? 0;
  // The descriptor ends with execve(2): no report is the good one.
  let report = await nextReport(reports);
  if (report?.kind === REPORT.terminal) {
    masterFd = takeDescriptor(libc, pid, report.value);
    reports.send('1');
    report = await nextReport(reports);
  }
  const failure = describeFailure(report, program.explain, {
    endReason: born === undefined ? reports.endReason : undefined,
    needsMaster: process_.terminal && masterFd === undefined,
  });
  if (failure !== undefined) {
    for (const channel of [reports, control]) channel.close();
    for (const stream of [pipes.stdin, pipes.stdout, pipes.stderr]) stream.destroy();
    if (masterFd !== undefined) closeSync(masterFd);
    throw new TkadmError('CONTAINER_EXEC', `Cannot run a process in container "${id}": ${failure}`);
  }
  const kill = (signal: NodeJS.Signals) => {
    try {
      process.kill(pid, signal);
    } catch {}
  };
  reports.close();
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
    hostUid: hostUid(container.spec, process_.user?.uid ?? 0),
    cgroupJoinFiles: container.cgroup?.joinFiles ?? [],
    stdin,
    seccomp: filters.get(container.spec),
    inheritStreams: traits !== undefined,
    traits: traits ?? {},
  });
}

/** Passes over limits that were not applied. */
export async function nextReport(reports: ReportChannel): Promise<Report | undefined> {
  for (;;) {
    const report = await reports.next();
    if (report === undefined || isFailure(report) || report.kind < REPORT.warnings) return report;
  }
}

function describeFailure(
  report: Report | undefined,
  explain: (address: number, result: number) => string,
  state: { readonly endReason: string | undefined; readonly needsMaster: boolean | undefined },
): string | undefined {
  if (report !== undefined && isFailure(report)) return explain(report.kind, report.value);
  return state.endReason ?? (state.needsMaster ? 'the terminal was lost' : undefined);
}

interface Pipes {
  readonly stdin: Socket;
  readonly stdout: Socket;
  readonly stderr: Socket;
  readonly theirs: readonly [number, number, number];
}

/** Pipes and not sockets: programs open /dev/stdout by its path. */
function openPipes(libc: Libc): Pipes {
  const [stdinRead, stdinWrite] = libc.pipe();
  const [stdoutRead, stdoutWrite] = libc.pipe();
  const [stderrRead, stderrWrite] = libc.pipe();
  return {
    stdin: new Socket({ fd: stdinWrite, readable: false, writable: true }),
    stdout: new Socket({ fd: stdoutRead, readable: true, writable: false }),
    stderr: new Socket({ fd: stderrRead, readable: true, writable: false }),
    theirs: [stdinRead, stdoutWrite, stderrWrite],
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
