import { resolve } from 'node:path';
import { TkadmError } from '../../../runtime/base/errors.ts';
import type { CtrOptions, ResourceWish } from '../../../runtime/ctr/ctr-record.ts';
import { type CliContext, readInput } from '../context.ts';
import type { RunFlags } from './run-options.ts';
import { definedOnly, optionalInteger, parseBytes } from './units.ts';

/** Limits. @throws USAGE */
export function readResources(flags: RunFlags): ResourceWish {
  const { cpus, cpuQuota, memory, memorySwap, memoryReservation } = flags;
  if (cpus !== undefined && (cpuQuota ?? flags.cpuPeriod) !== undefined) {
    throw new TkadmError(
      'USAGE',
      'Cannot use --cpus with --cpu-quota or --cpu-period: they exclude each other',
    );
  }
  const bytes = (flag: string, text: string | undefined) =>
    text === undefined ? undefined : parseBytes(flag, text);
  return definedOnly({
    memoryBytes: bytes('--memory', memory),
    memorySwapBytes: memorySwap === '-1' ? -1 : bytes('--memory-swap', memorySwap),
    memoryReservationBytes: bytes('--memory-reservation', memoryReservation),
    cpuShares: optionalInteger('--cpu-shares', flags.cpuShares),
    cpuQuotaUs:
      cpus === undefined ? optionalInteger('--cpu-quota', cpuQuota) : parseCpus(cpus) * CPU_PERIOD_US,
    cpuPeriodUs: cpus === undefined ? optionalInteger('--cpu-period', flags.cpuPeriod) : CPU_PERIOD_US,
    cpusetCpus: flags.cpusetCpus,
    cpusetMems: flags.cpusetMems,
    pidsLimit: optionalInteger('--pids-limit', flags.pidsLimit),
  });
}

const CPU_PERIOD_US = 100_000;

function parseCpus(text: string): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value >= 0.01) return value;
  throw new TkadmError('USAGE', `Cannot use "--cpus ${text}": it is no number from 0.01`);
}

type Security = Pick<CtrOptions, 'seccomp' | 'apparmorProfile' | 'hasNoNewPrivileges' | 'hasOpenPaths'>;

/** `--security-opt` @throws UNSUPPORTED, FILE_READ */
export async function readSecurity(context: CliContext, options: readonly string[]): Promise<Security> {
  let security: Security = { hasNoNewPrivileges: false };
  for (const option of options) {
    const [name = '', value = ''] = option.split(/[=:](.*)/s);
    const isOn = value === '' || value === 'true';
    if (name === 'no-new-privileges' && (isOn || value === 'false'))
      security = { ...security, hasNoNewPrivileges: isOn };
    else if (name === 'systempaths' && value === 'unconfined') security = { ...security, hasOpenPaths: true };
    else if (name === 'seccomp' && value === 'unconfined') security = { ...security, seccomp: 'unconfined' };
    else if (name === 'seccomp' && value !== '') {
      const path = resolve(context.cwd, value);
      security = { ...security, seccomp: { path, text: await readInput(context, path) } };
    } else if (name === 'apparmor' && value !== '') security = { ...security, apparmorProfile: value };
    else if (name !== 'label' || value !== 'disable') {
      throw new TkadmError('UNSUPPORTED', `Cannot use "--security-opt ${option}": it is not supported`, {
        hint: 'seccomp=unconfined, seccomp=FILE, apparmor=PROFILE, systempaths=unconfined, no-new-privileges',
      });
    }
  }
  return security;
}

/** `--log-opt` @throws USAGE, UNSUPPORTED */
export function readLogLimit(options: readonly string[] = []): CtrOptions['logLimit'] {
  const given = new Map<string, string>();
  for (const option of options) {
    const [name = '', value = ''] = option.split(/=(.*)/s);
    if (name !== 'max-size' && name !== 'max-file') {
      throw new TkadmError('UNSUPPORTED', `Cannot use "--log-opt ${option}": it is not supported`, {
        hint: 'max-size, max-file',
      });
    }
    given.set(name, value);
  }
  const size = given.get('max-size');
  if (size === undefined && !given.has('max-file')) return undefined;
  if (size === undefined || size === '-1')
    throw new TkadmError('USAGE', 'Cannot use "--log-opt max-file": it needs max-size');
  const maxBytes = parseBytes('--log-opt max-size', size);
  const maxFiles = optionalInteger('--log-opt max-file', given.get('max-file')) ?? 1;
  if (maxBytes > 0 && maxFiles > 0) return { maxBytes, maxFiles };
  throw new TkadmError('USAGE', 'Cannot use "--log-opt": max-size and max-file are at least 1');
}

const ULIMITS = [
  'as',
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
];

/** `--ulimit` @throws USAGE */
export function parseUlimit(text: string) {
  const match = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (match === null || !ULIMITS.includes(match[1]!)) {
    throw new TkadmError('USAGE', `Cannot use "--ulimit ${text}": it is no NAME=SOFT[:HARD]`, {
      hint: `Names: ${ULIMITS.join(', ')}`,
    });
  }
  const soft = Number(match[2]);
  return { name: match[1]!, soft, hard: Number(match[3] ?? soft) };
}

/** `--device` @throws USAGE */
export function parseDevice(text: string) {
  const [hostPath = '', second, third] = text.split(':');
  const isAccess = second !== undefined && /^[rwm]+$/.test(second);
  const permissions = third ?? (isAccess ? second : 'rwm');
  if (!hostPath.startsWith('/') || !/^[rwm]+$/.test(permissions)) {
    throw new TkadmError('USAGE', `Cannot use "--device ${text}": it is no PATH[:PATH][:rwm]`);
  }
  return { hostPath, containerPath: second === undefined || isAccess ? hostPath : second, permissions };
}
