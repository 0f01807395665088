import { CERTIFICATES } from '../../pki/certificates.ts';
import { inspectCertificate } from '../../pki/inspect.ts';
import type { PkiContext } from '../../pki/plan.ts';
import { type Check, CONTROL_PLANES, errorFinding, type Finding, warningFinding } from '../finding.ts';

const NAME = 'ExistingCertificates';

/** Certificates that are there already and are kept, as kubeadm keeps them: they must fit what is planned. */
export const CERTIFICATE_CHECKS: readonly Check[] = [
  {
    name: NAME,
    scopes: CONTROL_PLANES,
    severity: 'error',
    looksAt:
      'certificates on disk: each is valid for every name and address that the configuration needs, is signed by the CA beside it, has its key, and has not expired',
    async observe(host, { certificates }) {
      if (!certificates) return undefined;
      const context: PkiContext = { ...certificates, host };
      // Those for an etcd of somebody else are that one's.
      const rows = CERTIFICATES.filter((row) => certificates.hasLocalEtcd || !('isEtcd' in row));
      const states = await Promise.all(rows.map((row) => inspectCertificate(row, context)));
      return states.flatMap(({ row, problems, warnings, isRenewable }): readonly Finding[] => {
        const path = `${context.certificatesDir}/${row.baseName}`;
        const fix = isRenewable
          ? `tkadm certs renew ${row.name} --config FILE, or mv ${path}.crt ${path}.key /root/`
          : `mv ${path}.crt ${path}.key /root/, so that they are made again`;
        return [
          ...problems.map((problem) =>
            errorFinding(NAME, `"${path}.crt" cannot serve this configuration`, problem, fix),
          ),
          ...warnings.map((warning) =>
            warningFinding(NAME, `"${path}.crt" does not hold now`, warning, `tkadm certs renew ${row.name}`),
          ),
        ];
      });
    },
  },
];
