import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { PODS } from '../../runtime/api/kinds.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { StaticPodRun, WaitTarget } from './action.ts';

const SYSTEM = 'kube-system';
const CONFIG_HASH = 'kubernetes.io/config.hash';
const ADDONS = 'k8s-app in (kube-proxy, kube-dns)';
/** How often a container is started before it is said to crash: the first restarts may only be too early. */
const CRASHES = 3;
const LOG_LINES = 3;

type AddonTarget = Extract<WaitTarget, { kind: 'addon-pods' }>;

/** True when the mirror pod is of the manifest's content, and ready. */
export async function isStaticPodReady(api: ApiClient, target: StaticPodRun): Promise<boolean> {
  const name = `${target.component}-${target.nodeName}`;
  const pod = await api.find(PODS, { namespace: SYSTEM, name });
  return pod?.metadata?.annotations?.[CONFIG_HASH] === target.hash && isReady(pod);
}

/**
 * Looks at the logs of a static pod, of which there is one for each start of its container: the API server cannot
 * be asked when it is the one that crashes.
 * @throws CONTAINER_CRASHES with the last lines that it wrote
 */
export async function refuseCrash(run: StaticPodRun, host: Pick<Host, 'list' | 'readFile'>): Promise<void> {
  const starts = await countStarts(run, host);
  if (starts < CRASHES) return;
  const directory = logDirectory(run);
  const texts = await Promise.all(
    [starts - 1, starts - 2].map((count) => host.readFile(`${directory}/${count}.log`)),
  );
  const said = texts.map((text) => lastLines(text ?? '')).find((text) => text !== '') ?? 'it wrote nothing';
  throw new TkadmError(
    'CONTAINER_CRASHES',
    `Cannot run ${run.component}: its container ended again and again, ${starts} starts so far: ${said}`,
  );
}

/**
 * Returns a function that refuses a static pod that crashes while it is waited for. Starts of before are none: a machine
 * may have been booted often. @throws CONTAINER_CRASHES
 */
export function createCrashWatch(
  run: StaticPodRun,
  host: Pick<Host, 'list' | 'readFile'>,
): () => Promise<void> {
  let before: number | undefined;
  return async () => {
    const starts = await countStarts(run, host);
    before ??= starts;
    if (before < CRASHES || starts > before) await refuseCrash(run, host);
  };
}

/** Of logs the last ones are kept: their numbers count the starts. */
async function countStarts(run: StaticPodRun, host: Pick<Host, 'list'>): Promise<number> {
  const names = await host.list(logDirectory(run));
  return 1 + Math.max(-1, ...names.flatMap((name) => Number(/^(\d+)\.log$/.exec(name)?.[1] ?? -1)));
}

function logDirectory({ component, nodeName, hash }: StaticPodRun): string {
  return `${PATHS.podLogs}/${SYSTEM}_${component}-${nodeName}_${hash}/${component}`;
}

/** What a container wrote last, without the time and stream that CRI logs put before each line. */
function lastLines(log: string): string {
  return log
    .trimEnd()
    .split('\n')
    .slice(-LOG_LINES)
    .map((line) => line.replace(/^\S+ (stdout|stderr) [FP] /, ''))
    .join(' / ');
}

/** The add-ons' pods of a node. */
export async function listAddonPods(api: ApiClient, nodeName: string): Promise<readonly Pod[]> {
  const { items } = await api.list(PODS, {
    namespace: SYSTEM,
    labelSelector: ADDONS,
    fieldSelector: `spec.nodeName=${nodeName}`,
  });
  return items;
}

/** True for a pod of which some container runs from another image. */
export function runsOther(pod: Pod, imageId: string): boolean {
  return (pod.status?.containerStatuses ?? []).some(
    (status) => status.imageID !== undefined && status.imageID !== '' && !status.imageID.endsWith(imageId),
  );
}

/** True when every pod of the add-ons on the node is ready and none runs from another image. */
export async function areAddonPodsMoved(
  api: ApiClient,
  { nodeName, imageId }: AddonTarget,
): Promise<boolean> {
  const pods = await listAddonPods(api, nodeName);
  return pods.every((pod) => isReady(pod) && !pod.metadata?.deletionTimestamp && !runsOther(pod, imageId));
}

function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((row) => row.type === 'Ready' && row.status === 'True') ?? false;
}
