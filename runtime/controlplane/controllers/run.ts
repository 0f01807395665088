import { randomBytes } from 'node:crypto';
import { isApiError } from '../../api/api-error.ts';
import type { ApiClient } from '../../api/client.ts';
import { formatError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { EventAction } from '../component/action.ts';
import type { ClusterCache } from '../component/cluster-cache.ts';
import { formatRandomSuffix } from '../component/hash.ts';
import { performActions } from '../component/perform.ts';
import type { Controller, ReconcileContext } from './controller.ts';
import { WorkQueue } from './queue.ts';

export interface RunOptions {
  readonly client: ApiClient;
  readonly cache: ClusterCache;
  readonly record: (event: EventAction) => void;
  /** Is given what has all keys looked at again. */
  readonly onResync?: ((resync: () => void) => void) | undefined;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  readonly log: Logger;
}

const DEFAULT_WORKERS = 5;
/** A key that fails this often in a row is worth a line in the log. */
const FAILURES_TO_LOG = 6;

/** Runs one controller until the signal ends it: once its kinds are there, keys flow through its queue. */
export async function runController(controller: Controller, options: RunOptions): Promise<void> {
  const { cache, signal, log } = options;
  const queue = new WorkQueue();
  const kinds = controller.watches.map((row) => row.kind);
  for (const kind of kinds) cache.follow(kind);
  await cache.synced(kinds);
  if (signal.aborted) return;
  signal.addEventListener('abort', () => queue.close(), { once: true });
  for (const row of controller.watches) {
    cache.subscribe(row.kind, (change) => {
      for (const key of row.keys(change, cache.view)) queue.add(key);
    });
  }
  options.onResync?.(() => {
    for (const row of controller.watches) {
      for (const change of cache.present(row.kind)) {
        for (const key of row.keys(change, cache.view)) queue.add(key);
      }
    }
  });
  if (controller.periodic) startPeriod(queue, controller.periodic, signal);
  const workers = Array.from({ length: controller.workers ?? DEFAULT_WORKERS }, () =>
    work(controller, queue, { ...options, log: log.child(controller.name) }),
  );
  await Promise.all(workers);
}

function startPeriod(
  queue: WorkQueue,
  { keys, everyMs }: NonNullable<Controller['periodic']>,
  signal: AbortSignal,
): void {
  const addAll = () => {
    for (const key of keys) queue.add(key);
  };
  addAll();
  const timer = setInterval(addAll, everyMs);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}

async function work(controller: Controller, queue: WorkQueue, options: RunOptions): Promise<void> {
  for await (const key of queue) {
    await reconcileOnce(controller, queue, key, options);
    queue.done(key);
  }
}

async function reconcileOnce(
  controller: Controller,
  queue: WorkQueue,
  key: string,
  options: RunOptions,
): Promise<void> {
  const context: ReconcileContext = {
    view: options.cache.view,
    now: options.now(),
    api: options.client,
    log: options.log,
    randomSuffix: (length) => formatRandomSuffix(randomBytes(length)),
  };
  try {
    const result = await controller.reconcile(key, context);
    await performActions(options, result.actions);
    queue.forget(key);
    if (result.requeueAfterMs !== undefined) queue.addAfter(key, result.requeueAfterMs);
  } catch (error) {
    if (options.signal.aborted) return;
    logFailure(options.log, key, error, queue.failures(key));
    const afterwards = controller.failed?.(key, error, context) ?? [];
    await performActions(options, afterwards).catch(() => {});
    queue.addBackedOff(key);
  }
}

function logFailure(log: Logger, key: string, error: unknown, failures: number): void {
  const isRace = isApiError(error, 'Conflict') || isApiError(error, 'AlreadyExists');
  const message = `Cannot reconcile "${key}": ${formatError(error)}`;
  if (error instanceof TypeError || error instanceof RangeError) log.error(error.stack ?? message);
  else if (isRace || failures !== FAILURES_TO_LOG) log.debug(message);
  else log.warn(message);
}
