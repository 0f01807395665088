import { X509Certificate } from 'node:crypto';
import { formatError, TkadmError } from '../runtime/base/errors.ts';

/** When the first certificate of a PEM text ends; cheap: nothing else of it is read. @throws PKI_CERTIFICATE_INVALID */
export function readNotAfter(pem: string): Date {
  try {
    return new Date(new X509Certificate(pem).validTo);
  } catch (error) {
    throw new TkadmError('PKI_CERTIFICATE_INVALID', `Cannot read a certificate: ${formatError(error)}`, {
      cause: error,
    });
  }
}
