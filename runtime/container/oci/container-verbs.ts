import { renameSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import type { ContainerEngine, ContainerStatus, LaunchTraits } from '../engine.ts';
import type { OciSpec } from '../oci-spec.ts';
import { parseScopePath } from '../systemd/scope-place.ts';
import { readBundle } from './bundle.ts';
import {
  type Call,
  findContainer,
  hasOption,
  idOf,
  numberOption,
  option,
  pathOption,
  type Verb,
  warnOfCapabilities,
} from './call.ts';
import type { OptionRow } from './options.ts';
import { connectTerminal, forwardSignals } from './terminal.ts';

/** Flags of every command that starts a process. */
export const PROCESS_OPTIONS: readonly OptionRow[] = [
  { name: 'console-socket', kind: 'value', help: 'unix socket that gets the master of the terminal' },
  { name: 'pid-file', kind: 'value', help: 'file for the process id' },
  { name: 'preserve-fds', kind: 'value', help: 'number of descriptors from 3 on that are handed on' },
];
const CREATE_OPTIONS: readonly OptionRow[] = [
  { name: 'bundle', short: 'b', kind: 'value', help: 'directory of the bundle, default "."' },
  {
    name: 'config',
    short: 'f',
    kind: 'value',
    help: 'the configuration, default "config.json" in the bundle',
  },
  ...PROCESS_OPTIONS,
  {
    name: 'no-pivot',
    kind: 'switch',
    help: 'move the root instead of pivot_root, for a root on an initramfs',
  },
  { name: 'no-new-keyring', kind: 'switch', help: "keep the caller's session keyring" },
];

/** Exit code of a process that a signal has ended, less the signal's number. */
const SIGNAL_CODE = 128;

export const CONTAINER_VERBS: readonly Verb[] = [
  {
    name: 'create',
    args: 'ID',
    maxArgs: 1,
    summary: 'create a container',
    options: CREATE_OPTIONS,
    run: create,
  },
  {
    name: 'start',
    args: 'ID',
    maxArgs: 1,
    summary: 'run the program of a created container',
    options: [],
    run: start,
  },
  {
    name: 'run',
    args: 'ID',
    maxArgs: 1,
    summary: 'create and run a container',
    options: [
      ...CREATE_OPTIONS,
      { name: 'detach', short: 'd', kind: 'switch', help: 'do not wait for the end' },
      { name: 'keep', kind: 'switch', help: 'do not delete it after its end' },
      { name: 'no-subreaper', kind: 'switch', help: 'accepted: this program is never a subreaper' },
    ],
    run,
  },
  {
    name: 'kill',
    args: 'ID [SIGNAL]',
    maxArgs: 2,
    summary: 'send a signal, default SIGTERM',
    options: [{ name: 'all', short: 'a', kind: 'switch', help: 'to every process of the container' }],
    run: kill,
  },
  {
    name: 'delete',
    args: 'ID',
    maxArgs: 1,
    summary: 'delete a stopped container',
    options: [
      { name: 'force', short: 'f', kind: 'switch', help: 'kill it if it runs; no error if it is not there' },
    ],
    run: remove,
  },
  { name: 'pause', args: 'ID', maxArgs: 1, summary: 'freeze every process', options: [], run: pause },
  { name: 'resume', args: 'ID', maxArgs: 1, summary: 'thaw every process', options: [], run: resume },
];

async function create(call: Call): Promise<number> {
  const id = idOf(call);
  const engine = await call.openEngine(id);
  await createFrom(call, engine, bundleOf(call), true);
  return 0;
}

function bundleOf(call: Call): Bundle {
  return readBundle(pathOption(call, 'bundle') ?? '.', option(call, 'config'));
}

interface Bundle {
  readonly directory: string;
  readonly spec: OciSpec;
}

async function createFrom(
  call: Call,
  engine: ContainerEngine,
  { directory, spec }: Bundle,
  isDetached: boolean,
): Promise<ContainerStatus> {
  const id = idOf(call);
  const path = spec.root?.path;
  if (path === undefined)
    throw new TkadmError('OCI_CONFIG', `Cannot create container "${id}": "root.path" is missing`);
  warnOfCapabilities(call, spec.process);
  const preserved = preservedDescriptors(call);
  const consoleSocket = pathOption(call, 'console-socket');
  const status = await engine.create({
    id,
    spec: withDefaults(spec, {
      cgroupsPath: cgroupPathOf(call, spec),
      listenFds: preserved ? call.program.env['LISTEN_FDS'] : undefined,
    }),
    hasSystemdScope: call.hasSystemdCgroup,
    rootfs: { kind: 'path', path: isAbsolute(path) ? path : join(directory, path) },
    bundle: directory,
    stdin: true,
    inheritStreams: isDetached || !spec.process?.terminal,
    traits: {
      reaper: isDetached ? 'caller' : 'monitor',
      consoleSocket,
      preserved,
      hasNoPivot: hasOption(call, 'no-pivot'),
      keepsKeyring: hasOption(call, 'no-new-keyring'),
    },
  });
  writePidFile(call, status.pid);
  return status;
}

/** Without a path a container has a cgroup as well. @throws CONTAINER_STATE */
function cgroupPathOf(call: Call, { linux }: OciSpec): string {
  const id = idOf(call);
  if (call.hasSystemdCgroup) return parseScopePath(linux?.cgroupsPath, id);
  return linux?.cgroupsPath || `/tkadm-oci/${id}`;
}

interface Defaults {
  readonly cgroupsPath: string;
  readonly listenFds: string | undefined;
}

/** Without rules for devices none but the usual ones may be used. */
function withDefaults(spec: OciSpec, { cgroupsPath, listenFds }: Defaults): OciSpec {
  const linux = {
    ...spec.linux,
    cgroupsPath,
    resources: { devices: [{ allow: false, access: 'rwm' }], ...spec.linux?.resources },
  };
  const { process: first } = spec;
  if (listenFds === undefined || first === undefined) return { ...spec, linux };
  const env = [...(first.env ?? []), `LISTEN_FDS=${listenFds}`, 'LISTEN_PID=1'];
  return { ...spec, linux, process: { ...first, env } };
}

/** Those of socket activation (LISTEN_FDS, sd_listen_fds(3)) and those that --preserve-fds counts. */
export function preservedDescriptors(call: Call): LaunchTraits['preserved'] {
  const count = Number(call.program.env['LISTEN_FDS'] ?? 0) + (numberOption(call, 'preserve-fds') ?? 0);
  if (!(count > 0)) return undefined;
  return { pid: call.program.pid, fds: Array.from({ length: count }, (_unused, index) => 3 + index) };
}

/** Whoever waits for the file finds the whole number in it. */
export function writePidFile(call: Call, pid: number | undefined): void {
  const path = pathOption(call, 'pid-file');
  if (path === undefined) return;
  writeFileSync(`${path}.tmp`, String(pid));
  renameSync(`${path}.tmp`, path);
}

async function start(call: Call): Promise<number> {
  const { engine, id, status } = await findContainer(call);
  if (status.state !== 'created') {
    throw new TkadmError('CONTAINER_STATE', `Cannot start container "${id}": it is ${status.state}`);
  }
  await engine.start(id);
  return 0;
}

async function run(call: Call): Promise<number> {
  const id = idOf(call);
  const bundle = bundleOf(call);
  const isDetached = hasOption(call, 'detach');
  const hasSocket = option(call, 'console-socket') !== undefined;
  const engine = await call.openEngine(id);
  if (bundle.spec.process?.terminal && !isDetached && hasSocket) {
    throw new TkadmError('FLAG_INVALID', 'Cannot use "--console-socket": it needs "--detach"');
  }
  let early: NodeJS.Signals | undefined;
  forwardSignals(call.program, (signal) => {
    early = signal;
    void engine.kill(id, signal).catch(() => {});
  });
  await createFrom(call, engine, bundle, isDetached);
  if (isDetached) {
    await startOrDelete(engine, id);
    return 0;
  }
  const streams = bundle.spec.process?.terminal ? engine.attach(id) : undefined;
  try {
    // A program that does not run yet could not have handled it.
    if (early !== undefined) return SIGNAL_CODE + constants.signals[early];
    await engine.start(id);
    const outputEnd = streams === undefined ? undefined : connectTerminal(call.program, streams);
    const status = await engine.wait(id);
    await outputEnd;
    return status.exitCode ?? 1;
  } finally {
    if (!hasOption(call, 'keep')) await engine.delete(id, { force: true });
  }
}

async function startOrDelete(engine: ContainerEngine, id: string): Promise<void> {
  try {
    await engine.start(id);
  } catch (error) {
    await engine.delete(id, { force: true });
    throw error;
  }
}

async function kill(call: Call): Promise<number> {
  const { engine, id, status } = await findContainer(call);
  // kill(2): no signal is sent, and what is told is whether one could be.
  if (call.args[1] === '0' && status.state !== 'exited') return 0;
  const signal = parseSignal(call.args[1] ?? 'SIGTERM');
  const all = hasOption(call, 'all');
  if (all && status.state === 'exited') {
    engine.cgroup(id)?.kill(signal);
    return 0;
  }
  await engine.kill(id, signal, { all });
  return 0;
}

async function remove(call: Call): Promise<number> {
  const force = hasOption(call, 'force');
  const id = idOf(call);
  const engine = await call.openEngine(id);
  if (engine.status(id) === undefined && force) return 0;
  await engine.delete(id, { force });
  return 0;
}

async function pause(call: Call): Promise<number> {
  const { engine, id, status } = await findContainer(call);
  if (status.state === 'exited')
    throw new TkadmError('CONTAINER_STATE', `Cannot pause container "${id}": it has stopped`);
  if (engine.cgroup(id)?.isFrozen())
    throw new TkadmError('CONTAINER_STATE', `Cannot pause container "${id}": it is paused`);
  await engine.pause(id);
  return 0;
}

async function resume(call: Call): Promise<number> {
  const { engine, id } = await findContainer(call);
  if (!engine.cgroup(id)?.isFrozen()) {
    throw new TkadmError('CONTAINER_STATE', `Cannot resume container "${id}": it is not paused`);
  }
  await engine.resume(id);
  return 0;
}

/** "TERM", "SIGTERM" or "15". @throws FLAG_INVALID */
function parseSignal(text: string): NodeJS.Signals {
  const wanted = text.toUpperCase().replace(/^(SIG)?/, 'SIG');
  const found = Object.entries(constants.signals).find(
    ([name, number]) => name === wanted || String(number) === text,
  );
  if (found === undefined) throw new TkadmError('FLAG_INVALID', `Cannot send "${text}": no such signal`);
  return found[0] as NodeJS.Signals;
}
