import { createCertificateSigningRequestStrategy } from './strategies/certificate-signing-request.ts';
import { createPodStrategy } from './strategies/pod.ts';
import { createRbacStrategy } from './strategies/rbac.ts';
import { createServiceStrategy } from './strategies/service.ts';
import type { AdmissionOptions, AdmissionPlugin } from './types.ts';

/**
 * What upstream's registry strategies do around a write, in the form of plugins. `admit` after every plugin's
 * `admit`; `undo` in the same request object when the write fails.
 */
export function createStrategies(options: AdmissionOptions): readonly AdmissionPlugin[] {
  return [
    createPodStrategy(options),
    createCertificateSigningRequestStrategy(options),
    createRbacStrategy(options),
    createServiceStrategy(options),
  ];
}
