import { CERTIFICATES, type CertificateRow } from '../../pki/certificates.ts';
import {
  type ExternalFileProblem,
  inspectExternalLeaves,
  isExternalCa,
  refuseIncomplete,
} from '../../pki/external-ca.ts';
import { certificatePath } from '../../pki/inspect.ts';
import type { PkiContext } from '../../pki/plan.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { KUBECONFIGS } from '../../templates/kubeconfig.ts';
import { inspectKubeconfig } from '../../templates/kubeconfig-check.ts';
import { hasLocalEtcd } from '../../templates/manifests/manifests.ts';
import { type InitContext, pkiContext } from './init-context.ts';

/**
 * Looks at everything that the CAs without their keys must have issued: certificates and, of the cluster's CA, the
 * kubeconfigs.
 * @throws PKI_EXTERNAL_CA naming every file of every such CA.
 */
export async function checkExternalCas(context: InitContext): Promise<void> {
  const pki = pkiContext(context);
  const usesEtcd = hasLocalEtcd(context.config);
  const paths: string[] = [];
  const problems: ExternalFileProblem[] = [];
  for (const row of CERTIFICATES as readonly CertificateRow[]) {
    if (!(await isExternalCa(row, pki)) || (row.isEtcd && !usesEtcd)) continue;
    paths.push(certificatePath(row, pki));
    problems.push(...(await inspectExternalLeaves(row, pki, { hasLocalEtcd: usesEtcd })));
    if (row.name === 'ca') problems.push(...(await inspectKubeconfigs(context, pki)));
  }
  refuseIncomplete(paths, problems);
}

async function inspectKubeconfigs(
  context: InitContext,
  { host, certificatesDir, now }: PkiContext,
): Promise<readonly ExternalFileProblem[]> {
  const certPem = (await host.readFile(`${certificatesDir}/ca.crt`)) ?? '';
  const states = await Promise.all(
    KUBECONFIGS.map(async ({ fileName }) => {
      const path = `${context.kubeconfigDir ?? PATHS.kubernetes}/${fileName}`;
      const text = await host.readFile(path);
      if (text === undefined) return { path, state: 'it is not there' };
      const problems = await inspectKubeconfig(text, { host, path, ca: { certPem }, now });
      return { path, state: problems.map((problem) => problem.message).join('; ') };
    }),
  );
  return states.filter(({ state }) => state !== '');
}
