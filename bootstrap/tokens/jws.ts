import { createHmac, timingSafeEqual } from 'node:crypto';
import type { BootstrapToken } from './token.ts';

/** Key of a token's signature in kube-public/cluster-info. */
export function signatureKey(tokenId: string): string {
  return `jws-kubeconfig-${tokenId}`;
}

/** True when the signature is this token's over exactly this content. */
export function verifyDetached(jws: string, content: string, token: BootstrapToken): boolean {
  const [header = '', payload, signature = ''] = jws.split('.');
  if (payload !== '') return false;
  try {
    const { alg, kid } = JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as {
      alg?: string;
      kid?: string;
    };
    if (alg !== 'HS256' || kid !== token.id) return false;
  } catch {
    return false;
  }
  const expected = Buffer.from(computeSignature(header, content, token.secret));
  const found = Buffer.from(signature);
  return expected.length === found.length && timingSafeEqual(expected, found);
}

function computeSignature(header: string, content: string, secret: string): string {
  const payload = Buffer.from(content).toString('base64url');
  return createHmac('sha256', secret).update(`${header}.${payload}`).digest('base64url');
}
