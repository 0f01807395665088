import { isApiError } from '../../runtime/api/api-error.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import type { KubeObject } from '../../runtime/api/kinds.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { writeFilesAtomic } from '../../runtime/base/files.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { sleep } from '../../runtime/base/time.ts';
import { type BundleSources, installBundle, stageBundle, useBundle } from '../../runtime/host/bundle.ts';
import {
  buildServiceFile,
  type InitSystem,
  SERVICES,
  startService,
  stopService,
} from '../../runtime/host/services.ts';
import { restoreFile } from '../journal/restore.ts';
import { endJournal } from '../journal/store.ts';
import type { Action } from './action.ts';
import { mergeOntoLive, resourceOf } from './objects.ts';
import { type OnProgress, type WaitContext, waitForTarget } from './wait.ts';

export interface PerformContext {
  readonly host: Host;
  readonly initSystem: InitSystem;
  readonly bundleSources: BundleSources;
  readonly signal: AbortSignal;
  /** The administrator's client; made when it is first needed, since the kubeconfig is one of the results. */
  readonly api: () => Promise<ApiClient>;
  /** The same with super-admin.conf. */
  readonly superApi?: () => Promise<ApiClient>;
  /** Names what is wrong when a wait has failed. */
  readonly diagnose?: WaitContext['diagnose'];
  /** Told of waits that go on. */
  readonly onProgress?: OnProgress | undefined;
}

/** Carries out one action on the host or in the cluster. */
export async function performAction(action: Action, context: PerformContext): Promise<void> {
  const { host, initSystem } = context;
  switch (action.kind) {
    case 'write-file':
      return host.writeFile(action.path, action.content, { mode: action.mode });
    case 'write-files':
      return writeFilesAtomic(action.files);
    case 'make-directory':
      return host.mkdir(action.path, { mode: action.mode });
    case 'remove':
      return host.remove(action.path);
    case 'run':
      return runCommand(action.argv, context);
    // Of a reset that has taken the bundle away: what runs from there can load nothing any more.
    case 'restore-file':
      return restoreFile(PATHS.journal, action);
    case 'end-journal':
      return endJournal(PATHS.journal);
    case 'install-bundle':
      await installBundle(host, context.bundleSources);
      return;
    case 'stage-bundle':
      await stageBundle(host, context.bundleSources);
      return;
    case 'use-bundle':
      return useBundle(action.id);
    case 'remove-bundle': {
      const { removeBundle } = await import('../upgrade/old-bundles.ts');
      return removeBundle(action.id, host);
    }
    case 'start-service': {
      const service = SERVICES.find((row) => row.name === action.name)!;
      const file = buildServiceFile(service, initSystem);
      await host.writeFile(file.path, file.content, { mode: file.mode });
      return startService(host, action.name, initSystem);
    }
    case 'stop-service':
      return stopService(host, action.name, initSystem);
    case 'remove-sandboxes': {
      // gRPC is 40 ms of loading that only reset needs.
      const { endContainers, stopAllSandboxes } = await import('../phases/sandboxes.ts');
      const remove = !action.areKept;
      await stopAllSandboxes({ remove, socketPath: action.socketPath });
      await endContainers({ remove });
      return;
    }
    case 'delete-object':
      return deleteObject(await context.api(), action.object);
    case 'delete-node': {
      const { deleteNode } = await import('./delete-node.ts');
      return deleteNode(action.nodeName, action.kubeconfig);
    }
    case 'apply-object':
      return applyAsAllowed(action, context);
    case 'patch-object':
      return patchObject(await context.api(), action);
    case 'wait':
      return waitForTarget(action, context);
  }
}

async function runCommand(argv: readonly string[], { host, signal }: PerformContext): Promise<void> {
  const result = await host.run(argv, { signal });
  if (result.exitCode === 0) return;
  throw new TkadmError(
    'COMMAND_FAILED',
    `Cannot run "${argv.join(' ')}": ${result.stderr.trim() || result.exitCode}`,
  );
}

/** One that is gone, or is another one by now, is no failure. */
async function deleteObject(api: ApiClient, object: KubeObject): Promise<void> {
  const { name = '', namespace, uid } = object.metadata ?? {};
  const preconditions = uid ? { preconditions: { uid } } : {};
  await api.delete(resourceOf(object), { name, namespace }, preconditions).catch((error) => {
    if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
  });
}

type ApplyAction = Extract<Action, { kind: 'apply-object' }>;

/** As administrator; what RBAC does not let the administrator do yet is done with super-admin.conf. */
async function applyAsAllowed(action: ApplyAction, context: PerformContext): Promise<void> {
  const apply = async (api: ApiClient) => applyObject(api, action, context.signal);
  try {
    await apply(await context.api());
  } catch (error) {
    if (!action.asSuperAdmin || !context.superApi || !isApiError(error, 'Forbidden')) throw error;
    await apply(await context.superApi());
  }
}

/** Creates an object; one that is there is left or updated. A connection that breaks is tried again for a while. */
async function applyObject(api: ApiClient, action: ApplyAction, signal: AbortSignal): Promise<void> {
  const { existing, live } = action;
  const object = action.owner ? await withOwner(api, action.object, action.owner) : action.object;
  const kind = resourceOf(object);
  const { name = '', namespace } = object.metadata ?? {};
  for (let attempt = 0; live === undefined; attempt += 1) {
    try {
      await api.create(kind, object, { signal });
      return;
    } catch (error) {
      if (isApiError(error, 'AlreadyExists')) break;
      // A Service with a fixed address fails on the address, which its own first copy holds.
      if (isApiError(error, 'Invalid') && (await api.find(kind, { name, namespace }))) break;
      if (attempt >= 20 || isApiError(error)) throw error;
      await sleep(100, signal);
    }
  }
  if (existing === 'keep') return;
  await api.update(kind, mergeOntoLive(await api.get(kind, { name, namespace }), object));
}

async function withOwner(api: ApiClient, object: KubeObject, owner: KubeObject): Promise<KubeObject> {
  const { name = '', namespace } = owner.metadata ?? {};
  const live = await api.get(resourceOf(owner), { name, namespace });
  const { apiVersion = '', kind = '' } = owner;
  const ownerReferences = [{ apiVersion, kind, name, uid: live.metadata?.uid ?? '' }];
  return { ...object, metadata: { ...object.metadata, ownerReferences } };
}

async function patchObject(
  api: ApiClient,
  { object, patch }: Extract<Action, { kind: 'patch-object' }>,
): Promise<void> {
  const { name = '', namespace } = object.metadata ?? {};
  await api.patch(resourceOf(object), { name, namespace }, { type: 'strategic', body: patch });
}
