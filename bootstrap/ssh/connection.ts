import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import ssh2, {
  type ClientChannel,
  type ConnectConfig,
  type ParsedKey,
  type Client as Ssh2Client,
} from 'ssh2';
import { formatError, isSystemError, TkadmError } from '../../runtime/base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../../runtime/base/files.ts';
import { sleep } from '../../runtime/base/time.ts';
import {
  formatFingerprint,
  formatKnownHostName,
  judgeHostKey,
  type KnownHost,
  keyTypeOf,
  parseKnownHosts,
  selectKnownHosts,
} from './known-hosts.ts';

// Node.js does not see the names of this CommonJS module's exports.
const { Client, utils } = ssh2;

/** What to do with a host key that known_hosts does not hold: refuse, or record it and go on. */
export type HostKeyPolicy = 'strict' | 'accept-new';

export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
}

export interface SshSettings {
  /** The user's `.ssh` directory. */
  readonly sshDir: string;
  /** Path of the agent's socket, if there is an agent. */
  readonly agentSocket?: string | undefined;
  /** Key files named by the user, tried before the defaults. */
  readonly identityFiles?: readonly string[];
  readonly password?: string | undefined;
  readonly hostKeyPolicy: HostKeyPolicy;
  readonly timeoutMs?: number;
}

/** An open SSH connection. */
export interface SshConnection {
  readonly target: SshTarget;
  /** Starts a command line in the user's login shell. */
  start(commandLine: string): Promise<ClientChannel>;
  /** Why the connection ended before its time, undefined while it stands. */
  lossReason(): string | undefined;
  close(): void;
}

const DEFAULT_IDENTITIES = ['id_ed25519', 'id_ecdsa', 'id_rsa'];
const CONNECT_TIMEOUT_MS = 20_000;
const SESSION_ATTEMPTS = 14;
/** A machine that is busy with its own start may be silent for longer than the three intervals of ssh2's default. */
const KEEPALIVE = { keepaliveInterval: 5_000, keepaliveCountMax: 12 } as const;

/**
 * Parses "user@host:port", "[v6]:port" or a plain address.
 * @throws USAGE when the text is no address.
 */
export function parseSshTarget(text: string, defaults: { readonly user: string }): SshTarget {
  const match = /^(?:([^@\s]+)@)?(?:\[([^\]\s]+)\]|([^:\s]+)|([0-9a-fA-F:]+))(?::(\d+))?$/.exec(text);
  const host = match?.[2] ?? match?.[3] ?? match?.[4];
  const port = Number(match?.[5] ?? 22);
  if (!match || !host || port < 1 || port > 65535) {
    throw new TkadmError('USAGE', `Cannot read SSH address "${text}": it is not of the form user@host:port`);
  }
  return { host, port, user: match[1] ?? defaults.user };
}

/**
 * Connects, verifies the host key against known_hosts and logs in with the agent, key files or a password.
 * @throws SSH_CONNECT, SSH_HOST_KEY, SSH_AUTHENTICATION
 */
export async function connectSsh(target: SshTarget, settings: SshSettings): Promise<SshConnection> {
  const knownHostsPath = join(settings.sshDir, 'known_hosts');
  const known = parseKnownHosts((await readFileIfExists(knownHostsPath)) ?? '');
  const name = formatKnownHostName(target.host, target.port);
  const keys = await loadIdentities(settings);
  let presentedKey: Buffer | undefined;
  const client = new Client();
  await new Promise<void>((resolve, reject) => {
    client.on('ready', () => resolve());
    client.on('error', (error) => reject(explain(error, { target, known, name, presentedKey, settings })));
    client.connect({
      host: target.host,
      port: target.port,
      username: target.user,
      readyTimeout: settings.timeoutMs ?? CONNECT_TIMEOUT_MS,
      ...KEEPALIVE,
      authHandler: buildAuthHandler(target.user, keys, settings),
      algorithms: {
        serverHostKey: orderHostKeyAlgorithms(selectKnownHosts(known, name)),
        // AES-GCM is done in native code; it is several times as fast as the default with ChaCha20.
        cipher: { append: [], prepend: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'], remove: [] },
      },
      hostVerifier: (key: Buffer) => {
        presentedKey = key;
        const verdict = judgeHostKey(known, name, key);
        return verdict === 'known' || (verdict === 'unknown' && settings.hostKeyPolicy === 'accept-new');
      },
    } as ConnectConfig);
  }).catch((error) => {
    client.end();
    throw error;
  });
  let lossReason: string | undefined;
  client.on('error', (error) => {
    lossReason = error.message;
  });
  if (presentedKey && judgeHostKey(known, name, presentedKey) === 'unknown') {
    await recordHostKey(knownHostsPath, name, presentedKey);
  }
  return {
    target,
    start: (commandLine) => startCommand(client, name, commandLine),
    lossReason: () => lossReason,
    close: () => client.end(),
  };
}

/**
 * sshd refuses a session beyond its MaxSessions, and counts one for a moment after its command has ended: such a
 * refusal is tried again for about a second.
 */
async function startCommand(client: Ssh2Client, name: string, commandLine: string): Promise<ClientChannel> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await new Promise((resolve, reject) =>
        client.exec(commandLine, (error, channel) => (error ? reject(error) : resolve(channel))),
      );
    } catch (error) {
      const isRefused = /Channel open failure/.test(formatError(error));
      if (isRefused && attempt <= SESSION_ATTEMPTS) await sleep(10 * attempt);
      else
        throw new TkadmError('SSH_CONNECT', `Cannot run a command on "${name}": ${formatError(error)}`, {
          cause: error,
        });
    }
  }
}

