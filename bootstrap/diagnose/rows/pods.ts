import type { ContainerStatus, Pod } from 'kubernetes-types/core/v1.d.ts';
import { type DiagnosisRow, quoteLog, seen } from '../diagnosis.ts';
import type { ClusterEvidence } from '../evidence.ts';
import { CREATING, containersOf, findWarning, isUnwell, podName, podWords, warningsOf } from './pod-facts.ts';

const MISSING_KEY = /couldn't find key|references non-existent|no key/;
const MISSING_OBJECT = /(configmap|secret|persistentvolumeclaim) "([^"]+)" not found/i;

/** Why the containers of a pod that has a node do not work. */
export const POD_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'object-missing',
    of: 'pod',
    summary: 'A ConfigMap or Secret that a pod uses is not there',
    confidence: 'certain',
    matches: (pod, cluster) => {
      if (!isUnwell(pod) || !pod.spec?.nodeName) return undefined;
      const said = waitingMessage(pod, MISSING_OBJECT) ?? findWarning(pod, cluster, MISSING_OBJECT);
      const [, kind = '', name] = MISSING_OBJECT.exec(said ?? '') ?? [];
      if (!said) return undefined;
      const shown = { configmap: 'ConfigMap', secret: 'Secret' }[kind.toLowerCase()] ?? kind;
      return {
        cause: `${shown} "${name}" that pod ${podName(pod)} uses is not there`,
        fix: `kubectl -n ${pod.metadata?.namespace} create ${kind.toLowerCase() === 'secret' ? 'secret generic' : kind.toLowerCase()} ${name} ...`,
        evidence: [said],
      };
    },
  },
  {
    name: 'key-missing',
    of: 'pod',
    summary: 'A ConfigMap or Secret lacks a key that a pod uses',
    confidence: 'certain',
    matches: (pod) => {
      const said = waitingMessage(pod, MISSING_KEY);
      return said
        ? {
            cause: `a ConfigMap or Secret lacks a key that pod ${podName(pod)} uses`,
            fix: `add the key, or correct its name: kubectl describe pod ${podWords(pod)}`,
            evidence: [said],
          }
        : undefined;
    },
  },
  {
    name: 'volume-failing',
    of: 'pod',
    summary: 'A volume of a pod cannot be made',
    confidence: 'likely',
    matches: (pod, cluster) => {
      if (!isUnwell(pod)) return undefined;
      const event = failedStep(pod, cluster, 'FailedMount');
      if (!event || MISSING_OBJECT.test(event.message ?? '') || hasStarted(pod)) return undefined;
      return {
        cause: `a volume of pod ${podName(pod)} cannot be made`,
        fix: `kubectl describe pod ${podWords(pod)}; correct the volume that the message names`,
        evidence: [`event FailedMount: ${event.message}`],
      };
    },
  },
  {
    name: 'sandbox-failing',
    of: 'pod',
    summary: "The runtime cannot make a pod's sandbox or its network",
    confidence: 'likely',
    matches: (pod, cluster) => {
      const event = failedStep(pod, cluster, 'FailedCreatePodSandBox');
      if (!event || !isUnwell(pod) || hasStarted(pod)) return undefined;
      return {
        cause: `the runtime of ${pod.spec?.nodeName} cannot make the sandbox of pod ${podName(pod)}`,
        fix: `tkadm why node/${pod.spec?.nodeName}`,
        evidence: [`event FailedCreatePodSandBox: ${event.message}`],
      };
    },
  },
  {
    name: 'out-of-memory',
    of: 'pod',
    summary: 'The kernel ended a container that used more memory than its limit',
    confidence: 'certain',
    matches: (pod) => {
      const status = isUnwell(pod)
        ? containersOf(pod).find((row) => ended(row)?.reason === 'OOMKilled')
        : undefined;
      if (!status) return undefined;
      const limit = pod.spec?.containers.find(({ name }) => name === status.name)?.resources?.limits?.[
        'memory'
      ];
      return {
        cause: `container ${status.name} of pod ${podName(pod)} needs more memory than its limit${limit ? ` of ${limit}` : ''}`,
        fix: 'raise resources.limits.memory of the container, or make the program use less',
        evidence: [`OOMKilled, exit code ${ended(status)?.exitCode}, ${status.restartCount} restarts`],
      };
    },
  },
  {
    name: 'command-not-found',
    of: 'pod',
    summary: "A container's program is not in its image, or cannot be started",
    confidence: 'certain',
    matches: (pod) => {
      const pattern =
        /no such file or directory|executable file not found|permission denied|exec format error|has a command/;
      for (const status of containersOf(pod)) {
        const waiting = status.state?.waiting?.message ?? '';
        const start = ended(status);
        const said = start?.reason === 'StartError' ? (start.message ?? '') : waiting;
        if (!isUnwell(pod) || !pattern.test(said)) continue;
        return {
          cause: `the program of container ${status.name} of pod ${podName(pod)} cannot be started`,
          fix: `correct command and args, or the image "${status.image}": its architecture, and that the program is there`,
          evidence: [said],
        };
      }
      return undefined;
    },
  },
  {
    name: 'liveness-failing',
    of: 'pod',
    summary: 'A container is ended by its liveness or startup probe',
    confidence: 'likely',
    matches: (pod, cluster) => {
      const said = endingProbe(pod, cluster);
      if (!said) return undefined;
      return {
        cause: `the ${/Startup/.test(said) ? 'startup' : 'liveness'} probe of pod ${podName(pod)} fails, which ends its container`,
        fix: `correct port, path or timeoutSeconds of the probe: kubectl describe pod ${podWords(pod)}`,
        evidence: [said],
      };
    },
  },
  {
    name: 'container-crashing',
    of: 'pod',
    summary: 'A container ends again and again',
    confidence: 'likely',
    matches: (pod, cluster) => {
      const status = containersOf(pod).find(
        (row) =>
          row.state?.waiting?.reason === 'CrashLoopBackOff' || (row.state?.terminated?.exitCode ?? 0) !== 0,
      );
      const end = status && ended(status);
      if (!status || !end || ['OOMKilled', 'StartError'].includes(end.reason ?? '')) return undefined;
      if (endingProbe(pod, cluster)) return undefined;
      const log = cluster.containerLogs.get(`${podName(pod)}/${status.name}`) ?? [];
      return {
        cause: `the program of container ${status.name} of pod ${podName(pod)} ends with exit code ${end.exitCode}`,
        fix: `mend what its log says: kubectl logs ${podWords(pod)} -c ${status.name} --previous`,
        evidence: seen(
          `${status.restartCount} restarts, last end: ${end.reason} ${end.message ?? ''}`.trim(),
          ...quoteLog(status.name, log),
        ),
      };
    },
  },
  {
    name: 'readiness-failing',
    of: 'pod',
    summary: 'A container runs and its readiness probe fails',
    confidence: 'certain',
    matches: (pod, cluster) => {
      const status = containersOf(pod).find(({ ready, state }) => state?.running && !ready);
      const said = findWarning(pod, cluster, /^Readiness probe (failed|errored)/);
      if (!status || !said || !isUnwell(pod)) return undefined;
      return {
        cause: `container ${status.name} of pod ${podName(pod)} runs, and its readiness probe fails`,
        fix: `correct the probe, or what it asks: kubectl logs ${podWords(pod)} -c ${status.name}`,
        evidence: [said],
      };
    },
  },
  {
    name: 'pod-refused',
    of: 'pod',
    summary: 'The node refused or removed a pod',
    confidence: 'certain',
    matches: ({ status, ...pod }) =>
      status?.phase === 'Failed' && status.reason
        ? {
            cause: `pod ${podName(pod)} was refused or removed by ${pod.spec?.nodeName}: ${status.reason}`,
            fix: `kubectl delete pod ${podWords(pod)}, once the reason is mended`,
            evidence: seen(status.message ?? status.reason),
          }
        : undefined,
  },
  {
    name: 'pod-not-ready',
    of: 'pod',
    summary: 'A container waits for another reason',
    confidence: 'likely',
    matches: (pod, cluster) => {
      const waiting = containersOf(pod).find(({ state }) => {
        const reason = state?.waiting?.reason ?? '';
        return /Error$/.test(reason) && !/Image/.test(reason);
      })?.state?.waiting;
      const isKnown = [MISSING_OBJECT, MISSING_KEY, /has a command/].some((pattern) =>
        pattern.test(waiting?.message ?? ''),
      );
      if (!waiting || isKnown) return undefined;
      return {
        cause: `a container of pod ${podName(pod)} cannot be made: ${waiting.reason}`,
        fix: `kubectl describe pod ${podWords(pod)}`,
        evidence: seen(waiting.message, warningsOf(pod, cluster)[0]?.message),
      };
    },
  },
];

