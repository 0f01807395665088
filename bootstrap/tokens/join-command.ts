import type { ClientConfig } from '../../runtime/api/kubeconfig.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { pinsOf } from './pin.ts';

/**
 * The command that joins a machine, in one line: endpoint, token, and a pin for each CA of the kubeconfig; with a
 * certificate key, as control plane.
 * @throws KUBECONFIG_INVALID when the kubeconfig has no CA to pin
 */
export function formatJoinCommand({
  program,
  config,
  token,
  certificateKey,
}: {
  readonly program: string;
  readonly config: ClientConfig;
  readonly token: string;
  readonly certificateKey?: string | undefined;
}): string {
  const pins = pinsOf(config.caPem ?? '');
  if (pins.length === 0) {
    throw new TkadmError(
      'KUBECONFIG_INVALID',
      'Cannot print a join command: the kubeconfig has no CA to pin',
      {
        hint: 'tkadm token create --print-join-command --kubeconfig /etc/kubernetes/admin.conf',
      },
    );
  }
  return [
    `${program} join ${new URL(config.server).host} --token ${token}`,
    ...pins.map((pin) => `--discovery-token-ca-cert-hash ${pin}`),
    ...(certificateKey ? [`--control-plane --certificate-key ${certificateKey}`] : []),
  ].join(' ');
}
