import { closeSync } from 'node:fs';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { TkadmError } from '../base/errors.ts';
import type { Container } from './container.ts';
import { setWindowSize, takeDescriptor } from './container-streams.ts';
import type { ExecOptions, ExecSession } from './engine.ts';
import type { ExecBundle } from './launch-bundle.ts';
import type { ExecLauncher } from './launcher-pool.ts';
import type { Libc } from './libc.ts';
import { storeFilter } from './seccomp/stored-filter.ts';

/**
 * Runs a process in a container through a waiting exec launcher.
 * @throws CONTAINER_EXEC with the step that failed.
 */
export async function startExec(
  libc: Libc,
  container: Container,
  launcher: ExecLauncher,
  options: ExecOptions,
): Promise<ExecSession> {
  const { channel } = launcher;
  const isTerminal = options.process.terminal ?? false;
  const bundle: ExecBundle = {
    kind: 'exec',
    pid: container.state.pid,
    process: options.process,
    cgroupJoinFiles: container.cgroup?.joinFiles ?? [],
    stdin: options.stdin ?? false,
    seccomp: storeFilter(container.readSpec()),
  };
  channel.send(bundle);
  let masterFd: number | undefined;
  let report = await channel.next();
  if (report?.kind === 'terminal') {
    masterFd = takeDescriptor(libc, report.pid, report.masterFd);
    channel.send({ kind: 'go' });
    report = await channel.next();
  }
  if (report?.kind !== 'running' || (isTerminal && masterFd === undefined)) {
    closeLauncher(launcher);
    if (masterFd !== undefined) closeSync(masterFd);
    const reason = report?.kind === 'error' ? report.message : 'the launcher ended';
    throw new TkadmError(
      'CONTAINER_EXEC',
      `Cannot run a process in container "${container.state.id}": ${reason}`,
    );
  }
  const { pid } = report;
  const kill = (signal: NodeJS.Signals) => {
    try {
      process.kill(pid, signal);
    } catch {}
  };
  const streams =
    masterFd === undefined ? openPipes(launcher, bundle.stdin) : openTerminal(launcher, masterFd);
  const exited = channel.next().then((last) => {
    channel.close();
    options.signal?.removeEventListener('abort', abort);
    return last?.kind === 'exited' ? last.code : 137;
  });
  const abort = () => kill('SIGKILL');
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

interface OpenStreams {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable | undefined;
}

function openPipes(launcher: ExecLauncher, hasStdin: boolean): OpenStreams {
  if (!hasStdin) launcher.stdin.destroy();
  // The reader may go before the writer: that is no failure of the session.
  launcher.stdin.on('error', () => {});
  return {
    stdin: hasStdin ? launcher.stdin : undefined,
    stdout: launcher.stdout,
    stderr: launcher.stderr,
  };
}

function openTerminal(launcher: ExecLauncher, masterFd: number): OpenStreams {
  for (const stream of [launcher.stdin, launcher.stdout, launcher.stderr]) stream.destroy();
  const master = new ReadStream(masterFd);
  const stdout = new PassThrough();
  master.on('data', (chunk: Buffer) => {
    if (!stdout.write(chunk)) {
      master.pause();
      stdout.once('drain', () => master.resume());
    }
  });
  // EIO is how Linux says that the last process with the terminal open has ended.
  master.on('error', () => master.destroy());
  master.on('close', () => stdout.end());
  master.on('end', () => master.destroy());
  return { stdin: master, stdout, stderr: undefined };
}

function closeLauncher(launcher: ExecLauncher): void {
  launcher.channel.close();
  for (const stream of [launcher.stdin, launcher.stdout, launcher.stderr]) stream.destroy();
}
