import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import {
  type CertificateRequest,
  parseCertificateRequest,
  signCertificateRequest,
} from '../../../pki/csr.ts';
import { KEY_USAGES, type KeyUsage } from '../../../pki/extensions.ts';
import { BACKDATING_MS, type CaPair } from '../../../pki/issue.ts';
import { CERTIFICATE_SIGNING_REQUESTS, ENDPOINT_SLICES, NODES, SERVICES } from '../../api/kinds.ts';
import { formatTime } from '../../api/time.ts';
import { formatError, TkadmError } from '../../base/errors.ts';
import { type Action, event, remove, updateStatus } from '../component/action.ts';
import { isSameJson, timeMs } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
  watchSelf,
} from './controller.ts';
import { findServingObstacle, requestingNode } from './kubelet-serving.ts';

const KUBELET_CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';
const KUBELET_SERVING_SIGNER = 'kubernetes.io/kubelet-serving';

const HOUR_MS = 3_600_000;

/** What a signer asks of a request; the text is why it refuses, undefined is "fine". */
interface SignerRow {
  readonly signerName: string;
  readonly check: (csr: CertificateRequest, usages: readonly string[]) => string | undefined;
}

const SIGNERS: readonly SignerRow[] = [
  {
    signerName: 'kubernetes.io/kube-apiserver-client',
    check: (_, usages) => checkUsages(usages, 'client auth'),
  },
  { signerName: KUBELET_CLIENT_SIGNER, check: checkKubeletClient },
  { signerName: KUBELET_SERVING_SIGNER, check: checkKubeletServing },
  { signerName: 'kubernetes.io/legacy-unknown', check: () => undefined },
];

/** Why the request is no kubelet client certificate, or undefined. */
function checkKubeletClient(csr: CertificateRequest, usages: readonly string[]): string | undefined {
  if (csr.subjectAltName !== undefined) return 'subject alternative names are not allowed';
  return checkNodeSubject(csr) ?? checkUsages(usages, 'client auth');
}

function checkKubeletServing(csr: CertificateRequest, usages: readonly string[]): string | undefined {
  if (csr.dnsNames.length + csr.ipAddresses.length === 0) return 'DNS or IP subjectAltName is required';
  if (csr.hasOtherNames) return 'only DNS and IP subjectAltNames are allowed';
  return checkNodeSubject(csr) ?? checkUsages(usages, 'server auth');
}

function checkNodeSubject({
  subject: { organizations, commonName },
}: CertificateRequest): string | undefined {
  if (organizations.length !== 1 || organizations[0] !== 'system:nodes') {
    return 'subject organization is not system:nodes';
  }
  return commonName.startsWith('system:node:')
    ? undefined
    : 'subject common name does not begin with system:node:';
}

function checkUsages(usages: readonly string[], required: string): string | undefined {
  if (!usages.includes(required)) return `usages did not include "${required}"`;
  const allowed = ['digital signature', 'key encipherment', required];
  const other = usages.find((usage) => !allowed.includes(usage));
  return other === undefined ? undefined : `usages include "${other}"`;
}

export interface SigningSettings {
  /** Asked for at each use: the files may have been replaced. */
  readonly ca: () => CaPair;
  readonly maxDurationMs: number;
}

/** Signs approved requests of the built-in signers with the cluster's CA. */
export function createCsrSigner(settings: SigningSettings): Controller {
  return {
    name: 'certificatesigningrequest-signing-controller',
    watches: [watchSelf(CERTIFICATE_SIGNING_REQUESTS)],
    reconcile: (key, context) => reconcileSigning(settings, key, context),
  };
}

