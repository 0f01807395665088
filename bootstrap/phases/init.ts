import { PATHS } from '../../runtime/base/paths.ts';
import type { Phase } from '../workflow/phase.ts';
import { addonPhases } from './addons.ts';
import { bootstrapTokenPhase } from './bootstrap-token.ts';
import { CERTS_PHASES } from './certs.ts';
import { waitControlPlanePhase } from './control-plane-wait.ts';
import type { InitContext } from './init-context.ts';
import { kubeletFinalizePhases } from './kubelet-finalize.ts';
import { kubeletStartPhase } from './kubelet-start.ts';
import { CONTROL_PLANE_PHASES, KUBECONFIG_PHASES } from './manifests.ts';
import { markControlPlanePhase } from './mark-control-plane.ts';
import { bundlePhase, runtimePhase } from './node-services.ts';
import { preflightPhase } from './preflight.ts';
import { uploadCertsPhase } from './upload-certs.ts';
import { uploadConfigPhases } from './upload-config.ts';

/**
 * The phases of init in kubeadm's order; `bundle`, `runtime`, `addon/pod-network` and `wait-node` are tkadm's own. Each begins as
 * soon as those it comes after are done.
 */
export const INIT_PHASES: readonly Phase<InitContext>[] = [
  preflightPhase,
  bundlePhase,
  runtimePhase,
  ...CERTS_PHASES,
  ...KUBECONFIG_PHASES,
  ...CONTROL_PLANE_PHASES,
  kubeletStartPhase,
  waitControlPlanePhase,
  ...uploadConfigPhases,
  uploadCertsPhase,
  markControlPlanePhase,
  bootstrapTokenPhase,
  ...kubeletFinalizePhases,
  ...addonPhases,
  {
    name: 'wait-node',
    summary: 'Wait for the node',
    after: ['wait-control-plane', 'kubelet-finalize', 'addon'],
    plan: async ({ config }) => [
      {
        kind: 'wait',
        subject: `Node "${config.nodeRegistration.name}" to be Ready`,
        hint: `kubectl --kubeconfig ${PATHS.kubernetes}/admin.conf describe node ${config.nodeRegistration.name}`,
        timeoutMs: config.timeouts.kubeletHealthCheckMs,
        target: { kind: 'node-ready', nodeName: config.nodeRegistration.name },
      },
    ],
  },
  {
    name: 'show-join-command',
    summary: 'Show how to join nodes',
    after: ['wait-node', 'bootstrap-token', 'upload-config', 'mark-control-plane'],
    // The text is the command's result, which comes after all events.
    unchanged: 'Part of the result',
    plan: async () => [],
  },
];