async function loadIdentities(settings: SshSettings): Promise<readonly ParsedKey[]> {
  const named = settings.identityFiles ?? [];
  const paths = [...named, ...DEFAULT_IDENTITIES.map((file) => join(settings.sshDir, file))];
  const keys: ParsedKey[] = [];
  for (const path of paths) {
    const text = await readFile(path).catch((error) => {
      if (isSystemError(error, 'ENOENT') && !named.includes(path)) return undefined;
      throw new TkadmError(
        'SSH_AUTHENTICATION',
        `Cannot read SSH key "${path}": ${(error as Error).message}`,
      );
    });
    if (!text) continue;
    const parsed = utils.parseKey(text);
    if (!(parsed instanceof Error)) keys.push(parsed);
    else if (named.includes(path)) {
      throw new TkadmError('SSH_AUTHENTICATION', `Cannot use SSH key "${path}": ${parsed.message}`, {
        hint: 'Load a key with a passphrase into ssh-agent: ssh-add',
      });
    }
  }
  return keys;
}

/** One method after the other: agent, each key, password, keyboard-interactive with the password. */
function buildAuthHandler(user: string, keys: readonly ParsedKey[], settings: SshSettings): unknown[] {
  const { agentSocket, password } = settings;
  return [
    ...(agentSocket ? [{ type: 'agent', username: user, agent: agentSocket }] : []),
    ...keys.map((key) => ({ type: 'publickey', username: user, key })),
    ...(password === undefined
      ? []
      : [
          { type: 'password', username: user, password },
          {
            type: 'keyboard-interactive',
            username: user,
            prompt: (
              _name: string,
              _text: string,
              _language: string,
              prompts: unknown[],
              finish: (a: string[]) => void,
            ) => finish(prompts.map(() => password)),
          },
        ]),
  ];
}

/** Algorithms of the keys that known_hosts holds come first, so that a known host is asked for a known key. */
function orderHostKeyAlgorithms(known: readonly KnownHost[]): string[] {
  const all = [
    'ssh-ed25519',
    'ecdsa-sha2-nistp256',
    'ecdsa-sha2-nistp384',
    'ecdsa-sha2-nistp521',
    'rsa-sha2-512',
    'rsa-sha2-256',
  ];
  const held = new Set(
    known.flatMap((entry) =>
      entry.keyType === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [entry.keyType],
    ),
  );
  return [
    ...all.filter((algorithm) => held.has(algorithm)),
    ...all.filter((algorithm) => !held.has(algorithm)),
  ];
}

async function recordHostKey(path: string, name: string, key: Buffer): Promise<void> {
  const text = (await readFileIfExists(path)) ?? '';
  const line = `${name} ${keyTypeOf(key)} ${key.toString('base64')}\n`;
  await writeFileAtomic(path, text === '' || text.endsWith('\n') ? text + line : `${text}\n${line}`, {
    mode: 0o600,
  });
}

interface FailureFacts {
  readonly target: SshTarget;
  readonly known: readonly KnownHost[];
  readonly name: string;
  readonly presentedKey: Buffer | undefined;
  readonly settings: SshSettings;
}

function explain(error: Error & { level?: string; code?: string }, facts: FailureFacts): TkadmError {
  const { target, known, name, presentedKey, settings } = facts;
  const verdict = presentedKey ? judgeHostKey(known, name, presentedKey) : 'known';
  const isAccepted =
    verdict === 'known' || (verdict === 'unknown' && settings.hostKeyPolicy === 'accept-new');
  if (presentedKey && !isAccepted) {
    const fingerprint = `${keyTypeOf(presentedKey)} ${formatFingerprint(presentedKey)}`;
    const state = {
      unknown: 'is not in known_hosts',
      changed: 'differs from the one in known_hosts',
      revoked: 'is revoked',
      known: '',
    };
    return new TkadmError(
      'SSH_HOST_KEY',
      `Cannot trust host "${name}": its key ${fingerprint} ${state[verdict]}`,
      {
        cause: error,
        hint:
          verdict === 'unknown'
            ? `Compare the fingerprint, then: ssh-keyscan ${target.host} >> ${join(settings.sshDir, 'known_hosts')}, or pass --ssh-host-keys=accept-new`
            : `Find out why; if it is right: ssh-keygen -R '${name}'`,
      },
    );
  }
  if (error.level === 'client-authentication') {
    return new TkadmError(
      'SSH_AUTHENTICATION',
      `Cannot log in to "${name}" as "${target.user}": every key and password was refused`,
      {
        cause: error,
        hint: `ssh-copy-id -p ${target.port} ${target.user}@${target.host}, or pass --ssh-identity FILE`,
      },
    );
  }
  return new TkadmError('SSH_CONNECT', `Cannot connect to "${name}": ${error.message}`, {
    cause: error,
    hint: `ssh -p ${target.port} ${target.user}@${target.host} true`,
  });
}