function reconcileSigning(
  settings: SigningSettings,
  key: string,
  { view, now }: ReconcileContext,
): ReconcileResult {
  const request = view.get(CERTIFICATE_SIGNING_REQUESTS, key);
  const row = SIGNERS.find((entry) => entry.signerName === request?.spec?.signerName);
  if (!request?.spec || !row || !hasCondition(request, 'Approved')) return SETTLED;
  if (hasCondition(request, 'Denied') || hasCondition(request, 'Failed') || request.status?.certificate) {
    return SETTLED;
  }
  const csrPem = decodeRequest(request);
  try {
    const refusal = row.check(parseCertificateRequest(csrPem), request.spec.usages ?? []);
    if (refusal !== undefined) return { actions: [fail(request, refusal, now)] };
    const durationMs = Math.min(
      settings.maxDurationMs,
      request.spec.expirationSeconds ? request.spec.expirationSeconds * 1000 : Number.POSITIVE_INFINITY,
    );
    const ca = settings.ca();
    const pem = signCertificateRequest({
      caCertPem: ca.certPem,
      caKeyPem: ca.keyPem,
      csrPem,
      usages: (request.spec.usages ?? []).map(parseUsage),
      notBefore: new Date(now.getTime() - BACKDATING_MS),
      notAfter: new Date(now.getTime() + durationMs),
    });
    const certificate = Buffer.from(pem).toString('base64');
    const status = { ...request.status, certificate };
    return { actions: [updateStatus(CERTIFICATE_SIGNING_REQUESTS, { ...request, status })] };
  } catch (error) {
    return { actions: [fail(request, formatError(error), now)] };
  }
}

/** @throws CSR_INVALID for a usage that `certificates.k8s.io/v1` does not have. */
function parseUsage(text: string): KeyUsage {
  const row = KEY_USAGES.find((candidate) => candidate.name === text);
  if (row) return row.name;
  throw new TkadmError('CSR_INVALID', `Cannot sign certificate request: usage "${text}" is unknown`);
}

function fail(request: CertificateSigningRequest, message: string, now: Date): Action {
  const condition = {
    type: 'Failed',
    status: 'True',
    reason: 'SignerValidationFailure',
    message,
    lastUpdateTime: formatTime(now),
    lastTransitionTime: formatTime(now),
  };
  const conditions = [...(request.status?.conditions ?? []), condition];
  return updateStatus(CERTIFICATE_SIGNING_REQUESTS, {
    ...request,
    status: { ...request.status, conditions },
  });
}

/** In the order of trial; the sender must be allowed to create `subresource` of CSRs. */
const RECOGNIZERS = [
  {
    subresource: 'selfnodeclient',
    isFor: (request: CertificateSigningRequest, csr: CertificateRequest) =>
      request.spec?.username === csr.subject.commonName,
    message: 'Auto approving self kubelet client certificate after SubjectAccessReview.',
  },
  {
    subresource: 'nodeclient',
    isFor: () => true,
    message: 'Auto approving kubelet client certificate after SubjectAccessReview.',
  },
] as const;

/**
 * Approves kubelets' client certificates when RBAC lets their senders ask for one, and their serving certificates
 * when each name in them is the node's own.
 */
export function createCsrApprover(): Controller {
  return {
    name: 'certificatesigningrequest-approving-controller',
    watches: [
      watchSelf(CERTIFICATE_SIGNING_REQUESTS),
      // The addresses of a node may come after its request.
      watch(NODES, ({ object, previous }, view) =>
        isSameJson(object.status?.addresses, previous?.status?.addresses)
          ? []
          : servingRequestsOf(object.metadata?.name ?? '', view),
      ),
      watch(SERVICES, () => []),
      watch(ENDPOINT_SLICES, () => []),
    ],
    reconcile: reconcileApproval,
  };
}

async function reconcileApproval(key: string, context: ReconcileContext): Promise<ReconcileResult> {
  const request = context.view.get(CERTIFICATE_SIGNING_REQUESTS, key);
  if (!request || !isPending(request)) return SETTLED;
  if (request.spec.signerName === KUBELET_SERVING_SIGNER) return reconcileServing(request, context);
  if (request.spec.signerName !== KUBELET_CLIENT_SIGNER) return SETTLED;
  const csr = parseCertificateRequest(decodeRequest(request));
  if (checkKubeletClient(csr, request.spec.usages ?? []) !== undefined) return SETTLED;
  for (const row of RECOGNIZERS) {
    if (!row.isFor(request, csr) || !(await mayCreate(request, row.subresource, context))) continue;
    return { actions: [approve(request, row.message, context.now)] };
  }
  // RBAC may come after the request: look again.
  return { actions: [], requeueAfterMs: 2_000 };
}

function isPending({ status }: CertificateSigningRequest): boolean {
  return !status?.certificate && (status?.conditions ?? []).length === 0;
}

function servingRequestsOf(nodeName: string, view: View): readonly string[] {
  return view
    .list(CERTIFICATE_SIGNING_REQUESTS)
    .filter((request) => request.spec.signerName === KUBELET_SERVING_SIGNER && isPending(request))
    .filter((request) => requestingNode(request) === nodeName)
    .map(({ metadata }) => metadata?.name ?? '');
}

