import { randomBytes, randomUUID } from 'node:crypto';
import type { ResourceRow } from '../../api/resources.ts';
import { formatTime } from '../../api/time.ts';
import { invalid } from './status-errors.ts';
import type { AnyObject } from './strategies.ts';
import type { WriteTarget } from './write-target.ts';

const GENERATED_NAME_MAX = 58;
const NAME_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** Metadata of an object that is made now. */
export function newMetadata(
  target: WriteTarget,
  object: AnyObject,
  { hasGeneration, now }: { readonly hasGeneration: boolean; readonly now: Date },
): AnyObject['metadata'] {
  const { resourceVersion, deletionTimestamp, deletionGracePeriodSeconds, generation, selfLink, ...given } =
    object.metadata ?? {};
  const name = given.name || target.name || generateName(target.row, given.generateName);
  return {
    ...given,
    name,
    ...(target.row.namespaced ? { namespace: target.namespace } : {}),
    uid: randomUUID(),
    creationTimestamp: formatTime(now),
    ...(hasGeneration ? { generation: 1 } : {}),
  };
}

function generateName(row: ResourceRow, prefix: string | undefined): string {
  if (!prefix) {
    throw invalid(row, '', [
      {
        reason: 'FieldValueRequired',
        message: 'Required value: name or generateName is required',
        field: 'metadata.name',
      },
    ]);
  }
  const suffix = [...randomBytes(5)].map((byte) => NAME_ALPHABET[byte % NAME_ALPHABET.length]).join('');
  return `${prefix.slice(0, GENERATED_NAME_MAX)}${suffix}`;
}

/** The metadata of an update: what the server owns stays as it was. */
export function keepSystemMetadata(object: AnyObject, old: AnyObject): AnyObject['metadata'] {
  const { resourceVersion, selfLink, generateName, ...given } = object.metadata ?? {};
  const before = old.metadata ?? {};
  return {
    ...given,
    name: before.name,
    ...(before.generateName ? { generateName: before.generateName } : {}),
    namespace: before.namespace,
    uid: before.uid,
    creationTimestamp: before.creationTimestamp,
    deletionTimestamp: before.deletionTimestamp,
    deletionGracePeriodSeconds: before.deletionGracePeriodSeconds,
    generation: before.generation,
  };
}

/** True when nothing keeps the object of an update any more: it is being deleted and its last finalizer is gone. */
export function isFinished(object: AnyObject, old: AnyObject): boolean {
  const isDeleting = old.metadata?.deletionTimestamp !== undefined;
  const graceSeconds = old.metadata?.deletionGracePeriodSeconds ?? 0;
  const hasFinalizers = (object.metadata?.finalizers ?? []).length > 0;
  const hadFinalizers = (old.metadata?.finalizers ?? []).length > 0;
  const specFinalizers = (object.spec?.['finalizers'] as readonly string[] | undefined) ?? [];
  const isNamespace = object.kind === 'Namespace';
  if (!isDeleting || graceSeconds > 0 || hasFinalizers) return false;
  return isNamespace ? specFinalizers.length === 0 : hadFinalizers;
}
