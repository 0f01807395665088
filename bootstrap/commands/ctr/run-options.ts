import { arch } from 'node:os';
import { TkadmError } from '../../../runtime/base/errors.ts';
import type { CtrOptions, RestartName, RestartPolicy } from '../../../runtime/ctr/ctr-record.ts';
import { type CliContext, readInput } from '../context.ts';
import { parseMount, parseTmpfs, parseVolume } from './mounts.ts';
import { parseExpose, parsePublish } from './ports.ts';
import { parseDevice, parseUlimit, readLogLimit, readResources, readSecurity } from './run-limits.ts';
import { definedOnly, optionalInteger, parseBytes } from './units.ts';

/** The flags of `run` and `create` as the parser hands them over. */
export interface RunFlags {
  readonly addHost?: readonly string[];
  readonly attach?: readonly string[];
  readonly capAdd?: readonly string[];
  readonly capDrop?: readonly string[];
  readonly cidfile?: string;
  readonly cpuPeriod?: string;
  readonly cpuQuota?: string;
  readonly cpuShares?: string;
  readonly cpus?: string;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly detach?: boolean;
  readonly detachKeys?: string;
  readonly device?: readonly string[];
  readonly dns?: readonly string[];
  readonly dnsOpt?: readonly string[];
  readonly dnsOption?: readonly string[];
  readonly dnsSearch?: readonly string[];
  readonly domainname?: string;
  readonly entrypoint?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly expose?: readonly string[];
  readonly groupAdd?: readonly string[];
  readonly hostname?: string;
  readonly interactive?: boolean;
  readonly ipc?: string;
  readonly label?: readonly string[];
  readonly labelFile?: readonly string[];
  readonly logOpt?: readonly string[];
  readonly memory?: string;
  readonly memoryReservation?: string;
  readonly memorySwap?: string;
  readonly mount?: readonly string[];
  readonly name?: string;
  readonly net?: string;
  readonly network?: string;
  readonly oomScoreAdj?: string;
  readonly pid?: string;
  readonly pidsLimit?: string;
  readonly platform?: string;
  readonly privileged?: boolean;
  readonly publish?: readonly string[];
  readonly publishAll?: boolean;
  readonly pull?: string;
  readonly quiet?: boolean;
  readonly readOnly?: boolean;
  readonly restart?: string;
  readonly rm?: boolean;
  readonly securityOpt?: readonly string[];
  readonly shmSize?: string;
  readonly sigProxy?: string;
  readonly stopSignal?: string;
  readonly stopTimeout?: string;
  readonly sysctl?: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly tty?: boolean;
  readonly ulimit?: readonly string[];
  readonly user?: string;
  readonly uts?: string;
  readonly volume?: readonly string[];
  readonly volumesFrom?: readonly string[];
  readonly workdir?: string;
}

/** What the service is asked for, from the command line. @throws USAGE, UNSUPPORTED */
export async function buildOptions(
  context: CliContext,
  flags: RunFlags,
  words: readonly string[],
): Promise<CtrOptions> {
  const [image = '', ...command] = words;
  checkPlatform(flags.platform);
  const network = flags.network ?? flags.net ?? 'bridge';
  const isAttached = flags.detach !== true;
  return {
    image,
    ...definedOnly({
      name: flags.name,
      user: flags.user,
      workingDir: flags.workdir,
      hostname: flags.hostname,
      domainname: flags.domainname,
      pidMode: flags.pid,
      ipcMode: flags.ipc,
      utsMode: flags.uts,
      stopSignal: flags.stopSignal,
      entrypoint:
        flags.entrypoint === undefined ? undefined : flags.entrypoint === '' ? [] : [flags.entrypoint],
      stopTimeoutS: optionalInteger('--stop-timeout', flags.stopTimeout),
      oomScoreAdj: optionalInteger('--oom-score-adj', flags.oomScoreAdj),
      logLimit: readLogLimit(flags.logOpt),
      shmSizeBytes: flags.shmSize === undefined ? undefined : parseBytes('--shm-size', flags.shmSize),
    }),
    command,
    env: await readEnv(context, flags.env, flags.envFile),
    labels: await readLabels(context, flags),
    groups: flags.groupAdd ?? [],
    hasTerminal: flags.tty ?? false,
    hasStdin: flags.interactive ?? false,
    isStdinOnce: (flags.interactive ?? false) && isAttached,
    mounts: [
      ...(flags.volume ?? []).map((text) => parseVolume(context.cwd, text)),
      ...(flags.mount ?? []).map((text) => parseMount(context.cwd, text)),
      ...(flags.tmpfs ?? []).map(parseTmpfs),
    ],
    volumesFrom: (flags.volumesFrom ?? []).map(parseVolumesFrom),
    ports: (flags.publish ?? []).flatMap(parsePublish),
    publishesAll: flags.publishAll ?? false,
    exposedPorts: [...(flags.expose ?? []), ...publishedPorts(flags)].flatMap(parseExpose),
    extraHosts: (flags.addHost ?? []).map(checkExtraHost),
    dns: flags.dns ?? [],
    dnsSearch: flags.dnsSearch ?? [],
    dnsOptions: [...(flags.dnsOption ?? []), ...(flags.dnsOpt ?? [])],
    network: network === 'default' ? 'bridge' : network,
    resources: readResources(flags),
    restart: parseRestart(flags.restart ?? 'no'),
    isAutoRemoved: flags.rm ?? false,
    isReadonly: flags.readOnly ?? false,
    isPrivileged: flags.privileged ?? false,
    capAdd: flags.capAdd ?? [],
    capDrop: flags.capDrop ?? [],
    ...(await readSecurity(context, flags.securityOpt ?? [])),
    ulimits: (flags.ulimit ?? []).map(parseUlimit),
    sysctls: Object.fromEntries((flags.sysctl ?? []).map((text) => parsePair('--sysctl', text))),
    devices: (flags.device ?? []).map(parseDevice),
  };
}

