import type { Logger } from '../../base/log.ts';
import type { ApiLink } from '../api-link.ts';
import type { KubeletConfig } from '../kubelet-config.ts';
import type { AgentFlags } from '../options.ts';
import { adoptCertificate, ensureKubeconfig, rotateClientCertificate } from './client-certificate.ts';

export interface ConnectOptions {
  readonly flags: AgentFlags;
  readonly link: ApiLink;
  readonly log: Logger;
  readonly config: KubeletConfig;
  readonly nodeName: string;
  readonly now: () => number;
  readonly random: () => number;
  readonly recordOnNode: (message: string) => void;
  readonly signal: AbortSignal;
}

/** Finds or asks for credentials, uses them, and renews them. */
export async function keepCredentials({
  flags,
  link,
  log,
  config,
  nodeName,
  now,
  random,
  recordOnNode,
  signal,
}: ConnectOptions): Promise<void> {
  const kubeconfig = flags.kubeconfig;
  if (!kubeconfig) return;
  const certificate = {
    nodeName,
    certDir: flags['cert-dir'],
    kubeconfig,
    now: () => new Date(now()),
    log: log.child('certificate'),
    signal,
  };
  const bootstrapKubeconfig = flags['bootstrap-kubeconfig'];
  if (bootstrapKubeconfig) await ensureKubeconfig({ ...certificate, bootstrapKubeconfig });
  if (config.rotateCertificates) {
    await adoptCertificate(certificate).catch((error: Error) => certificate.log.warn(error.message));
  }
  await link.follow(kubeconfig);
  if (!config.rotateCertificates) return;
  await rotateClientCertificate({
    ...certificate,
    client: () => link.client,
    bootstrapKubeconfig,
    onRotated: async () => void (await link.load(kubeconfig)),
    onFailure: recordOnNode,
    random,
  });
}
