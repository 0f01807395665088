import { NODES } from '../../runtime/api/kinds.ts';
import { VERSION } from '../../runtime/base/version.ts';
import type { RunTools } from './run.ts';

/** What `upgrade apply` ends with: the version, and the nodes that are still to be upgraded. */
export async function describeApplied(
  { api, changes }: Pick<RunTools, 'api'> & { readonly changes: number },
  { target, nodeName }: { readonly target: string; readonly nodeName: string },
) {
  const { items } = await (await api()).list(NODES);
  const others = items.flatMap(({ metadata, status }) => {
    const { kubeletVersion, containerRuntimeVersion } = status?.nodeInfo ?? {};
    const isOld = kubeletVersion !== target || containerRuntimeVersion !== `tkadm://${VERSION}`;
    return isOld && metadata?.name !== nodeName ? [metadata?.name ?? ''] : [];
  });
  const machines = items
    .filter(({ metadata }) => others.includes(metadata?.name ?? ''))
    .map(({ metadata, status }) => {
      const address = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
      return `root@${address ?? metadata?.name}`;
    });
  const next =
    others.length === 0
      ? ''
      : `\nStill of an earlier version: ${others.join(', ')}. On each of them, with this package: tkadm upgrade node.\n` +
        `Or from here over SSH:\n\n  tkadm upgrade node ${machines.join(' ')}\n`;
  const done = changes === 0 ? 'Nothing was changed: your cluster is' : 'Your cluster is';
  return {
    text: `\n${done} of ${target} (tkadm ${VERSION})${changes === 0 ? '' : ' now'}.\n${next}`,
    data: { kubernetesVersion: target, changes, nodesToUpgrade: others },
  };
}
