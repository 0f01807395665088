import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { VERSION } from '../../runtime/base/version.ts';
import type { ApplyMember } from './apply-run.ts';
import type { Fleet } from './cluster-file.ts';
import { findNodeOf, isControlPlane } from './nodes.ts';

/**
 * The hosts with the one first that is a control plane already, or becomes the cluster's first.
 * @throws CONFIG_INVALID, UPGRADE_NEEDED before anything is changed
 */
export function orderMembers(
  written: readonly Omit<ApplyMember, 'isFirst'>[],
  { nodes, fleet, path }: { readonly nodes: readonly Node[]; readonly fleet: Fleet; readonly path: string },
): readonly ApplyMember[] {
  const controlPlanes = written.filter(({ host }) => host.role === 'control-plane');
  const present = nodes.filter(isControlPlane);
  const first =
    present.length === 0
      ? controlPlanes[0]
      : controlPlanes.find(({ host }) => present.includes(findNodeOf(host, nodes) as Node));
  if (first === undefined) {
    const names = present.map(({ metadata }) => metadata?.name).join(', ');
    throw new TkadmError(
      'CONFIG_INVALID',
      `Cannot apply "${path}": no control plane of it is one of cluster "${fleet.name}", which has ${names}`,
      { hint: 'Name its host in the file, with its nodeName; or --kubeconfig FILE of another cluster' },
    );
  }
  refuseOtherVersion(present);
  const others = written.filter((member) => member !== first);
  return [{ ...first, isFirst: true }, ...others.map((member) => ({ ...member, isFirst: false }))];
}

/** @throws UPGRADE_NEEDED for a cluster that another version has made */
function refuseOtherVersion(controlPlanes: readonly Node[]): void {
  for (const { metadata, status } of controlPlanes) {
    const version = /^tkadm:\/\/(.+)$/.exec(status?.nodeInfo?.containerRuntimeVersion ?? '')?.[1];
    if (version === undefined || version === VERSION) continue;
    throw new TkadmError(
      'UPGRADE_NEEDED',
      `Cannot apply: node "${metadata?.name}" runs tkadm ${version}, and this is tkadm ${VERSION}`,
      { hint: 'tkadm upgrade apply, on the control plane' },
    );
  }
}
