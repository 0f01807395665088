import { formatCaPin } from '../../pki/certificate.ts';
import { TkadmError } from '../../runtime/base/errors.ts';

/**
 * Checks the form of CA pins, "sha256:" and 64 hex digits; returns them in lower case.
 * @throws CA_PIN_INVALID before any request is made.
 */
export function parseCaPins(pins: readonly string[]): readonly string[] {
  return pins.map((pin) => {
    if (/^sha256:[0-9a-f]{64}$/i.test(pin)) return pin.toLowerCase();
    throw new TkadmError(
      'CA_PIN_INVALID',
      `Cannot use CA pin "${pin}": it is not "sha256:" and 64 hexadecimal digits`,
      {
        hint: 'tkadm token create --print-join-command',
      },
    );
  });
}

/** Splits a PEM bundle into its certificates. */
export function splitBundle(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

/** The pins of every certificate of a bundle. */
export function pinsOf(pem: string): readonly string[] {
  return splitBundle(pem).map((certificate) => formatCaPin(certificate).toLowerCase());
}
