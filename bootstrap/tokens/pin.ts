import { formatCaPin } from '../../pki/certificate.ts';
import { TkadmError } from '../../runtime/base/errors.ts';

/**
 * Checks the form of CA pins, "sha256:" and 64 hex digits; returns them in lower case.
 * @throws CA_PIN_INVALID before any request is made.
 */
export function parseCaPins(pins: readonly string[]): readonly string[] {
  return pins.map((pin) => {
    const state = describeBadPin(pin);
    if (state === undefined) return pin.toLowerCase();
    throw new TkadmError('CA_PIN_INVALID', `Cannot use CA pin "${pin}": ${state}`, {
      hint: 'tkadm token create --print-join-command',
    });
  });
}

/** What is wrong with a pin's form; undefined when nothing is. */
export function describeBadPin(pin: string): string | undefined {
  const [format = '', value, ...rest] = pin.split(':');
  if (value === undefined || rest.length > 0) return 'it is not "sha256:" and 64 hexadecimal digits';
  if (format.toLowerCase() !== 'sha256') return `its hash is "${format}"; only "sha256" is known`;
  if (!/^[0-9a-fA-F]*$/.test(value)) return 'it is not hexadecimal';
  return value.length === 64 ? undefined : `it has ${value.length} hexadecimal digits instead of 64`;
}

/** Splits a PEM bundle into its certificates. */
function splitBundle(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

/** The pins of every certificate of a bundle. */
export function pinsOf(pem: string): readonly string[] {
  return splitBundle(pem).map((certificate) => formatCaPin(certificate).toLowerCase());
}
