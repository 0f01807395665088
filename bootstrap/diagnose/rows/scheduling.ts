import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { type DiagnosisRow, seen } from '../diagnosis.ts';
import { podName, podWords } from './pod-facts.ts';

/** A scheduler that works answers within this time. */
const SCHEDULING_MS = 15_000;
/** A pod that ends takes its grace period, 30 s by default, and little more. */
const ENDING_MS = 90_000;

interface SchedulingCause {
  readonly name: string;
  readonly summary: string;
  readonly pattern: RegExp;
  readonly cause: string;
  readonly fix: (pod: Pod) => string;
}

/** By the scheduler's words; the first that fits. */
const CAUSES: readonly SchedulingCause[] = [
  {
    name: 'claim-missing',
    summary: 'A PersistentVolumeClaim is not there, or has no volume',
    pattern: /persistentvolumeclaim|PersistentVolumeClaims|persistent volumes? to bind/,
    cause: 'a PersistentVolumeClaim of it is not there or has no volume',
    fix: (pod) => `kubectl -n ${pod.metadata?.namespace} get pvc; then create the claim, or a volume for it`,
  },
  {
    name: 'resources-short',
    summary: 'No node has the CPU or memory that a pod requests',
    pattern: /Insufficient (\S+)|Too many pods/,
    cause: 'no node has what it requests',
    fix: () => 'lower resources.requests, remove other pods, or join a further node',
  },
  {
    name: 'taint-not-tolerated',
    summary: 'Every node has a taint that a pod does not tolerate',
    pattern: /untolerated taint|had taint|unschedulable/,
    cause: 'every node that would do has a taint that it does not tolerate, or is cordoned',
    fix: () => 'kubectl describe nodes | grep -A2 Taints; then: kubectl taint node NAME KEY-, or tolerations',
  },
  {
    name: 'selector-without-node',
    summary: "No node has the labels that a pod's selector or affinity wants",
    pattern: /didn't match Pod's node (affinity|selector)/,
    cause: 'no node has the labels that its nodeSelector or affinity wants',
    fix: () =>
      'kubectl get nodes --show-labels; then: kubectl label node NAME KEY=VALUE, or correct the selector',
  },
  {
    name: 'host-port-taken',
    summary: 'The host port of a pod is taken on every node',
    pattern: /didn't have free ports/,
    cause: 'its host port is taken on every node',
    fix: () => 'choose another hostPort, or use a Service',
  },
  {
    name: 'unschedulable',
    summary: 'No node fits for another reason',
    pattern: /^/,
    cause: 'no node fits',
    fix: (pod) => `kubectl describe pod ${podWords(pod)}`,
  },
];

/** Why a pod has no node, or does not go away. */
export const SCHEDULING_ROWS: readonly DiagnosisRow[] = [
  ...CAUSES.map(
    ({ name, summary, cause, fix }): DiagnosisRow => ({
      name,
      summary,
      of: 'pod',
      confidence: 'certain',
      matches: (pod) => {
        const message = unschedulableMessage(pod);
        if (message === undefined || CAUSES.find((row) => row.pattern.test(message))?.name !== name)
          return undefined;
        return {
          cause: `pod ${podName(pod)} has no node: ${cause}`,
          fix: fix(pod),
          evidence: [`scheduler: ${message.replace(/ preemption: .*/, '')}`],
        };
      },
    }),
  ),
  {
    name: 'not-scheduled',
    of: 'pod',
    summary: 'The scheduler has not looked at a pod',
    confidence: 'likely',
    matches: (pod, _, { now }) => {
      const ageMs = now.getTime() - Date.parse(pod.metadata?.creationTimestamp ?? '');
      const isWaiting = pod.status?.phase === 'Pending' && !pod.spec?.nodeName;
      if (!isWaiting || unschedulableMessage(pod) !== undefined || !(ageMs > SCHEDULING_MS)) return undefined;
      const { schedulerName = 'default-scheduler' } = pod.spec ?? {};
      return {
        cause: `pod ${podName(pod)} was not looked at by scheduler "${schedulerName}": it does not run, or there is none of that name`,
        fix: 'on the control plane: tkadm why; kubectl -n kube-system get pods -l component=kube-scheduler',
        evidence: [`Pending for ${Math.round(ageMs / 1000)} s, no node, no word of a scheduler`],
      };
    },
  },
  {
    name: 'pod-not-ending',
    of: 'pod',
    summary: 'A pod that was deleted does not go away',
    confidence: 'likely',
    matches: ({ metadata, spec, ...rest }, _, { now }) => {
      const lateMs = now.getTime() - Date.parse(metadata?.deletionTimestamp ?? '');
      if (!(lateMs > ENDING_MS)) return undefined;
      const finalizers = metadata?.finalizers ?? [];
      const pod = { metadata, spec, ...rest } as Pod;
      return {
        cause:
          finalizers.length > 0
            ? `pod ${podName(pod)} was deleted and stays: whoever holds its finalizers does not let go`
            : `pod ${podName(pod)} was deleted and stays: the agent of ${spec?.nodeName} has not ended it`,
        fix:
          finalizers.length > 0
            ? `kubectl patch pod ${podWords(pod)} -p '{"metadata":{"finalizers":null}}'`
            : `tkadm why node/${spec?.nodeName}`,
        evidence: seen(
          `deletionTimestamp was ${Math.round(lateMs / 1000)} s ago`,
          finalizers.length > 0 && `finalizers: ${finalizers.join(', ')}`,
        ),
      };
    },
  },
];

function unschedulableMessage({ status }: Pod): string | undefined {
  const row = status?.conditions?.find(
    ({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable',
  );
  return row?.status === 'False' ? (row.message ?? '') : undefined;
}
