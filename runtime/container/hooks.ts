import { spawn } from 'node:child_process';
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { TkadmError } from '../base/errors.ts';
import { CAPABILITIES } from './capabilities.ts';
import type { ContainerContext } from './container.ts';
import { exitCode } from './monitor.ts';
import type { OciHook, OciSpec } from './oci-spec.ts';
import { performWithControl } from './performer/controlled.ts';
import { buildExecProgram } from './performer/exec-program.ts';
import { hasOwnMounts } from './performer/namespaces.ts';
import { explainFailure, isFailure } from './performer/report-channel.ts';
import { REPORT } from './performer/report-program.ts';
import { hasUserNamespace } from './user-mappings.ts';

/** Kinds of hooks, in the order that they run (runtime-spec config.md "POSIX-platform Hooks"). */
export const HOOKS = [
  { name: 'prestart', at: 'stage', isInside: false, isFatal: true, status: 'creating' },
  { name: 'createRuntime', at: 'stage', isInside: false, isFatal: true, status: 'creating' },
  { name: 'createContainer', at: 'stage', isInside: true, isFatal: true, status: 'creating' },
  { name: 'startContainer', at: 'start', isInside: true, isFatal: true, status: 'created' },
  { name: 'poststart', at: 'started', isInside: false, isFatal: false, status: 'running' },
  { name: 'poststop', at: 'deleted', isInside: false, isFatal: false, status: 'stopped' },
] as const;

type HookRow = (typeof HOOKS)[number];
/** When hooks run: before the root is entered, before and after the program, after the deletion. */
export type HookTime = HookRow['at'];

export interface HookTarget {
  readonly id: string;
  readonly spec: OciSpec;
  readonly pid: number | undefined;
  readonly bundle: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly cgroupJoinFiles: readonly string[];
}

type HookContext = Pick<ContainerContext, 'libc' | 'performer' | 'log'>;

export function hasHooks({ hooks }: OciSpec, at: HookTime): boolean {
  return HOOKS.some((row) => row.at === at && (hooks?.[row.name]?.length ?? 0) > 0);
}

/**
 * Runs the hooks of a time one after the other, each with the container's state as its input.
 * @throws CONTAINER_HOOK for one that fails, unless its kind only warns
 */
export async function runHooks(context: HookContext, at: HookTime, target: HookTarget): Promise<void> {
  for (const row of HOOKS.filter((one) => one.at === at)) {
    for (const hook of target.spec.hooks?.[row.name] ?? []) {
      const failure = await runHook(context, { row, hook, target });
      if (failure === undefined) continue;
      const message = `Cannot run hook "${hook.path}" (${row.name}) of container "${target.id}": ${failure}`;
      if (row.isFatal) throw new TkadmError('CONTAINER_HOOK', message);
      context.log.warn(message);
    }
  }
}

interface HookCall {
  readonly row: HookRow;
  readonly hook: OciHook;
  readonly target: HookTarget;
}

async function runHook(context: HookContext, { row, hook, target }: HookCall): Promise<string | undefined> {
  const { id, pid, bundle, annotations, spec } = target;
  const { ociVersion } = spec;
  const state = JSON.stringify({ ociVersion, id, status: row.status, pid: pid ?? 0, bundle, annotations });
  const timeoutMs = (hook.timeout ?? 0) * 1000;
  try {
    const run = row.isInside ? runInside(context, { hook, target }, state) : runOutside(hook, state);
    return await withTimeout(run, timeoutMs);
  } catch (error) {
    return (error as Error).message;
  }
}

interface RunningHook {
  readonly ended: Promise<string | undefined>;
  kill(): void;
}

async function withTimeout(starting: Promise<RunningHook>, timeoutMs: number): Promise<string | undefined> {
  const { ended, kill } = await starting;
  if (timeoutMs === 0) return await ended;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    kill();
  }, timeoutMs);
  const failure = await ended;
  clearTimeout(timer);
  return isLate ? `not done after ${timeoutMs / 1000} s` : failure;
}

/** In the namespaces of the runtime. */
async function runOutside({ path, args = [], env = [] }: OciHook, state: string): Promise<RunningHook> {
  const child = spawn(path, args.slice(1), {
    argv0: args[0] ?? path,
    env: Object.fromEntries(env.map((entry) => splitVariable(entry))),
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const output: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  // A hook need not read its input.
  child.stdin.on('error', () => {});
  child.stdin.end(state);
  const ended = new Promise<string | undefined>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => {
      const text = Buffer.concat(output).toString('utf8').trim();
      resolve(code === 0 ? undefined : `${signal ?? `exit code ${code}`}${text === '' ? '' : `: ${text}`}`);
    });
  });
  return { ended, kill: () => child.kill('SIGKILL') };
}

function splitVariable(entry: string): readonly [string, string] {
  const end = entry.indexOf('=');
  return end < 0 ? [entry, ''] : [entry.slice(0, end), entry.slice(end + 1)];
}

/** In the namespaces of the container, whose root is still the runtime's until it has been entered. */
async function runInside(
  { libc, performer }: HookContext,
  { hook, target }: { readonly hook: OciHook; readonly target: HookTarget },
  state: string,
): Promise<RunningHook> {
  const own = ownCapabilities();
  const program = buildExecProgram({
    machine: performer.machine,
    pid: target.pid ?? 0,
    process: {
      args: [hook.path, ...(hook.args ?? []).slice(1)],
      env: hook.env ?? [],
      cwd: '/',
      capabilities: { bounding: own, effective: own, permitted: own },
    },
    hasUserNamespace: hasUserNamespace(target.spec),
    hasOwnMounts: hasOwnMounts(target.spec),
    hostUid: 0,
    cgroupJoinFiles: target.cgroupJoinFiles,
    stdin: true,
    seccomp: undefined,
    inheritStreams: true,
  });
  const [read, write] = libc.pipe();
  writeSync(write, state);
  closeSync(write);
  const streams = [read, 'ignore', 'ignore'] as const;
  const { control, reports } = performWithControl({ libc, performer }, program, {
    name: 'tkadm-hook',
    streams,
  });
  closeSync(read);
  const born = await control.next();
  const report = await reports.next();
  reports.close();
  const ended = control.next().then((last) => {
    control.close();
    if (report !== undefined && isFailure(report)) return explainFailure(program, report);
    const code = last?.kind === REPORT.exit ? exitCode(last.value) : undefined;
    return code === 0 ? undefined : `exit code ${code}`;
  });
  return { ended, kill: () => born !== undefined && process.kill(born.value, 'SIGKILL') };
}

/** What this process may do is what a hook may do. */
function ownCapabilities(): readonly string[] {
  const mask = BigInt(`0x${/^CapPrm:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0}`);
  return CAPABILITIES.filter((_name, bit) => (mask >> BigInt(bit)) & 1n);
}
