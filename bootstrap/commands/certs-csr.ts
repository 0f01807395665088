import { randomBytes } from 'node:crypto';
import { generateCertificateKey } from '../../pki/certificate-secret.ts';
import {
  buildCertificateSpec,
  buildSubjectAltNames,
  CERTIFICATES,
  type CertificateRow,
} from '../../pki/certificates.ts';
import { createCertificateRequest } from '../../pki/csr.ts';
import { LEAF_USAGES } from '../../pki/issue.ts';
import { generateKeyPair } from '../../pki/keys.ts';
import type { PkiFile } from '../../pki/plan.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import {
  buildKubeconfig,
  KUBECONFIGS,
  kubeconfigServer,
  kubeconfigUser,
} from '../../templates/kubeconfig.ts';
import { hasLocalEtcd } from '../../templates/manifests/manifests.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { writeTogether } from '../workflow/action.ts';
import { type CertsConfig, type CertsOptions, loadCertsConfig } from './certs-config.ts';
import type { CliContext } from './context.ts';
import { withJournal } from './journal.ts';
import { writeData } from './output.ts';

/** `tkadm certs certificate-key` */
export function runCertificateKey(context: CliContext, { output }: { readonly output: string }): void {
  const certificateKey = generateCertificateKey(randomBytes);
  writeData(context, output, { certificateKey }, `${certificateKey}\n`);
}

/**
 * `tkadm certs generate-csr`: a key and a request for everything that a CA elsewhere is to sign. A kubeconfig
 * gets its key, and its certificate later by hand.
 * @throws PKI_FILE_EXISTS naming what is there.
 */
export async function runGenerateCsr(
  context: CliContext,
  options: CertsOptions & { readonly output: string },
): Promise<void> {
  const host = createLocalHost();
  const config = await loadCertsConfig(context, host, { ...options, needsAddress: true });
  const caPem = await host.readFile(`${config.certificatesDir}/ca.crt`);
  const pairs = await Promise.all([...planLeaves(config), ...planKubeconfigs(config, caPem)]);
  const files = pairs.flat();
  await refuseExisting(host, files);
  await withJournal(context, { host, command: 'certs generate-csr', extent: 'files' }, async (perform) => {
    for (const action of pairs.flatMap(writeTogether)) await perform(action);
  });
  const paths = files.map((file) => file.path);
  writeData(context, options.output, { files: paths }, paths.map((path) => `${path}\n`).join(''));
}

function planLeaves({ config, certificatesDir }: CertsConfig): readonly Promise<readonly PkiFile[]>[] {
  return CERTIFICATES.filter(
    (row: CertificateRow) => row.issuer !== undefined && (!row.isEtcd || hasLocalEtcd(config)),
  ).map(async (row) => {
    const path = `${certificatesDir}/${row.baseName}`;
    const { privateKeyPem } = await generateKeyPair(config.cluster.encryptionAlgorithm);
    const csr = createCertificateRequest({
      keyPem: privateKeyPem,
      subject: buildCertificateSpec(row, config),
      usages: [...LEAF_USAGES, ...row.usages],
      subjectAltNames: buildSubjectAltNames(row, config),
    });
    return [secretFile(`${path}.key`, privateKeyPem), secretFile(`${path}.csr`, csr)];
  });
}

function planKubeconfigs(
  { config, kubernetesDir }: CertsConfig,
  caPem: string | undefined,
): readonly Promise<readonly PkiFile[]>[] {
  return KUBECONFIGS.map(async (row) => {
    const path = `${kubernetesDir}/${row.fileName}`;
    const user = kubeconfigUser(row, config.nodeRegistration.name);
    const { privateKeyPem } = await generateKeyPair(config.cluster.encryptionAlgorithm);
    const kubeconfig = buildKubeconfig({
      clusterName: config.cluster.clusterName,
      server: kubeconfigServer(row, config),
      caPem,
      user,
      credentials: { keyPem: privateKeyPem },
    });
    const subject = { commonName: user, organizations: row.organizations };
    const csr = createCertificateRequest({
      keyPem: privateKeyPem,
      subject,
      usages: [...LEAF_USAGES, 'client auth'],
    });
    return [secretFile(path, renderYaml(kubeconfig)), secretFile(`${path}.csr`, csr)];
  });
}

async function refuseExisting(host: Host, files: readonly PkiFile[]): Promise<void> {
  const stats = await Promise.all(files.map(({ path }) => host.stat(path)));
  const taken = files.filter((_, i) => stats[i] !== undefined).map(({ path }) => `"${path}"`);
  if (taken.length === 0) return;
  throw new TkadmError('PKI_FILE_EXISTS', `Cannot write certificate requests: ${taken.join(', ')} exist`, {
    hint: 'tkadm certs generate-csr --cert-dir DIR --kubeconfig-dir DIR',
  });
}

function secretFile(path: string, content: string): PkiFile {
  return { kind: 'write-file', path, mode: 0o600, content, secret: true };
}
