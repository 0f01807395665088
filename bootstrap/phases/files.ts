import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';

/** The cluster's CA certificates. @throws PKI_MISSING when the file is not there. */
export async function readCaBundle(host: Pick<Host, 'readFile'>, certificatesDir: string): Promise<string> {
  const path = `${certificatesDir}/ca.crt`;
  const text = await host.readFile(path);
  if (text === undefined) {
    throw new TkadmError('FILE_READ', `Cannot read "${path}": it is not there`, {
      hint: 'tkadm init phase certs',
    });
  }
  return text;
}
