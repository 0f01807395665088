import { resolve } from 'node:path';
import { isTkadmError, TkadmError } from '../../../runtime/base/errors.ts';
import { writeFileAtomic } from '../../../runtime/base/files.ts';
import type { CtrOptions } from '../../../runtime/ctr/ctr-record.ts';
import type { CliContext } from '../context.ts';
import { readRegistryAuth } from '../registry-auth.ts';
import { ctr, forEach, image } from './call.ts';
import { buildOptions, type RunFlags, readEnv } from './run-options.ts';
import { isGone, runSession } from './session.ts';

/** `tkadm ctr run`: creates and starts a container; with this terminal unless it is detached. Returns its exit code. */
export async function runRun(
  context: CliContext,
  flags: RunFlags,
  words: readonly string[],
): Promise<number> {
  const streams = (flags.attach ?? []).map((name) => name.toLowerCase());
  const unknown = streams.find((name) => !['stdin', 'stdout', 'stderr'].includes(name));
  if (unknown !== undefined)
    throw new TkadmError('USAGE', `Cannot attach to "${unknown}": there is no such stream`);
  if (flags.detach && streams.length > 0) {
    throw new TkadmError('USAGE', 'Cannot use --detach with --attach: they exclude each other');
  }
  requireTerminal(context, flags.tty && flags.interactive && !flags.detach);
  const options = await buildOptions(context, flags, words);
  const id = await create(context, flags, options);
  if (flags.detach) {
    await startOrRemove(context, id, options, () => ctr(context, 'start', { name: id, isAttached: false }));
    context.write(`${id}\n`);
    return 0;
  }
  const hasInput = flags.interactive ?? streams.includes('stdin');
  const end = await startOrRemove(context, id, options, () =>
    runSession(context, {
      call: 'start',
      body: { name: id, isAttached: true, hasInput },
      hasTerminal: options.hasTerminal,
      hasInput,
      detachKeys: flags.detachKeys,
      onSignal: proxySignals(context, id, flags.sigProxy),
    }),
  );
  return end.isDetached ? 0 : end.exitCode;
}

/** A container that is to be removed at its end has no end when it cannot be started. */
async function startOrRemove<T>(
  context: CliContext,
  id: string,
  { isAutoRemoved }: CtrOptions,
  start: () => Promise<T>,
): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (isAutoRemoved && isTkadmError(error)) {
      await ctr(context, 'remove', { name: id, isForced: true, removesVolumes: true }).catch(() => {});
    }
    throw error;
  }
}

/** `tkadm ctr create`: as run, without starting. */
export async function runCreate(
  context: CliContext,
  flags: RunFlags,
  words: readonly string[],
): Promise<void> {
  const id = await create(context, flags, await buildOptions(context, flags, words));
  context.write(`${id}\n`);
}

async function create(context: CliContext, flags: RunFlags, options: CtrOptions): Promise<string> {
  const cidfile = flags.cidfile === undefined ? undefined : resolve(context.cwd, flags.cidfile);
  if (cidfile !== undefined && (await context.fileExists(cidfile))) {
    throw new TkadmError('USAGE', `Cannot write the id to "${cidfile}": the file is there`);
  }
  const pull = flags.pull ?? 'missing';
  if (pull === 'always') await pullImage(context, options.image);
  const make = () => ctr(context, 'create', options);
  const { id } = await make().catch(async (error: unknown) => {
    if (!isTkadmError(error, 'IMAGE_NOT_FOUND') || pull !== 'missing') throw error;
    context.writeError(`Image "${options.image}" is not here: pulling it\n`);
    await pullImage(context, options.image);
    return make();
  });
  if (cidfile !== undefined) await writeFileAtomic(cidfile, id);
  return id;
}

async function pullImage(context: CliContext, name: string): Promise<void> {
  const auth = await readRegistryAuth(context, name, undefined);
  await image(context, 'pull', { body: { name, plainHttp: false, auth } });
}

