import { getNumber, getObject, getObjects, getString } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Cell, type Printer, parseColumns } from './columns.ts';
import { ageOf, countOf, findCondition, formatSince, nameOf, orNone, specOf, statusOf } from './format.ts';

/** What the statuses of containers add up to. */
interface Tally {
  reason: string;
  ready: number;
  restarts: number;
  lastRestart: string;
  isInitializing: boolean;
}

function stateOf(status: JsonObject, state: 'waiting' | 'running' | 'terminated'): JsonObject | undefined {
  return getObject(getObject(status, 'state'), state);
}

function addRestarts(tally: Tally, status: JsonObject): void {
  tally.restarts += countOf(status, 'restartCount');
  const finished = getString(getObject(getObject(status, 'lastState'), 'terminated'), 'finishedAt');
  if (finished > tally.lastRestart) tally.lastRestart = finished;
}

function formatExit(terminated: JsonObject): string {
  const reason = getString(terminated, 'reason');
  if (reason) return reason;
  const signal = getNumber(terminated, 'signal') ?? 0;
  return signal === 0 ? `ExitCode:${countOf(terminated, 'exitCode')}` : `Signal:${signal}`;
}

/** The STATUS of a pod whose init container `index` is the current one, or undefined when it is past. */
function formatInit(status: JsonObject, index: number, total: number): string | undefined {
  const terminated = stateOf(status, 'terminated');
  if (terminated) return countOf(terminated, 'exitCode') === 0 ? undefined : `Init:${formatExit(terminated)}`;
  const reason = getString(stateOf(status, 'waiting'), 'reason');
  return reason && reason !== 'PodInitializing' ? `Init:${reason}` : `Init:${index}/${total}`;
}

function isSidecar(container: JsonObject): boolean {
  return container['restartPolicy'] === 'Always';
}

function tallyInit(pod: JsonObject, tally: Tally, sidecars: Tally): void {
  const init = getObjects(pod['spec'], 'initContainers');
  const restartable = new Set(init.filter(isSidecar).map((container) => getString(container, 'name')));
  for (const [index, status] of getObjects(pod['status'], 'initContainerStatuses').entries()) {
    addRestarts(tally, status);
    const isRestartable = restartable.has(getString(status, 'name'));
    if (isRestartable) addRestarts(sidecars, status);
    if (isRestartable && status['started'] === true) {
      if (status['ready'] === true) tally.ready += 1;
      continue;
    }
    const reason = formatInit(status, index, init.length);
    if (reason === undefined) continue;
    tally.reason = reason;
    tally.isInitializing = true;
    break;
  }
}

function tallyContainers(pod: JsonObject, tally: Tally): void {
  let hasRunning = false;
  for (const status of getObjects(pod['status'], 'containerStatuses').reverse()) {
    addRestarts(tally, status);
    const waiting = getString(stateOf(status, 'waiting'), 'reason');
    const terminated = stateOf(status, 'terminated');
    if (waiting) tally.reason = waiting;
    else if (terminated) tally.reason = formatExit(terminated);
    else if (status['ready'] === true && stateOf(status, 'running')) {
      hasRunning = true;
      tally.ready += 1;
    }
  }
  if (tally.reason === 'Completed' && hasRunning)
    tally.reason = findCondition(pod, 'Ready')?.['status'] === 'True' ? 'Running' : 'NotReady';
}

function firstReason(pod: JsonObject): string {
  const gated = findCondition(pod, 'PodScheduled')?.['reason'] === 'SchedulingGated';
  if (gated) return 'SchedulingGated';
  return getString(pod['status'], 'reason') || getString(pod['status'], 'phase');
}

function tallyPod(pod: JsonObject): Tally {
  const tally: Tally = {
    reason: firstReason(pod),
    ready: 0,
    restarts: 0,
    lastRestart: '',
    isInitializing: false,
  };
  const sidecars: Tally = { ...tally };
  tallyInit(pod, tally, sidecars);
  if (!tally.isInitializing || findCondition(pod, 'Initialized')?.['status'] === 'True') {
    tally.restarts = sidecars.restarts;
    tally.lastRestart = sidecars.lastRestart;
    tallyContainers(pod, tally);
  }
  if (getString(pod['metadata'], 'deletionTimestamp') === '') return tally;
  const phase = getString(pod['status'], 'phase');
  if (getString(pod['status'], 'reason') === 'NodeLost') tally.reason = 'Unknown';
  else if (phase !== 'Failed' && phase !== 'Succeeded') tally.reason = 'Terminating';
  return tally;
}

function formatGates(pod: JsonObject): string {
  const gates = getObjects(pod['spec'], 'readinessGates');
  if (gates.length === 0) return '<none>';
  const met = gates.filter(
    (gate) => findCondition(pod, getString(gate, 'conditionType'))?.['status'] === 'True',
  );
  return `${met.length}/${gates.length}`;
}

function podCells(pod: JsonObject, now: Date): readonly Cell[] {
  const spec = specOf(pod);
  const status = statusOf(pod);
  const tally = tallyPod(pod);
  const total =
    getObjects(spec, 'containers').length + getObjects(spec, 'initContainers').filter(isSidecar).length;
  const since =
    tally.restarts > 0 && tally.lastRestart ? ` (${formatSince(tally.lastRestart, now)} ago)` : '';
  return [
    nameOf(pod),
    `${tally.ready}/${total}`,
    tally.reason,
    `${tally.restarts}${since}`,
    ageOf(pod, now),
    orNone(getString(getObjects(status, 'podIPs')[0], 'ip') || getString(status, 'podIP')),
    orNone(getString(spec, 'nodeName')),
    orNone(getString(status, 'nominatedNodeName')),
    formatGates(pod),
  ];
}

export const POD_PRINTER: Printer = {
  columns: parseColumns('Name|Ready|Status|Restarts|Age|IP+|Node+|Nominated Node+|Readiness Gates+'),
  cells: podCells,
};
