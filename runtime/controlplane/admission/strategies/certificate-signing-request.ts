import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import { formatTime } from '../../../api/time.ts';
import { isWriteOf, objectOf } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const RESOURCE = 'certificatesigningrequests.certificates.k8s.io';
const JUDGEMENTS = ['Approved', 'Denied', 'Failed'];

/**
 * A signing request says who made it, whatever the client wrote; its spec never changes. Approvals come through
 * /approval alone, certificates through /status alone; conditions get their times.
 */
export function createCertificateSigningRequestStrategy(options: {
  readonly now: () => Date;
}): AdmissionPlugin {
  return {
    name: 'CertificateSigningRequestStrategy',
    admit(request) {
      if (request.operation === 'CREATE' && isWriteOf(request, RESOURCE)) stampRequester(request);
      if (request.operation !== 'UPDATE') return;
      const old = request.oldObject as CertificateSigningRequest | undefined;
      if (!old) return;
      if (isWriteOf(request, RESOURCE)) {
        const csr = objectOf<CertificateSigningRequest>(request);
        csr.spec = old.spec;
        if (old.status) csr.status = old.status;
      }
      if (isWriteOf(request, RESOURCE, 'approval')) updateApproval(request, old, options.now());
      if (isWriteOf(request, RESOURCE, 'status')) updateStatus(request, old, options.now());
    },
  };
}

function stampRequester(request: AdmissionRequest): void {
  const { user } = request;
  const csr = objectOf<CertificateSigningRequest>(request);
  const { username: _username, uid: _uid, groups: _groups, extra: _extra, ...spec } = csr.spec;
  csr.spec = {
    ...spec,
    username: user.name,
    ...(user.uid ? { uid: user.uid } : {}),
    ...(user.groups.length > 0 ? { groups: [...user.groups] } : {}),
    ...(user.extra && Object.keys(user.extra).length > 0
      ? { extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])) }
      : {}),
  };
  csr.spec.usages ??= ['digital signature', 'key encipherment'];
  csr.status = {};
}

/** /approval: the conditions are taken over, nothing else. */
function updateApproval(request: AdmissionRequest, old: CertificateSigningRequest, now: Date): void {
  const csr = objectOf<CertificateSigningRequest>(request);
  csr.spec = old.spec;
  csr.status = { ...old.status, ...(csr.status?.conditions ? { conditions: csr.status.conditions } : {}) };
  stampConditions(csr, old, now);
}

/** /status: the signer's certificate and conditions; a judgement that was made stays. */
function updateStatus(request: AdmissionRequest, old: CertificateSigningRequest, now: Date): void {
  const csr = objectOf<CertificateSigningRequest>(request);
  csr.spec = old.spec;
  const kept = (old.status?.conditions ?? []).filter(({ type }) => type === 'Approved' || type === 'Denied');
  const others = (csr.status?.conditions ?? []).filter(
    ({ type }) => type !== 'Approved' && type !== 'Denied',
  );
  const conditions = [...kept, ...others];
  csr.status = { ...csr.status, ...(conditions.length > 0 ? { conditions } : {}) };
  stampConditions(csr, old, now);
}

function stampConditions(csr: CertificateSigningRequest, old: CertificateSigningRequest, now: Date): void {
  const time = formatTime(now);
  for (const condition of csr.status?.conditions ?? []) {
    const before = old.status?.conditions?.find(({ type }) => type === condition.type);
    condition.status ??= 'True';
    if (before?.status === condition.status && before.lastTransitionTime) {
      condition.lastTransitionTime ??= before.lastTransitionTime;
    } else condition.lastTransitionTime ??= time;
    if (JUDGEMENTS.includes(condition.type)) condition.lastUpdateTime ??= time;
  }
}
