import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { MatchFacts } from './config-match.ts';
import { ConfigValues, readConfigFile } from './config-read.ts';

/** The person who connects. */
export interface SshUser {
  readonly home: string;
  readonly cwd: string;
  readonly name: string;
  readonly uid: number;
  /** This machine's name. */
  readonly hostname: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The configuration file in place of `~/.ssh/config` and `/etc/ssh/ssh_config`; "none" for neither. */
  readonly configPath?: string | undefined;
}

/** What to do with a host key that known_hosts does not hold: refuse, ask at the terminal, or record it and go on. */
export type HostKeyPolicy = 'strict' | 'ask' | 'accept-new';

/** How to reach one host, as ssh_config(5) says; what is not said there is undefined. */
export interface ResolvedHost {
  /** The name that was typed. */
  readonly alias: string;
  readonly host: string;
  /** "path:line" of the HostName that says so; undefined for what was typed. */
  readonly hostPlace: string | undefined;
  readonly port: number;
  readonly user: string | undefined;
  /** Absolute paths. */
  readonly identityFiles: readonly string[];
  /** Only keys of `identityFiles`, also out of the agent. */
  readonly hasOnlyTheseIdentities: boolean;
  /** Path of the agent's socket; undefined for none. */
  readonly agentSocket: string | undefined;
  /** `[user@]host[:port]`, first hop first; empty for a direct connection. */
  readonly jumps: readonly string[];
  readonly proxyCommand: string | undefined;
  readonly hostKeyPolicy: HostKeyPolicy | undefined;
  readonly hostKeyAlias: string | undefined;
  /** known_hosts files, the first is written to. */
  readonly knownHostsPaths: readonly string[];
  readonly connectTimeoutMs: number | undefined;
  readonly keepaliveIntervalMs: number | undefined;
  readonly keepaliveCountMax: number | undefined;
  readonly methods: {
    readonly publicKey: boolean;
    readonly password: boolean;
    readonly interactive: boolean;
  };
  /** Settings that would change how the connection is made and are not supported. */
  readonly refused: readonly string[];
}

/** What was typed; it goes before any file. */
export interface TypedHost {
  readonly host: string;
  readonly port?: number | undefined;
  readonly user?: string | undefined;
}

const SYSTEM_CONFIG = '/etc/ssh/ssh_config';
const SYSTEM_KNOWN_HOSTS = ['/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2'];

/**
 * Reads the user's and the system's ssh_config(5) for a host. `Match final` has both read a second time.
 * @throws SSH_CONFIG with file and line
 */
export function resolveSshHost(typed: TypedHost, person: SshUser): ResolvedHost {
  const values = new ConfigValues();
  readAll(typed, person, values, false);
  if (values.hasFinalPass) readAll(typed, person, values, true);
  return buildResolved(typed, person, values);
}

function readAll(typed: TypedHost, person: SshUser, values: ConfigValues, isFinalPass: boolean): void {
  const facts = (): MatchFacts => {
    const host = hostNameOf(typed, values);
    return {
      originalHost: typed.host,
      host,
      hostLineName: isFinalPass ? host : typed.host,
      user: typed.user ?? values.get('user') ?? person.name,
      localUser: person.name,
      isFinalPass,
      runCommand: (commandLine) => {
        const line = expandTokens(commandLine, tokensOf(typed, person, values));
        return spawnSync('/bin/sh', ['-c', line], { stdio: 'ignore' }).status === 0;
      },
    };
  };
  const { home, uid, configPath } = person;
  if (configPath === 'none') return;
  const named = configPath === undefined ? undefined : resolvePath(configPath, person);
  const own = { path: named ?? join(home, '.ssh/config'), isRequired: named !== undefined, isOwn: !named };
  readConfigFile({ ...own, home, uid }, values, facts);
  if (named) return;
  readConfigFile({ path: SYSTEM_CONFIG, isRequired: false, isOwn: false, home, uid }, values, facts);
}

function hostNameOf(typed: TypedHost, values: ConfigValues): string {
  const hostName = values.get('hostname');
  return hostName === undefined ? typed.host : expandTokens(hostName, { h: typed.host });
}

