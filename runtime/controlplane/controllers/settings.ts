import { createPrivateKey } from 'node:crypto';
import { TkadmError } from '../../base/errors.ts';
import { FileGroup, type FollowOptions } from '../../base/file-group.ts';
import type { FlagValues } from '../../base/flags.ts';
import { checkKeyPair, parseCertificates } from '../../base/key-pair.ts';
import type { FLAGS } from './flags.ts';
import type { NodeIpamSettings } from './node-ipam.ts';

/** What the controllers need from flags and files; a part that is undefined turns its controllers off. */
export interface ControllerSettings {
  /** PEM texts are asked for at each use: files are replaced while the controllers run. */
  readonly rootCaPem: (() => string) | undefined;
  readonly signing:
    | {
        readonly ca: () => { readonly certPem: string; readonly keyPem: string };
        readonly maxDurationMs: number;
      }
    | undefined;
  readonly nodeIpam: NodeIpamSettings | undefined;
  readonly nodeGracePeriodMs: number;
  readonly terminatedPodThreshold: number;
  /** PEM of the key that signs tokens of Secrets of type service-account-token. */
  readonly serviceAccountKeyPem: (() => string) | undefined;
}

/** Settings with the files that they come from. */
export interface LoadedSettings extends ControllerSettings {
  readonly files: readonly FileGroup[];
}

/** Reads the files that the flags name. @throws FILE_READ, FLAG_INVALID, CERTIFICATE_FILE_INVALID */
export async function loadSettings(flags: FlagValues<typeof FLAGS>): Promise<LoadedSettings> {
  const clusterCidrs = flags['cluster-cidr'];
  if (flags['allocate-node-cidrs'] && clusterCidrs.length === 0) {
    throw new TkadmError(
      'FLAG_INVALID',
      'Cannot use flag "--allocate-node-cidrs": "--cluster-cidr" is empty',
    );
  }
  const { signing, rootCa, serviceAccountKey } = await readFiles(flags);
  return {
    files: [signing, rootCa, serviceAccountKey].filter((group) => group !== undefined),
    rootCaPem: rootCa && (() => rootCa.texts[0]!),
    serviceAccountKeyPem: serviceAccountKey && (() => serviceAccountKey.texts[0]!),
    signing: signing && {
      ca: () => ({ certPem: signing.texts[0]!, keyPem: signing.texts[1]! }),
      maxDurationMs: flags['cluster-signing-duration'],
    },
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

/** Takes renewed files from now on. */
export function followSettings({ files }: LoadedSettings, options: FollowOptions): void {
  for (const group of files) group.follow(options);
}

async function readFiles(flags: FlagValues<typeof FLAGS>) {
  const read = async (
    subject: string,
    paths: readonly (string | undefined)[],
    check: (texts: readonly string[]) => void,
  ) => {
    // With an external CA kubeadm's manifest gives the flags of the signing CA without a value.
    const given = paths.flatMap((path) => path || []);
    return given.length === paths.length ? FileGroup.read({ subject, paths: given, check }) : undefined;
  };
  const [signing, rootCa, serviceAccountKey] = await Promise.all([
    read(
      'cluster signing CA',
      [flags['cluster-signing-cert-file'], flags['cluster-signing-key-file']],
      ([cert = '', key = '']) => checkKeyPair(cert, key),
    ),
    read('root CA', [flags['root-ca-file']], ([pem = '']) => void parseCertificates(pem)),
    read(
      'service-account key',
      [flags['service-account-private-key-file']],
      ([pem = '']) => void createPrivateKey(pem),
    ),
  ]);
  return { signing, rootCa, serviceAccountKey };
}
