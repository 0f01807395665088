import { formatWarning } from '../../preflight/format.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { formatError, isTkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { sleep } from '../../runtime/base/time.ts';
import type { Architecture } from '../../runtime/host/elf-architecture.ts';
import type { MachineReporter } from '../render/fleet.ts';
import type { BundleArchives } from '../ssh/bundle-archive.ts';
import { checkMachine, findTwin, type MachineToJoin } from '../ssh/check-machine.ts';
import type { SshHost } from '../ssh/host.ts';
import {
  bringBundle,
  type JoinedMachine,
  joinMachine,
  type RemoteJoinInput,
  type RemoteJoinOptions,
} from '../ssh/join-remote.ts';
import { createShortLivedToken, type ShortLivedToken } from '../tokens/short-lived.ts';
import { inspectMachine } from './inspect.ts';
import type { Slots } from './slots.ts';

const RETRY_PAUSE_MS = 2_000;

/** What machines that join are told, and who makes their tokens. */
export interface JoinPlan {
  readonly input: Omit<RemoteJoinInput, 'token'>;
  /** The administrator's, which all machines of a run share; without one there is a token. */
  readonly admin: ApiClient | undefined;
  readonly token?: string | undefined;
}

/** What all pipelines of a run share. */
export interface FleetTools {
  readonly signal: AbortSignal;
  readonly now: () => Date;
  /** Directory of the bundle for an architecture; this machine's is assembled when it is first asked for. */
  readonly bundleFor: (architecture: Architecture) => Promise<string>;
  readonly uploads: Slots;
  readonly archives: BundleArchives;
}

export interface MemberJoin {
  readonly machine: MachineReporter;
  readonly tools: FleetTools;
  /** What the machine is checked for before the cluster is known. */
  readonly toCheck: MachineToJoin;
  /** How often a machine that does not reach the cluster tries; default: once. */
  readonly attempts?: number;
  /** Asked for once the machine has the programs: the cluster may still be made. */
  readonly plan: () => Promise<JoinPlan>;
}

/** Joins a machine that is reached. The token is made late, and removed whatever happens. */
export async function joinMember(host: SshHost, join: MemberJoin): Promise<JoinedMachine> {
  const { machine, tools, toCheck } = join;
  const { signal } = tools;
  const bundleDirectory = await bringMemberBundle(host, join);
  const { input, admin, token } = await join.plan();
  const inspected = admin
    ? warnOfTwin(host, admin, { toCheck, machine, signal }).catch(() => {})
    : Promise.resolve();
  let made: ShortLivedToken | undefined;
  try {
    made = token === undefined ? await createShortLivedToken(admin!, tools.now()) : undefined;
    const remote = {
      bundleDirectory,
      input: { ...input, token: token ?? made!.token },
      signal,
      onEvent: machine.event,
    };
    return await joinPatiently(host, remote, join);
  } finally {
    const removed = made?.remove().catch((error) => {
      machine.warn(`the token of this join could not be removed and ends by itself: ${formatError(error)}`);
    });
    await Promise.all([removed, inspected]);
  }
}

/** A line that loses packets, or an API server that many ask at once, may answer the next time. */
async function joinPatiently(
  host: SshHost,
  remote: RemoteJoinOptions,
  { machine, attempts = 1 }: MemberJoin,
): Promise<JoinedMachine> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await joinMachine(host, remote);
    } catch (error) {
      if (attempt >= attempts || !isTkadmError(error, 'DISCOVERY_UNREACHABLE')) throw error;
      machine.progress(`try again: ${error.message}`);
      await sleep(RETRY_PAUSE_MS, remote.signal);
    }
  }
}

/** Brings the bundle and looks at the machine meanwhile; returns the bundle's directory. */
export async function bringMemberBundle(
  host: SshHost,
  {
    machine,
    tools,
    toCheck,
    isUnchecked = false,
  }: Omit<MemberJoin, 'plan'> & { readonly isUnchecked?: boolean },
): Promise<string> {
  const { signal, uploads, archives, bundleFor } = tools;
  return bringBundle(host, {
    bundleFor,
    isMember: async (seen) => isMemberOf(seen, toCheck.caCertHashes ?? []),
    check: async (seen) => isUnchecked || checkMachine(seen, toCheck, signal),
    uploads,
    archives,
    signal,
    onProgress: machine.progress,
  });
}

/** The join that runs there looks closer. */
async function isMemberOf(host: SshHost, pins: readonly string[]): Promise<boolean> {
  return (await inspectMachine(host)).pins.some((pin) => pins.includes(pin));
}

/** Only the administrator may list Nodes, so the machine itself cannot tell whose copy it is. */
async function warnOfTwin(
  host: Host,
  admin: ApiClient,
  {
    toCheck,
    machine,
    signal,
  }: { readonly toCheck: MachineToJoin; readonly machine: MachineReporter; readonly signal: AbortSignal },
): Promise<void> {
  for (const finding of await findTwin(host, { ...toCheck, api: async () => admin }, signal))
    machine.warn(formatWarning(finding));
}
