import { randomBytes } from 'node:crypto';
import { generateCertificateKey } from '../../pki/certificate-secret.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import type { ClientConfig } from '../../runtime/api/kubeconfig.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { requireManyControlPlanes } from '../config/joined-cluster.ts';
import { planCertificateUpload } from '../phases/upload-certs.ts';
import { createFinder } from '../workflow/observe.ts';
import { performAction } from '../workflow/perform.ts';
import { bundleSources } from './bundle-sources.ts';
import { loadCertsConfig } from './certs-config.ts';
import type { CliContext } from './context.ts';

/**
 * Puts this control-plane node's CAs and keys into the cluster for two hours, encrypted with a new key, which is
 * returned.
 * @throws UNSUPPORTED for a cluster that can have one control-plane node only, PKI_KEY_MISSING
 */
export async function uploadCertificates(context: CliContext, client: ClientConfig): Promise<string> {
  const host = createLocalHost();
  const { config } = await loadCertsConfig(context, host, {});
  requireManyControlPlanes(config);
  const { signal, now } = context;
  const certificateKey = generateCertificateKey(randomBytes);
  const connection = new ApiClient(client);
  const api = async () => connection;
  try {
    const actions = await planCertificateUpload({
      config,
      host,
      now,
      certificateKey,
      find: createFinder({ api, isDryRun: false, signal }),
      warn: (message) => context.writeError(`Warning: ${message}\n`),
    });
    const tools = { host, signal, api, superApi: api, bundleSources: bundleSources(context) };
    const initSystem = await detectInitSystem(host);
    for (const action of actions) await performAction(action, { ...tools, initSystem });
    return certificateKey;
  } finally {
    connection.close();
  }
}
