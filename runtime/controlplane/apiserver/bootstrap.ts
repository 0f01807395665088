import type { KubeObject } from '../../api/kinds.ts';
import { findResourceByKind } from '../../api/resources.ts';
import { repairPolicyObject } from '../auth/bootstrap-policy/reconcile.ts';
import type { UserInfo } from '../auth/types.ts';
import type { StateObject } from '../store/resource-state.ts';
import type { Registry } from './registry.ts';
import { StatusError } from './status-error.ts';
import type { AnyObject } from './strategies.ts';
import {
  buildServerEndpoints,
  buildSystemNamespaces,
  buildSystemObjects,
  type SystemObject,
  type SystemObjectOptions,
} from './system-objects.ts';
import type { WriteTarget } from './write-target.ts';

/** Who writes the server's own objects. */
const SERVER_USER: UserInfo = {
  name: 'system:apiserver',
  groups: ['system:masters', 'system:authenticated'],
};

/** Creates what is missing of the server's own objects and of the RBAC policy, and repairs what must be right. */
export async function ensureSystemObjects(
  registry: Registry,
  options: SystemObjectOptions,
  policy: readonly KubeObject[],
): Promise<void> {
  await Promise.all(buildSystemNamespaces().map(({ object }) => ensure(registry, object)));
  await Promise.all([
    ...buildSystemObjects(options).map((row) => ensureRow(registry, row)),
    ...policy.map(async (object) => {
      const current = await ensure(registry, object);
      if (current) await repair(registry, current, object);
    }),
  ]);
}

/** Has Service default/kubernetes lead to these servers. */
export async function ensureServerEndpoints(
  registry: Registry,
  options: Pick<SystemObjectOptions, 'serverAddresses' | 'securePort'>,
): Promise<void> {
  for (const row of buildServerEndpoints(options)) await ensureRow(registry, row);
}

async function ensureRow(registry: Registry, { object, keepsRight }: SystemObject): Promise<void> {
  const current = await ensure(registry, object);
  if (current && keepsRight) await overwrite(registry, object);
}

/** Creates the object, or returns the one that is there. */
async function ensure(registry: Registry, object: KubeObject): Promise<StateObject | undefined> {
  const target = targetOf(object);
  const current = registry.find(target);
  if (current) return current;
  try {
    await registry.create(target, object as AnyObject);
  } catch (error) {
    if (!(error instanceof StatusError && error.status.reason === 'AlreadyExists')) throw error;
  }
  return undefined;
}

async function overwrite(registry: Registry, object: KubeObject): Promise<void> {
  await registry.update(targetOf(object), {
    isConditional: false,
    change: (old): AnyObject =>
      ({ ...object, metadata: { ...old.metadata, ...object.metadata } }) as AnyObject,
  });
}

async function repair(registry: Registry, current: StateObject, expected: KubeObject): Promise<void> {
  const target = targetOf(expected);
  const change = repairPolicyObject(current.object, expected);
  if (change?.verb === 'replace') {
    await registry.remove(target, current);
    await registry.create(target, expected as AnyObject);
  }
  if (change?.verb !== 'update') return;
  await registry.update(target, {
    isConditional: false,
    change: (old) => (repairPolicyObject(old, expected)?.object ?? old) as AnyObject,
  });
}

function targetOf({ apiVersion, kind, metadata }: KubeObject): WriteTarget {
  const row = findResourceByKind(apiVersion!, kind!)!;
  const { name = '', namespace = '' } = metadata ?? {};
  return { row, namespace, name, subresource: '', user: SERVER_USER, isDryRun: false };
}