/** The failure of a probe that ends containers, which has ended one. */
function endingProbe(pod: Pod, cluster: ClusterEvidence): string | undefined {
  const said = findWarning(pod, cluster, /^(Liveness|Startup) probe failed/);
  const isEnded = containersOf(pod).some((row) => row.restartCount > 0 && (ended(row)?.exitCode ?? 0) >= 128);
  return said !== undefined && isUnwell(pod) && isEnded ? said : undefined;
}

/** How a container ended last. */
function ended({ state, lastState }: ContainerStatus) {
  return state?.terminated ?? lastState?.terminated;
}

/** What the agent does before a pod's containers, in the events of its failures. */
const STEPS = ['FailedMount', 'FailedCreatePodSandBox'];

/** The failure of a step at which a pod still stands: neither a later step has failed nor is there a container's own reason. */
function failedStep(pod: Pod, cluster: ClusterEvidence, step: string) {
  const last = warningsOf(pod, cluster).find(({ reason = '' }) => STEPS.includes(reason));
  const isPast = containersOf(pod).some(
    ({ state }) => !CREATING.includes(state?.waiting?.reason) && state?.waiting,
  );
  return last?.reason === step && !isPast ? last : undefined;
}

function hasStarted(pod: Pod): boolean {
  return containersOf(pod).some(({ state, lastState }) => state?.running ?? lastState?.terminated);
}

function waitingMessage(pod: Pod, pattern: RegExp): string | undefined {
  return containersOf(pod)
    .map(({ state }) => state?.waiting?.message ?? '')
    .find((message) => pattern.test(message));
}
