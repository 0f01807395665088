import { createPrivateKey, X509Certificate } from 'node:crypto';
import { formatError, TkadmError } from './errors.ts';

const BEGIN = '-----BEGIN CERTIFICATE-----';
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * The certificates of a PEM text, at least one.
 * @throws CERTIFICATE_FILE_INVALID when there is none or one is damaged or cut off.
 */
export function parseCertificates(pem: string): readonly [X509Certificate, ...X509Certificate[]] {
  const texts = pem.match(CERTIFICATE) ?? [];
  if (texts.length !== pem.split(BEGIN).length - 1) throw invalid('a certificate is cut off');
  let certificates: readonly X509Certificate[];
  try {
    certificates = texts.map((text) => new X509Certificate(text));
  } catch (error) {
    throw invalid(formatError(error), error);
  }
  const [first, ...rest] = certificates;
  if (!first) throw invalid('there is no certificate in it');
  return [first, ...rest];
}

/** @throws CERTIFICATE_FILE_INVALID unless the key is that of the first certificate. */
export function checkKeyPair(certPem: string, keyPem: string): void {
  const [certificate] = parseCertificates(certPem);
  let isPair: boolean;
  try {
    isPair = certificate.checkPrivateKey(createPrivateKey(keyPem));
  } catch (error) {
    throw invalid(`the private key cannot be read: ${formatError(error)}`, error);
  }
  if (!isPair) throw invalid('the private key does not belong to it');
}

function invalid(state: string, cause?: unknown): TkadmError {
  return new TkadmError('CERTIFICATE_FILE_INVALID', `Cannot use certificate: ${state}`, { cause });
}
