// The OCI command line over a bundle directory: runc's verbs, one engine per call.

import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { createLogger } from '../base/log.ts';
import { VERSION } from '../base/version.ts';
import { CAPABILITIES } from './capabilities.ts';
import { createContainerEngine } from './create-engine.ts';
import { buildDefaultSpec, DEFAULT_NAMESPACES } from './defaults.ts';
import type { ContainerEngine, ContainerStatus, ProcessStreams } from './engine.ts';
import type { OciProcess, OciSpec } from './oci-spec.ts';
import { SECCOMP_FLAGS, SECCOMP_OPERATORS, SECCOMP_RET } from './seccomp/compile.ts';

const DEFAULT_ROOT = '/run/tkadm-oci';
const BUNDLE_ANNOTATION = 'tkadm.bundle';

interface Row {
  readonly name: string;
  readonly usage: string;
  /** Options with a value; the others are switches. */
  readonly values: readonly string[];
  readonly switches: readonly string[];
  readonly run: (call: Call) => Promise<number>;
}

interface Call {
  readonly engine: () => Promise<ContainerEngine>;
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly switches: ReadonlySet<string>;
  readonly args: readonly string[];
}

const COMMANDS: readonly Row[] = [
  {
    name: 'create',
    usage: 'create [--bundle DIR] [--pid-file FILE] ID',
    values: ['bundle', 'pid-file'],
    switches: [],
    run: create,
  },
  { name: 'start', usage: 'start ID', values: [], switches: [], run: start },
  {
    name: 'run',
    usage: 'run [--bundle DIR] [--pid-file FILE] [--keep] ID',
    values: ['bundle', 'pid-file'],
    switches: ['keep'],
    run,
  },
  { name: 'state', usage: 'state ID', values: [], switches: [], run: state },
  { name: 'kill', usage: 'kill [--all] ID [SIGNAL]', values: [], switches: ['all'], run: kill },
  { name: 'delete', usage: 'delete [--force] ID', values: [], switches: ['force'], run: remove },
  {
    name: 'exec',
    usage: 'exec [--tty] [--cwd DIR] [--env N=V] [--user UID[:GID]] [--process FILE] ID COMMAND...',
    values: ['cwd', 'env', 'user', 'process'],
    switches: ['tty'],
    run: exec,
  },
  {
    name: 'pause',
    usage: 'pause ID',
    values: [],
    switches: [],
    run: async (call) => await settle((await call.engine()).pause(id(call))),
  },
  {
    name: 'resume',
    usage: 'resume ID',
    values: [],
    switches: [],
    run: async (call) => await settle((await call.engine()).resume(id(call))),
  },
  { name: 'list', usage: 'list', values: [], switches: [], run: list },
  { name: 'spec', usage: 'spec [--bundle DIR]', values: ['bundle'], switches: [], run: spec },
  { name: 'features', usage: 'features', values: [], switches: [], run: features },
];

/** Short forms that runc's callers use. */
const SHORT: Readonly<Record<string, string>> = {
  b: 'bundle',
  f: 'force',
  t: 'tty',
  e: 'env',
  u: 'user',
  p: 'process',
  a: 'all',
};

void main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<void> {
  try {
    process.exitCode = await dispatch(argv);
  } catch (error) {
    const hint = error instanceof TkadmError && error.hint ? `\n${error.hint}` : '';
    process.stderr.write(`tkadm-oci: ${(error as Error).message}${hint}\n`);
    process.exitCode = 1;
  }
  // Handles of a container that goes on must not keep this process.
  process.exit();
}

async function dispatch(argv: readonly string[]): Promise<number> {
  let root = DEFAULT_ROOT;
  let rest = argv;
  for (;;) {
    const [first = '', second = ''] = rest;
    if (first === '--root') {
      root = second;
      rest = rest.slice(2);
    } else if (first.startsWith('--root=')) {
      root = first.slice(7);
      rest = rest.slice(1);
    } else break;
  }
  if (rest[0] === '--version' || rest[0] === '-v') {
    process.stdout.write(`tkadm-oci version ${VERSION}\nspec: 1.2.0\n`);
    return 0;
  }
  const row = COMMANDS.find(({ name }) => name === rest[0]);
  if (row === undefined) {
    const text = ['Usage: tkadm-oci [--root DIR] COMMAND', ...COMMANDS.map(({ usage }) => `  ${usage}`)].join(
      '\n',
    );
    if (rest[0] === undefined || rest[0] === '--help') {
      process.stdout.write(`${text}\n`);
      return 0;
    }
    throw new TkadmError('FLAG_UNKNOWN', `Cannot run "${rest[0]}": no such command`, { hint: text });
  }
  let engine: Promise<ContainerEngine> | undefined;
  return await row.run({
    ...parseOptions(row, rest.slice(1)),
    engine: () => {
      engine ??= openEngine(root);
      return engine;
    },
  });
}

