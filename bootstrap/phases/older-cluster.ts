import type { ApiClient } from '../../runtime/api/client.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { KUBERNETES_VERSION, VERSION } from '../../runtime/base/version.ts';
import { parseVersion } from '../upgrade/version-rules.ts';

/**
 * A node must not be newer than the API server that it speaks to (Kubernetes' version skew policy).
 * @throws UPGRADE_NEEDED
 */
export async function refuseOlderCluster(
  client: Pick<ApiClient, 'requestJson'>,
  version = KUBERNETES_VERSION,
): Promise<void> {
  const { gitVersion } = await client.requestJson<{ readonly gitVersion: string }>('GET', '/version');
  const [theirs, own] = [parseVersion(gitVersion), parseVersion(version)];
  if (!theirs || !own || theirs.minor * 1_000 + theirs.patch >= own.minor * 1_000 + own.patch) return;
  throw new TkadmError(
    'UPGRADE_NEEDED',
    `Cannot join: the cluster runs Kubernetes ${gitVersion}, and tkadm ${VERSION} would make a node of ${version}: no node may be newer than its API server`,
    {
      hint: 'tkadm upgrade apply, on the control plane; or join with the package that the cluster was made with',
    },
  );
}
