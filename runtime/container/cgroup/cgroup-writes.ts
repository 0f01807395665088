import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ResourceUpdate } from '../engine.ts';
import type { CgroupWrite } from './cgroup-limits.ts';

/** A limit below what is used would kill, which `checkBeforeUpdate` is to prevent. @throws CGROUP_WRITE */
export function checkUsage({ memory }: ResourceUpdate, usage = 0): void {
  if (!memory?.checkBeforeUpdate || !memory.limit || memory.limit < 0 || memory.limit >= usage) return;
  throw new TkadmError(
    'CGROUP_WRITE',
    `Cannot set "memory.limit" to "${memory.limit}": ${usage} bytes are in use`,
  );
}

/** Writes limits to the files of their controllers. @throws CGROUP_WRITE, CGROUP_UNSUPPORTED naming the field */
export function applyWrites(
  writes: readonly CgroupWrite[],
  directoryOf: (controller: string) => string | undefined,
  log: Logger,
): void {
  for (const { controller, file, otherFile, value, field, isOptional } of writes) {
    // The names of some are the spec's.
    if (file.includes('/'))
      throw new TkadmError('CGROUP_WRITE', `Cannot set "${field}": "${file}" is no file of a cgroup`);
    const directory = directoryOf(controller);
    if (directory === undefined) {
      if (isOptional) continue;
      throw unsupported(controller, field);
    }
    try {
      const isThere = otherFile === undefined || existsSync(join(directory, file));
      writeFileSync(join(directory, isThere ? file : otherFile), value);
    } catch (error) {
      if (isOptional) {
        log.debug('optional cgroup file not written', { file, value });
        continue;
      }
      throw new TkadmError(
        'CGROUP_WRITE',
        `Cannot set "${field}" to "${value}": ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}

/** CGROUP_UNSUPPORTED for a field whose controller is not mounted. */
export function unsupported(controller: string, field: string): TkadmError {
  return new TkadmError(
    'CGROUP_UNSUPPORTED',
    `Cannot apply "${field}": this machine has no cgroup controller "${controller}"`,
  );
}
