import { execFile } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describeFileError, TkadmError } from '../../base/errors.ts';
import { buildDefaultSpec } from '../defaults.ts';
import type { ContainerEngine, ContainerStatus } from '../engine.ts';
import { buildFeatures } from '../features.ts';
import type { OciSpec } from '../oci-spec.ts';
import { type Call, findContainer, hasOption, option, pathOption, type Verb } from './call.ts';
import type { OptionRow } from './options.ts';

const FORMAT: OptionRow = {
  name: 'format',
  short: 'f',
  kind: 'value',
  help: '"table", the default, or "json"',
};

export const INSPECT_VERBS: readonly Verb[] = [
  { name: 'state', args: 'ID', maxArgs: 1, summary: 'print the state', options: [], run: state },
  {
    name: 'list',
    args: '',
    maxArgs: 0,
    summary: 'list the containers',
    options: [FORMAT, { name: 'quiet', short: 'q', kind: 'switch', help: 'ids alone' }],
    run: list,
  },
  { name: 'ps', args: 'ID [OPTIONS OF PS]', summary: 'list the processes', options: [FORMAT], run: ps },
  {
    name: 'spec',
    args: '',
    maxArgs: 0,
    summary: 'write a config.json to begin with',
    options: [
      { name: 'bundle', short: 'b', kind: 'value', help: 'directory of the bundle, default "."' },
      { name: 'rootless', kind: 'switch', help: '', refused: 'this program runs as root' },
    ],
    run: spec,
  },
  { name: 'features', args: '', maxArgs: 0, summary: 'print what is supported', options: [], run: features },
];

async function state(call: Call): Promise<number> {
  const { engine, status } = await findContainer(call);
  call.print(`${JSON.stringify(formatState(engine, status), null, 2)}\n`);
  return 0;
}

/** The state of runtime-spec runtime.md, with what runc adds. */
function formatState(engine: ContainerEngine, status: ContainerStatus) {
  const isPaused = status.state !== 'exited' && (engine.cgroup(status.id)?.isFrozen() ?? false);
  const { root, ociVersion } = engine.spec(status.id);
  return {
    ociVersion,
    id: status.id,
    pid: status.pid ?? 0,
    status: isPaused ? 'paused' : status.state === 'exited' ? 'stopped' : status.state,
    bundle: status.bundle ?? '',
    rootfs: join(status.bundle ?? '', root?.path ?? ''),
    created: status.createdAt.toISOString(),
    annotations: status.annotations ?? {},
    owner: owner(),
  };
}

/** Containers are made by the user that runs this: their directory is root's alone. */
function owner(): string {
  return userInfo().username;
}

async function list(call: Call): Promise<number> {
  const engine = await call.openEngine();
  const states = engine.list().map((status) => formatState(engine, status));
  if (hasOption(call, 'quiet')) call.print(states.map(({ id }) => `${id}\n`).join(''));
  else if (isJson(call)) call.print(`${JSON.stringify(states)}\n`);
  else {
    const rows = states.map(({ id, pid, status, bundle, created, owner: name }) => [
      id,
      String(pid),
      status,
      bundle,
      created,
      name,
    ]);
    call.print(formatTable([['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'], ...rows]));
  }
  return 0;
}

/** @throws FLAG_INVALID for a format that is neither */
function isJson(call: Call): boolean {
  const format = option(call, 'format') ?? 'table';
  if (format !== 'table' && format !== 'json') {
    throw new TkadmError('FLAG_INVALID', `Cannot use "--format=${format}": it is neither "table" nor "json"`);
  }
  return format === 'json';
}

function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_cell, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]! + 3))
          .join('')
          .trimEnd()}\n`,
    )
    .join('');
}

async function ps(call: Call): Promise<number> {
  const { engine, id } = await findContainer(call);
  const pids = engine.cgroup(id)?.pids() ?? [];
  if (isJson(call)) {
    call.print(`${JSON.stringify(pids)}\n`);
    return 0;
  }
  const options = call.args.slice(1);
  const { stdout } = await promisify(execFile)('ps', options.length === 0 ? ['-ef'] : options);
  const [title = '', ...lines] = stdout.trimEnd().split('\n');
  const column = title.trim().split(/\s+/).indexOf('PID');
  if (column < 0)
    throw new TkadmError('FLAG_INVALID', 'Cannot list processes: the output of ps has no column "PID"');
  const own = lines.filter((line) => pids.includes(Number(line.trim().split(/\s+/)[column])));
  call.print(`${[title, ...own].join('\n')}\n`);
  return 0;
}

/** What runc's `spec` allows, which is less than the default of Docker. */
function buildFirstSpec(): OciSpec {
  const base = buildDefaultSpec({ args: ['sh'], hostname: 'tkadm', terminal: true, isRootReadonly: true });
  const { process: first } = base;
  if (first === undefined) return base;
  const capabilities = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'];
  return {
    ...base,
    process: {
      ...first,
      env: [...(first.env ?? []), 'TERM=xterm'],
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
  };
}

async function spec(call: Call): Promise<number> {
  const directory = pathOption(call, 'bundle') ?? '.';
  const path = join(directory, 'config.json');
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new TkadmError('OCI_CONFIG', `Cannot write "${path}": there is no such directory`);
  }
  const content = buildFirstSpec();
  try {
    writeFileSync(path, `${JSON.stringify(content, null, 2)}\n`, { flag: 'wx' });
  } catch (error) {
    throw new TkadmError('OCI_CONFIG', `Cannot write "${path}": ${describeFileError(error)}`, {
      cause: error,
    });
  }
  return 0;
}

async function features(call: Call): Promise<number> {
  call.print(`${JSON.stringify(buildFeatures(), null, 2)}\n`);
  return 0;
}
