import type { Namespace, Pod } from 'kubernetes-types/core/v1.d.ts';
import { NAMESPACES } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { findSecurityViolations } from '../pod-security.ts';
import { isWriteOf, objectOf, refuse, refuseInvalid } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const ENFORCE_LABEL = 'pod-security.kubernetes.io/enforce';
const VERSION_LABEL = 'pod-security.kubernetes.io/enforce-version';
const LEVELS = ['privileged', 'baseline', 'restricted'] as const;
const LEVEL_LABELS = ['enforce', 'audit', 'warn'].map((mode) => `pod-security.kubernetes.io/${mode}`);

/**
 * Pods must keep to the level that the namespace's `enforce` label names. The checks are those of the newest
 * version whatever `enforce-version` says; `audit` and `warn` are accepted without effect.
 */
export function createPodSecurity({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'PodSecurity',
    validate(request) {
      if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
      if (isWriteOf(request, 'namespaces')) return checkLabels(request);
      const isEphemeral = isWriteOf(request, 'pods', 'ephemeralcontainers');
      if (!isWriteOf(request, 'pods') && !isEphemeral) return;
      const labels = reader.get(NAMESPACES, request.namespace)?.metadata?.labels ?? {};
      const level = LEVELS.find((level) => level === labels[ENFORCE_LABEL]) ?? 'privileged';
      if (level === 'privileged') return;
      if (request.operation === 'UPDATE' && !isEphemeral && !isSecurityChange(request)) return;
      const violations = findSecurityViolations(objectOf<Pod>(request), level);
      if (violations.length === 0) return;
      const version = labels[VERSION_LABEL] ?? 'latest';
      throw refuse(request, `violates PodSecurity "${level}:${version}": ${violations.join(', ')}`);
    },
  };
}

/** Of a running pod's spec only images can change, and those are not looked at. */
function isSecurityChange(request: AdmissionRequest): boolean {
  const annotations = (pod: Pod | undefined) =>
    Object.entries(pod?.metadata?.annotations ?? {})
      .filter(([key]) => key.includes('apparmor'))
      .flat()
      .join();
  return annotations(objectOf<Pod>(request)) !== annotations(request.oldObject as Pod | undefined);
}

function checkLabels(request: AdmissionRequest): void {
  const labels = objectOf<Namespace>(request).metadata?.labels ?? {};
  const problems = LEVEL_LABELS.flatMap((key) => {
    const value = labels[key];
    if (value === undefined || LEVELS.some((level) => level === value)) return [];
    const message = `Invalid value: "${value}": must be one of privileged, baseline, restricted`;
    return [{ field: `metadata.labels[${key}]`, message }];
  });
  if (problems.length > 0) throw refuseInvalid(request, problems);
}
