import type { Lease } from 'kubernetes-types/coordination/v1.d.ts';
import { isApiError } from '../../api/api-error.ts';
import type { ApiClient } from '../../api/client.ts';
import { LEASES } from '../../api/kinds.ts';
import { formatMicroTime } from '../../api/time.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';

export interface LeaderElectionOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  readonly name: string;
  /** What `formatIdentity` gives. */
  readonly identity: string;
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  readonly log: Logger;
}

/**
 * "HOSTNAME_BOOTID_UUID"; upstream's is "HOSTNAME_UUID". Two machines may have one host name, but no two runs of a
 * kernel have one boot id.
 */
export function formatIdentity(parts: {
  readonly hostname: string;
  readonly bootId: string;
  readonly id: string;
}): string {
  return `${parts.hostname}_${parts.bootId}_${parts.id}`;
}

/**
 * Waits until this process holds the Lease (client-go `leaderelection`); a free one is taken at once, and
 * so is one whose holder ran on this host since it was started: only one process at a time can hold the
 * component's port.
 */
export async function acquireLeadership(options: LeaderElectionOptions): Promise<Lease> {
  let observed: { readonly text: string; readonly atMs: number } | undefined;
  for (;;) {
    options.signal.throwIfAborted();
    try {
      const lease = await options.client.find(LEASES, ref(options));
      const text = JSON.stringify(lease?.spec ?? {});
      if (observed?.text !== text) observed = { text, atMs: performance.now() };
      if (isFree(lease, observed.atMs, options)) {
        return await hold(options, lease);
      }
      await sleep(options.retryPeriodMs * (1 + Math.random() * 0.2), options.signal);
    } catch (error) {
      options.signal.throwIfAborted();
      options.log.debug(`Cannot acquire lease: ${(error as Error).message}`);
      await sleep(isApiError(error, 'Conflict') ? options.retryPeriodMs : 150, options.signal);
    }
  }
}

/**
 * Renews the Lease until the signal ends it; returns early when the lease is lost. It is written over the version
 * that this process wrote last, and read only after that was refused.
 */
export async function keepLeadership(
  options: LeaderElectionOptions,
  acquired: Lease,
): Promise<'lost' | 'ended'> {
  let known: Lease | undefined = acquired;
  let renewedAtMs = performance.now();
  for (;;) {
    try {
      await sleep(options.retryPeriodMs, options.signal);
    } catch {
      return 'ended';
    }
    // All tries together end before the lease does: a request that hangs must not outlast it.
    const left = () => Math.max(1, options.renewDeadlineMs - (performance.now() - renewedAtMs));
    try {
      known ??= await options.client.get(LEASES, ref(options), { timeoutMs: left() });
      if (known.spec?.holderIdentity !== options.identity) return 'lost';
      const sentAtMs = performance.now();
      known = await hold({ ...options, renewDeadlineMs: left() }, known);
      renewedAtMs = sentAtMs;
    } catch (error) {
      if (options.signal.aborted) return 'ended';
      known = undefined;
      options.log.debug(`Cannot renew lease: ${(error as Error).message}`);
      if (performance.now() - renewedAtMs >= options.renewDeadlineMs) return 'lost';
    }
  }
}

/** Gives the Lease up, so that a successor need not wait for its end. */
export async function releaseLeadership(options: LeaderElectionOptions): Promise<void> {
  const lease = await options.client.find(LEASES, ref(options), { timeoutMs: 1_000 });
  if (!lease || lease.spec?.holderIdentity !== options.identity) return;
  const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 };
  await options.client.update(LEASES, { ...lease, spec });
}

function ref({ namespace, name }: LeaderElectionOptions) {
  return { namespace, name };
}

function isFree(lease: Lease | undefined, observedAtMs: number, options: LeaderElectionOptions): boolean {
  const holder = lease?.spec?.holderIdentity;
  if (!holder || holder === options.identity) return true;
  if (hostOf(holder) === hostOf(options.identity)) return true;
  const durationMs = (lease?.spec?.leaseDurationSeconds ?? 0) * 1000;
  return performance.now() - observedAtMs > durationMs;
}

function hostOf(identity: string): string {
  return identity.slice(0, identity.lastIndexOf('_'));
}

async function hold(options: LeaderElectionOptions, present: Lease | undefined): Promise<Lease> {
  const { client, identity, leaseDurationMs, namespace, name } = options;
  const time = formatMicroTime(options.now());
  const isMine = present?.spec?.holderIdentity === identity;
  const transitions = present?.spec?.leaseTransitions ?? 0;
  const spec = {
    holderIdentity: identity,
    leaseDurationSeconds: leaseDurationMs / 1000,
    acquireTime: isMine ? (present.spec?.acquireTime ?? time) : time,
    renewTime: time,
    leaseTransitions: present && !isMine ? transitions + 1 : transitions,
  };
  const timeout = { timeoutMs: options.renewDeadlineMs };
  if (present) return client.update(LEASES, { ...present, spec }, timeout);
  return client.create(LEASES, { metadata: { namespace, name }, spec }, timeout);
}
