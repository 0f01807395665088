import { TkadmError } from '../base/errors.ts';

/** A runtime that RuntimeClass can name (CRI `runtime_handler`). */
export interface RuntimeHandler {
  readonly name: string;
}

/** "" is the default. */
export const RUNTIME_HANDLERS = [
  { name: '' },
  { name: 'tkadm' },
] as const satisfies readonly RuntimeHandler[];

/** @throws CRI_NOT_FOUND for a handler that is not there. */
export function findHandler(name: string): RuntimeHandler {
  const handler = RUNTIME_HANDLERS.find((row) => row.name === name);
  if (handler !== undefined) return handler;
  throw new TkadmError('CRI_NOT_FOUND', `Cannot find runtime handler "${name}"`, {
    hint: `There are ${RUNTIME_HANDLERS.map((row) => `"${row.name}"`).join(', ')}`,
  });
}
