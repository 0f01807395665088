import { createHash } from 'node:crypto';

/** The state of a path at which nothing is. */
export const ABSENT = 'absent';

interface FileFacts {
  readonly content: string | Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** "file 600 0:0 SHA-256": what a file is, without its content. */
export function formatFileState({ content, mode, uid, gid }: FileFacts): string {
  return `file ${mode.toString(8)} ${uid}:${gid} ${digestContent(content)}`;
}

/** SHA-256 in hex. */
export function digestContent(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Mode, owner and digest of a file's state; undefined for anything but a file. */
export function parseFileState(state: string) {
  const [, mode = '', uid, gid, digest = ''] = /^file (\d+) (\d+):(\d+) ([0-9a-f]{64})$/.exec(state) ?? [];
  if (digest === '') return undefined;
  return { mode: Number.parseInt(mode, 8), uid: Number(uid), gid: Number(gid), digest };
}

/** True when two states have the same content; modes and owners of files may differ. */
export function isSameContent(a: string, b: string): boolean {
  const [first, second] = [parseFileState(a), parseFileState(b)];
  return first && second
    ? first.digest === second.digest
    : a.split(' ')[0] === b.split(' ')[0] && !first && !second;
}
