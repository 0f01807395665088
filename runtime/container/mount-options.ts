import { MS } from './kernel-constants.ts';

/** fstab-style option → flag to set or clear (runtime-spec config.md, "Linux mount options"). */
const FLAG_OPTIONS: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  ro: [MS.RDONLY, 0],
  rw: [0, MS.RDONLY],
  nosuid: [MS.NOSUID, 0],
  suid: [0, MS.NOSUID],
  nodev: [MS.NODEV, 0],
  dev: [0, MS.NODEV],
  noexec: [MS.NOEXEC, 0],
  exec: [0, MS.NOEXEC],
  sync: [MS.SYNCHRONOUS, 0],
  async: [0, MS.SYNCHRONOUS],
  dirsync: [MS.DIRSYNC, 0],
  mand: [MS.MANDLOCK, 0],
  nomand: [0, MS.MANDLOCK],
  noatime: [MS.NOATIME, 0],
  atime: [0, MS.NOATIME],
  nodiratime: [MS.NODIRATIME, 0],
  diratime: [0, MS.NODIRATIME],
  relatime: [MS.RELATIME, 0],
  norelatime: [0, MS.RELATIME],
  strictatime: [MS.STRICTATIME, 0],
  nostrictatime: [0, MS.STRICTATIME],
  lazytime: [MS.LAZYTIME, 0],
  nolazytime: [0, MS.LAZYTIME],
  iversion: [MS.I_VERSION, 0],
  noiversion: [0, MS.I_VERSION],
  nosymfollow: [MS.NOSYMFOLLOW, 0],
  symfollow: [0, MS.NOSYMFOLLOW],
  silent: [MS.SILENT, 0],
  loud: [0, MS.SILENT],
  remount: [MS.REMOUNT, 0],
  defaults: [0, 0],
};

/** What mount_setattr(2) can set for every mount below as well; the option has an "r" before it, "rro". */
const RECURSIVE_NAMES = [
  ...[
    'ro',
    'rw',
    'nosuid',
    'suid',
    'nodev',
    'dev',
    'noexec',
    'exec',
    'noatime',
    'atime',
    'nodiratime',
    'diratime',
  ],
  ...['relatime', 'norelatime', 'strictatime', 'nostrictatime', 'nosymfollow', 'symfollow'],
];
const RECURSIVE_OPTIONS: typeof FLAG_OPTIONS = Object.fromEntries(
  RECURSIVE_NAMES.map((name) => [`r${name}`, FLAG_OPTIONS[name] ?? [0, 0]]),
);

const PROPAGATION_OPTIONS: Readonly<Record<string, number>> = {
  private: MS.PRIVATE,
  rprivate: MS.PRIVATE | MS.REC,
  slave: MS.SLAVE,
  rslave: MS.SLAVE | MS.REC,
  shared: MS.SHARED,
  rshared: MS.SHARED | MS.REC,
  unbindable: MS.UNBINDABLE,
  runbindable: MS.UNBINDABLE | MS.REC,
};

/** Names of every option that is not handed to the file system. */
export const MOUNT_OPTIONS: readonly string[] = [
  ...Object.keys(FLAG_OPTIONS),
  ...Object.keys(RECURSIVE_OPTIONS),
  ...Object.keys(PROPAGATION_OPTIONS),
  'bind',
  'rbind',
  'idmap',
  'ridmap',
  'tmpcopyup',
].sort();

/** Flags to set, and those that were asked to be clear. */
export interface FlagChange {
  readonly set: number;
  readonly clear: number;
}

export interface MountOptions {
  readonly flags: number;
  /** Flags that were named to be clear: a bind loses them, whatever its source has. */
  readonly cleared: number;
  /** For the mount and every one below. */
  readonly recursive: FlagChange;
  readonly isBind: boolean;
  readonly isRecursive: boolean;
  readonly isRemount: boolean;
  readonly propagation: number | undefined;
  /** Ids are mapped, for the mount alone or for those below as well. */
  readonly idMap: 'one' | 'all' | undefined;
  /** What the image has at the place is copied into the new tmpfs. */
  readonly isCopiedUp: boolean;
  /** The file system's own options, comma separated. */
  readonly data: string;
}

/** Parses the options of one mount. Unknown options are the file system's. */
export function parseMountOptions(options: readonly string[]): MountOptions {
  let own: FlagChange = { set: 0, clear: 0 };
  let recursive: FlagChange = { set: 0, clear: 0 };
  let propagation: number | undefined;
  const data: string[] = [];
  const names = new Set(options);
  for (const option of options) {
    if (FLAG_OPTIONS[option] !== undefined) own = addChange(own, FLAG_OPTIONS[option]);
    else if (RECURSIVE_OPTIONS[option] !== undefined)
      recursive = addChange(recursive, RECURSIVE_OPTIONS[option]);
    else if (PROPAGATION_OPTIONS[option] !== undefined) propagation = PROPAGATION_OPTIONS[option];
    else if (!MOUNT_OPTIONS.includes(option)) data.push(option);
  }
  return {
    flags: own.set & ~MS.REMOUNT,
    cleared: own.clear,
    recursive,
    isBind: names.has('bind') || names.has('rbind'),
    isRecursive: names.has('rbind'),
    isRemount: names.has('remount'),
    propagation,
    idMap: names.has('ridmap') ? 'all' : names.has('idmap') ? 'one' : undefined,
    isCopiedUp: names.has('tmpcopyup'),
    data: data.join(','),
  };
}

/** The last word on a flag counts. */
function addChange(change: FlagChange, [set, clear]: readonly [set: number, clear: number]): FlagChange {
  return { set: (change.set | set) & ~clear, clear: (change.clear | clear) & ~set };
}

/** The flags of a propagation name, "rslave"; undefined for an unknown name. */
export function parsePropagation(name: string): number | undefined {
  return PROPAGATION_OPTIONS[name];
}
