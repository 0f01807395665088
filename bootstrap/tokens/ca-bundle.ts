import { formatCaPin } from '../../pki/certificate.ts';

/** Splits a PEM bundle into its certificates. */
export function splitBundle(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

/** The pins of every certificate of a bundle. */
export function pinsOf(pem: string): readonly string[] {
  return splitBundle(pem).map((certificate) => formatCaPin(certificate).toLowerCase());
}
