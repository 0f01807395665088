import type * as core from 'kubernetes-types/core/v1.d.ts';
import { sleep } from '../../base/time.ts';
import type { EventText } from '../events.ts';
import type { AgentPod, Container } from '../pod.ts';
import type { ProbeVerdicts } from '../pod-actions.ts';
import type { ProbeOutcome, ProbeTarget } from './probe-check.ts';

export type ProbeKind = 'startup' | 'liveness' | 'readiness';

export interface ProberOptions {
  readonly check: (probe: core.Probe, target: ProbeTarget) => Promise<ProbeOutcome>;
  readonly now: () => number;
  /** A verdict changed: the pod should be looked at. */
  readonly onChange: (podUid: string) => void;
  readonly record: (pod: AgentPod, container: Container, text: EventText) => void;
}

interface Watched {
  readonly podUid: string;
  readonly controller: AbortController;
  readonly verdicts: Map<ProbeKind, boolean>;
  readonly kinds: ReadonlySet<ProbeKind>;
}

export interface ProbeSubject {
  readonly pod: AgentPod;
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
  readonly startedAtMs: number;
}

const PROBES = [
  ['startup', 'startupProbe'],
  ['liveness', 'livenessProbe'],
  ['readiness', 'readinessProbe'],
] as const;

/**
 * Runs the probes of every running container: startup first, the others once it has succeeded. A verdict
 * is a container instance's; a new instance begins with none (ready: no, alive: yes).
 */
export class Prober implements ProbeVerdicts {
  readonly #options: ProberOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** Starts the probes of a running container unless they run already. */
  watch(subject: ProbeSubject): void {
    if (this.#watched.has(subject.containerId)) return;
    const probes = PROBES.flatMap(([kind, field]) => {
      const probe = subject.container[field];
      return probe ? [[kind, probe] as const] : [];
    });
    const watched: Watched = {
      podUid: subject.pod.metadata.uid,
      controller: new AbortController(),
      verdicts: new Map(),
      kinds: new Set(probes.map(([kind]) => kind)),
    };
    this.#watched.set(subject.containerId, watched);
    for (const [kind, probe] of probes) void this.#run(watched, { kind, probe, subject });
  }

  /** Ends the probes of a container instance. */
  unwatch(containerId: string): void {
    this.#watched.get(containerId)?.controller.abort();
    this.#watched.delete(containerId);
  }

  /** Ends all probes of a pod but those of `keep`. */
  retain(podUid: string, keep: ReadonlySet<string>): void {
    for (const [id, watched] of this.#watched)
      if (watched.podUid === podUid && !keep.has(id)) this.unwatch(id);
  }

  isReady(containerId: string): boolean {
    const watched = this.#watched.get(containerId);
    if (!watched) return false;
    return watched.kinds.has('readiness') ? watched.verdicts.get('readiness') === true : true;
  }

  isStarted(containerId: string): boolean {
    const watched = this.#watched.get(containerId);
    if (!watched) return false;
    return watched.kinds.has('startup') ? watched.verdicts.get('startup') === true : true;
  }

  hasFailedLiveness(containerId: string): boolean {
    return this.#watched.get(containerId)?.verdicts.get('liveness') === false;
  }

  hasFailedStartup(containerId: string): boolean {
    return this.#watched.get(containerId)?.verdicts.get('startup') === false;
  }

  async #run(watched: Watched, work: Work): Promise<void> {
    const { signal } = watched.controller;
    const { kind, probe, subject } = work;
    const periodMs = (probe.periodSeconds ?? 10) * 1000;
    const firstAtMs = subject.startedAtMs + (probe.initialDelaySeconds ?? 0) * 1000;
    const pause = (ms: number) => sleep(ms, signal).catch(() => {});
    await pause(Math.max(0, firstAtMs - this.#options.now()));
    const streak = { result: '', count: 0 };
    while (!signal.aborted) {
      if (kind !== 'startup' && !this.isStarted(subject.containerId)) {
        await pause(Math.min(periodMs, 100));
        continue;
      }
      const outcome = await this.#options.check(probe, subject);
      if (signal.aborted) return;
      if (outcome.result !== 'unknown') this.#judge(watched, work, { outcome, streak });
      if (kind === 'startup' && this.isStarted(subject.containerId)) return;
      if (kind !== 'readiness' && watched.verdicts.get(kind) === false) return;
      await pause(periodMs);
    }
  }

  #judge(watched: Watched, { kind, probe, subject }: Work, { outcome, streak }: Judgement): void {
    const isSuccess = outcome.result === 'success';
    streak.count = streak.result === outcome.result ? streak.count + 1 : 1;
    streak.result = outcome.result;
    if (!isSuccess) {
      const name = `${kind.charAt(0).toUpperCase()}${kind.slice(1)}`;
      this.#options.record(subject.pod, subject.container, {
        type: 'Warning',
        reason: 'Unhealthy',
        message: `${name} probe failed: ${outcome.output}`,
      });
    }
    const threshold = isSuccess ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (streak.count < threshold || watched.verdicts.get(kind) === isSuccess) return;
    watched.verdicts.set(kind, isSuccess);
    this.#options.onChange(watched.podUid);
  }
}

interface Work {
  readonly kind: ProbeKind;
  readonly probe: core.Probe;
  readonly subject: ProbeSubject;
}

interface Judgement {
  readonly outcome: ProbeOutcome;
  readonly streak: { result: string; count: number };
}
