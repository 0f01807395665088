import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

import * as der from './der.ts';

/** A key and certificate for a server on this machine, valid for a year; nobody verifies it. */
export interface ServerIdentity {
  readonly keyPem: string;
  readonly certPem: string;
}

/** Makes an ECDSA P-256 key and a certificate that it signs itself (RFC 5280). */
export function createSelfSignedIdentity(commonName: string, now: Date): ServerIdentity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = der.name([['2.5.4.3', commonName]]);
  const spki = der.decode(publicKey.export({ type: 'spki', format: 'der' }));
  const algorithm = der.sequence([der.oid('1.2.840.10045.4.3.2')]);
  const tbs = der.sequence([
    der.context(0, [der.integer(Buffer.from([2]))]),
    der.integer(der.positive(randomBytes(8))),
    algorithm,
    name,
    der.sequence([der.time(new Date(now.getTime() - 3_600_000)), der.time(addYear(now))]),
    name,
    spki,
  ]);
  const body = der.encode(tbs);
  const signature = sign('sha256', body, privateKey);
  const certificate = der.encode(der.sequence([tbs, algorithm, der.bitString(signature)]));
  return {
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certPem: der.toPem('CERTIFICATE', certificate),
  };
}

function addYear(date: Date): Date {
  return new Date(date.getTime() + 365 * 86_400_000);
}
