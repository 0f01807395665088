import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { isTkadmError } from '../../runtime/base/errors.ts';
import { EMBEDDED_IMAGE_REPOSITORY, PATHS } from '../../runtime/base/paths.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';
import { callImages } from '../../runtime/cri/image-client.ts';
import type { Action } from '../workflow/action.ts';
import { observe } from '../workflow/observe.ts';
import { listAddonPods, runsOther } from '../workflow/pods.ts';
import type { UpgradeContext } from './context.ts';
import { planJournalEnd } from './journal.ts';
import { isBundleUsed, listOldBundles } from './old-bundles.ts';

/** How long pods that were replaced may take to end, before what they run from is kept. */
const LEAVE_TIMEOUT_MS = 10_000;

/**
 * Pods of DNS and the service proxy on this node that run from another bundle under the name of this one are made
 * anew; those of another name are replaced by their controllers.
 */
export async function planAddonPods(context: UpgradeContext): Promise<readonly Action[]> {
  const { api, step, nodeName, config } = context;
  if (step.dryRun) return [];
  const imageId = await findImageId();
  const observation = { api, isDryRun: step.dryRun, signal: new AbortController().signal };
  const pods = (await observe(observation, (client) => listAddonPods(client, nodeName))) ?? [];
  const stale = pods.filter(
    (pod) => !pod.metadata?.deletionTimestamp && isOfThisVersion(pod) && runsOther(pod, imageId),
  );
  return [
    ...stale.map(({ metadata }): Action => {
      const { namespace, name, uid } = metadata ?? {};
      const ref = { ...(namespace ? { namespace } : {}), ...(name ? { name } : {}), ...(uid ? { uid } : {}) };
      return { kind: 'delete-object', object: { apiVersion: 'v1', kind: 'Pod', metadata: ref } };
    }),
    {
      kind: 'wait',
      subject: `DNS and the service proxy on "${nodeName}" in their new form`,
      timeoutMs: config.timeouts.upgradeManifestsMs,
      hint: `kubectl --kubeconfig ${PATHS.kubernetes}/admin.conf -n kube-system get pods -o wide`,
      target: { kind: 'addon-pods', nodeName, imageId },
    },
  ];
}

function isOfThisVersion({ spec }: Pod): boolean {
  return spec?.containers.every(({ image }) => image?.endsWith(`:${KUBERNETES_VERSION}`)) ?? false;
}

/** The runtime's name for the image of the bundle in use. */
async function findImageId(): Promise<string> {
  const name = `${EMBEDDED_IMAGE_REPOSITORY}/kube-proxy:${KUBERNETES_VERSION}`;
  return (await callImages(PATHS.imageSocket, 'inspect', { name })).id;
}

/** Old bundles, unless something runs from them, and what was kept for a roll-back. */
export async function planCleanUp({ host, step, warn }: UpgradeContext): Promise<readonly Action[]> {
  const actions: Action[] = [];
  for (const id of step.dryRun ? [] : await listOldBundles(host)) {
    if (await isLeft(id, host)) actions.push({ kind: 'remove-bundle', id });
    else warn(`node bundle ${id} is kept: processes run from it; the next upgrade looks again`);
  }
  return [...actions, ...(await planJournalEnd(host))];
}

/** Pods that are being replaced have a moment to end. */
async function isLeft(id: string, host: UpgradeContext['host']): Promise<boolean> {
  try {
    await waitFor(async () => ((await isBundleUsed(id, host)) ? undefined : true), {
      subject: `the end of what runs from bundle ${id}`,
      timeoutMs: LEAVE_TIMEOUT_MS,
      intervalMs: 500,
    });
    return true;
  } catch (error) {
    if (!isTkadmError(error, 'WAIT_TIMEOUT')) throw error;
    return false;
  }
}
