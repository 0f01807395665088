import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { Secret, ServiceAccount } from 'kubernetes-types/core/v1.d.ts';
import { SECRETS, SERVICE_ACCOUNTS } from '../../api/kinds.ts';
import { remove, update } from '../component/action.ts';
import type { View } from '../component/view.ts';
import { type Controller, type ReconcileResult, SETTLED, watch } from './controller.ts';

const TYPE = 'kubernetes.io/service-account-token';
const NAME = 'kubernetes.io/service-account.name';
const UID = 'kubernetes.io/service-account.uid';

export interface TokenSettings {
  readonly keyPem: () => string;
  readonly rootCaPem: (() => string) | undefined;
}

/** Fills Secrets of type service-account-token with an unbound token, and deletes those without account. */
export function createServiceAccountTokenController(settings: TokenSettings): Controller {
  const secretKeys = (view: View, namespace: string, account: string) =>
    view
      .inNamespace(SECRETS, namespace)
      .filter((secret) => secret.type === TYPE && secret.metadata?.annotations?.[NAME] === account)
      .map((secret) => `${namespace}/${secret.metadata?.name}`);
  return {
    name: 'serviceaccount-token-controller',
    watches: [
      watch(SECRETS, ({ key, object }) => (object.type === TYPE ? [key] : [])),
      watch(SERVICE_ACCOUNTS, ({ object }, view) =>
        secretKeys(view, object.metadata?.namespace ?? '', object.metadata?.name ?? ''),
      ),
    ],
    reconcile: (key, { view }) => reconcileSecret(settings, key, view),
  };
}

function reconcileSecret(settings: TokenSettings, key: string, view: View): ReconcileResult {
  const secret = view.get(SECRETS, key);
  const { namespace, annotations, deletionTimestamp } = secret?.metadata ?? {};
  if (!secret || secret.type !== TYPE || deletionTimestamp) return SETTLED;
  const account = view.get(SERVICE_ACCOUNTS, `${namespace}/${annotations?.[NAME]}`);
  const isForeign = annotations?.[UID] !== undefined && annotations[UID] !== account?.metadata?.uid;
  if (!account || isForeign) return { actions: [remove(SECRETS, secret)] };
  const encode = (text: string) => Buffer.from(text).toString('base64');
  const data = {
    ...secret.data,
    namespace: encode(namespace ?? ''),
    ...(settings.rootCaPem ? { 'ca.crt': encode(settings.rootCaPem()) } : {}),
    ...(secret.data?.['token'] ? {} : { token: encode(signToken(settings.keyPem(), secret, account)) }),
  };
  const isSame = JSON.stringify(data) === JSON.stringify(secret.data) && annotations?.[UID];
  if (isSame) return SETTLED;
  const metadata = {
    ...secret.metadata,
    annotations: { ...annotations, [UID]: account.metadata?.uid ?? '' },
  };
  return { actions: [update(SECRETS, { ...secret, metadata, data })] };
}

/** A token without end (RFC 7519; upstream's legacy claims). */
function signToken(keyPem: string, secret: Secret, { metadata }: ServiceAccount): string {
  const key = createPrivateKey(keyPem);
  const isRsa = key.asymmetricKeyType === 'rsa';
  const der = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const kid = createHash('sha256').update(der).digest('base64url');
  const prefix = 'kubernetes.io/serviceaccount';
  const claims = {
    iss: prefix,
    [`${prefix}/namespace`]: metadata?.namespace,
    [`${prefix}/secret.name`]: secret.metadata?.name,
    [`${prefix}/service-account.name`]: metadata?.name,
    [`${prefix}/service-account.uid`]: metadata?.uid,
    sub: `system:serviceaccount:${metadata?.namespace}:${metadata?.name}`,
  };
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${encode({ alg: isRsa ? 'RS256' : 'ES256', kid })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}
