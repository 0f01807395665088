import { ADDRESS_CHECKS } from './checks/address.ts';
import { CERTIFICATE_CHECKS } from './checks/certificates.ts';
import { CLUSTER_CHECKS } from './checks/cluster.ts';
import { DISK_CHECKS } from './checks/disk.ts';
import { ETCD_CHECKS } from './checks/etcd.ts';
import { FILE_CHECKS } from './checks/files.ts';
import { IDENTITY_CHECKS } from './checks/identity.ts';
import { KERNEL_CHECKS } from './checks/kernel.ts';
import { KUBELET_CHECKS } from './checks/kubelet.ts';
import { LEFTOVER_CHECKS } from './checks/leftovers.ts';
import { LIMIT_CHECKS } from './checks/limits.ts';
import { MACHINE_CHECKS } from './checks/machine.ts';
import { NETWORK_CHECKS } from './checks/network.ts';
import { PROXY_CHECKS } from './checks/proxy.ts';
import { RUNTIME_CHECKS } from './checks/runtime.ts';
import { TIME_CHECKS } from './checks/time.ts';
import type { Check } from './finding.ts';

/** Every check, in the order in which findings of the same gravity are shown. */
export const CHECKS: readonly Check[] = [
  ...MACHINE_CHECKS,
  ...KERNEL_CHECKS,
  ...LIMIT_CHECKS,
  ...DISK_CHECKS,
  ...TIME_CHECKS,
  ...ADDRESS_CHECKS,
  ...NETWORK_CHECKS,
  ...PROXY_CHECKS,
  ...FILE_CHECKS,
  ...LEFTOVER_CHECKS,
  ...CERTIFICATE_CHECKS,
  ...RUNTIME_CHECKS,
  ...KUBELET_CHECKS,
  ...ETCD_CHECKS,
  ...CLUSTER_CHECKS,
  ...IDENTITY_CHECKS,
];
