import type { PkiContext } from '../../pki/plan.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import type { Host } from '../../runtime/base/host.ts';
import type { InitConfig } from '../config/types.ts';

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
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly warn: (message: string) => void;
  /** The administrator's client; the API server must be up. */
  readonly api: () => Promise<ApiClient>;
}

/** The certificates' view of the configuration. */
export function pkiContext({ config, host, now }: Pick<InitContext, 'config' | 'host' | 'now'>): PkiContext {
  const { cluster } = config;
  return {
    host,
    certificatesDir: cluster.certificatesDir,
    algorithm: cluster.encryptionAlgorithm,
    certificateValidityMs: parseDuration(cluster.certificateValidityPeriod),
    caCertificateValidityMs: parseDuration(cluster.caCertificateValidityPeriod),
    now: now(),
    input: config,
  };
}
