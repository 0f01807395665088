import { TkadmError } from '../../base/errors.ts';
import type { ContainerEngine, LaunchTraits } from '../engine.ts';
import type { OciProcess, OciSpec } from '../oci-spec.ts';
import { readProcess } from './bundle.ts';
import {
  type Call,
  findContainer,
  hasOption,
  option,
  pathOption,
  type Verb,
  warnOfCapabilities,
} from './call.ts';
import { PROCESS_OPTIONS, preservedDescriptors, writePidFile } from './container-verbs.ts';
import { connectTerminal, forwardSignals } from './terminal.ts';

export const EXEC_VERB: Verb = {
  name: 'exec',
  args: 'ID COMMAND... | -p FILE ID',
  summary: 'run one more process in a container',
  options: [
    ...PROCESS_OPTIONS,
    { name: 'cwd', kind: 'value', help: 'working directory' },
    { name: 'env', short: 'e', kind: 'list', help: 'variable, NAME=VALUE' },
    { name: 'tty', short: 't', kind: 'switch', help: 'with a terminal' },
    { name: 'user', short: 'u', kind: 'value', help: 'UID[:GID]' },
    { name: 'additional-gids', short: 'g', kind: 'list', help: 'one more group' },
    { name: 'process', short: 'p', kind: 'value', help: 'file with the process of a config' },
    { name: 'detach', short: 'd', kind: 'switch', help: 'do not wait for the end' },
    { name: 'process-label', kind: 'value', help: 'SELinux label' },
    { name: 'apparmor', kind: 'value', help: 'AppArmor profile' },
    { name: 'no-new-privs', kind: 'switch', help: 'set no_new_privs' },
    { name: 'cap', short: 'c', kind: 'list', help: 'one more capability' },
    { name: 'ignore-paused', kind: 'switch', help: 'wait for a paused container to be resumed' },
    { name: 'cgroup', kind: 'list', help: "path below the container's cgroup, or CONTROLLER,..:PATH" },
  ],
  failureCode: 255,
  run: exec,
};

async function exec(call: Call): Promise<number> {
  const { engine, id } = await findContainer(call);
  if (!hasOption(call, 'ignore-paused') && engine.cgroup(id)?.isFrozen()) {
    throw new TkadmError('CONTAINER_STATE', `Cannot run a process in container "${id}": it is paused`);
  }
  const file = pathOption(call, 'process');
  const wanted = file === undefined ? buildProcess(call, engine.spec(id)) : readProcess(file);
  warnOfCapabilities(call, wanted);
  const preserved = preservedDescriptors(call);
  const isDetached = hasOption(call, 'detach');
  const consoleSocket = pathOption(call, 'console-socket');
  if (consoleSocket !== undefined && !wanted.terminal) {
    throw new TkadmError('FLAG_INVALID', 'Cannot use "--console-socket": the process has no terminal');
  }
  if (wanted.terminal && consoleSocket === undefined) {
    if (hasOption(call, 'cgroup'))
      throw new TkadmError(
        'FLAG_INVALID',
        'Cannot use "--cgroup": it needs --console-socket with a terminal',
      );
    if (isDetached)
      throw new TkadmError('FLAG_INVALID', 'Cannot detach from a terminal: "--console-socket" is missing');
    return await execInTerminal(call, engine, { id, process: wanted });
  }
  const cgroups = call.given.get('cgroup');
  const traits: LaunchTraits = {
    reaper: isDetached ? 'caller' : 'monitor',
    consoleSocket,
    preserved,
    cgroups,
  };
  const { pid, exited } = await engine.execPlain(id, wanted, traits);
  writePidFile(call, pid);
  if (exited === undefined) return 0;
  forwardSignals(call.program, (signal) => process.kill(pid, signal));
  return await exited;
}

interface TerminalExec {
  readonly id: string;
  readonly process: OciProcess;
}

async function execInTerminal(
  call: Call,
  engine: ContainerEngine,
  { id, process }: TerminalExec,
): Promise<number> {
  const session = await engine.exec(id, { process, stdin: true });
  writePidFile(call, session.pid);
  const outputEnd = connectTerminal(call.program, session);
  const code = await session.exited;
  await outputEnd;
  return code;
}

/** The container's own process with another command, as the flags say. */
function buildProcess(call: Call, { process: base }: OciSpec): OciProcess {
  const args = call.args.slice(1);
  if (args.length === 0) throw new TkadmError('FLAG_INVALID', 'Cannot go on: the command is missing');
  const cwd = option(call, 'cwd') ?? base?.cwd ?? '/';
  if (!cwd.startsWith('/'))
    throw new TkadmError('FLAG_INVALID', `Cannot use "--cwd=${cwd}": it is no absolute path`);
  const env = call.given.get('env') ?? [];
  const unset = env.find((entry) => !/^[^=]+=/.test(entry));
  if (unset !== undefined)
    throw new TkadmError('FLAG_INVALID', `Cannot use "--env=${unset}": it is not NAME=VALUE`);
  const label = option(call, 'process-label');
  const profile = option(call, 'apparmor');
  return {
    ...base,
    args,
    cwd,
    env: mergeEnvironment(base?.env ?? [], env),
    terminal: hasOption(call, 'tty'),
    user: parseUser(call, base),
    capabilities: addCapabilities(base?.capabilities, call.given.get('cap') ?? []),
    ...(hasOption(call, 'no-new-privs') ? { noNewPrivileges: true } : {}),
    ...(label === undefined ? {} : { selinuxLabel: label }),
    ...(profile === undefined ? {} : { apparmorProfile: profile }),
  };
}

/** getenv(3) takes the first of two entries with a name, and the later one is meant. */
function mergeEnvironment(base: readonly string[], changes: readonly string[]): readonly string[] {
  const entries = [...base, ...changes].map((entry) => [entry.split('=', 1)[0], entry] as const);
  return [...new Map(entries).values()];
}

/** @throws FLAG_INVALID */
function parseId(flag: string, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new TkadmError('FLAG_INVALID', `Cannot use "--${flag}=${text}": it is no number`);
}

function parseUser(call: Call, base: OciProcess | undefined): NonNullable<OciProcess['user']> {
  const text = option(call, 'user');
  const groups = (call.given.get('additional-gids') ?? []).map((gid) => parseId('additional-gids', gid));
  const own = base?.user ?? { uid: 0, gid: 0 };
  const match = /^(\d+)(?::(\d+))?$/.exec(text || `${own.uid}:${own.gid}`);
  if (match === null) {
    throw new TkadmError('FLAG_INVALID', `Cannot use "--user=${text}": it is not UID[:GID]`);
  }
  return {
    ...own,
    uid: Number(match[1]),
    gid: match[2] === undefined ? own.gid : Number(match[2]),
    additionalGids: [...(own.additionalGids ?? []), ...groups],
  };
}

/** As with runc: to every set, but to the ambient one only when it is inheritable. */
function addCapabilities(
  base: OciProcess['capabilities'],
  names: readonly string[],
): NonNullable<OciProcess['capabilities']> {
  const add = (set: readonly string[] = []) => [...set, ...names.filter((name) => !set.includes(name))];
  const { bounding, effective, permitted, inheritable = [], ambient = [] } = base ?? {};
  return {
    inheritable,
    ambient,
    bounding: add(bounding),
    effective: add(effective),
    permitted: add(permitted),
  };
}
