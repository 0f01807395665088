import type { KubeObject } from '../../api/kinds.ts';
import { findResourceByKind } from '../../api/resources.ts';
import type { UserInfo } from '../auth/types.ts';
import type { Registry, WriteTarget } from './registry.ts';
import { StatusError } from './status-error.ts';
import type { AnyObject } from './strategies.ts';
import {
  buildSystemNamespaces,
  buildSystemObjects,
  type SystemObject,
  type SystemObjectOptions,
} from './system-objects.ts';

/** Who writes the server's own objects. */
export const SERVER_USER: UserInfo = {
  name: 'system:apiserver',
  groups: ['system:masters', 'system:authenticated'],
};

/** Creates what is missing of the server's own objects and of the RBAC policy, and repairs what must be right. */
export async function ensureSystemObjects(
  registry: Registry,
  options: SystemObjectOptions,
  policy: readonly KubeObject[],
): Promise<void> {
  await Promise.all(buildSystemNamespaces().map((object) => ensure(registry, object)));
  const rbac = policy.map((object) => ({ object: object as SystemObject['object'], keepsRight: false }));
  await Promise.all([...buildSystemObjects(options), ...rbac].map((object) => ensure(registry, object)));
}

async function ensure(registry: Registry, { object, keepsRight }: SystemObject): Promise<void> {
  const row = findResourceByKind(object.apiVersion!, object.kind!)!;
  const { name = '', namespace = '' } = object.metadata ?? {};
  const target: WriteTarget = { row, namespace, name, subresource: '', user: SERVER_USER, isDryRun: false };
  const current = registry.find(target);
  if (!current) {
    try {
      await registry.create(target, object);
    } catch (error) {
      if (!(error instanceof StatusError && error.status.reason === 'AlreadyExists')) throw error;
    }
    return;
  }
  if (!keepsRight) return;
  await registry.update(target, {
    isConditional: false,
    change: (old): AnyObject =>
      ({ ...object, metadata: { ...old.metadata, ...object.metadata } }) as AnyObject,
  });
}
