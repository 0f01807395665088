import { TkadmError } from '../base/errors.ts';
import { sleep } from '../base/time.ts';
import { readLogPieces } from '../container/read-logs.ts';
import { commitContainer, importImage } from './ctr-commit.ts';
import {
  type CtrContext,
  containerPaths,
  engineId,
  getContainer,
  latest,
  publishContainer,
} from './ctr-context.ts';
import { copyIn, copyOut, exportFiles, statPath } from './ctr-copy.ts';
import { checkName, createContainer } from './ctr-create.ts';
import { diffContainer } from './ctr-diff.ts';
import { execInContainer } from './ctr-exec.ts';
import {
  isRunning,
  killContainer,
  removeAll,
  removeContainer,
  requireRunning,
  restartContainer,
  setPaused,
  settled,
  stopAll,
  stopContainer,
} from './ctr-lifecycle.ts';
import type { CtrBody, ExitResult } from './ctr-messages.ts';
import type { CtrRecord } from './ctr-record.ts';
import type { CtrConnection, CtrHandlers } from './ctr-socket.ts';
import { startContainer } from './ctr-start.ts';
import { listProcesses, readStats } from './ctr-stats.ts';
import { joinStreams } from './ctr-streams.ts';
import { updateContainer } from './ctr-update.ts';
import { readDiskUsage } from './ctr-usage.ts';
import { describeContainer, describeService, describeVolume, listNetworks } from './ctr-views.ts';

const STATS_INTERVAL_MS = 1000;

/** What the ctr socket does. */
export function createCtrHandlers(context: CtrContext): CtrHandlers {
  const find = (name: string) => getContainer(context, name);
  const summarize = (record: CtrRecord) => describeContainer(context, record);
  return {
    create: async (options) => ({ id: (await createContainer(context, options)).id }),
    start: (body, client) => start(context, body, client),
    attach: (body, client) => attach(context, body, client),
    exec: async (body, client) =>
      execInContainer(context, await settled(context, find(body.name)), body, client),
    list: async () => context.records.list().map(summarize),
    inspect: async ({ name }) => summarize(find(name)),
    logs: (body, client) => sendLogs(context, body, client),
    async stop({ name, ...options }) {
      await stopContainer(context, find(name).id, options);
      return null;
    },
    async restart({ name, ...options }) {
      await restartContainer(context, find(name).id, options);
      return null;
    },
    async kill({ name, signal }) {
      await killContainer(context, find(name).id, signal);
      return null;
    },
    async remove({ name, ...options }) {
      await removeContainer(context, find(name).id, options);
      return null;
    },
    async pause({ name }) {
      await setPaused(context, find(name).id, true);
      return null;
    },
    async unpause({ name }) {
      await setPaused(context, find(name).id, false);
      return null;
    },
    rename: (body) => rename(context, body),
    wait: ({ name }) => waitForExit(context, find(name)),
    commit: async (body) => ({ id: (await commitContainer(context, find(body.name), body)).id }),
    async update({ name, ...change }) {
      await updateContainer(context, find(name).id, change);
      return null;
    },
    async export({ name }, { stdout }) {
      await exportFiles(context, await settled(context, find(name)), stdout);
      return null;
    },
    import: async (body, { input }) => ({ id: (await importImage(context, body, input)).id }),
    diff: ({ name }) => diffContainer(context, find(name)),
    copyOut: async ({ name, ...options }, { stdout }) =>
      copyOut(context, await settled(context, find(name)), options, stdout),
    async copyIn({ name, directory }, { input }) {
      await copyIn(context, await settled(context, find(name)), directory, input);
      return null;
    },
    statPath: async ({ name, path }) => (await statPath(context, find(name), path)) ?? null,
    stats: (body, client) => sendStats(context, body, client),
    top: async ({ name }) =>
      listProcesses(context, requireRunning(await settled(context, find(name)), 'look into')),
    events: (body, client) => sendEvents(context, body, client),
    async volumeCreate({ name, labels }) {
      const { volume } = await context.volumes.ensure(name, labels);
      return describeVolume(context, volume);
    },
    volumeList: async () => context.volumes.list().map((volume) => describeVolume(context, volume)),
    volumeRemove: (body) => removeVolume(context, body),
    networkList: () => listNetworks(context),
    diskUsage: () => readDiskUsage(context),
    info: () => describeService(context),
    removeAll: async () => ({ count: await removeAll(context) }),
    stopAll: async () => ({ count: await stopAll(context) }),
  };
}

async function start(
  context: CtrContext,
  { name, isAttached, hasInput = false, size }: CtrBody<'start'>,
  client: CtrConnection<'start'>,
): Promise<ExitResult | null> {
  const { id } = getContainer(context, name);
  if (!isAttached) {
    await startContainer(context, id);
    return null;
  }
  const ended = context.exits.next(id);
  let joined: Promise<void> = Promise.resolve();
  let close = () => {};
  await startContainer(context, id, (streams) => {
    close = () => streams.close();
    joined = joinStreams(streams, client, { hasInput, size });
  });
  return follow({ ended, joined, close, signal: client.signal });
}

