import type { FlagRow } from '../../base/flags.ts';
import { COMPONENT_FLAGS } from '../component/component-flags.ts';

/** The flags of kube-scheduler. */
export const FLAGS = [
  ...COMPONENT_FLAGS,
  {
    name: 'secure-port',
    kind: 'number',
    default: 10259,
    help: 'Port of HTTPS /livez, /readyz, /healthz; 0: none',
  },
  {
    name: 'leader-elect-resource-name',
    kind: 'string',
    default: 'kube-scheduler',
    help: 'Name of the Lease',
  },
  { name: 'config', kind: 'string', help: 'KubeSchedulerConfiguration: not supported, refused' },
] as const satisfies readonly FlagRow[];
