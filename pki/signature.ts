import { type KeyObject, sign, verify } from 'node:crypto';
import { type Asn1, childrenOf, nullValue, OIDS, oid, oidOf, sequence } from './asn1.ts';

/** Signature algorithms of certificates and requests (RFC 4055, RFC 5758, RFC 8410), by key type and digest. */
const SIGNATURE_ALGORITHMS = [
  { oid: OIDS.sha256WithRsa, keyType: 'rsa', digest: 'sha256' },
  { oid: OIDS.sha384WithRsa, keyType: 'rsa', digest: 'sha384' },
  { oid: OIDS.sha512WithRsa, keyType: 'rsa', digest: 'sha512' },
  { oid: OIDS.ecdsaWithSha256, keyType: 'ec', digest: 'sha256' },
  { oid: OIDS.ecdsaWithSha384, keyType: 'ec', digest: 'sha384' },
  { oid: OIDS.ecdsaWithSha512, keyType: 'ec', digest: 'sha512' },
  // The digest is part of the algorithm (RFC 8410 §3).
  { oid: OIDS.ed25519, keyType: 'ed25519', digest: null },
] as const;

/** What a key signs with: SHA-256, with a P-384 key SHA-384, as Go chooses. */
export interface SignatureScheme {
  readonly algorithm: Asn1;
  sign(data: Uint8Array): Buffer;
}

/** @throws Error for a key that is neither RSA nor EC. */
export function signatureSchemeOf(key: KeyObject): SignatureScheme {
  const digest = key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'sha384' : 'sha256';
  const row = SIGNATURE_ALGORITHMS.find(
    (candidate) => candidate.keyType === key.asymmetricKeyType && candidate.digest === digest,
  );
  if (!row) throw new Error(`keys of type "${key.asymmetricKeyType}" are not supported`);
  return {
    algorithm: sequence(oid(row.oid), ...(row.keyType === 'rsa' ? [nullValue()] : [])),
    sign: (data) => sign(row.digest, data, key),
  };
}

/** True when the signature over `data` is the key's, by the algorithm that the structure names. */
export function verifySignature(
  algorithm: Asn1 | undefined,
  data: Uint8Array,
  { key, signature }: { readonly key: KeyObject; readonly signature: Uint8Array },
): boolean {
  const row = SIGNATURE_ALGORITHMS.find((candidate) => candidate.oid === oidOf(childrenOf(algorithm)[0]));
  return (
    row !== undefined && row.keyType === key.asymmetricKeyType && verify(row.digest, data, key, signature)
  );
}
