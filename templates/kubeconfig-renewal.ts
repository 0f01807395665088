import { parseCertificate } from '../pki/certificate.ts';
import type { CaPair } from '../pki/issue.ts';
import type { KeyAlgorithm } from '../pki/keys.ts';
import type { PkiFile } from '../pki/plan.ts';
import { reissueCertificate } from '../pki/renew.ts';
import { parseKubeconfig } from '../runtime/api/kubeconfig.ts';
import { TkadmError } from '../runtime/base/errors.ts';
import { renderYaml } from './yaml.ts';

/**
 * A kubeconfig file with a new client certificate like the old one; everything else in it stays.
 * @throws KUBECONFIG_INVALID when it embeds no certificate.
 */
export async function planKubeconfigRenewal(
  path: string,
  text: string,
  options: {
    readonly ca: CaPair;
    readonly algorithm: KeyAlgorithm;
    readonly certificateValidityMs: number;
    readonly now: Date;
  },
): Promise<PkiFile> {
  const config = parseKubeconfig(text, path);
  const [entry] = config.users ?? [];
  const data = entry?.user['client-certificate-data'];
  if (!entry || data === undefined) {
    throw new TkadmError('KUBECONFIG_INVALID', `Cannot renew "${path}": it embeds no client certificate`);
  }
  const old = parseCertificate(Buffer.from(data, 'base64').toString('utf8'));
  const { certPem, keyPem } = await reissueCertificate(old, options);
  const user = {
    ...entry.user,
    'client-certificate-data': Buffer.from(certPem).toString('base64'),
    'client-key-data': Buffer.from(keyPem).toString('base64'),
  };
  const content = renderYaml({ ...config, users: [{ ...entry, user }, ...(config.users ?? []).slice(1)] });
  return { kind: 'write-file', path, mode: 0o600, content, secret: true };
}
