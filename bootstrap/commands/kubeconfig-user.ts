import { parseCertificate } from '../../pki/certificate.ts';
import { issueCertificate } from '../../pki/issue.ts';
import { readCa } from '../../pki/plan.ts';
import { parseKubeconfig } from '../../runtime/api/kubeconfig.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { buildKubeconfig, controlPlaneServer } from '../../templates/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { readCaBundle } from '../phases/files.ts';
import { type CertsConfig, loadCertsConfig } from './certs-config.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';

export interface KubeconfigUserOptions {
  readonly clientName: string;
  readonly org?: readonly string[];
  readonly token?: string;
  readonly validityPeriod?: string;
  readonly config?: string;
  readonly certDir?: string;
  readonly kubeconfig?: string;
  readonly kubeconfigDir?: string;
  readonly output: string;
}

/**
 * `tkadm kubeconfig user`: prints a kubeconfig for a further user, with a client certificate or a token.
 * @throws USAGE, PKI_KEY_MISSING with an external CA.
 */
export async function runKubeconfigUser(context: CliContext, options: KubeconfigUserOptions): Promise<void> {
  if (options.token !== undefined && options.org !== undefined) {
    throw new TkadmError(
      'USAGE',
      "Cannot put a token's user into groups: --org is for a client certificate",
      {
        hint: 'Leave out --org or --token',
      },
    );
  }
  const host = createLocalHost();
  const settings = await loadCertsConfig(context, host, options);
  const { cluster } = settings.config;
  const caPem = await readCaBundle(host, settings.certificatesDir);
  const kubeconfig = buildKubeconfig({
    clusterName: cluster.clusterName,
    server: await findServer(host, settings),
    caPem,
    user: options.clientName,
    credentials:
      options.token === undefined
        ? await issueClient(context, host, { settings, options })
        : { token: options.token },
  });
  writeData(context, options.output, kubeconfig, renderYaml(kubeconfig));
}

/**
 * The stable address that the configuration names; without one that of admin.conf, which is right where this
 * machine's default address would be a guess.
 */
async function findServer(host: Host, { config, origin, kubernetesDir }: CertsConfig): Promise<string> {
  if (config.cluster.controlPlaneEndpoint || origin === 'file') return controlPlaneServer(config);
  const path = `${kubernetesDir}/admin.conf`;
  const text = await host.readFile(path);
  const server = text && parseKubeconfig(text, path).clusters?.[0]?.cluster.server;
  return server || controlPlaneServer(config);
}

async function issueClient(
  context: CliContext,
  host: Host,
  { settings, options }: { readonly settings: CertsConfig; readonly options: KubeconfigUserOptions },
) {
  const { cluster } = settings.config;
  const ca = await readCa('ca', { host, certificatesDir: settings.certificatesDir });
  const { notBefore, notAfter: caEnd } = parseCertificate(ca.certPem);
  const periodMs = parseDuration(options.validityPeriod ?? cluster.certificateValidityPeriod);
  const notAfter = new Date(context.now().getTime() + periodMs);
  if (notAfter > caEnd)
    context.writeError(`Warning: the certificate outlives its CA, which ends at ${caEnd.toISOString()}\n`);
  return issueCertificate({
    spec: { commonName: options.clientName, organizations: options.org ?? [], usages: ['client auth'] },
    ca,
    algorithm: cluster.encryptionAlgorithm,
    notBefore,
    notAfter,
  });
}
