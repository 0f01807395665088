import { randomBytes } from 'node:crypto';
import { generateCertificateKey } from '../../pki/certificate-secret.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { writeTogether } from '../workflow/action.ts';
import { type CertsOptions, loadCertsConfig } from './certs-config.ts';
import { listRequests, planRequest } from './certs-requests.ts';
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
 * gets its key, and its certificate later by hand. Keys whose requests are there stay, so that a run that was
 * interrupted is gone on with.
 * @throws PKI_FILE_EXISTS naming what is there and is none of these.
 */
export async function runGenerateCsr(
  context: CliContext,
  options: CertsOptions & { readonly output: string },
): Promise<void> {
  const host = createLocalHost();
  const config = await loadCertsConfig(context, host, { ...options, needsAddress: true });
  const requests = listRequests(config, await host.readFile(`${config.certificatesDir}/ca.crt`));
  await withJournal(context, { host, command: 'certs generate-csr', extent: 'files' }, async (perform) => {
    const plans = await Promise.all(
      requests.map((request) => planRequest(request, { host, config: config.config })),
    );
    refuseForeign(plans.flatMap(({ problem }) => problem ?? []));
    for (const action of plans.flatMap(({ files }) => writeTogether(files))) await perform(action);
  });
  const paths = requests.flatMap(({ keyPath, csrPath }) => [keyPath, csrPath]);
  writeData(context, options.output, { files: paths }, paths.map((path) => `${path}\n`).join(''));
}

function refuseForeign(problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new TkadmError('PKI_FILE_EXISTS', `Cannot write certificate requests: ${problems.join(', ')}`, {
    hint: 'tkadm certs generate-csr --cert-dir DIR --kubeconfig-dir DIR',
  });
}
