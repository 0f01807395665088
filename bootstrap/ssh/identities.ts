import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import ssh2, { type ParsedKey } from 'ssh2';
import { describeFileError, isSystemError, TkadmError } from '../../runtime/base/errors.ts';
import type { SshPrompts } from './prompts.ts';

// Node.js does not see the names of this CommonJS module's exports.
const { utils } = ssh2;

const DEFAULT_IDENTITIES = ['id_ed25519', 'id_ecdsa', 'id_rsa'];
const PASSPHRASE_TRIES = 3;

export interface IdentityOptions {
  /** Named on the command line: each has to be there. */
  readonly named: readonly string[];
  /** Of the configuration file; those that are missing are passed over, as ssh does. */
  readonly configured: readonly string[];
  readonly sshDir: string;
  readonly prompts: SshPrompts;
}

/** A key file; a key under a passphrase is opened when its turn comes. */
export interface Identity {
  readonly path: string;
  /** @throws SSH_AUTHENTICATION when the passphrase is wrong or nobody can be asked */
  readonly open: () => Promise<ParsedKey | undefined>;
}

/**
 * The key files to try, in order: the named ones, then the configured ones or else the defaults.
 * @throws SSH_AUTHENTICATION when a named one cannot be used
 */
export async function loadIdentities(options: IdentityOptions): Promise<readonly Identity[]> {
  const { named, configured, sshDir } = options;
  const others = configured.length > 0 ? configured : DEFAULT_IDENTITIES.map((file) => join(sshDir, file));
  const paths = [...new Set([...named, ...others])];
  const identities = await Promise.all(
    paths.map((path) => loadIdentity(path, named.includes(path), options.prompts)),
  );
  return identities.filter((identity) => identity !== undefined);
}

async function loadIdentity(
  path: string,
  isNamed: boolean,
  prompts: SshPrompts,
): Promise<Identity | undefined> {
  const text = await readFile(path).catch((error) => {
    if (!isNamed && (isSystemError(error, 'ENOENT') || isSystemError(error, 'EACCES'))) return undefined;
    throw new TkadmError('SSH_AUTHENTICATION', `Cannot read SSH key "${path}": ${describeFileError(error)}`, {
      cause: error,
    });
  });
  if (!text) return undefined;
  const parsed = utils.parseKey(text);
  if (!(parsed instanceof Error)) return { path, open: async () => parsed };
  if (/passphrase/i.test(parsed.message))
    return { path, open: () => openEncrypted(path, text, isNamed, prompts) };
  if (isNamed) throw unusable(path, `Cannot use SSH key "${path}": ${parsed.message}`);
  return undefined;
}

async function openEncrypted(
  path: string,
  text: Buffer,
  isNamed: boolean,
  prompts: SshPrompts,
): Promise<ParsedKey | undefined> {
  const question = `Passphrase for key "${path}": `;
  for (let attempt = 0; attempt < PASSPHRASE_TRIES; attempt += 1) {
    const passphrase = await prompts.secret(question);
    if (passphrase === undefined || passphrase === '') break;
    const parsed = utils.parseKey(text, passphrase);
    if (!(parsed instanceof Error)) return parsed;
    prompts.forget(question);
  }
  if (!isNamed) return undefined;
  throw unusable(path, `Cannot use SSH key "${path}": its passphrase is not known`);
}

function unusable(path: string, message: string): TkadmError {
  return new TkadmError('SSH_AUTHENTICATION', message, {
    hint: `Load a key with a passphrase into ssh-agent: ssh-add ${path}`,
  });
}