function openEngine(root: string): Promise<ContainerEngine> {
  return createContainerEngine({
    stateDir: resolve(root),
    log: createLogger({
      name: 'tkadm-oci',
      level: 'warn',
      write: (line) => process.stderr.write(line),
      now: () => new Date(),
    }),
    now: () => new Date(),
  });
}

function parseOptions(row: Row, argv: readonly string[]): Pick<Call, 'values' | 'switches' | 'args'> {
  const values = new Map<string, string[]>();
  const switches = new Set<string>();
  let index = 0;
  for (; index < argv.length; index += 1) {
    const match = /^--?([a-z][a-z-]*)(?:=([\s\S]*))?$/.exec(argv[index]!);
    if (match === null) break;
    const name = SHORT[match[1]!] ?? match[1]!;
    if (row.switches.includes(name)) switches.add(name);
    else if (row.values.includes(name)) {
      if (match[2] === undefined) index += 1;
      const value = match[2] ?? argv[index];
      if (value === undefined)
        throw new TkadmError('FLAG_INVALID', `Cannot use "--${name}": the value is missing`);
      values.set(name, [...(values.get(name) ?? []), value]);
    } else
      throw new TkadmError('FLAG_UNKNOWN', `Cannot use "${argv[index]}": "${row.name}" does not support it`);
  }
  return { values, switches, args: argv.slice(index) };
}

function id(call: Call): string {
  const [first] = call.args;
  if (first === undefined) throw new TkadmError('FLAG_INVALID', 'Cannot go on: the container id is missing');
  return first;
}

function readBundle(call: Call): { readonly bundle: string; readonly spec: OciSpec } {
  const bundle = resolve(call.values.get('bundle')?.at(-1) ?? '.');
  const spec = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as OciSpec;
  return { bundle, spec };
}

async function createFrom(call: Call, inheritStreams: boolean): Promise<ContainerStatus> {
  const { bundle, spec } = readBundle(call);
  const path = spec.root?.path ?? 'rootfs';
  const status = await (await call.engine()).create({
    id: id(call),
    spec: {
      ...spec,
      linux: { ...spec.linux, cgroupsPath: spec.linux?.cgroupsPath || `/tkadm-oci/${id(call)}` },
    },
    rootfs: { kind: 'path', path: isAbsolute(path) ? path : join(bundle, path) },
    stdin: true,
    inheritStreams,
    annotations: { ...spec.annotations, [BUNDLE_ANNOTATION]: bundle },
  });
  const pidFile = call.values.get('pid-file')?.at(-1);
  if (pidFile !== undefined) writeFileSync(pidFile, String(status.pid));
  return status;
}

async function create(call: Call): Promise<number> {
  if (readBundle(call).spec.process?.terminal) {
    throw new TkadmError(
      'UNSUPPORTED',
      'Cannot create: "process.terminal" needs a console socket, which is not supported',
      {
        hint: 'Use "tkadm-oci run" for a terminal',
      },
    );
  }
  await createFrom(call, true);
  return 0;
}

async function start(call: Call): Promise<number> {
  await (await call.engine()).start(id(call));
  return 0;
}

async function run(call: Call): Promise<number> {
  const engine = await call.engine();
  const terminal = readBundle(call).spec.process?.terminal ?? false;
  await createFrom(call, !terminal);
  const streams = terminal ? engine.attach(id(call)) : undefined;
  try {
    await engine.start(id(call));
    const outputEnd = streams === undefined ? undefined : connectTerminal(streams);
    const forward = (signal: NodeJS.Signals) => void engine.kill(id(call), signal).catch(() => {});
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, forward);
    const status = await engine.wait(id(call));
    await outputEnd;
    return status.exitCode ?? 1;
  } finally {
    if (!call.switches.has('keep')) await engine.delete(id(call), { force: true });
  }
}

async function state(call: Call): Promise<number> {
  const status = (await call.engine()).status(id(call));
  if (status === undefined)
    throw new TkadmError('CONTAINER_NOT_FOUND', `Cannot find container "${id(call)}"`);
  process.stdout.write(`${JSON.stringify(formatState(status), null, 2)}\n`);
  return 0;
}

async function kill(call: Call): Promise<number> {
  const signal = parseSignal(call.args[1] ?? 'SIGTERM');
  await (await call.engine()).kill(id(call), signal, { all: call.switches.has('all') });
  return 0;
}

async function remove(call: Call): Promise<number> {
  await (await call.engine()).delete(id(call), { force: call.switches.has('force') });
  return 0;
}

