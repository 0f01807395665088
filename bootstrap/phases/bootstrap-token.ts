import { buildBootstrapRbacObjects } from '../addons/bootstrap-rbac.ts';
import { buildClusterInfo, buildTokenSecrets } from '../addons/build.ts';
import type { Phase } from '../workflow/phase.ts';
import { applyAll } from './addons.ts';
import { readCaBundle } from './files.ts';
import type { InitContext } from './init-context.ts';

/** The token, what its user may do, and kube-public/cluster-info, which the bootstrap signer signs. */
export const bootstrapTokenPhase: Phase<InitContext> = {
  name: 'bootstrap-token',
  summary: 'Create the bootstrap token',
  after: ['wait-control-plane'],
  async plan({ config, host, now }) {
    const caPem = await readCaBundle(host, config.cluster.certificatesDir);
    return [
      ...applyAll(buildTokenSecrets(config.bootstrapTokens, now())),
      ...applyAll(buildBootstrapRbacObjects()),
      // An existing one carries signatures of other tokens.
      { kind: 'apply-object', object: buildClusterInfo(config, caPem), existing: 'keep' },
    ];
  },
};
