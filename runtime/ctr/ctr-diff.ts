import { listChanges } from '../image/container-files.ts';
import { type CtrContext, containerFiles } from './ctr-context.ts';
import type { DiffEntry } from './ctr-messages.ts';
import type { CtrRecord } from './ctr-record.ts';

/** What a container has added, changed and deleted: its own files beside the layers below. */
export function diffContainer(context: CtrContext, record: CtrRecord): Promise<readonly DiffEntry[]> {
  return listChanges(containerFiles(context, record), context.inodes);
}
