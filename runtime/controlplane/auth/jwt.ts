import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes,
} from 'node:crypto';

/** JWS algorithms of service-account keys (RFC 7518 §3.1): by key type, curve, digest and signature form. */
const ALGORITHMS = [
  { name: 'RS256', keyType: 'rsa', curve: undefined, digest: 'sha256' },
  { name: 'ES256', keyType: 'ec', curve: 'prime256v1', digest: 'sha256' },
  { name: 'ES384', keyType: 'ec', curve: 'secp384r1', digest: 'sha384' },
  { name: 'ES512', keyType: 'ec', curve: 'secp521r1', digest: 'sha512' },
] as const;

type Algorithm = (typeof ALGORITHMS)[number];

/** A key that signs or verifies tokens; `keyId` = base64url of SHA-256 over the SubjectPublicKeyInfo DER. */
export interface TokenKey {
  readonly keyId: string;
  readonly algorithm: Algorithm;
  readonly publicKey: KeyObject;
}

export interface SigningKey extends TokenKey {
  readonly privateKey: KeyObject;
}

/** The public half of a PEM key (public or private), ready to verify. @throws Error for other key types */
export function loadTokenKey(pem: string): TokenKey {
  const publicKey = createPublicKey(pem);
  const algorithm = ALGORITHMS.find(
    ({ keyType, curve }) =>
      keyType === publicKey.asymmetricKeyType && curve === publicKey.asymmetricKeyDetails?.namedCurve,
  );
  if (!algorithm) {
    throw new Error(`service-account keys of type "${publicKey.asymmetricKeyType}" are not supported`);
  }
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return { keyId: createHash('sha256').update(der).digest('base64url'), algorithm, publicKey };
}

/** A PEM private key, ready to sign. */
export function loadSigningKey(pem: string): SigningKey {
  return { ...loadTokenKey(pem), privateKey: createPrivateKey(pem) };
}

/** The compact serialization of a signed token (RFC 7515 §7.1). */
export function signJwt(claims: Readonly<Record<string, unknown>>, key: SigningKey): string {
  const header = encode({ alg: key.algorithm.name, kid: key.keyId });
  const input = `${header}.${encode(claims)}`;
  const signature = signBytes(key.algorithm.digest, Buffer.from(input), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  return `${input}.${signature.toString('base64url')}`;
}

/** The claims of a token without looking at its signature; undefined when it is no JWT. */
export function decodeJwt(token: string): Readonly<Record<string, unknown>> | undefined {
  const parts = token.split('.');
  return parts.length === 3 ? decodePart(parts[1]!) : undefined;
}

/**
 * The claims of a token that one of these keys signed.
 * @throws Error when none did
 */
export function verifyJwt(token: string, keys: readonly TokenKey[]): Readonly<Record<string, unknown>> {
  const [headerText = '', payload = '', signatureText = ''] = token.split('.');
  const header = decodePart(headerText);
  const claims = decodePart(payload);
  if (!header || !claims) throw new Error('token is not a JWT');
  const input = Buffer.from(`${headerText}.${payload}`);
  const signature = Buffer.from(signatureText, 'base64url');
  const kid = header['kid'];
  const candidates = keys.filter(
    (key) => key.algorithm.name === header['alg'] && (typeof kid !== 'string' || kid === key.keyId),
  );
  const isSigned = candidates.some((key) =>
    verifyBytes(key.algorithm.digest, input, { key: key.publicKey, dsaEncoding: 'ieee-p1363' }, signature),
  );
  if (!isSigned) throw new Error('token signature does not match any known key');
  return claims;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decodePart(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
