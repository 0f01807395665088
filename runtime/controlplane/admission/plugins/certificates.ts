import { isDeepStrictEqual } from 'node:util';
import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import { MASTERS_GROUP } from '../../auth/names.ts';
import type { RuleAuthorizer } from '../../auth/types.ts';
import { parseRequestOrganizations } from '../csr-subject.ts';
import { isCreateOf, isWriteOf, objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const RESOURCE = 'certificatesigningrequests.certificates.k8s.io';

interface Context {
  readonly authorizer: RuleAuthorizer;
}

/** Who approves must have the verb `approve` for that signer. */
export function createCertificateApproval({ authorizer }: Context): AdmissionPlugin {
  return {
    name: 'CertificateApproval',
    async validate(request) {
      if (request.operation !== 'UPDATE' || !isWriteOf(request, RESOURCE, 'approval')) return;
      const { signerName } = signedBy(request);
      if (await mayActFor(request, authorizer, { verb: 'approve', signerName })) return;
      throw refuse(request, `user not permitted to approve requests with signerName "${signerName}"`);
    },
  };
}

/** Who puts a certificate (or a Failed condition) into a request must have the verb `sign` for that signer. */
export function createCertificateSigning({ authorizer }: Context): AdmissionPlugin {
  return {
    name: 'CertificateSigning',
    async validate(request) {
      if (request.operation !== 'UPDATE' || !isWriteOf(request, RESOURCE, 'status')) return;
      const old = (request.oldObject as CertificateSigningRequest | undefined)?.status;
      const now = objectOf<CertificateSigningRequest>(request).status;
      const isSame =
        (old?.certificate ?? '') === (now?.certificate ?? '') &&
        isDeepStrictEqual(old?.conditions ?? [], now?.conditions ?? []);
      if (isSame) return;
      const { signerName } = signedBy(request);
      if (await mayActFor(request, authorizer, { verb: 'sign', signerName })) return;
      throw refuse(request, `user not permitted to sign requests with signerName "${signerName}"`);
    },
  };
}

/** Nobody gets a client certificate of the group system:masters by way of a signing request. */
export const certificateSubjectRestriction: AdmissionPlugin = {
  name: 'CertificateSubjectRestriction',
  validate(request) {
    if (!isCreateOf(request, RESOURCE)) return;
    const { spec } = objectOf<CertificateSigningRequest>(request);
    if (spec.signerName !== 'kubernetes.io/kube-apiserver-client') return;
    const organizations = parseRequestOrganizations(Buffer.from(spec.request, 'base64').toString('utf8'));
    if (organizations === undefined)
      throw refuse(request, 'unable to parse spec.request: PEM block type must be CERTIFICATE REQUEST');
    if (!organizations.includes(MASTERS_GROUP)) return;
    throw refuse(
      request,
      `use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed`,
    );
  },
};

/** The signer of the stored request: what the client sends of it does not count. */
function signedBy(request: AdmissionRequest): CertificateSigningRequest['spec'] {
  const stored = request.oldObject as CertificateSigningRequest | undefined;
  return (stored ?? objectOf<CertificateSigningRequest>(request)).spec;
}

/** Permission for the signer itself, or for its whole domain ("example.com/*"). */
async function mayActFor(
  request: AdmissionRequest,
  authorizer: RuleAuthorizer,
  { verb, signerName }: { readonly verb: string; readonly signerName: string },
): Promise<boolean> {
  for (const name of [signerName, `${signerName.split('/')[0]}/*`]) {
    const decision = await authorizer.authorize({
      user: request.user,
      kind: 'resource',
      verb,
      group: 'certificates.k8s.io',
      version: '*',
      resource: 'signers',
      subresource: '',
      namespace: '',
      name,
    });
    if (decision.isAllowed) return true;
  }
  return false;
}
