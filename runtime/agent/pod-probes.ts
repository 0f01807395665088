import { type AgentPod, allContainers } from './pod.ts';
import { ephemeralContainers } from './pod-actions.ts';
import { podFields } from './pod-fields.ts';
import type { PodServices } from './pod-services.ts';
import type { PodState } from './runtime-state.ts';

/** Lets the probes of the pod's running containers run, and those alone. */
export function watchProbes(services: PodServices, pod: AgentPod, state: PodState): void {
  const { prober } = services;
  const running = state.containers.filter((container) => container.state === 'running');
  prober.retain(pod.metadata.uid, new Set(running.map(({ id }) => id)));
  const podIp = podFields(services, pod, state.sandboxes[0]).podIps[0] ?? '';
  for (const container of [...allContainers(pod), ...ephemeralContainers(pod)]) {
    const found = running.find(({ name }) => name === container.name);
    if (!found) continue;
    const { id: containerId, startedAtMs } = found;
    prober.watch({ pod, container, containerId, podIp, startedAtMs });
  }
}