function buildResolved(typed: TypedHost, person: SshUser, values: ConfigValues): ResolvedHost {
  const tokens = tokensOf(typed, person, values);
  const path = (text: string) => resolvePath(expandTokens(text, tokens), person);
  const isOn = (value: string | undefined) => value?.toLowerCase() !== 'no';
  const jumps = values.get('proxyjump') ?? 'none';
  const command = values.get('proxycommand') ?? 'none';
  return {
    alias: typed.host,
    host: hostNameOf(typed, values),
    hostPlace: values.placeOf('hostname'),
    port: typed.port ?? readNumber(values, 'port') ?? 22,
    user: typed.user ?? values.get('user'),
    identityFiles: values
      .getLines('identityfile')
      .filter((file) => file !== 'none')
      .map(path),
    hasOnlyTheseIdentities: values.get('identitiesonly')?.toLowerCase() === 'yes',
    agentSocket: findAgent(values.get('identityagent'), person, path),
    jumps: jumps.toLowerCase() === 'none' ? [] : jumps.split(',').map((jump) => expandTokens(jump, tokens)),
    proxyCommand: command.toLowerCase() === 'none' ? undefined : expandTokens(command, tokens),
    hostKeyPolicy: POLICIES[values.get('stricthostkeychecking')?.toLowerCase() ?? ''],
    hostKeyAlias: values.get('hostkeyalias'),
    knownHostsPaths: [
      ...(values.getWords('userknownhostsfile') ?? ['~/.ssh/known_hosts', '~/.ssh/known_hosts2']),
      ...(values.getWords('globalknownhostsfile') ?? SYSTEM_KNOWN_HOSTS),
    ]
      .filter((file) => file !== 'none')
      .map(path),
    connectTimeoutMs: readSeconds(values, 'connecttimeout'),
    keepaliveIntervalMs: readSeconds(values, 'serveraliveinterval'),
    keepaliveCountMax: readNumber(values, 'serveralivecountmax'),
    methods: {
      publicKey: isOn(values.get('pubkeyauthentication')),
      password: isOn(values.get('passwordauthentication')),
      interactive: isOn(values.get('kbdinteractiveauthentication')),
    },
    refused: values.refused,
  };
}

function findAgent(
  value: string | undefined,
  person: SshUser,
  path: (text: string) => string,
): string | undefined {
  if (value === undefined || value === 'SSH_AUTH_SOCK') return person.env['SSH_AUTH_SOCK'];
  if (value.toLowerCase() === 'none') return undefined;
  return value.startsWith('$') ? person.env[value.slice(1).replace(/^\{|\}$/g, '')] : path(value);
}

/** Whatever the file says, a key that has changed is never taken: "no" means no more than "accept-new". */
const POLICIES: Readonly<Record<string, HostKeyPolicy>> = {
  yes: 'strict',
  true: 'strict',
  ask: 'ask',
  'accept-new': 'accept-new',
  no: 'accept-new',
  false: 'accept-new',
  off: 'accept-new',
};

function readNumber(values: ConfigValues, keyword: 'port' | 'serveralivecountmax'): number | undefined {
  const value = values.get(keyword);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (/^\d+$/.test(value) && number <= 65_535) return number;
  throw new TkadmError('SSH_CONFIG', `Cannot use SSH setting "${keyword}": "${value}" is no number`);
}

/** A time of ssh_config(5): seconds, or numbers with units as in "1m30s". */
function readSeconds(
  values: ConfigValues,
  keyword: 'connecttimeout' | 'serveraliveinterval',
): number | undefined {
  const value = values.get(keyword);
  if (value === undefined || value.toLowerCase() === 'none') return undefined;
  if (!/^(\d+[smhdw]?)+$/i.test(value)) {
    throw new TkadmError('SSH_CONFIG', `Cannot use SSH setting "${keyword}": "${value}" is no time`);
  }
  const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
  const parts = [...value.toLowerCase().matchAll(/(\d+)([smhdw]?)/g)];
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit || 's'] ?? 1), 0) * 1000;
}

function resolvePath(text: string, { home, cwd, env }: SshUser): string {
  const named = text.replace(/\$\{(\w+)\}/g, (_, name: string) => env[name] ?? '');
  const path = named === '~' || named.startsWith('~/') ? join(home, named.slice(1)) : named;
  return resolve(cwd, path);
}

/** The letters of ssh_config(5) TOKENS. */
function tokensOf(typed: TypedHost, person: SshUser, values: ConfigValues): Readonly<Record<string, string>> {
  const host = hostNameOf(typed, values);
  const port = String(typed.port ?? values.get('port') ?? 22);
  const user = typed.user ?? values.get('user') ?? person.name;
  const jump = values.get('proxyjump') ?? '';
  const hash = createHash('sha1').update(`${person.hostname}${host}${port}${user}${jump}`).digest('hex');
  return {
    C: hash,
    d: person.home,
    h: host,
    i: String(person.uid),
    j: jump,
    k: values.get('hostkeyalias') ?? typed.host,
    L: person.hostname.split('.')[0] ?? '',
    l: person.hostname,
    n: typed.host,
    p: port,
    r: user,
    u: person.name,
  };
}

function expandTokens(text: string, tokens: Readonly<Record<string, string>>): string {
  return text.replace(/%(.)/g, (whole, letter: string) => (letter === '%' ? '%' : (tokens[letter] ?? whole)));
}
