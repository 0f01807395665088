import { TkadmError } from '../../base/errors.ts';

/** A cgroup below the container's, for a process that is not to join all of them. */
interface PlaceBelow {
  readonly text: string;
  /** None for all. */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** "PATH" or "CONTROLLER,..:PATH". @throws FLAG_INVALID when it leads out */
export function parsePlaceBelow(text: string): PlaceBelow {
  const [, controllers = '', path = ''] = /^(?:([^/:]+):)?(.*)$/s.exec(text) ?? [];
  if (path.split('/').includes('..')) throw badPlace(text, "it leads out of the container's cgroup");
  return { text, controllers: controllers.split(',').filter(Boolean), path };
}

/** FLAG_INVALID for a place that cannot be. */
export function badPlace(text: string, state: string): TkadmError {
  return new TkadmError('FLAG_INVALID', `Cannot use cgroup "${text}": ${state}`);
}
