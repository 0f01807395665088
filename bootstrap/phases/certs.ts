import { CERTIFICATES, type CertificateRow } from '../../pki/certificates.ts';
import { isExternalCa } from '../../pki/external-ca.ts';
import { planCertificate, planServiceAccountKeys } from '../../pki/plan.ts';
import type { Phase } from '../workflow/phase.ts';
import { checkExternalCas } from './external-ca.ts';
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
      if (await isExternalCa(row, pki)) await checkExternalCas(context);
      return planCertificate(row, pki);
    },
  };
}

/** Why this installer runs no etcd. */
export function whyNoEtcd({ config }: Pick<InitContext, 'config'>): string {
  return config.tkadm.store === 'embedded'
    ? 'the API server has the embedded store, which needs no etcd'
    : 'etcd is external';
}

/** True when the API server keeps its objects in an etcd that this installer runs. */
export function usesLocalEtcd({ config }: Pick<InitContext, 'config'>): boolean {
  return config.tkadm.store === 'etcd' && config.cluster.etcd.local !== undefined;
}
