import {
  buildCertificateSpec,
  buildSubjectAltNames,
  CERTIFICATES,
  type CertificateRow,
} from '../../pki/certificates.ts';
import { createCertificateRequest, isSameRequest } from '../../pki/csr.ts';
import { LEAF_USAGES } from '../../pki/issue.ts';
import { generateKeyPair } from '../../pki/keys.ts';
import type { PkiFile } from '../../pki/plan.ts';
import { parseKubeconfig } from '../../runtime/api/kubeconfig.ts';
import type { Host } from '../../runtime/base/host.ts';
import {
  buildKubeconfig,
  KUBECONFIGS,
  kubeconfigServer,
  kubeconfigUser,
} from '../../templates/kubeconfig.ts';
import { hasLocalEtcd } from '../../templates/manifests/manifests.ts';
import { renderYaml } from '../../templates/yaml.ts';
import type { InitConfig } from '../config/types.ts';
import type { CertsConfig } from './certs-config.ts';

/** A key that a CA elsewhere is to certify, and the request for it. */
export interface KeyRequest {
  /** Of the file that holds the key. */
  readonly keyPath: string;
  readonly csrPath: string;
  readonly request: Omit<Parameters<typeof createCertificateRequest>[0], 'keyPem'>;
  /** The file's text. */
  readonly formatKey: (keyPem: string) => string;
  /** What a file that is there holds; a key that is certified belongs to somebody. */
  readonly parseKey: (text: string, host: Host) => Promise<FoundKey>;
}

interface FoundKey {
  readonly keyPem: string | undefined;
  readonly isCertified: boolean;
}

/** What is missing of a request, or why the files that are there cannot be its own. */
export interface RequestPlan {
  readonly files: readonly PkiFile[];
  /** '"/etc/kubernetes/pki/apiserver.key" exists with its certificate' */
  readonly problem?: string;
}

/** Everything that the CAs of a configuration sign. `caPem` is theirs, when it is there, for the kubeconfigs. */
export function listRequests(certs: CertsConfig, caPem: string | undefined): readonly KeyRequest[] {
  return [...listLeaves(certs), ...listKubeconfigs(certs, caPem)];
}

function listLeaves({ config, certificatesDir }: CertsConfig): readonly KeyRequest[] {
  return CERTIFICATES.filter(
    (row: CertificateRow) => row.issuer !== undefined && (!row.isEtcd || hasLocalEtcd(config)),
  ).map((row) => {
    const path = `${certificatesDir}/${row.baseName}`;
    return {
      keyPath: `${path}.key`,
      csrPath: `${path}.csr`,
      request: {
        subject: buildCertificateSpec(row, config),
        usages: [...LEAF_USAGES, ...row.usages],
        subjectAltNames: buildSubjectAltNames(row, config),
      },
      formatKey: (keyPem) => keyPem,
      parseKey: async (text, host) => ({
        keyPem: text,
        isCertified: (await host.stat(`${path}.crt`)) !== undefined,
      }),
    };
  });
}

function listKubeconfigs(
  { config, kubernetesDir }: CertsConfig,
  caPem: string | undefined,
): readonly KeyRequest[] {
  return KUBECONFIGS.map((row) => {
    const path = `${kubernetesDir}/${row.fileName}`;
    const user = kubeconfigUser(row, config.nodeRegistration.name);
    return {
      keyPath: path,
      csrPath: `${path}.csr`,
      request: {
        subject: { commonName: user, organizations: row.organizations },
        usages: [...LEAF_USAGES, 'client auth'],
      },
      formatKey: (keyPem) =>
        renderYaml(
          buildKubeconfig({
            clusterName: config.cluster.clusterName,
            server: kubeconfigServer(row, config),
            caPem,
            user,
            credentials: { keyPem },
          }),
        ),
      parseKey: async (text) => {
        const credentials = parseKubeconfig(text, path).users?.[0]?.user;
        const key = credentials?.['client-key-data'];
        return {
          keyPem: key === undefined ? undefined : Buffer.from(key, 'base64').toString('utf8'),
          isCertified: ['client-certificate-data', 'client-certificate'].some(
            (field) => field in (credentials ?? {}),
          ),
        };
      },
    };
  });
}

/** A new key with its request; of a key that waits for its request, the request; of both, nothing. */
export async function planRequest(
  { keyPath, csrPath, request, formatKey, parseKey }: KeyRequest,
  { host, config }: { readonly host: Host; readonly config: InitConfig },
): Promise<RequestPlan> {
  const [text, csr] = await Promise.all([host.readFile(keyPath), host.readFile(csrPath)]);
  if (text === undefined) {
    if (csr !== undefined) return { files: [], problem: `"${csrPath}" exists without its key` };
    const { privateKeyPem: keyPem } = await generateKeyPair(config.cluster.encryptionAlgorithm);
    return {
      files: [
        secretFile(keyPath, formatKey(keyPem)),
        secretFile(csrPath, createCertificateRequest({ ...request, keyPem })),
      ],
    };
  }
  const { keyPem, isCertified } = await parseKey(text, host);
  if (keyPem === undefined) return { files: [], problem: `"${keyPath}" exists and holds no key` };
  if (csr === undefined && isCertified)
    return { files: [], problem: `"${keyPath}" exists with its certificate` };
  const wanted = createCertificateRequest({ ...request, keyPem });
  if (csr === undefined) return { files: [secretFile(csrPath, wanted)] };
  return isSameRequest(csr, wanted)
    ? { files: [] }
    : { files: [], problem: `"${csrPath}" exists and asks for something else` };
}

function secretFile(path: string, content: string): PkiFile {
  return { kind: 'write-file', path, mode: 0o600, content, secret: true };
}
