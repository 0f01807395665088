// A program of the pool: waits for a bundle on its control socket (descriptor 3) and becomes the container.
// Everything runs on the main thread, since namespaces, capabilities and cgroups belong to threads.

import {
  closeSync,
  constants as fs,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import type { ContainerBundle, LaunchBundle, LaunchReport } from './launch-bundle.ts';
import { runExec } from './launch-exec.ts';
import { applyLimits, applyPrivileges, completeEnv, findProgram, prepareStreams } from './launch-process.ts';
import { rehearse } from './launch-rehearsal.ts';
import { bindConsole, buildRootfs, enterRootfs, protectRootfs, writeSysctls } from './launch-rootfs.ts';
import { CLONE, type Libc, loadLibc } from './libc.ts';
import type { OciNamespaceType } from './oci-spec.ts';

const CONTROL_FD = 3;
const PR_SET_DUMPABLE = 4;
const TIOCSCTTY = 0x540e;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;
const TIOCGPTN = 0x80045430;
const MASTER_FD = 9;

const CLONE_FLAGS: Readonly<Record<OciNamespaceType, number>> = {
  mount: CLONE.NEWNS,
  network: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  cgroup: CLONE.NEWCGROUP,
  pid: 0,
  user: 0,
  time: 0,
};

main();

function main(): void {
  const libc = loadLibc();
  libc.prctl(PR_SET_DUMPABLE, 0, 0, 'set dumpable');
  const isContainer = process.argv[2] === 'container';
  // Opened while the working directory is still the slot's: later the host's files are out of reach.
  const start = isContainer ? openSync('start', fs.O_RDWR) : -1;
  const result = isContainer ? openWriteEnd('result') : -1;
  // The host's /proc is still mounted: it shows the pid in the host's namespace.
  const hostPid = Number(readlinkSync('/proc/self'));
  const rehearsalDir = process.argv[3];
  if (rehearsalDir !== undefined) rehearse(libc, rehearsalDir);
  const line = readLine(CONTROL_FD);
  // End of file: the engine has gone and nobody needs this launcher.
  if (line === '') process.exit(0);
  const bundle = JSON.parse(line) as LaunchBundle;
  const report = (message: LaunchReport) => {
    writeSync(CONTROL_FD, `${JSON.stringify(message)}\n`);
  };
  try {
    if (bundle.kind === 'exec') {
      process.exit(runExec(libc, bundle, { report, waitForGo: () => readLine(CONTROL_FD) !== '' }));
    }
    const warnings = prepareContainer(libc, bundle);
    report({ kind: 'ready', pid: hostPid, warnings });
  } catch (error) {
    report({ kind: 'error', message: (error as Error).message });
    process.exit(125);
  }
  closeSync(CONTROL_FD);
  try {
    if (readSync(start, Buffer.alloc(1)) === 0) process.exit(0);
    become(libc, bundle);
  } catch (error) {
    writeSync(result, (error as Error).message);
    process.exit(127);
  }
}

/** Everything before the program itself: namespaces, cgroups, mounts, limits. Returns warnings. */
function prepareContainer(libc: Libc, bundle: ContainerBundle): readonly string[] {
  const { spec } = bundle;
  // Modes are meant as they are written; become() sets the program's own mask.
  process.umask(0);
  const process_ = spec.process;
  if (process_ === undefined) throw new Error('process: missing');
  const terminal = process_.terminal ? openTerminal(libc, process_.consoleSize) : undefined;
  enterNamespaces(libc, bundle);
  const warnings = applyLimits(libc, process_);
  writeSysctls(spec.linux?.sysctl ?? {});
  const root = buildRootfs(libc, bundle);
  if (terminal !== undefined) bindConsole(libc, root, terminal.path);
  libc.setsid();
  if (terminal !== undefined) {
    for (const fd of [0, 1, 2]) libc.dup2(terminal.fd, fd);
    closeSync(terminal.fd);
    libc.ioctlNumber(0, TIOCSCTTY, 0, 'set the controlling terminal');
  }
  prepareStreams(
    libc,
    terminal !== undefined || bundle.stdin || bundle.inheritStreams,
    process_.user?.uid ?? 0,
  );
  enterRootfs(libc, root, bundle.stagingDir);
  protectRootfs(libc, spec.linux, spec.root?.readonly ?? false);
  if (spec.hostname) libc.sethostname(spec.hostname);
  if (spec.domainname) libc.setdomainname(spec.domainname);
  try {
    mkdirSync(process_.cwd, { recursive: true });
  } catch {}
  return warnings;
}

function enterNamespaces(libc: Libc, bundle: ContainerBundle): void {
  const namespaces = bundle.spec.linux?.namespaces ?? [];
  const joined = namespaces.filter(({ type, path }) => path && CLONE_FLAGS[type] !== 0);
  for (const { type, path } of joined) {
    if (type === 'cgroup') continue;
    const fd = openSync(path ?? '', fs.O_RDONLY);
    if (type === 'mount') libc.unshare(CLONE.FS);
    libc.setns(fd, CLONE_FLAGS[type], `join ${type} namespace "${path}"`);
    closeSync(fd);
  }
  const isNew = (type: OciNamespaceType) => namespaces.some((item) => item.type === type && !item.path);
  for (const file of bundle.cgroupJoinFiles) joinCgroup(file);
  const fresh = (Object.keys(CLONE_FLAGS) as OciNamespaceType[]).filter(isNew);
  libc.unshare(fresh.reduce<number>((flags, type) => flags | CLONE_FLAGS[type], CLONE.FS));
  if (isNew('network')) libc.raiseLoopback();
}

function joinCgroup(file: string): void {
  try {
    writeFileSync(file, '0');
  } catch (error) {
    throw new Error(`join cgroup: ${(error as Error).message}`);
  }
}

/** Applies user and capabilities, then execve(2). Returns only by an exception. */
function become(libc: Libc, bundle: ContainerBundle): never {
  const process_ = bundle.spec.process!;
  const env = completeEnv(process_);
  applyPrivileges(libc, process_, bundle.seccomp);
  try {
    process.chdir(process_.cwd);
  } catch (error) {
    throw new Error(`chdir to cwd "${process_.cwd}": ${(error as NodeJS.ErrnoException).code}`);
  }
  const program = findProgram(process_.args, env);
  if (process_.user?.umask !== undefined) process.umask(process_.user.umask);
  else process.umask(0o022);
  libc.closeOnExecFrom(3);
  libc.resetSignals();
  const errno = libc.execve(program, process_.args, env);
  throw new Error(`exec: "${process_.args[0]}": ${errno}`);
}

/** The slave of the pseudo-terminal whose master the monitor holds as descriptor 9. */
function openTerminal(
  libc: Libc,
  size: { readonly height: number; readonly width: number } | undefined,
): { readonly fd: number; readonly path: string } {
  libc.ioctl(MASTER_FD, TIOCSPTLCK, Buffer.alloc(4), 'unlock terminal');
  const number = Buffer.alloc(4);
  libc.ioctl(MASTER_FD, TIOCGPTN, number, 'number terminal');
  const path = `/dev/pts/${number.readInt32LE(0)}`;
  const fd = openSync(path, fs.O_RDWR | fs.O_NOCTTY);
  if (size !== undefined) {
    const window = Buffer.alloc(8);
    window.writeUInt16LE(size.height, 0);
    window.writeUInt16LE(size.width, 2);
    libc.ioctl(fd, TIOCSWINSZ, window, 'size terminal');
  }
  return { fd, path };
}

function openWriteEnd(path: string): number {
  const both = openSync(path, fs.O_RDWR);
  const write = openSync(path, fs.O_WRONLY);
  closeSync(both);
  return write;
}

/** One line from a blocking descriptor, without the line feed; '' at the end of file. */
function readLine(fd: number): string {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(65536);
    const count = readSync(fd, chunk);
    if (count === 0) return '';
    chunks.push(chunk.subarray(0, count));
    if (chunk[count - 1] === 10) return Buffer.concat(chunks).toString('utf8');
  }
}
