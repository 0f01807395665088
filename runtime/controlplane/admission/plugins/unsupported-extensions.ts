import { refuse } from '../refusals.ts';
import type { AdmissionPlugin } from '../types.ts';

/** Plugin → the objects whose work it would do. */
const EXTENSIONS = {
  MutatingAdmissionPolicy: ['mutatingadmissionpolicies', 'mutatingadmissionpolicybindings'],
  MutatingAdmissionWebhook: ['mutatingwebhookconfigurations'],
  ValidatingAdmissionPolicy: ['validatingadmissionpolicies', 'validatingadmissionpolicybindings'],
  ValidatingAdmissionWebhook: ['validatingwebhookconfigurations'],
} as const;

/**
 * Rules that this server would not apply must not be stored as if it did: their creation is refused by name.
 * With the plugin disabled they may be stored, as upstream.
 */
export function createUnsupportedExtension(name: keyof typeof EXTENSIONS): AdmissionPlugin {
  const resources: readonly string[] = EXTENSIONS[name];
  return {
    name,
    validate(request) {
      const { group, plural, kind } = request.resource;
      if (request.operation !== 'CREATE' || group !== 'admissionregistration.k8s.io') return;
      if (!resources.includes(plural)) return;
      throw refuse(
        request,
        `${kind} is not supported yet: this API server does not run admission extensions`,
      );
    },
  };
}
