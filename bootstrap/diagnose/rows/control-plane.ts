import { PATHS } from '../../../runtime/base/paths.ts';
import { type DiagnosisRow, quoteEnd, quoteFailures, quoteLog, seen } from '../diagnosis.ts';
import type { MachineEvidence, ProbeOutcome, StaticPodEvidence } from '../evidence.ts';

/** Starts within ten minutes: the first restarts may only be too early. */
const CRASHES = 3;

/** Causes that a component names in its log before it ends. */
const LOG_CAUSES = [
  {
    name: 'port-in-use',
    summary: 'A component finds its port taken',
    pattern: /EADDRINUSE|address already in use/i,
    cause: 'its port is taken by another program',
    fix: 'ss -ltnp | grep -E ":(6443|10257|10259) "; then stop that program',
  },
  {
    name: 'store-full',
    summary: 'The store has reached its limit or has no space',
    pattern: /STORE_FULL|MDB_MAP_FULL|ENOSPC|no space left/i,
    cause: 'the store is full',
    fix: `df ${PATHS.store}; make room, or delete objects`,
  },
  {
    name: 'store-corrupt',
    summary: 'The store is damaged',
    pattern: /STORE_CORRUPT|MDB_(CORRUPTED|INVALID|PAGE_NOTFOUND|VERSION_MISMATCH)|store is damaged/i,
    cause: 'the store is damaged',
    fix: `stop the services (tkadm service stop --all) and bring back a copy of ${PATHS.store}`,
  },
  {
    name: 'store-locked',
    summary: 'Another process has the store open',
    pattern: /STORE_LOCKED/,
    cause: 'another process has the store open',
    fix: `fuser -v ${PATHS.store}/*; then end the one that is left over`,
  },
  {
    name: 'flag-wrong',
    summary: 'A component refuses an argument of its manifest',
    pattern: /FLAG_(UNKNOWN|INVALID)|[Uu]nknown flag|Cannot use flag|Cannot parse flag|unknown option/,
    cause: 'an argument in its manifest is not one of its flags',
    fix: `mend the arguments in ${PATHS.manifests}, and the extraArgs that they came from`,
  },
] as const;

/** The components of a control-plane node. */
export const CONTROL_PLANE_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'manifest-broken',
    of: 'machine',
    summary: 'The manifest of a component is missing or broken',
    confidence: 'certain',
    matches: (machine) => {
      const row = machine.staticPods.find(({ manifestProblem }) => manifestProblem);
      return (
        row && {
          cause: `${row.component} cannot run on ${machine.name}: its manifest is not usable`,
          fix: `tkadm init phase control-plane ${row.component.replace(/^kube-/, '')}, with the flags or the --config of the first init`,
          evidence: seen(row.manifestProblem),
        }
      );
    },
  },
  {
    name: 'port-taken',
    of: 'machine',
    summary: 'A program of somebody else listens at a port of the cluster',
    confidence: 'certain',
    matches: ({ takenPorts: [taken], name }) =>
      taken && {
        cause: `port ${taken.port} of ${name} is taken by ${taken.holder}`,
        fix: `stop that program: ss -ltnp "sport = :${taken.port}"`,
        evidence: [`port ${taken.port}: ${taken.holder}`],
      },
  },
  ...LOG_CAUSES.map(
    ({ pattern, cause, fix, ...row }): DiagnosisRow => ({
      ...row,
      of: 'machine',
      confidence: 'certain',
      matches: (machine) => {
        const pod = findCrashing(machine).find(({ log }) => log.some((line) => pattern.test(line)));
        if (!pod) return undefined;
        const line = pod.log.find((text) => pattern.test(text));
        return {
          cause: `${pod.component} ends again and again on ${machine.name}: ${cause}`,
          fix,
          evidence: seen(formatStarts(pod), ...quoteLog(pod.component, seen(line))),
        };
      },
    }),
  ),
  {
    name: 'component-crashing',
    of: 'machine',
    summary: 'The container of a component ends again and again',
    confidence: 'likely',
    matches: (machine) => {
      const pod = findCrashing(machine).find(
        ({ log }) => !LOG_CAUSES.some(({ pattern }) => log.some((line) => pattern.test(line))),
      );
      if (!pod) return undefined;
      return {
        cause: `${pod.component} ends again and again on ${machine.name}`,
        fix: `mend what its log says; all of it: ls ${PATHS.podLogs}/kube-system_${pod.component}-*/*`,
        evidence: seen(formatStarts(pod), ...quoteEnd(pod.component, pod.log)),
      };
    },
  },
  {
    name: 'component-down',
    of: 'machine',
    summary: 'A component of the control plane does not answer',
    confidence: 'likely',
    matches: (machine) => {
      const crashing = findCrashing(machine).map(({ component }) => component);
      const probe = machine.probes.find(
        ({ name, outcome }) => DOWN.includes(outcome) && isComponent(name) && !crashing.includes(name),
      );
      // A silent API server is a matter of the network rows, and a worker has none of its own.
      const isElsewhere = probe?.name === 'kube-apiserver' && probe.outcome === 'silent';
      if (!probe || isElsewhere || machine.role !== 'control-plane') return undefined;
      const pod = machine.staticPods.find(({ component }) => component === probe.name);
      return {
        cause: `${probe.name} does not run on ${machine.name}${EFFECTS[probe.name] ?? ''}`,
        fix: `see its last log: tail ${PATHS.podLogs}/kube-system_${probe.name}-*/*/*.log; the agent starts it: tkadm service status`,
        evidence: seen(`${probe.url}: ${probe.said}`, ...quoteFailures(probe.name, pod?.log ?? [])),
      };
    },
  },
  {
    name: 'component-unhealthy',
    of: 'machine',
    summary: 'A component answers that it is not well',
    confidence: 'likely',
    matches: (machine) => {
      const probe = machine.probes.find(({ outcome, said }) => outcome === 'answered' && /HTTP 5/.test(said));
      if (!probe) return undefined;
      const pod = machine.staticPods.find(({ component }) => component === probe.name);
      return {
        cause: `${probe.name} of ${machine.name} says that it is not well`,
        fix: `curl -k "${probe.url}?verbose"`,
        evidence: seen(`${probe.url}: ${probe.said}`, ...quoteFailures(probe.name, pod?.log ?? [])),
      };
    },
  },
];

const EFFECTS: Readonly<Record<string, string>> = {
  'kube-scheduler': ': no new pod is given a node',
  'kube-controller-manager': ': nothing makes pods of Deployments, and nodes are not watched',
};

const DOWN: readonly ProbeOutcome[] = ['refused', 'silent', 'broken'];

function isComponent(name: string): boolean {
  return name !== 'agent';
}

/** A component that has started often and does not answer now. */
function findCrashing({ staticPods, probes }: MachineEvidence): readonly StaticPodEvidence[] {
  return staticPods.filter(
    ({ component, recentStarts }) =>
      recentStarts >= CRASHES &&
      !probes.some(({ name, outcome }) => name === component && outcome === 'answered'),
  );
}

function formatStarts({ component, recentStarts }: StaticPodEvidence): string {
  return `${component}: ${recentStarts} starts within ten minutes`;
}
