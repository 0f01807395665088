import type { PkiContext } from '../../pki/plan.ts';
import type { PrimeSearches } from '../../pki/rsa.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import type { Host } from '../../runtime/base/host.ts';
import type { PatchSet } from '../../templates/patches.ts';
import type { InitConfig } from '../config/types.ts';
import type { TokenInfo } from '../tokens/token.ts';
import type { FindObject } from '../workflow/observe.ts';

/** What the phases of init look at. */
export interface InitContext {
  readonly config: InitConfig;
  readonly host: Host;
  readonly now: () => Date;
  /** Repair what preflight finds. */
  readonly shouldFix: boolean;
  /** The user named the advertise address. */
  readonly isAddressGiven?: boolean;
  /** "systemd", "openrc", "none" */
  readonly initSystem: string;
  /** Encrypts the certificates that are uploaded, 32 bytes in hexadecimal; undefined: none are. */
  readonly certificateKey?: string | undefined;
  /** Shared by the phases that make keys at the same time. */
  readonly searches?: PrimeSearches | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly warn: (message: string) => void;
  /** The administrator's client; the API server must be up. */
  readonly api: () => Promise<ApiClient>;
  /** An object as the cluster has it. */
  readonly find: FindObject;
  /** The cluster's bootstrap tokens. */
  readonly tokens: () => Promise<readonly TokenInfo[]>;
  /** The user's patches. */
  readonly patches: () => Promise<PatchSet>;
  /** True when the node bundle is laid out as this command would do it. */
  readonly isBundleInstalled: () => Promise<boolean>;
  /** Digest of that bundle; undefined where its parts are not at hand, as in phases that write files elsewhere. */
  readonly bundleId?: () => Promise<string | undefined>;
  /** Where kubeconfig files go; default: /etc/kubernetes. */
  readonly kubeconfigDir?: string | undefined;
}

/** The certificates' view of the configuration. */
export function pkiContext({
  config,
  host,
  now,
  warn,
  searches,
}: Pick<InitContext, 'config' | 'host' | 'now' | 'searches'> &
  Partial<Pick<InitContext, 'warn'>>): PkiContext {
  const { cluster } = config;
  return {
    host,
    certificatesDir: cluster.certificatesDir,
    algorithm: cluster.encryptionAlgorithm,
    searches,
    certificateValidityMs: parseDuration(cluster.certificateValidityPeriod),
    caCertificateValidityMs: parseDuration(cluster.caCertificateValidityPeriod),
    now: now(),
    input: config,
    warn,
  };
}
