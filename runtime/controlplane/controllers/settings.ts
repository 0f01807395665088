import { readFile } from 'node:fs/promises';
import { TkadmError } from '../../base/errors.ts';
import type { FlagValues } from '../../base/flags.ts';
import type { FLAGS } from './flags.ts';
import type { NodeIpamSettings } from './node-ipam.ts';

/** What the controllers need from flags and files; a part that is undefined turns its controllers off. */
export interface ControllerSettings {
  readonly rootCaPem: string | undefined;
  readonly signing:
    | { readonly caCertPem: string; readonly caKeyPem: string; readonly maxDurationMs: number }
    | undefined;
  readonly nodeIpam: NodeIpamSettings | undefined;
  readonly nodeGracePeriodMs: number;
  readonly terminatedPodThreshold: number;
  /** PEM of the key that signs tokens of Secrets of type service-account-token. */
  readonly serviceAccountKeyPem: string | undefined;
}

/** Reads the files that the flags name. @throws FILE_READ, FLAG_INVALID */
export async function loadSettings(flags: FlagValues<typeof FLAGS>): Promise<ControllerSettings> {
  const certPem = await readOptional(flags['cluster-signing-cert-file']);
  const keyPem = await readOptional(flags['cluster-signing-key-file']);
  const clusterCidrs = flags['cluster-cidr'];
  if (flags['allocate-node-cidrs'] && clusterCidrs.length === 0) {
    throw new TkadmError(
      'FLAG_INVALID',
      'Cannot use flag "--allocate-node-cidrs": "--cluster-cidr" is empty',
    );
  }
  return {
    rootCaPem: await readOptional(flags['root-ca-file']),
    serviceAccountKeyPem: await readOptional(flags['service-account-private-key-file']),
    signing:
      certPem && keyPem
        ? { caCertPem: certPem, caKeyPem: keyPem, maxDurationMs: flags['cluster-signing-duration'] }
        : undefined,
    nodeIpam: flags['allocate-node-cidrs']
      ? {
          clusterCidrs,
          serviceCidrs: flags['service-cluster-ip-range'],
          maskSizeIpv4: flags['node-cidr-mask-size-ipv4'] ?? flags['node-cidr-mask-size'] ?? 24,
          maskSizeIpv6: flags['node-cidr-mask-size-ipv6'] ?? flags['node-cidr-mask-size'] ?? 64,
        }
      : undefined,
    nodeGracePeriodMs: flags['node-monitor-grace-period'],
    terminatedPodThreshold: flags['terminated-pod-gc-threshold'],
  };
}

async function readOptional(path: string | undefined): Promise<string | undefined> {
  if (!path) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new TkadmError('FILE_READ', `Cannot read "${path}": ${(error as Error).message}`, { cause: error });
  }
}
