import { existsSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { TkadmError } from '../../../runtime/base/errors.ts';
import type { MountWish } from '../../../runtime/ctr/ctr-record.ts';
import { parseBytes } from './units.ts';

const PROPAGATIONS = ['rprivate', 'private', 'rslave', 'slave', 'rshared', 'shared'];

function invalid(flag: string, text: string, state: string): TkadmError {
  return new TkadmError('USAGE', `Cannot use "${flag} ${text}": ${state}`);
}

/** `--volume`: "/host:/in[:ro]", "name:/in", "/in" for a new volume. @throws USAGE, UNSUPPORTED */
export function parseVolume(cwd: string, text: string): MountWish {
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === ''))
    throw invalid('--volume', text, 'it is no [SOURCE:]TARGET[:OPTIONS]');
  const [source, target, options = ''] =
    parts.length === 1 ? ['', parts[0]!] : (parts as [string, string, string?]);
  const isPath = isAbsolute(source) || /^\.{1,2}(\/|$)/.test(source);
  const wish: MountWish = {
    type: isPath ? 'bind' : 'volume',
    source: isPath ? resolve(cwd, source) : source,
    target,
    isReadonly: false,
    ...(isPath && { makesSource: true }),
  };
  return options
    .split(',')
    .filter(Boolean)
    .reduce((mount, option) => addVolumeOption(mount, option, text), wish);
}

function addVolumeOption(mount: MountWish, option: string, text: string): MountWish {
  if (option === 'ro' || option === 'rw') return { ...mount, isReadonly: option === 'ro' };
  // Labels for SELinux: where the kernel has none there is nothing to label, as for docker.
  if (/^[zZ]$/.test(option) && !existsSync('/sys/fs/selinux/enforce')) return mount;
  if (option === 'nocopy') return { ...mount, hasNoCopy: true };
  if (PROPAGATIONS.includes(option) && mount.type === 'bind') return { ...mount, propagation: option };
  throw new TkadmError('UNSUPPORTED', `Cannot use "--volume ${text}": option "${option}" is not supported`, {
    hint: `Options: ro, rw, nocopy, ${PROPAGATIONS.join(', ')}`,
  });
}

/** `--mount`: "type=bind,source=/host,target=/in,readonly". @throws USAGE, UNSUPPORTED */
export function parseMount(cwd: string, text: string): MountWish {
  const given = new Map(
    text.split(',').map((part) => {
      const [name = '', ...value] = part.split('=');
      return [MOUNT_KEYS[name] ?? name, value.length === 0 ? 'true' : value.join('=')] as const;
    }),
  );
  const type = given.get('type') ?? 'volume';
  if (type !== 'bind' && type !== 'volume' && type !== 'tmpfs') {
    throw new TkadmError('UNSUPPORTED', `Cannot use "--mount ${text}": type "${type}" is not supported`);
  }
  for (const name of given.keys()) {
    if (MOUNT_FIELDS[type].includes(name)) continue;
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot use "--mount ${text}": "${name}" is not supported with type "${type}"`,
    );
  }
  const target = given.get('target');
  if (target === undefined) throw invalid('--mount', text, 'it has no target');
  const source = given.get('source') ?? '';
  if (type === 'bind' && !isAbsolute(source))
    throw invalid('--mount', text, 'a bind needs an absolute source');
  const size = given.get('tmpfs-size');
  const mode = given.get('tmpfs-mode');
  return {
    type,
    source: type === 'bind' ? resolve(cwd, source) : source,
    target,
    isReadonly: given.get('readonly') === 'true' || given.get('readonly') === '1',
    ...(given.has('bind-propagation') && { propagation: given.get('bind-propagation')! }),
    ...(given.get('volume-nocopy') === 'true' && { hasNoCopy: true }),
    ...(type === 'tmpfs' && {
      options: [
        ...(size === undefined ? [] : [`size=${parseBytes('tmpfs-size', size)}`]),
        `mode=${mode ?? '1777'}`,
      ],
    }),
  };
}

const MOUNT_KEYS: Readonly<Record<string, string>> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
};

const MOUNT_FIELDS: Readonly<Record<MountWish['type'], readonly string[]>> = {
  bind: ['type', 'source', 'target', 'readonly', 'bind-propagation'],
  volume: ['type', 'source', 'target', 'readonly', 'volume-nocopy'],
  tmpfs: ['type', 'target', 'readonly', 'tmpfs-size', 'tmpfs-mode'],
};

/** `--tmpfs`: "/run[:size=64m,mode=755,exec]". @throws USAGE */
export function parseTmpfs(text: string): MountWish {
  const [target = '', options = ''] = text.split(':');
  if (!isAbsolute(target)) throw invalid('--tmpfs', text, 'the path is not absolute');
  const words = options.split(',').filter(Boolean);
  const isReadonly = words.includes('ro');
  const mode = words.some((word) => word.startsWith('mode=')) ? [] : ['mode=1777'];
  return {
    type: 'tmpfs',
    source: '',
    target,
    isReadonly,
    options: [...mode, ...words.filter((word) => word !== 'ro' && word !== 'rw')],
  };
}
