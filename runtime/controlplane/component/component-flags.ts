import type { FlagRow } from '../../base/flags.ts';

/** Flags that kube-controller-manager and kube-scheduler share. */
export const COMPONENT_FLAGS = [
  { name: 'kubeconfig', kind: 'string', help: 'How to reach the API server' },
  { name: 'master', kind: 'string', help: 'URL of the API server, instead of that in the kubeconfig' },
  {
    name: 'authentication-kubeconfig',
    kind: 'string',
    help: 'Accepted: the health endpoints ask for no authentication',
  },
  {
    name: 'authorization-kubeconfig',
    kind: 'string',
    help: 'Accepted: the health endpoints ask for no authorization',
  },
  {
    name: 'client-ca-file',
    kind: 'string',
    help: 'Accepted: the health endpoints take no client certificates',
  },
  { name: 'requestheader-client-ca-file', kind: 'string', help: 'Accepted: see client-ca-file' },
  { name: 'bind-address', kind: 'string', default: '0.0.0.0', help: 'Address of the health endpoints' },
  {
    name: 'tls-cert-file',
    kind: 'string',
    help: 'Certificate of the health endpoints; default: one that is made at the start',
  },
  { name: 'tls-private-key-file', kind: 'string', help: 'Its key' },
  { name: 'leader-elect', kind: 'boolean', default: true, help: 'Work only while holding the Lease' },
  {
    name: 'leader-elect-lease-duration',
    kind: 'duration',
    default: 15_000,
    help: 'Life of an unrenewed Lease',
  },
  { name: 'leader-elect-renew-deadline', kind: 'duration', default: 10_000, help: 'Give up after so long' },
  { name: 'leader-elect-retry-period', kind: 'duration', default: 2_000, help: 'Between renewals or trials' },
  { name: 'leader-elect-resource-lock', kind: 'string', default: 'leases', help: 'leases only' },
  {
    name: 'leader-elect-resource-namespace',
    kind: 'string',
    default: 'kube-system',
    help: 'Namespace of the Lease',
  },
  { name: 'profiling', kind: 'boolean', default: false, help: 'Accepted: there are no profiling endpoints' },
  { name: 'help', kind: 'boolean', default: false, help: 'Print the flags' },
  { name: 'version', kind: 'boolean', default: false, help: 'Print the version' },
  { name: 'v', kind: 'number', default: 0, help: 'Log verbosity; 4 and more log each failure' },
] as const satisfies readonly FlagRow[];

/** The flags as `--help` prints them. */
export function formatFlagHelp(flags: readonly FlagRow[]): string {
  return flags
    .map(({ name, kind, help, default: value }) => {
      const note = value === undefined || value === false ? '' : ` (default ${String(value)})`;
      return `      --${name}${kind === 'boolean' ? '' : ` ${kind}`}\n                ${help}${note}\n`;
    })
    .join('');
}