/** Ports that are published are exposed as well: "80/tcp". */
function publishedPorts({ publish = [] }: RunFlags): readonly string[] {
  return publish.flatMap(parsePublish).map(({ containerPort, protocol }) => `${containerPort}/${protocol}`);
}

const PLATFORMS: Readonly<Record<string, string>> = { x64: 'linux/amd64', arm64: 'linux/arm64' };

/** @throws UNSUPPORTED */
export function checkPlatform(platform: string | undefined): void {
  const own = PLATFORMS[arch()] ?? arch();
  if (platform === undefined || platform === own || platform === own.replace('linux/', '')) return;
  throw new TkadmError('UNSUPPORTED', `Cannot run for platform "${platform}": this machine is ${own}`);
}

/**
 * "NAME=value", or "NAME" for the value in the environment of the command; files first.
 * @throws FILE_READ, USAGE
 */
export async function readEnv(
  context: CliContext,
  given: readonly string[] = [],
  files: readonly string[] = [],
): Promise<readonly string[]> {
  const lines: string[] = [];
  for (const path of files) {
    const text = await readInput(context, path);
    lines.push(
      ...text
        .split('\n')
        .map((line) => line.trimStart().replace(/\r$/, ''))
        .filter((line) => line !== '' && !line.startsWith('#')),
    );
  }
  const fill = (entry: string) => {
    if (entry.includes('=')) return entry;
    const value = context.env[entry];
    return value === undefined ? entry : `${entry}=${value}`;
  };
  for (const entry of [...lines, ...given]) {
    if (entry.startsWith('=')) throw new TkadmError('USAGE', `Cannot use "--env ${entry}": it has no name`);
  }
  for (const entry of lines) {
    const [name = ''] = entry.split('=', 1);
    if (/\s/.test(name))
      throw new TkadmError('USAGE', `Cannot use "--env-file": the name "${name}" has white space`);
  }
  return [...lines, ...given].map(fill);
}

async function readLabels(context: CliContext, flags: RunFlags): Promise<Record<string, string>> {
  const lines: string[] = [];
  for (const path of flags.labelFile ?? []) lines.push(...(await readInput(context, path)).split('\n'));
  const all = [...lines.map((line) => line.trim()).filter(Boolean), ...(flags.label ?? [])];
  return Object.fromEntries(all.map(parseLabel));
}

/** "name=value"; a name alone has an empty value. */
export function parseLabel(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function parsePair(flag: string, text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new TkadmError('USAGE', `Cannot use "${flag} ${text}": it is no NAME=VALUE`);
}

function checkExtraHost(text: string): string {
  if (/^[^:=]+[:=].+$/.test(text)) return text;
  throw new TkadmError('USAGE', `Cannot use "--add-host ${text}": it is no NAME:ADDRESS`);
}

function parseVolumesFrom(text: string): { readonly container: string; readonly isReadonly: boolean } {
  const [container = '', mode = 'rw', ...rest] = text.split(':');
  if (container !== '' && rest.length === 0 && (mode === 'ro' || mode === 'rw'))
    return { container, isReadonly: mode === 'ro' };
  throw new TkadmError('USAGE', `Cannot use "--volumes-from ${text}": it is no NAME[:ro]`);
}

/** `--restart` @throws USAGE */
export function parseRestart(text: string): RestartPolicy {
  const [name = '', count] = text.split(':');
  const names: readonly string[] = ['no', 'on-failure', 'always', 'unless-stopped'] satisfies RestartName[];
  const isValid =
    names.includes(name) && (count === undefined || (name === 'on-failure' && /^\d+$/.test(count)));
  if (isValid) return { name: name as RestartName, maximumRetryCount: Number(count ?? 0) };
  throw new TkadmError('USAGE', `Cannot use "--restart ${text}": it is no policy`, {
    hint: '--restart no, on-failure[:COUNT], always or unless-stopped',
  });
}
