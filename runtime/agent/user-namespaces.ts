import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { InitOf } from '../base/protobuf.ts';
import type { IDMapping, NamespaceOption } from '../cri/messages/linux.ts';
import type { AgentPod } from './pod.ts';

/** Ids of each pod, and where they begin: above those of the node (KEP-127). */
const RANGE_LENGTH = 65_536;
const MAX_RANGES = 65_534;
/** Below the pod's directory, in the kubelet's form, so that a restarted agent gives the pod the same ids. */
const FILE = 'userns';

/** The ids of a pod on the node; 0 in the pod is the first. */
export interface IdRange {
  readonly hostId: number;
  readonly length: number;
}

/** The mappings of a range for CRI. */
export function buildMappings({ hostId, length }: IdRange): readonly InitOf<typeof IDMapping>[] {
  return [{ hostId, containerId: 0, length }];
}

/** CRI's option for a pod: its own user namespace, or the node's. */
export function buildUserNamespace(
  range: IdRange | undefined,
): NonNullable<InitOf<typeof NamespaceOption>['usernsOptions']> {
  if (range === undefined) return { mode: 'NODE' };
  return { mode: 'POD', uids: buildMappings(range), gids: buildMappings(range) };
}

/**
 * The ids of a pod with `hostUsers: false`, the same at each call; undefined for other pods. Nothing else runs between
 * the look and the record, so two pods never get the same.
 * @throws AGENT_CONTAINER_CONFIG when every range is taken.
 */
export function claimIdRange(pod: AgentPod, podDirectory: string): IdRange | undefined {
  if (pod.spec.hostUsers !== false) return undefined;
  const own = readRange(podDirectory);
  if (own !== undefined) return own;
  const root = join(podDirectory, '..');
  mkdirSync(podDirectory, { recursive: true, mode: 0o750 });
  const taken = new Set(readdirSync(root).map((uid) => readRange(join(root, uid))?.hostId));
  for (let index = 1; index <= MAX_RANGES; index += 1) {
    const range = { hostId: index * RANGE_LENGTH, length: RANGE_LENGTH };
    if (taken.has(range.hostId)) continue;
    writeRange(podDirectory, range);
    return range;
  }
  throw new TkadmError('AGENT_CONTAINER_CONFIG', 'Cannot give a pod ids of its own: every range is taken');
}

function readRange(podDirectory: string): IdRange | undefined {
  try {
    const { uidMappings } = JSON.parse(readFileSync(join(podDirectory, FILE), 'utf8')) as {
      readonly uidMappings: readonly IdRange[];
    };
    return uidMappings[0];
  } catch {
    return undefined;
  }
}

function writeRange(podDirectory: string, range: IdRange): void {
  const path = join(podDirectory, FILE);
  const text = JSON.stringify({ uidMappings: buildMappings(range), gidMappings: buildMappings(range) });
  writeFileSync(`${path}.tmp`, text, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}
