import type { FlagRow } from '../../base/flags.ts';
import { COMPONENT_FLAGS } from '../component/component-flags.ts';

/** The flags of kube-controller-manager: upstream's names, those that kubeadm and its users set. */
export const FLAGS = [
  ...COMPONENT_FLAGS,
  { name: 'secure-port', kind: 'number', default: 10257, help: 'Port of HTTPS /healthz; 0 turns it off' },
  {
    name: 'leader-elect-resource-name',
    kind: 'string',
    default: 'kube-controller-manager',
    help: 'Name of the Lease',
  },
  {
    name: 'controllers',
    kind: 'list',
    default: ['*'],
    help: 'Controllers to run: "*" all on by default, "name" one more, "-name" without it',
  },
  { name: 'cluster-name', kind: 'string', default: 'kubernetes', help: 'Name of the cluster; accepted only' },
  { name: 'allocate-node-cidrs', kind: 'boolean', default: false, help: 'Give each Node a podCIDR' },
  { name: 'cidr-allocator-type', kind: 'string', default: 'RangeAllocator', help: 'RangeAllocator only' },
  { name: 'cluster-cidr', kind: 'list', default: [], help: 'CIDRs of all pods, one for each IP family' },
  { name: 'service-cluster-ip-range', kind: 'list', default: [], help: 'CIDRs of Services' },
  { name: 'node-cidr-mask-size', kind: 'number', help: 'Prefix length of a podCIDR, default 24 and 64' },
  { name: 'node-cidr-mask-size-ipv4', kind: 'number', help: 'Prefix length of an IPv4 podCIDR' },
  { name: 'node-cidr-mask-size-ipv6', kind: 'number', help: 'Prefix length of an IPv6 podCIDR' },
  { name: 'cluster-signing-cert-file', kind: 'string', help: 'CA that signs CertificateSigningRequests' },
  { name: 'cluster-signing-key-file', kind: 'string', help: 'Key of that CA' },
  {
    name: 'cluster-signing-duration',
    kind: 'duration',
    default: 31_536_000_000,
    help: 'Longest validity of signed certificates',
  },
  { name: 'root-ca-file', kind: 'string', help: 'CA published in the ConfigMap kube-root-ca.crt' },
  {
    name: 'service-account-private-key-file',
    kind: 'string',
    help: 'Key that signs tokens of Secrets of type kubernetes.io/service-account-token',
  },
  {
    name: 'use-service-account-credentials',
    kind: 'boolean',
    default: false,
    help: 'Each controller acts as its own service account in kube-system',
  },
  {
    name: 'node-monitor-grace-period',
    kind: 'duration',
    default: 40_000,
    help: 'Silence after which a Node becomes Unknown',
  },
  { name: 'node-monitor-period', kind: 'duration', default: 5_000, help: 'Accepted: Nodes are watched' },
  {
    name: 'terminated-pod-gc-threshold',
    kind: 'number',
    default: 12_500,
    help: 'Ended pods beyond this number are deleted; 0: never',
  },
] as const satisfies readonly FlagRow[];
