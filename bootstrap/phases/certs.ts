import { CERTIFICATES, type CertificateRow } from '../../pki/certificates.ts';
import {
  type ExternalFileProblem,
  inspectExternalLeaves,
  isExternalCa,
  refuseIncomplete,
} from '../../pki/external-ca.ts';
import { certificatePath } from '../../pki/inspect.ts';
import { type PkiContext, planCertificate, planServiceAccountKeys } from '../../pki/plan.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { KUBECONFIGS } from '../../templates/kubeconfig.ts';
import { inspectKubeconfig } from '../../templates/kubeconfig-check.ts';
import type { InitConfig } from '../config/types.ts';
import type { Phase } from '../workflow/phase.ts';
import { type InitContext, pkiContext } from './init-context.ts';

/** A phase for each certificate, after its issuer's, and one for the service account keys. */
export const CERTS_PHASES: readonly Phase<InitContext>[] = [
  ...CERTIFICATES.map(certificatePhase),
  {
    name: 'certs/sa',
    summary: 'Generate certificates',
    after: ['preflight'],
    plan: (context) => planServiceAccountKeys(pkiContext(context)),
  },
];

function certificatePhase(row: CertificateRow): Phase<InitContext> {
  return {
    name: `certs/${row.name}`,
    summary: 'Generate certificates',
    after: ['preflight', ...(row.issuer ? [`certs/${row.issuer}`] : [])],
    idle: (context) => (row.isEtcd && !usesLocalEtcd(context) ? whyNoEtcd(context) : undefined),
    async plan(context) {
      if (row.isEtcd && !usesLocalEtcd(context)) return [];
      const pki = pkiContext(context);
      if (await isExternalCa(row, pki)) await checkExternalCa(row, pki, context);
      return planCertificate(row, pki);
    },
  };
}

/** Everything that a CA without its key must have issued beforehand: certificates, of the cluster's CA kubeconfigs too. */
async function checkExternalCa(ca: CertificateRow, pki: PkiContext, context: InitContext): Promise<void> {
  const directory = context.kubeconfigDir ?? PATHS.kubernetes;
  const caPath = certificatePath(ca, pki);
  refuseIncomplete(caPath, [
    ...(await inspectExternalLeaves(ca, pki, { hasLocalEtcd: usesLocalEtcd(context) })),
    ...(ca.name === 'ca' ? await inspectKubeconfigs(caPath, directory, pki) : []),
  ]);
}

async function inspectKubeconfigs(
  caPath: string,
  directory: string,
  { host, now }: PkiContext,
): Promise<readonly ExternalFileProblem[]> {
  const certPem = (await host.readFile(caPath)) ?? '';
  const states = await Promise.all(
    KUBECONFIGS.map(async ({ fileName }) => {
      const path = `${directory}/${fileName}`;
      const text = await host.readFile(path);
      if (text === undefined) return { path, state: 'it is not there' };
      const problems = await inspectKubeconfig(text, { host, path, ca: { certPem }, now });
      return { path, state: problems.map((problem) => problem.message).join('; ') };
    }),
  );
  return states.filter(({ state }) => state !== '');
}

/** Why this installer runs no etcd. */
export function whyNoEtcd({ config }: Pick<InitContext, 'config'>): string {
  return config.tkadm.store === 'embedded'
    ? 'the API server has the embedded store, which needs no etcd'
    : 'etcd is external';
}

/** True when the API server keeps its objects in an etcd that this installer runs. */
export function usesLocalEtcd({
  config,
}: {
  readonly config: Pick<InitConfig, 'cluster' | 'tkadm'>;
}): boolean {
  return config.tkadm.store === 'etcd' && config.cluster.etcd.local !== undefined;
}
