import { podEventTarget } from './container-starter.ts';
import { podFields } from './pod-fields.ts';
import type { PodPlace } from './pod-sandbox.ts';
import type { PodServices } from './pod-services.ts';
import type { SandboxState } from './runtime-state.ts';
import { setUpVolumes } from './volumes/volumes.ts';

/** Makes the pod's volumes, or brings what is in them up to date: paths by name. A failure is told as an event. */
export async function makePodVolumes(
  services: PodServices,
  { pod, paths }: PodPlace,
  sandbox: SandboxState | undefined,
): Promise<ReadonlyMap<string, string>> {
  const { objects, tokens, recorder, now } = services;
  try {
    return await setUpVolumes({
      pod,
      objects,
      tokens,
      fields: podFields(services, pod, sandbox),
      paths,
      now: new Date(now()),
    });
  } catch (error) {
    recorder.record(podEventTarget(pod), {
      type: 'Warning',
      reason: 'FailedMount',
      message: (error as Error).message,
    });
    throw error;
  }
}
