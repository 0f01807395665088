import { FileGroup, type FollowOptions } from '../../base/file-group.ts';
import type { FlagValues } from '../../base/flags.ts';
import { checkKeyPair, parseCertificates } from '../../base/key-pair.ts';
import { loadSigningKey, loadTokenKey } from '../auth/jwt.ts';
import type { API_SERVER_FLAGS } from './flags.ts';

type Flags = FlagValues<typeof API_SERVER_FLAGS>;
type Texts = readonly string[];

const checkPair = ([cert = '', key = '']: Texts) => checkKeyPair(cert, key);
const checkBundle = ([pem = '']: Texts) => void parseCertificates(pem);

/** Files of the flags that are followed, in groups that only count as a whole. */
const FILE_GROUPS = {
  serving: {
    subject: 'serving certificate',
    paths: (flags: Flags) => [flags['tls-cert-file'], flags['tls-private-key-file']],
    check: checkPair,
  },
  clientCa: {
    subject: 'client CA',
    paths: (flags: Flags) => [flags['client-ca-file']],
    check: checkBundle,
  },
  requestHeaderCa: {
    subject: 'front-proxy CA',
    paths: (flags: Flags) => [flags['requestheader-client-ca-file']],
    check: checkBundle,
  },
  kubeletClient: {
    subject: 'kubelet client certificate',
    paths: (flags: Flags) => [flags['kubelet-client-certificate'], flags['kubelet-client-key']],
    check: checkPair,
  },
  kubeletCa: {
    subject: 'kubelet CA',
    paths: (flags: Flags) => [flags['kubelet-certificate-authority']],
    check: checkBundle,
  },
  etcdClient: {
    subject: 'etcd client certificate',
    paths: (flags: Flags) => [flags['etcd-certfile'], flags['etcd-keyfile']],
    check: checkPair,
  },
  etcdCa: {
    subject: "etcd's CA",
    paths: (flags: Flags) => [flags['etcd-cafile']],
    check: checkBundle,
  },
  /** The key that signs, then those that verify. */
  serviceAccounts: {
    subject: 'service-account keys',
    paths: (flags: Flags) => [
      flags['service-account-signing-key-file'],
      ...flags['service-account-key-file'],
    ],
    check: checkTokenKeys,
  },
} as const;

/** A group of FILE_GROUPS. */
export type FileGroupName = keyof typeof FILE_GROUPS;

/** Key material of the server as it is on disk now. */
export class ServerFiles {
  readonly #groups: Readonly<Record<FileGroupName, FileGroup>>;
  readonly #hasSigningKey: boolean;

  private constructor(groups: Readonly<Record<FileGroupName, FileGroup>>, hasSigningKey: boolean) {
    this.#groups = groups;
    this.#hasSigningKey = hasSigningKey;
  }

  /** Reads what the flags name. @throws FILE_READ, CERTIFICATE_FILE_INVALID */
  static async read(flags: Flags): Promise<ServerFiles> {
    const entries = Object.entries(FILE_GROUPS).map(async ([name, { subject, paths, check }]) => {
      const given = paths(flags).filter((path) => path !== undefined);
      return [name, await FileGroup.read({ subject, paths: given, check })] as const;
    });
    const groups = Object.fromEntries(await Promise.all(entries)) as Record<FileGroupName, FileGroup>;
    return new ServerFiles(groups, flags['service-account-signing-key-file'] !== undefined);
  }

  get serving(): { readonly cert: string; readonly key: string } {
    const [cert = '', key = ''] = this.#groups.serving.texts;
    return { cert, key };
  }

  get clientCa(): string | undefined {
    return this.#groups.clientCa.texts[0];
  }

  get requestHeaderCa(): string | undefined {
    return this.#groups.requestHeaderCa.texts[0];
  }

  /** What the kubelets are shown and verified with. */
  get kubelet(): {
    readonly cert: string | undefined;
    readonly key: string | undefined;
    readonly ca: string | undefined;
  } {
    const [cert, key] = this.#groups.kubeletClient.texts;
    return { cert, key, ca: this.#groups.kubeletCa.texts[0] };
  }

  /** What etcd is shown and verified with. */
  get etcd(): ServerFiles['kubelet'] {
    const [cert, key] = this.#groups.etcdClient.texts;
    return { cert, key, ca: this.#groups.etcdCa.texts[0] };
  }

  get signingKey(): string | undefined {
    return this.#hasSigningKey ? this.#groups.serviceAccounts.texts[0] : undefined;
  }

  /** Keys that verify service-account tokens. */
  get serviceAccountKeys(): readonly string[] {
    return this.#groups.serviceAccounts.texts.slice(this.#hasSigningKey ? 1 : 0).flatMap(splitKeys);
  }

  /** Takes renewed files from now on, and calls back with the group that changed. */
  follow(
    options: Omit<FollowOptions, 'onChange'> & {
      readonly onChange: (name: FileGroupName) => void | Promise<void>;
    },
  ): void {
    for (const [name, group] of Object.entries(this.#groups)) {
      group.follow({ ...options, onChange: () => options.onChange(name as FileGroupName) });
    }
  }
}

const KEY = /-----BEGIN ((?:[A-Z]+ )?(?:PUBLIC|PRIVATE) KEY)-----[^-]+-----END \1-----/g;

/** The keys of a file, which may hold several: the old one beside the new while tokens of both are about. */
function splitKeys(pem: string): readonly string[] {
  const keys = pem.match(KEY) ?? [];
  if (keys.length > 0 && keys.length === pem.split(/-----BEGIN [A-Z ]*KEY-----/).length - 1) return keys;
  throw new Error('a file of service-account keys is empty or cut off');
}

// A signing key that no verifying key knows would make tokens that nobody accepts.
function checkTokenKeys(pems: Texts): void {
  const [first = '', ...others] = pems.map(splitKeys);
  const known = others.flat().map((pem) => loadTokenKey(pem).keyId);
  const [signing = ''] = first;
  if (!signing.includes('PRIVATE KEY') || known.length === 0) return void loadTokenKey(signing);
  if (known.includes(loadSigningKey(signing).keyId)) return;
  throw new Error('no file of --service-account-key-file has the public key of the signing key');
}
