import { UNFOLLOWED_FIELDS as AGENT_FIELDS } from '../../runtime/agent/kubelet-config-fields.ts';
import { findUnfollowed, type UnfollowedField } from '../../runtime/base/unfollowed-fields.ts';
import { UNFOLLOWED_FIELDS as PROXY_FIELDS } from '../../runtime/network/proxy/config-fields.ts';
import type { InitConfig } from './types.ts';

/** A field of a component's document that the embedded engine's component does not follow. */
export interface ComponentField extends UnfollowedField {
  readonly document: 'KubeletConfiguration' | 'KubeProxyConfiguration';
}

/** The fields that are set without effect; none with the upstream engine, whose components follow all. */
export function findWithoutEffect({
  tkadm,
  kubelet,
  kubeProxy,
}: Pick<InitConfig, 'tkadm' | 'kubelet' | 'kubeProxy'>): readonly ComponentField[] {
  if (tkadm.engine !== 'embedded') return [];
  return [
    ...findUnfollowed(kubelet, AGENT_FIELDS).map(
      (field) => ({ ...field, document: 'KubeletConfiguration' }) as const,
    ),
    ...findUnfollowed(kubeProxy, PROXY_FIELDS).map(
      (field) => ({ ...field, document: 'KubeProxyConfiguration' }) as const,
    ),
  ];
}
