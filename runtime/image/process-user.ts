import { lstat, readFile } from 'node:fs/promises';
import { isSystemError, TkadmError } from '../base/errors.ts';
import { resolveInRoot } from './root-path.ts';

/** Who a container's process is to be; the fields of CRI's LinuxContainerSecurityContext. */
export interface UserWish {
  readonly runAsUser?: { readonly value: number } | undefined;
  readonly runAsUsername?: string;
  readonly runAsGroup?: { readonly value: number } | undefined;
  readonly supplementalGroups?: readonly number[];
  readonly supplementalGroupsPolicy?: string;
}

export interface ProcessUser {
  readonly uid: number;
  readonly gid: number;
  /** The primary group is among them, so that a group's denial holds as well (CVE-2022-36109). */
  readonly additionalGids: readonly number[];
  readonly home: string;
}

/** The text of the two account databases of an image, "" when the image has none: passwd(5), group(5). */
export interface Accounts {
  readonly passwd: string;
  readonly group: string;
}

/** Reads /etc/passwd and /etc/group of an image from its layers, topmost first. */
export async function readAccounts(lowerDirs: readonly string[]): Promise<Accounts> {
  const [passwd, group] = await Promise.all([
    readLayered(lowerDirs, '/etc/passwd'),
    readLayered(lowerDirs, '/etc/group'),
  ]);
  return { passwd, group };
}

/**
 * The user of a container: the security context's, else the image's "user[:group]".
 * @throws CRI_INVALID when a name is not in the image, or a group comes without a user.
 */
export function resolveUser(
  accounts: Accounts,
  security: UserWish | undefined,
  imageUser: string,
): ProcessUser {
  const hasUser = security?.runAsUser !== undefined || (security?.runAsUsername ?? '') !== '';
  if (security?.runAsGroup !== undefined && !hasUser) {
    throw new TkadmError('CRI_INVALID', 'Cannot set the group of a container: runAsGroup without a user');
  }
  const [userPart = '', groupPart] = hasUser
    ? [security?.runAsUser === undefined ? security?.runAsUsername : String(security.runAsUser.value)]
    : imageUser.split(':');
  const entry = findPasswd(accounts.passwd, userPart === '' ? '0' : userPart);
  const uid = entry?.uid ?? parseId(userPart === '' ? '0' : userPart, 'user');
  const gid = security?.runAsGroup?.value ?? groupId(accounts.group, groupPart) ?? entry?.gid ?? 0;
  const isStrict = security?.supplementalGroupsPolicy === 'Strict';
  const own = isStrict || entry === undefined ? [] : groupsOf(accounts.group, entry.name);
  return {
    uid,
    gid,
    additionalGids: [...new Set([gid, ...own, ...(security?.supplementalGroups ?? [])])],
    home: entry?.home || '/',
  };
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

function findPasswd(passwd: string, user: string): PasswdEntry | undefined {
  for (const line of passwd.split('\n')) {
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
    if (name !== '' && uid !== '' && (name === user || uid === user)) {
      return { name, uid: Number(uid), gid: Number(gid), home };
    }
  }
  return undefined;
}

function groupId(group: string, wanted: string | undefined): number | undefined {
  if (wanted === undefined || wanted === '') return undefined;
  for (const line of group.split('\n')) {
    const [name = '', , gid = ''] = line.split(':');
    if (name !== '' && name === wanted) return Number(gid);
  }
  return parseId(wanted, 'group');
}

function groupsOf(group: string, user: string): readonly number[] {
  return group.split('\n').flatMap((line) => {
    const [, , gid = '', members = ''] = line.split(':');
    return gid !== '' && members.trim().split(',').includes(user) ? [Number(gid)] : [];
  });
}

function parseId(text: string, kind: string): number {
  if (!/^\d+$/.test(text)) {
    throw new TkadmError('CRI_INVALID', `Cannot run as ${kind} "${text}": the image has no such ${kind}`);
  }
  return Number(text);
}

async function readLayered(lowerDirs: readonly string[], path: string): Promise<string> {
  for (const root of lowerDirs) {
    const file = resolveInRoot(root, path);
    try {
      // A character device is a whiteout: the file is gone in the layers below as well.
      return (await lstat(file)).isFile() ? await readFile(file, 'utf8') : '';
    } catch (error) {
      if (!isSystemError(error, 'ENOENT') && !isSystemError(error, 'ENOTDIR')) throw error;
    }
  }
  return '';
}
