import { buildBootstrapRbacObjects } from '../addons/bootstrap-rbac.ts';
import { buildClusterInfo } from '../addons/cluster-info.ts';
import { buildTokenSecrets } from '../addons/token-secrets.ts';
import { isUsableToken } from '../tokens/usable.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { readCaBundle } from './files.ts';
import type { InitContext } from './init-context.ts';
import { planObjects } from './objects.ts';

/** The token, what its user may do, and kube-public/cluster-info, which the bootstrap signer signs. */
export const bootstrapTokenPhase: Phase<InitContext> = {
  name: 'bootstrap-token',
  summary: 'Create the bootstrap token',
  after: ['wait-control-plane'],
  async plan(context) {
    const { config, host } = context;
    const caPem = await readCaBundle(host, config.cluster.certificatesDir);
    return [
      ...(await planTokens(context)),
      ...(await planObjects(context, [
        ...buildBootstrapRbacObjects(),
        // An update keeps the signatures, which the bootstrap signer makes anew.
        buildClusterInfo(config, caPem),
      ])),
    ];
  },
};

/** A token that nobody has chosen is only made when the cluster has none that still joins nodes. */
async function planTokens(context: InitContext): Promise<readonly Action[]> {
  const { config, now } = context;
  const existing = await context.tokens();
  const wanted = config.bootstrapTokens.filter((token) =>
    token.isGenerated
      ? !existing.some((other) => isUsableToken(other, now()))
      : !existing.some((other) => other.token === token.token && isUsableToken(other, now(), token)),
  );
  return planObjects(context, buildTokenSecrets(wanted, now()));
}