/** Ctrl-C and its like go to the container's first process, unless --sig-proxy=false. */
function proxySignals(context: CliContext, id: string, sigProxy = 'true') {
  if (sigProxy === 'false') return undefined;
  return (signal: NodeJS.Signals) => {
    ctr(context, 'kill', { name: id, signal }, {}).catch((error: unknown) => {
      // It may have ended, or not have begun.
      if (!isGone(error)) context.writeError(`error: ${(error as Error).message}\n`);
    });
  };
}

/** @throws USAGE */
function requireTerminal(context: CliContext, wantsTerminal: boolean | undefined): void {
  if (!wantsTerminal || context.isInputTerminal) return;
  throw new TkadmError('USAGE', 'Cannot use this input as a terminal: it is none', {
    hint: 'Leave --tty out',
  });
}

export interface StartFlags {
  readonly attach?: boolean;
  readonly interactive?: boolean;
  readonly detachKeys?: string;
  readonly sigProxy?: string;
}

/** `tkadm ctr start` */
export async function runStart(
  context: CliContext,
  flags: StartFlags,
  names: readonly string[],
): Promise<number> {
  if (!flags.attach && !flags.interactive) {
    return forEach(context, names, async (name) => {
      await ctr(context, 'start', { name, isAttached: false });
      return name;
    });
  }
  const [name = '', ...others] = names;
  if (others.length > 0) throw new TkadmError('USAGE', 'Cannot attach to several containers: name one');
  const { id, options } = await ctr(context, 'inspect', { name });
  const hasInput = (flags.interactive ?? false) && options.hasStdin;
  const end = await runSession(context, {
    call: 'start',
    body: { name: id, isAttached: true, hasInput },
    hasTerminal: options.hasTerminal,
    hasInput,
    detachKeys: flags.detachKeys,
    onSignal: proxySignals(context, id, flags.sigProxy),
  });
  return end.isDetached ? 0 : end.exitCode;
}

export interface AttachFlags {
  readonly stdin: boolean;
  readonly detachKeys?: string;
  readonly sigProxy?: string;
}

/** `tkadm ctr attach` */
export async function runAttach(context: CliContext, flags: AttachFlags, name: string): Promise<number> {
  const { id, options } = await ctr(context, 'inspect', { name });
  const hasInput = flags.stdin && options.hasStdin;
  const end = await runSession(context, {
    call: 'attach',
    body: { name: id, hasInput },
    hasTerminal: options.hasTerminal,
    hasInput,
    detachKeys: flags.detachKeys,
    onSignal: proxySignals(context, id, flags.sigProxy),
  });
  return end.isDetached ? 0 : end.exitCode;
}

export interface ExecFlags {
  readonly detach?: boolean;
  readonly detachKeys?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly interactive?: boolean;
  readonly privileged?: boolean;
  readonly tty?: boolean;
  readonly user?: string;
  readonly workdir?: string;
}

/** `tkadm ctr exec`: returns the exit code of the process. */
export async function runExec(
  context: CliContext,
  flags: ExecFlags,
  name: string,
  args: readonly string[],
): Promise<number> {
  const { detach: isDetached = false, interactive = false, tty: hasTerminal = false } = flags;
  requireTerminal(context, hasTerminal && interactive && !isDetached);
  const body = {
    name,
    args,
    env: await readEnv(context, flags.env, flags.envFile),
    user: flags.user,
    workingDir: flags.workdir,
    hasTerminal,
    hasInput: interactive && !isDetached,
    isPrivileged: flags.privileged ?? false,
    isDetached,
  };
  const end = await runSession(context, {
    call: 'exec',
    body,
    hasTerminal: hasTerminal && !isDetached,
    hasInput: body.hasInput,
    detachKeys: flags.detachKeys,
  });
  return end.isDetached ? 0 : end.exitCode;
}
