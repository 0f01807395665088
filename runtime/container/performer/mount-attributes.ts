import { AT_EMPTY_PATH, AT_RECURSIVE, MS } from '../kernel-constants.ts';
import type { FlagChange } from '../mount-options.ts';
import type { DataRef, Section } from './program.ts';

/** `struct mount_attr { u64 attr_set, attr_clr, propagation, userns_fd; }` */
const ATTRIBUTE_SIZE = 32;
const USERNS_OFFSET = 24;
const MOUNT_ATTR_IDMAP = 0x100000;
const MOUNT_ATTR_ATIME = 0x70;

/** mount(2) flag → MOUNT_ATTR_* of mount_setattr(2), and what must be cleared for it. */
const ATTRIBUTES = [
  { flag: MS.RDONLY, set: 1, clear: 0 },
  { flag: MS.NOSUID, set: 2, clear: 0 },
  { flag: MS.NODEV, set: 4, clear: 0 },
  { flag: MS.NOEXEC, set: 8, clear: 0 },
  { flag: MS.NOATIME, set: 0x10, clear: MOUNT_ATTR_ATIME },
  { flag: MS.STRICTATIME, set: 0x20, clear: MOUNT_ATTR_ATIME },
  { flag: MS.RELATIME, set: 0, clear: MOUNT_ATTR_ATIME },
  { flag: MS.NODIRATIME, set: 0x80, clear: 0 },
  { flag: MS.NOSYMFOLLOW, set: 0x200000, clear: 0 },
] as const;

/** Sets and clears flags of a mount, and of those below it. */
export function changeMountFlags(
  section: Section,
  fd: DataRef,
  change: FlagChange,
  isRecursive = false,
): void {
  const wanted = ATTRIBUTES.filter(({ flag }) => (change.set & flag) !== 0);
  const unwanted = ATTRIBUTES.filter(({ flag }) => (change.clear & flag) !== 0);
  const set = wanted.reduce((bits, row) => bits | row.set, 0);
  const atime = unwanted.some(({ clear }) => clear !== 0) && (set & MOUNT_ATTR_ATIME) === 0;
  const cleared = unwanted.reduce(
    (bits, row) => bits | (row.clear === 0 ? row.set : 0),
    atime ? MOUNT_ATTR_ATIME : 0,
  );
  const clear = wanted.reduce<number>((bits, row) => bits | row.clear, cleared);
  if (set !== 0 || clear !== 0) setAttributes(section, fd, { set, clear, isRecursive });
}

/** MS_SHARED and the like, with MS_REC for the mounts below. */
export function changePropagation(section: Section, fd: DataRef, propagation: number): void {
  setAttributes(section, fd, {
    propagation: propagation & ~MS.REC,
    isRecursive: (propagation & MS.REC) !== 0,
  });
}

/** Maps the ids of a mount that has no place yet as those of a user namespace, given as a descriptor. */
export function mapMountIds(section: Section, fd: DataRef, user: DataRef, isRecursive: boolean): void {
  setAttributes(section, fd, { set: MOUNT_ATTR_IDMAP, user, isRecursive });
}

interface AttributeChange {
  readonly set?: number;
  readonly clear?: number;
  readonly propagation?: number;
  readonly user?: DataRef;
  readonly isRecursive: boolean;
}

function setAttributes(section: Section, fd: DataRef, change: AttributeChange): void {
  const attributes = Buffer.alloc(ATTRIBUTE_SIZE);
  attributes.writeUInt32LE(change.set ?? 0, 0);
  attributes.writeUInt32LE(change.clear ?? 0, 8);
  attributes.writeUInt32LE(change.propagation ?? 0, 16);
  const data = section.bytes(attributes);
  if (change.user !== undefined) {
    section.call('', [{ at: change.user }], { into: { section, offset: data.offset + USERNS_OFFSET } });
  }
  const flags = AT_EMPTY_PATH | (change.isRecursive ? AT_RECURSIVE : 0);
  section.call('mount_setattr', [{ at: fd }, section.text(''), flags, data, ATTRIBUTE_SIZE]);
}
