import type { FlagRow, FlagValues } from '../base/flags.ts';

/** The kubelet's flags that the agent takes. */
export const AGENT_FLAGS = [
  { name: 'config', kind: 'string', help: 'KubeletConfiguration file' },
  { name: 'kubeconfig', kind: 'string', help: 'How to reach the API server; absent: standalone' },
  { name: 'bootstrap-kubeconfig', kind: 'string', help: 'Credentials to ask for a client certificate' },
  {
    name: 'hostname-override',
    kind: 'string',
    help: 'Name of the Node; default: the host name in lower case',
  },
  {
    name: 'node-ip',
    kind: 'string',
    help: 'InternalIP of the Node; default: the address of the default route',
  },
  { name: 'node-labels', kind: 'list', default: [], help: 'key=value labels set at registration' },
  {
    name: 'register-with-taints',
    kind: 'list',
    default: [],
    help: 'key=value:effect taints set at registration',
  },
  { name: 'register-node', kind: 'boolean', default: true, help: 'Create the Node object' },
  { name: 'container-runtime-endpoint', kind: 'string', help: 'CRI socket, unix:///run/tkadm/runtime.sock' },
  { name: 'cert-dir', kind: 'string', default: '/var/lib/kubelet/pki', help: 'Directory of certificates' },
  { name: 'root-dir', kind: 'string', default: '/var/lib/kubelet', help: 'Directory of pods and volumes' },
  { name: 'pod-manifest-path', kind: 'string', help: 'Directory of static pods; the file wins over this' },
  {
    name: 'pod-infra-container-image',
    kind: 'string',
    help: 'Ignored: the runtime chooses its sandbox image',
  },
  { name: 'v', kind: 'number', default: 2, help: 'Log verbosity; 4 and above logs debug lines' },
] as const satisfies readonly FlagRow[];

export type AgentFlags = FlagValues<typeof AGENT_FLAGS>;