async function exec(call: Call): Promise<number> {
  const engine = await call.engine();
  const status = engine.status(id(call));
  const bundle = status?.annotations?.[BUNDLE_ANNOTATION];
  const file = call.values.get('process')?.at(-1);
  const base =
    bundle === undefined
      ? undefined
      : (JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as OciSpec).process;
  const process_: OciProcess =
    file === undefined
      ? buildExecProcess(call, base)
      : (JSON.parse(readFileSync(file, 'utf8')) as OciProcess);
  const session = await engine.exec(id(call), { process: process_, stdin: true });
  if (process_.terminal) {
    const end = connectTerminal(session);
    const code = await session.exited;
    await end;
    return code;
  }
  process.stdin.pipe(session.stdin!);
  const outputs = [
    forwardOutput(session.stdout, process.stdout),
    ...(session.stderr ? [forwardOutput(session.stderr, process.stderr)] : []),
  ];
  const code = await session.exited;
  await Promise.all(outputs);
  return code;
}

function buildExecProcess(call: Call, base: OciProcess | undefined): OciProcess {
  const user = call.values.get('user')?.at(-1)?.split(':').map(Number);
  return {
    ...base,
    args: call.args.slice(1),
    cwd: call.values.get('cwd')?.at(-1) ?? base?.cwd ?? '/',
    env: [...(base?.env ?? []), ...(call.values.get('env') ?? [])],
    terminal: call.switches.has('tty'),
    ...(user === undefined ? {} : { user: { uid: user[0] ?? 0, gid: user[1] ?? 0 } }),
  };
}

async function list(call: Call): Promise<number> {
  const states = (await call.engine()).list().map(formatState);
  process.stdout.write(`${JSON.stringify(states)}\n`);
  return 0;
}

async function spec(call: Call): Promise<number> {
  const path = join(call.values.get('bundle')?.at(-1) ?? '.', 'config.json');
  const content = buildDefaultSpec({ args: ['sh'], hostname: 'tkadm', terminal: true });
  writeFileSync(path, `${JSON.stringify(content, null, 2)}\n`, { flag: 'wx' });
  return 0;
}

async function features(): Promise<number> {
  const content = {
    ociVersionMin: '1.0.0',
    ociVersionMax: '1.2.0',
    hooks: [],
    linux: {
      namespaces: DEFAULT_NAMESPACES,
      capabilities: CAPABILITIES,
      cgroup: { v1: true, v2: true, systemd: false, systemdUser: false, rdma: false },
      seccomp: {
        enabled: true,
        actions: Object.keys(SECCOMP_RET),
        operators: SECCOMP_OPERATORS,
        knownFlags: Object.keys(SECCOMP_FLAGS),
        supportedFlags: Object.keys(SECCOMP_FLAGS),
      },
      apparmor: { enabled: false },
      selinux: { enabled: false },
    },
  };
  process.stdout.write(`${JSON.stringify(content, null, 2)}\n`);
  return 0;
}

function formatState(status: ContainerStatus): Readonly<Record<string, unknown>> {
  return {
    ociVersion: '1.2.0',
    id: status.id,
    status: status.state === 'exited' ? 'stopped' : status.state,
    pid: status.pid ?? 0,
    bundle: status.annotations?.[BUNDLE_ANNOTATION] ?? '',
    created: status.createdAt.toISOString(),
    annotations: status.annotations ?? {},
  };
}

function parseSignal(text: string): NodeJS.Signals {
  const names = Object.entries(constants.signals);
  const wanted = text.toUpperCase().replace(/^(SIG)?/, 'SIG');
  const found = names.find(([name, number]) => name === wanted || String(number) === text);
  if (found === undefined) throw new TkadmError('FLAG_INVALID', `Cannot send "${text}": no such signal`);
  return found[0] as NodeJS.Signals;
}

/** Connects this process's terminal; resolves when the output has ended. */
function connectTerminal(streams: ProcessStreams): Promise<void> {
  const { stdin, stdout } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  const resize = () => {
    if (stdout.isTTY) streams.resize(stdout.columns, stdout.rows);
  };
  resize();
  stdout.on('resize', resize);
  if (streams.stdin) stdin.pipe(streams.stdin);
  return forwardOutput(streams.stdout, stdout).finally(() => {
    if (stdin.isTTY) stdin.setRawMode(false);
  });
}

async function forwardOutput(source: AsyncIterable<Buffer>, target: NodeJS.WriteStream): Promise<void> {
  for await (const chunk of source) {
    await new Promise<void>((done) => {
      target.write(chunk, () => done());
    });
  }
}

async function settle(action: Promise<void>): Promise<number> {
  await action;
  return 0;
}
