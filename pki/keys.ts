import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair as generateNodeKeyPair,
  type KeyObject,
} from 'node:crypto';
import { promisify } from 'node:util';
import { formatError, TkadmError } from '../runtime/base/errors.ts';
import { generateRsaPrivateKeyPem, type PrimeSearches } from './rsa.ts';

/** A row for each key algorithm that `encryptionAlgorithm` may name (kubeadm.k8s.io/v1beta4). */
export const KEY_ALGORITHMS = [
  { name: 'RSA-2048', type: 'rsa', modulusLength: 2048 },
  { name: 'RSA-3072', type: 'rsa', modulusLength: 3072 },
  { name: 'RSA-4096', type: 'rsa', modulusLength: 4096 },
  { name: 'ECDSA-P256', type: 'ec', namedCurve: 'prime256v1' },
  { name: 'ECDSA-P384', type: 'ec', namedCurve: 'secp384r1' },
] as const;

export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number]['name'];

/** PEM texts: the private key as PKCS#1 (RSA) or SEC1 (EC), the public key as SubjectPublicKeyInfo. */
export interface KeyPair {
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
}

const generate = promisify(generateNodeKeyPair) as unknown as (
  type: string,
  options: object,
) => Promise<{ readonly privateKey: string; readonly publicKey: string }>;

/** Generates a key pair on the thread pool; who makes several at once shares the searches among them. */
export async function generateKeyPair(
  algorithm: KeyAlgorithm,
  searches?: PrimeSearches | undefined,
): Promise<KeyPair> {
  const row = KEY_ALGORITHMS.find((candidate) => candidate.name === algorithm);
  if (!row) throw new Error(`no key algorithm is called "${algorithm}"`);
  if (row.type === 'rsa') {
    const privateKeyPem = await generateRsaPrivateKeyPem(row.modulusLength, searches);
    return { privateKeyPem, publicKeyPem: derivePublicKeyPem(privateKeyPem) };
  }
  const { privateKey, publicKey } = await generate(row.type, {
    namedCurve: row.namedCurve,
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  return { privateKeyPem: privateKey, publicKeyPem: publicKey };
}

/** The public half of a private key, as a SubjectPublicKeyInfo PEM. @throws PKI_KEY_INVALID */
export function derivePublicKeyPem(privateKeyPem: string): string {
  return createPublicKey(loadPrivateKey(privateKeyPem)).export({ type: 'spki', format: 'pem' }).toString();
}

/** Reads a private key PEM (PKCS#1, SEC1 or PKCS#8). @throws PKI_KEY_INVALID */
export function loadPrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new TkadmError('PKI_KEY_INVALID', `Cannot read a private key: ${formatError(error)}`, {
      cause: error,
    });
  }
}

/** SubjectPublicKeyInfo DER of a private or public key. */
export function exportSpki(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' });
}
