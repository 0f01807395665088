import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { buildDefaultSpec, DEFAULT_CAPABILITIES } from '../container/defaults.ts';
import type { ContainerEngine } from '../container/engine.ts';
import type { OciMount, OciSpec } from '../container/oci-spec.ts';
import { buildDefaultSeccomp } from '../container/seccomp/default-profile.ts';
import type { StepCommand, StepRunner } from '../image/build/options.ts';
import { rootfsOf } from '../image/container-files.ts';
import { readAccounts, resolveUser } from '../image/process-user.ts';

export interface StepRunnerOptions {
  readonly engine: ContainerEngine;
  /** "/tkadm" */
  readonly cgroupParent: string;
}

/** The names of the containers of RUN in the engine; the CRI knows nothing of them. */
const ID_PREFIX = 'build-';

/** Files of the host that a step sees, so that it can download. */
const HOST_FILES = ['/etc/resolv.conf', '/etc/hosts'] as const;

/** Runs the RUN steps of builds in containers, with the host's network. */
export function createStepRunner({ engine, cgroupParent }: StepRunnerOptions): StepRunner {
  return async (command) => {
    const id = `${ID_PREFIX}${randomBytes(16).toString('hex')}`;
    const spec = await buildStepSpec(command, `${cgroupParent}/${id}`);
    const { files, signal } = command;
    await engine.create({ id, spec, rootfs: rootfsOf(files) });
    const abort = () => void engine.stop(id, { graceMs: 0 }).catch(() => {});
    try {
      const streams = engine.attach(id);
      const outputs = [streams.stdout, streams.stderr].filter((stream) => stream !== undefined);
      const reading = Promise.all(outputs.map((stream) => forwardLines(stream, command.onOutput)));
      signal?.addEventListener('abort', abort, { once: true });
      if (signal?.aborted) abort();
      else await engine.start(id);
      const { exitCode = 255 } = await engine.wait(id);
      await reading;
      signal?.throwIfAborted();
      return exitCode;
    } finally {
      signal?.removeEventListener('abort', abort);
      await engine.delete(id, { force: true });
    }
  };
}

/** Removes the containers of builds that an earlier runtime did not finish. */
export async function removeUnfinishedSteps(engine: ContainerEngine): Promise<void> {
  for (const { id } of engine.list()) {
    if (id.startsWith(ID_PREFIX)) await engine.delete(id, { force: true });
  }
}

async function buildStepSpec(command: StepCommand, cgroupsPath: string): Promise<OciSpec> {
  const { files, args, cwd, user } = command;
  const { uid, gid, additionalGids, home } = resolveUser(
    await readAccounts(files.lowerDirs),
    undefined,
    user ?? '',
  );
  const env = command.env.some((entry) => entry.startsWith('HOME='))
    ? command.env
    : [...command.env, `HOME=${home}`];
  const base = buildDefaultSpec({ args, env, cwd, cgroupsPath });
  const binds = HOST_FILES.map((path): OciMount => {
    return { destination: path, type: 'bind', source: path, options: ['bind', 'ro'] };
  });
  const hostNamespaces = command.hasNetwork ? ['network', 'uts'] : [];
  const namespaces = (base.linux?.namespaces ?? []).filter(({ type }) => !hostNamespaces.includes(type));
  return {
    ...base,
    process: { ...base.process!, user: { uid, gid, additionalGids } },
    mounts: [...(base.mounts ?? []), ...binds, ...command.mounts],
    linux: { ...base.linux, namespaces, seccomp: buildDefaultSeccomp(DEFAULT_CAPABILITIES) },
  };
}

async function forwardLines(stream: Readable, onLine: (line: string) => void): Promise<void> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  }
  rest += decoder.end();
  if (rest !== '') onLine(rest);
}