async function attach(
  context: CtrContext,
  { name, hasInput, size }: CtrBody<'attach'>,
  client: CtrConnection<'attach'>,
): Promise<ExitResult> {
  const { id } = requireRunning(await settled(context, getContainer(context, name)), 'attach to');
  const ended = context.exits.next(id);
  const streams = context.engine.attach(engineId(id));
  publishContainer(context, latest(context, id), 'attach');
  const joined = joinStreams(streams, client, { hasInput, size });
  return follow({ ended, joined, close: () => streams.close(), signal: client.signal });
}

interface Following {
  readonly ended: Promise<number>;
  readonly joined: Promise<void>;
  readonly close: () => void;
  readonly signal: AbortSignal;
}

/** Waits for the end of the output and the container; a client that goes gives the streams back. */
async function follow({ ended, joined, close, signal }: Following): Promise<ExitResult> {
  signal.addEventListener('abort', close, { once: true });
  if (signal.aborted) close();
  await joined;
  signal.throwIfAborted();
  return { exitCode: await ended };
}

async function waitForExit(context: CtrContext, record: CtrRecord): Promise<ExitResult> {
  if (!isRunning(record)) return { exitCode: record.state.exitCode };
  return { exitCode: await context.exits.next(record.id) };
}

async function sendLogs(
  context: CtrContext,
  { name, isFollowing, tailLines, since, until, hasTimestamps }: CtrBody<'logs'>,
  client: CtrConnection<'logs'>,
): Promise<null> {
  const { id, state, options } = getContainer(context, name);
  if (state.startedAt === '') return null;
  const source = {
    path: containerPaths(context, id).log,
    maxFiles: options.logLimit?.maxFiles,
    isRunning: async () => {
      const status = context.records.get(id)?.state.status;
      return status === 'running' || status === 'paused' || status === 'restarting';
    },
    signal: client.signal,
  };
  const date = (text: string | undefined) => (text === undefined ? undefined : new Date(text));
  const query = {
    isFollowing,
    tailLines,
    since: date(since),
    until: date(until),
    hasTimestamps,
    limitBytes: undefined,
    stream: 'All',
  } as const;
  for await (const { stream, bytes } of readLogPieces(source, query)) {
    if (client.signal.aborted) break;
    await client[stream](bytes);
  }
  return null;
}

async function rename(context: CtrContext, { name, newName }: CtrBody<'rename'>): Promise<null> {
  const { id } = getContainer(context, name);
  await context.locks.run('create', async () => {
    checkName(context, newName);
    await context.locks.run(id, async () => {
      const record = { ...latest(context, id), name: newName };
      await context.records.put(record);
      publishContainer(context, record, 'rename');
    });
  });
  return null;
}

async function sendStats(
  context: CtrContext,
  { names, isStreamed, isAll }: CtrBody<'stats'>,
  client: CtrConnection<'stats'>,
): Promise<null> {
  const ids = names.map((name) => getContainer(context, name).id);
  const choose = () =>
    context.records
      .list()
      .filter((record) => (ids.length > 0 ? ids.includes(record.id) : isAll || isRunning(record)));
  const take = async () => {
    const samples = await Promise.all(choose().map((record) => readStats(context, record)));
    await client.note(samples.filter((sample) => sample !== undefined));
  };
  // A rate needs two samples.
  for (let count = 0; (isStreamed || count < 2) && !client.signal.aborted; count += 1) {
    if (count > 0) await sleep(STATS_INTERVAL_MS, client.signal).catch(() => {});
    await take();
  }
  return null;
}

async function sendEvents(
  context: CtrContext,
  { since, until }: CtrBody<'events'>,
  client: CtrConnection<'events'>,
): Promise<null> {
  const abort = new AbortController();
  const end = () => abort.abort();
  client.signal.addEventListener('abort', end, { once: true });
  const leftMs = until === undefined ? undefined : Date.parse(until) - context.now().getTime();
  const timer = leftMs === undefined ? undefined : setTimeout(end, Math.max(0, leftMs));
  try {
    const coming = context.events.subscribe(abort.signal);
    if (since !== undefined) {
      const isAsked = ({ time }: { readonly time: string }) =>
        time >= since && (until === undefined || time <= until);
      for (const event of context.events.recent().filter(isAsked)) await client.note(event);
    }
    for await (const event of coming) await client.note(event);
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
  return null;
}

async function removeVolume(context: CtrContext, { name, isForced }: CtrBody<'volumeRemove'>): Promise<null> {
  const volume = context.volumes.get(name);
  if (volume === undefined) {
    if (isForced) return null;
    throw new TkadmError('CTR_NOT_FOUND', `Cannot remove volume "${name}": no such volume`);
  }
  const { usedBy } = describeVolume(context, volume);
  if (usedBy.length > 0) {
    throw new TkadmError('CTR_CONFLICT', `Cannot remove volume "${name}": ${usedBy.join(', ')} has it`, {
      hint: `tkadm ctr rm ${usedBy.join(' ')}`,
    });
  }
  await context.volumes.remove(name);
  return null;
}
