import { TkadmError } from '../../runtime/base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../../runtime/base/files.ts';
import type { HostKeyPolicy } from './config-resolve.ts';
import {
  formatFingerprint,
  formatKnownHostName,
  judgeHostKey,
  type KnownHost,
  keyTypeOf,
  parseKnownHosts,
  selectKnownHosts,
} from './known-hosts.ts';
import type { SshPrompts } from './prompts.ts';

export interface HostKeyOptions {
  readonly host: string;
  readonly port: number;
  /** HostKeyAlias: the name under which known_hosts holds it. */
  readonly alias: string | undefined;
  readonly knownHostsPaths: readonly string[];
  readonly policy: HostKeyPolicy;
  /** "SHA256:…": the only key that is taken, whatever known_hosts says. */
  readonly pinnedFingerprint: string | undefined;
  readonly prompts: SshPrompts;
}

type Verdict = 'known' | 'pinned' | 'accepted' | 'unknown' | 'changed' | 'revoked' | 'not-pinned';

const STATES: Readonly<Record<Exclude<Verdict, 'known' | 'pinned' | 'accepted'>, string>> = {
  unknown: 'is not in known_hosts',
  changed: 'differs from the one in known_hosts',
  revoked: 'is revoked',
  'not-pinned': 'is not the one with the given fingerprint',
};

/** The host key of one connection: which are known, what is thought of the one that was presented. */
export class HostKeyCheck {
  readonly #options: HostKeyOptions;
  readonly #known: readonly KnownHost[];
  readonly #name: string;
  #presented: { readonly key: Buffer; readonly verdict: Verdict } | undefined;

  private constructor(options: HostKeyOptions, known: readonly KnownHost[]) {
    this.#options = options;
    this.#known = known;
    this.#name = options.alias ?? formatKnownHostName(options.host, options.port);
  }

  static async load(options: HostKeyOptions): Promise<HostKeyCheck> {
    const texts = await Promise.all(options.knownHostsPaths.map(readFileIfExists));
    return new HostKeyCheck(
      options,
      texts.flatMap((text) => parseKnownHosts(text ?? '')),
    );
  }

  /** Algorithms of the keys that known_hosts holds come first, so that a known host is asked for a known key. */
  get algorithms(): string[] {
    const held = new Set(
      selectKnownHosts(this.#known, this.#name).flatMap(({ keyType }) => algorithmsOf(keyType)),
    );
    return [...ALGORITHMS.filter((name) => held.has(name)), ...ALGORITHMS.filter((name) => !held.has(name))];
  }

  /** True when the connection may go on; may ask the person. */
  async verify(key: Buffer): Promise<boolean> {
    const verdict = await this.#judge(key);
    this.#presented = { key, verdict };
    return ['known', 'pinned', 'accepted'].includes(verdict);
  }

  async #judge(key: Buffer): Promise<Verdict> {
    const { pinnedFingerprint, policy, prompts, host } = this.#options;
    const fingerprint = formatFingerprint(key);
    if (pinnedFingerprint !== undefined) return pinnedFingerprint === fingerprint ? 'pinned' : 'not-pinned';
    const verdict = judgeHostKey(this.#known, this.#name, key);
    if (verdict !== 'unknown' || policy === 'strict') return verdict;
    if (policy === 'accept-new') return 'accepted';
    const question = `The key of host "${host}" is not known: ${keyTypeOf(key)} ${fingerprint}\nGo on and record it (yes/no)? `;
    return (await prompts.open(question))?.trim().toLowerCase() === 'yes' ? 'accepted' : 'unknown';
  }

  /** The key that was taken without being known, now recorded in the first known_hosts file: a line to tell. */
  async record(): Promise<string | undefined> {
    const path = this.#options.knownHostsPaths[0];
    if (this.#presented?.verdict !== 'accepted' || path === undefined || path === '/dev/null')
      return undefined;
    const { key } = this.#presented;
    const text = (await readFileIfExists(path)) ?? '';
    const line = `${this.#name} ${keyTypeOf(key)} ${key.toString('base64')}\n`;
    await writeFileAtomic(path, text === '' || text.endsWith('\n') ? text + line : `${text}\n${line}`, {
      mode: 0o600,
    });
    return `recorded host key ${keyTypeOf(key)} ${formatFingerprint(key)}`;
  }

  /** Why the connection was refused by this side; undefined when it was not. */
  explain(cause: Error): TkadmError | undefined {
    if (!this.#presented) return undefined;
    const { key, verdict } = this.#presented;
    if (verdict === 'known' || verdict === 'pinned' || verdict === 'accepted') return undefined;
    const fingerprint = `${keyTypeOf(key)} ${formatFingerprint(key)}`;
    return new TkadmError(
      'SSH_HOST_KEY',
      `Cannot trust host "${this.#name}": its key ${fingerprint} ${STATES[verdict]}`,
      { cause, hint: this.#hint(verdict) },
    );
  }

  #hint(verdict: Verdict): string {
    const { host, port, knownHostsPaths, pinnedFingerprint } = this.#options;
    if (verdict === 'not-pinned')
      return `Compare with the machine's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, not ${pinnedFingerprint}`;
    if (verdict !== 'unknown') return `Find out why; if it is right: ssh-keygen -R '${this.#name}'`;
    const scan = `ssh-keyscan ${port === 22 ? '' : `-p ${port} `}${host} >> ${knownHostsPaths[0]}`;
    return `Compare the fingerprint, then: ${scan}, or pass --ssh-host-keys=accept-new`;
  }
}

const ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
] as const;

function algorithmsOf(keyType: string): readonly string[] {
  return keyType === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [keyType];
}