function reconcileServing(
  request: CertificateSigningRequest,
  { view, now }: ReconcileContext,
): ReconcileResult {
  const csr = parseCertificateRequest(decodeRequest(request));
  const apiServerAddresses = view
    .inNamespace(ENDPOINT_SLICES, 'default')
    .filter(({ metadata }) => metadata?.labels?.['kubernetes.io/service-name'] === 'kubernetes')
    .flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses));
  const obstacle =
    checkKubeletServing(csr, request.spec.usages ?? []) ??
    findServingObstacle(request, csr, {
      nodes: view.list(NODES),
      services: view.list(SERVICES),
      apiServerAddresses,
    });
  if (obstacle === undefined) {
    return {
      actions: [approve(request, 'Auto approving kubelet serving certificate of the node itself.', now)],
    };
  }
  const message = `Not approved automatically: ${obstacle}`;
  return { actions: [event(CERTIFICATE_SIGNING_REQUESTS, request, 'Warning', 'NotApproved', message)] };
}

async function mayCreate(
  { spec }: CertificateSigningRequest,
  subresource: string,
  { api }: ReconcileContext,
): Promise<boolean> {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: spec?.username,
      groups: spec?.groups,
      uid: spec?.uid,
      extra: spec?.extra,
      resourceAttributes: {
        group: 'certificates.k8s.io',
        resource: 'certificatesigningrequests',
        verb: 'create',
        version: '*',
        subresource,
      },
    },
  };
  const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
  const answer = await api.requestJson<{ status?: { allowed?: boolean } }>('POST', path, { body: review });
  return answer.status?.allowed === true;
}

function approve(request: CertificateSigningRequest, message: string, now: Date): Action {
  const condition = {
    type: 'Approved',
    status: 'True',
    reason: 'AutoApproved',
    message,
    lastUpdateTime: formatTime(now),
    lastTransitionTime: formatTime(now),
  };
  const object = { ...request, status: { ...request.status, conditions: [condition] } };
  return { verb: 'update', kind: CERTIFICATE_SIGNING_REQUESTS, object, subresource: 'approval' };
}

/** After so long a request goes, by what became of it (upstream's cleaner). */
const LIFETIMES_MS = { approved: HOUR_MS, denied: HOUR_MS, failed: HOUR_MS, pending: 24 * HOUR_MS } as const;

/** Deletes requests that are settled or that nobody answered. */
export function createCsrCleaner(): Controller {
  return {
    name: 'certificatesigningrequest-cleaner-controller',
    watches: [watchSelf(CERTIFICATE_SIGNING_REQUESTS)],
    workers: 1,
    reconcile(key, { view, now }): ReconcileResult {
      const request = view.get(CERTIFICATE_SIGNING_REQUESTS, key);
      if (!request) return SETTLED;
      const { sinceMs, lifetimeMs } = lifetimeOf(request);
      const leftMs = sinceMs + lifetimeMs - now.getTime();
      if (leftMs > 0) return { actions: [], requeueAfterMs: leftMs };
      return { actions: [remove(CERTIFICATE_SIGNING_REQUESTS, request)] };
    },
  };
}

function lifetimeOf(request: CertificateSigningRequest): {
  readonly sinceMs: number;
  readonly lifetimeMs: number;
} {
  for (const type of ['Denied', 'Failed', 'Approved'] as const) {
    const condition = request.status?.conditions?.find((entry) => entry.type === type);
    const isPending = type === 'Approved' && !request.status?.certificate;
    if (!condition || isPending) continue;
    const lifetimeMs = LIFETIMES_MS[type.toLowerCase() as keyof typeof LIFETIMES_MS];
    return { sinceMs: timeMs(condition.lastUpdateTime), lifetimeMs };
  }
  return { sinceMs: timeMs(request.metadata?.creationTimestamp), lifetimeMs: LIFETIMES_MS.pending };
}

function hasCondition(request: CertificateSigningRequest, type: string): boolean {
  return (request.status?.conditions ?? []).some((condition) => condition.type === type);
}

function decodeRequest(request: CertificateSigningRequest): string {
  return Buffer.from(request.spec?.request ?? '', 'base64').toString('utf8');
}
