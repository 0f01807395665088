import type { Checker } from './problems.ts';
import type { ClusterConfiguration } from './types.ts';

/** Feature gates of kubeadm 1.36: what may be set, and what each means here. */
const FEATURE_GATES: Readonly<Record<string, 'locked' | 'ecdsa' | 'unsupported'>> = {
  NodeLocalCRISocket: 'locked',
  PublicKeysECDSA: 'ecdsa',
  RootlessControlPlane: 'unsupported',
};

const ALWAYS_ON = 'what it switched on is always on now; leave it out';
const GONE = 'it was removed together with what it switched on; leave it out';

/** Gates of earlier releases of kubeadm, and what became of each. */
const RETIRED_GATES: Readonly<Record<string, string>> = {
  Auditing: 'it was removed; set apiServer.extraArgs audit-policy-file',
  ControlPlaneKubeletLocalMode: ALWAYS_ON,
  CoreDNS: ALWAYS_ON,
  DynamicKubeletConfig: GONE,
  EtcdLearnerMode: ALWAYS_ON,
  HighAvailability: GONE,
  IPv6DualStack: ALWAYS_ON,
  SelfHosting: GONE,
  StoreCertsInSecrets: GONE,
  UnversionedKubeletConfigMap: ALWAYS_ON,
  UpgradeAddonsBeforeControlPlane: GONE,
  WaitForAllControlPlaneComponents: ALWAYS_ON,
};

/** What became of a gate of an earlier release; undefined for one that none had. */
export function describeRetiredGate(name: string): string | undefined {
  return RETIRED_GATES[name];
}

/** True for a gate that may still be written. */
export function isFeatureGate(name: string): boolean {
  return Object.hasOwn(FEATURE_GATES, name);
}

/** Checks the names and values of feature gates. */
export function validateFeatureGates(cluster: ClusterConfiguration, check: Checker): void {
  for (const [name, isOn] of Object.entries(cluster.featureGates)) {
    const path = `featureGates.${name}`;
    const retired = describeRetiredGate(name);
    if (retired) check.invalid(path, isOn, retired);
    else if (!isFeatureGate(name)) {
      check.invalid(path, isOn, `no such gate; known are ${Object.keys(FEATURE_GATES).join(', ')}`);
    } else if (FEATURE_GATES[name] === 'locked' && !isOn) check.invalid(path, isOn, 'it is locked to true');
    else if (FEATURE_GATES[name] === 'unsupported' && isOn) check.invalid(path, isOn, 'it is not supported');
    else if (FEATURE_GATES[name] === 'ecdsa' && isOn) checkEcdsa(cluster.encryptionAlgorithm, path, check);
  }
}

function checkEcdsa(algorithm: string, path: string, check: Checker): void {
  const advice = 'it is deprecated; write encryptionAlgorithm: ECDSA-P256';
  if (algorithm === 'ECDSA-P256') check.warn(path, advice);
  else check.invalid(path, true, `it contradicts encryptionAlgorithm "${algorithm}"; ${advice}`);
}
