import { join } from 'node:path';
import ssh2, {
  type ClientChannel,
  type ConnectConfig,
  type ExecOptions,
  type Client as Ssh2Client,
} from 'ssh2';
import { formatError, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';
import { Authentication } from './authentication.ts';
import type { BecomeChoice } from './become.ts';
import { type HostKeyPolicy, type ResolvedHost, resolveSshHost, type SshUser } from './config-resolve.ts';
import { HostKeyCheck } from './host-keys.ts';
import { loadIdentities } from './identities.ts';
import type { SshPrompts } from './prompts.ts';
import { parseSshTarget, type SshTarget } from './target.ts';
import { formatAddress, openProxyCommand, openTcp, type Transport } from './transport.ts';

// Node.js does not see the names of this CommonJS module's exports.
const { Client } = ssh2;

/** How the person wants to connect; what is not said here comes from ssh_config(5). */
export interface SshSettings {
  readonly person: SshUser;
  readonly prompts: SshPrompts;
  /** User of targets for which neither the address nor the configuration names one. */
  readonly defaultUser: string;
  /** Key files named by the user, tried before all others. */
  readonly identityFiles?: readonly string[];
  readonly password?: string | undefined;
  /** For sudo or doas on the target; else it is asked for. */
  readonly becomePassword?: string | undefined;
  /** How commands get to be root's; default: what works. */
  readonly become?: BecomeChoice | undefined;
  readonly hostKeyPolicy?: HostKeyPolicy | undefined;
  /** "SHA256:…" of the target's host key. */
  readonly pinnedFingerprint?: string | undefined;
  /** `ProxyJump` in place of the configuration's. */
  readonly jumps?: readonly string[] | undefined;
  /** Of the key exchange and the login, without the time in which a person is asked. */
  readonly timeoutMs?: number;
  /** Tells of something worth knowing, such as a host key that was recorded. */
  readonly onNotice?: ((text: string) => void) | undefined;
}

/** An open SSH connection. */
export interface SshConnection {
  readonly target: { readonly host: string; readonly port: number; readonly user: string };
  /** Starts a command line in the user's login shell; with a terminal of its own that echoes nothing, if one is wanted. */
  start(commandLine: string, options?: { readonly hasTerminal: boolean }): Promise<ClientChannel>;
  /** A TCP connection from that machine to an address that it reaches (`direct-tcpip`, RFC 4254 §7.2). */
  forward(host: string, port: number): Promise<ClientChannel>;
  /** Why the connection ended before its time, undefined while it stands. */
  lossReason(): string | undefined;
  close(): void;
}

/** Until a server says that it speaks SSH (RFC 4253 §4.2), which sshd does at once; `ConnectTimeout` goes before it. */
const GREETING_TIMEOUT_MS = 10_000;
const LOGIN_TIMEOUT_MS = 20_000;
/** A person who is asked for a passphrase takes longer. */
const LOGIN_TIMEOUT_WITH_QUESTIONS_MS = 120_000;
const SESSION_ATTEMPTS = 14;
const MAX_HOPS = 8;
/** A machine that is busy with its own start may be silent for longer than the three intervals of ssh2's default. */
const KEEPALIVE = { intervalMs: 5_000, countMax: 12 } as const;

/**
 * Connects, through jump hosts or a command if the configuration says so; verifies each host key and logs in.
 * @throws SSH_CONFIG, SSH_CONNECT, SSH_HOST_KEY, SSH_AUTHENTICATION
 */
export function connectSsh(target: SshTarget, settings: SshSettings): Promise<SshConnection> {
  const { jumps } = settings;
  const resolved = resolveSshHost(target, settings.person);
  return connectResolved(jumps ? { ...resolved, jumps } : resolved, settings, 0);
}

async function connectResolved(
  resolved: ResolvedHost,
  settings: SshSettings,
  hops: number,
): Promise<SshConnection> {
  if (hops > MAX_HOPS) {
    throw new TkadmError(
      'SSH_CONFIG',
      `Cannot connect to "${resolved.alias}": its ProxyJump leads in a circle`,
    );
  }
  if (resolved.refused.length > 0) {
    throw new TkadmError(
      'SSH_CONFIG',
      `Cannot connect to "${resolved.alias}" as configured: ${resolved.refused.join(', ')} not supported`,
      { hint: 'Connect with ssh to a machine beside it, or pass --ssh-config FILE without these lines' },
    );
  }
  const transport = await openTransport(resolved, settings, hops);
  try {
    return await logIn(resolved, settings, transport);
  } catch (error) {
    transport.close();
    throw error;
  }
}

/** The way to a host: directly, through a command, or through the last of its jump hosts. */
async function openTransport(
  resolved: ResolvedHost,
  settings: SshSettings,
  hops: number,
): Promise<Transport> {
  const { host, port, jumps, proxyCommand, connectTimeoutMs } = resolved;
  if (jumps.length === 0) {
    return proxyCommand === undefined ? openTcp(resolved, connectTimeoutMs) : openProxyCommand(proxyCommand);
  }
  const last = parseSshTarget(jumps.at(-1) as string);
  const before = jumps.slice(0, -1);
  const hop = resolveSshHost(last, settings.person);
  const { pinnedFingerprint: _, jumps: __, ...shared } = settings;
  const connection = await connectResolved(
    // A chain that was written out goes before the hop's own ProxyJump.
    before.length > 0 ? { ...hop, jumps: before } : hop,
    { ...shared, defaultUser: settings.person.name },
    hops + 1,
  );
  try {
    const channel = await connection.forward(host, port);
    return { stream: channel, close: () => connection.close() };
  } catch (error) {
    connection.close();
    throw new TkadmError(
      'SSH_CONNECT',
      `Cannot reach "${host}" port ${port} from jump host "${last.host}": ${formatError(error)}`,
      { cause: error },
    );
  }
}

async function logIn(
  resolved: ResolvedHost,
  settings: SshSettings,
  transport: Transport,
): Promise<SshConnection> {
  const target = { host: resolved.host, port: resolved.port, user: resolved.user ?? settings.defaultUser };
  const hostKey = await loadHostKeyCheck(resolved, settings);
  const authentication = await buildAuthentication(resolved, settings, target.user);
  const client = new Client();
  await new Promise<void>((resolve, reject) => {
    client.on('ready', () => resolve());
    client.on('error', (error) => reject(error));
    client.on('close', () => reject(new Error('the connection was closed')));
    client.connect({
      sock: transport.stream,
      username: target.user,
      readyTimeout: settings.timeoutMs ?? loginTimeout(settings),
      keepaliveInterval: resolved.keepaliveIntervalMs || KEEPALIVE.intervalMs,
      keepaliveCountMax: resolved.keepaliveCountMax ?? KEEPALIVE.countMax,
      authHandler: authentication.handler,
      algorithms: {
        serverHostKey: hostKey.algorithms,
        // AES-GCM is done in native code; it is several times as fast as the default with ChaCha20.
        cipher: { append: [], prepend: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'], remove: [] },
      },
      hostVerifier: (key: Buffer, verify: (isGood: boolean) => void) => {
        hostKey.verify(key).then(verify, () => verify(false));
      },
    } as unknown as ConnectConfig);
    if (resolved.proxyCommand === undefined) rejectSilence(transport, resolved, reject);
  }).catch((error) => {
    client.end();
    throw hostKey.explain(error) ?? explain(error, { resolved, target, authentication, transport });
  });
  const recorded = await hostKey.record();
  if (recorded) settings.onNotice?.(`${recorded} of "${resolved.alias}"`);
  return wrap(client, target, transport);
}

/** A connection on which nothing comes is no sshd's: routers and load balancers accept for machines that are not there. */
function rejectSilence(
  { stream }: Transport,
  { connectTimeoutMs = GREETING_TIMEOUT_MS }: ResolvedHost,
  reject: (reason: Error) => void,
): void {
  const fail = () => reject(new Error(`no SSH server answered within ${connectTimeoutMs / 1000} s`));
  const timer = setTimeout(fail, connectTimeoutMs);
  for (const event of ['data', 'close', 'error']) stream.once(event, () => clearTimeout(timer));
}

function loginTimeout({ prompts }: SshSettings): number {
  return prompts.isPossible ? LOGIN_TIMEOUT_WITH_QUESTIONS_MS : LOGIN_TIMEOUT_MS;
}

function loadHostKeyCheck(resolved: ResolvedHost, settings: SshSettings): Promise<HostKeyCheck> {
  return HostKeyCheck.load({
    host: resolved.host,
    port: resolved.port,
    alias: resolved.hostKeyAlias,
    knownHostsPaths: resolved.knownHostsPaths,
    policy: settings.hostKeyPolicy ?? resolved.hostKeyPolicy ?? 'ask',
    pinnedFingerprint: settings.pinnedFingerprint,
    prompts: settings.prompts,
  });
}

async function buildAuthentication(
  resolved: ResolvedHost,
  settings: SshSettings,
  user: string,
): Promise<Authentication> {
  const identities = await loadIdentities({
    named: settings.identityFiles ?? [],
    configured: resolved.identityFiles,
    sshDir: join(settings.person.home, '.ssh'),
    prompts: settings.prompts,
  });
  return new Authentication({
    user,
    host: resolved.alias,
    agentSocket: resolved.agentSocket,
    hasOnlyTheseIdentities: resolved.hasOnlyTheseIdentities,
    identities,
    methods: resolved.methods,
    password: settings.password,
    prompts: settings.prompts,
  });
}

function wrap(client: Ssh2Client, target: SshConnection['target'], transport: Transport): SshConnection {
  let lossReason: string | undefined;
  client.on('error', (error) => {
    lossReason = error.message;
  });
  return {
    target,
    start: (commandLine, { hasTerminal } = { hasTerminal: false }) =>
      startCommand(client, target.host, { commandLine, hasTerminal }),
    forward: (host, port) =>
      new Promise((resolve, reject) =>
        client.forwardOut('127.0.0.1', 0, host, port, (error, channel) =>
          error ? reject(error) : resolve(channel),
        ),
      ),
    lossReason: () => lossReason,
    close: () => {
      client.end();
      // The peer's answer to the end of the connection has a moment to come through the hops.
      setTimeout(transport.close, 200).unref();
    },
  };
}

/**
 * sshd refuses a session beyond its MaxSessions, and counts one for a moment after its command has ended: such a
 * refusal is tried again for about a second.
 */
async function startCommand(
  client: Ssh2Client,
  name: string,
  { commandLine, hasTerminal }: { readonly commandLine: string; readonly hasTerminal: boolean },
): Promise<ClientChannel> {
  const options: ExecOptions = hasTerminal ? { pty: { modes: { ECHO: 0 } } } : {};
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await new Promise((resolve, reject) =>
        client.exec(commandLine, options, (error, channel) => (error ? reject(error) : resolve(channel))),
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

interface FailureFacts {
  readonly resolved: ResolvedHost;
  readonly target: SshConnection['target'];
  readonly authentication: Authentication;
  readonly transport: Transport;
}

function explain(error: Error & { level?: string }, facts: FailureFacts): TkadmError {
  const { resolved, target, authentication, transport } = facts;
  if (isTkadmError(authentication.failure)) return authentication.failure;
  const address = `${target.user}@${resolved.alias}`;
  if (error.level === 'client-authentication') {
    return new TkadmError(
      'SSH_AUTHENTICATION',
      `Cannot log in to "${resolved.alias}" as "${target.user}": every key and password was refused (${authentication.describe()})`,
      {
        cause: error,
        hint: `ssh-copy-id -p ${target.port} ${address}, or pass --ssh-identity FILE`,
      },
    );
  }
  const name =
    resolved.hostPlace === undefined
      ? `"${resolved.alias}"`
      : `"${resolved.alias}", which is ${formatAddress(resolved)}`;
  const detail = 'explain' in transport ? `: ${(transport.explain as () => string)()}` : '';
  return new TkadmError('SSH_CONNECT', `Cannot connect to ${name}: ${error.message}${detail}`, {
    cause: error,
    hint: `ssh -p ${target.port} ${address} true`,
  });
}
