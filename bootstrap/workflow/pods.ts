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
/** Starts that are further apart are those of reboots. */
const CRASHES_WITHIN_MS = 10 * 60_000;
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
export async function refuseCrash(
  { component, nodeName, hash }: StaticPodRun,
  host: Pick<Host, 'list' | 'readFile'>,
): Promise<void> {
  const directory = `${PATHS.podLogs}/${SYSTEM}_${component}-${nodeName}_${hash}/${component}`;
  const starts = (await host.list(directory)).flatMap((name) => /^(\d+)\.log$/.exec(name)?.[1] ?? []);
  const last = Math.max(-1, ...starts.map(Number));
  if (last + 1 < CRASHES) return;
  const texts = await Promise.all(
    [last, last - 1, last - 2].map((count) => host.readFile(`${directory}/${count}.log`)),
  );
  if (spanMs(texts) > CRASHES_WITHIN_MS) return;
  const said = texts.map((text) => lastLines(text ?? '')).find((text) => text !== '') ?? 'it wrote nothing';
  throw new TkadmError(
    'CONTAINER_CRASHES',
    `Cannot run ${component}: its container ended again and again, ${last + 1} starts so far: ${said}`,
  );
}

/** Between the last words in logs; 0 when some are silent. Each line begins with its time. */
function spanMs(texts: readonly (string | undefined)[]): number {
  const times = texts.map((text) => Date.parse(text?.trimEnd().split('\n').at(-1)?.split(' ')[0] ?? ''));
  return times.some(Number.isNaN) ? 0 : Math.max(...times) - Math.min(...times);
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
