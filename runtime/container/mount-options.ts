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
  nosymfollow: [MS.NOSYMFOLLOW, 0],
  symfollow: [0, MS.NOSYMFOLLOW],
  silent: [MS.SILENT, 0],
  loud: [0, MS.SILENT],
  defaults: [0, 0],
};

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

export interface MountOptions {
  readonly flags: number;
  readonly isBind: boolean;
  readonly isRecursive: boolean;
  /** Read-only for every mount below as well, "rro". */
  readonly isRecursiveReadonly: boolean;
  readonly propagation: number | undefined;
  /** The file system's own options, comma separated. */
  readonly data: string;
}

/** Parses the options of one mount. Unknown options are the file system's. */
export function parseMountOptions(options: readonly string[]): MountOptions {
  let flags = 0;
  let isBind = false;
  let isRecursive = false;
  let isRecursiveReadonly = false;
  let propagation: number | undefined;
  const data: string[] = [];
  for (const option of options) {
    const flag = FLAG_OPTIONS[option];
    if (flag !== undefined) flags = (flags | flag[0]) & ~flag[1];
    else if (option === 'bind' || option === 'rbind') {
      isBind = true;
      isRecursive ||= option === 'rbind';
    } else if (option === 'rro') {
      flags |= MS.RDONLY;
      isRecursiveReadonly = true;
    } else if (PROPAGATION_OPTIONS[option] !== undefined) propagation = PROPAGATION_OPTIONS[option];
    else data.push(option);
  }
  return { flags, isBind, isRecursive, isRecursiveReadonly, propagation, data: data.join(',') };
}

/** The flags of a propagation name, "rslave"; undefined for an unknown name. */
export function parsePropagation(name: string): number | undefined {
  return PROPAGATION_OPTIONS[name];
}
