import { randomBytes } from 'node:crypto';
import {
  encryptSharedFiles,
  listSharedFiles,
  parseCertificateKey,
  planDownload,
  type SharedFile,
} from '../../pki/certificate-secret.ts';
import type { PkiFile } from '../../pki/plan.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { SECRETS } from '../../runtime/api/kinds.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { hasLocalEtcd } from '../../templates/manifests/manifests.ts';
import { buildCertificatesRoleObjects } from '../addons/bootstrap-rbac.ts';
import { KUBE_SYSTEM } from '../addons/objects.ts';
import type { InitConfig } from '../config/types.ts';
import { buildTokenSecret, generateToken } from '../tokens/token.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import type { InitContext } from './init-context.ts';
import { planObjects } from './objects.ts';

/** How long uploaded certificates stay in the cluster. */
const UPLOADED_CERTIFICATES_TTL_MS = 2 * 3600_000;

const SECRET_NAME = 'kubeadm-certs';

/** Keeps the CAs and keys, encrypted, in the cluster for two hours, for control-plane nodes that join. */
export const uploadCertsPhase: Phase<InitContext> = {
  name: 'upload-certs',
  summary: 'Upload the certificates, encrypted',
  after: ['wait-control-plane', 'certs'],
  idle: ({ certificateKey }) => (certificateKey === undefined ? '--upload-certs was not given' : undefined),
  plan: async (context) =>
    context.certificateKey === undefined
      ? []
      : planCertificateUpload({ ...context, certificateKey: context.certificateKey }),
};

/** The Secret with the shared files, encrypted with the key, and who may read it. @throws PKI_KEY_MISSING */
export async function planCertificateUpload(
  context: Pick<InitContext, 'config' | 'host' | 'now' | 'find' | 'warn'> & {
    readonly certificateKey: string;
  },
): Promise<readonly Action[]> {
  const { config, host, now, certificateKey } = context;
  const data = await encryptSharedFiles(sharedFilesOf(config), {
    host,
    key: parseCertificateKey(certificateKey),
    randomBytes,
  });
  return [...planUpload(data, now()), ...(await planObjects(context, buildCertificatesRoleObjects()))];
}

/** The files that the control-plane nodes of this cluster share. */
export function sharedFilesOf(config: Pick<InitConfig, 'cluster' | 'tkadm'>): readonly SharedFile[] {
  return listSharedFiles({
    certificatesDir: config.cluster.certificatesDir,
    hasLocalEtcd: hasLocalEtcd(config),
    externalEtcd: config.tkadm.store === 'etcd' ? config.cluster.etcd.external : undefined,
  });
}

/**
 * The uploaded certificates as files of a control-plane node that joins.
 * @throws PKI_SECRET_INVALID when they are not in the cluster (any more) or the key does not fit, PKI_FILE_EXISTS.
 */
export async function planCertificateDownload(options: {
  readonly client: Pick<ApiClient, 'find'>;
  readonly host: Pick<Host, 'readFile'>;
  readonly config: Pick<InitConfig, 'cluster' | 'tkadm'>;
  readonly certificateKey: string;
}): Promise<readonly PkiFile[]> {
  const { client, host, config, certificateKey } = options;
  const key = parseCertificateKey(certificateKey);
  const secret = await client.find(SECRETS, { namespace: KUBE_SYSTEM, name: SECRET_NAME });
  if (!secret) {
    throw new TkadmError(
      'PKI_SECRET_INVALID',
      `Cannot download the certificates: Secret "${KUBE_SYSTEM}/${SECRET_NAME}" is not there; it is kept for two hours`,
      { hint: 'tkadm init phase upload-certs --upload-certs, on a control-plane node' },
    );
  }
  return planDownload(sharedFilesOf(config), { host, key, data: secret.data ?? {} });
}

/** A token without any use, whose end takes the Secret that it owns with it. */
function planUpload(data: Readonly<Record<string, string>>, now: Date): readonly Action[] {
  const token = buildTokenSecret({
    token: generateToken(randomBytes),
    description: `Its end removes the Secret "${SECRET_NAME}"`,
    expiresAt: new Date(now.getTime() + UPLOADED_CERTIFICATES_TTL_MS),
    usages: [],
    groups: [],
  });
  return [
    { kind: 'apply-object', object: token, existing: 'replace' },
    {
      kind: 'apply-object',
      object: {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: SECRET_NAME, namespace: KUBE_SYSTEM },
        type: 'Opaque',
        data,
      } as never,
      existing: 'replace',
      owner: token,
    },
  ];
}
