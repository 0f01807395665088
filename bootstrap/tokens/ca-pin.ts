import { TkadmError } from '../../runtime/base/errors.ts';

/**
 * "sha256:HEX" in any case → the same in lower case.
 * @throws DISCOVERY_PIN_INVALID saying what is wrong with it.
 */
export function parseCaPin(text: string): string {
  const state = describeBadPin(text);
  if (state === undefined) return text.toLowerCase();
  throw new TkadmError('DISCOVERY_PIN_INVALID', `Cannot use CA pin "${text}": ${state}`, {
    hint: 'Print the right one on a control-plane node: tkadm token create --print-join-command',
  });
}

/** What is wrong with a pin's form; undefined when nothing is. */
export function describeBadPin(text: string): string | undefined {
  const [format, value, ...rest] = text.split(':');
  if (value === undefined || rest.length > 0) return 'write it like "sha256:HEX"';
  if (format!.toLowerCase() !== 'sha256') return `its hash is "${format}", and only "sha256" is known`;
  if (!/^[0-9a-fA-F]*$/.test(value)) return 'it is not hexadecimal';
  return value.length === 64 ? undefined : `it has ${value.length} hexadecimal digits instead of 64`;
}
