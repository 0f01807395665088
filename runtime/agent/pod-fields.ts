import type { FieldContext } from './downward-api.ts';
import type { AgentPod } from './pod.ts';
import type { PodServices } from './pod-services.ts';
import type { SandboxState } from './runtime-state.ts';

/** What a pod may ask about itself, as its sandbox and the node are now. */
export function podFields(
  services: PodServices,
  pod: AgentPod,
  sandbox: SandboxState | undefined,
): FieldContext {
  const hostIps = services.hostIps();
  return {
    nodeName: services.nodeName,
    hostIps,
    podIps: pod.spec.hostNetwork ? hostIps : (sandbox?.ips ?? []),
    allocatable: services.allocatable(),
  };
}
