import { type Kind, type KubeObject, NODES, PODS, SECRETS, SERVICE_ACCOUNTS } from '../../api/kinds.ts';
import type { ObjectReader } from '../store/reader.ts';
import { decodeJwt, loadTokenKey, verifyJwt } from './jwt.ts';
import {
  CREDENTIAL_ID_KEY,
  formatServiceAccountUser,
  NODE_NAME_KEY,
  NODE_UID_KEY,
  POD_NAME_KEY,
  POD_UID_KEY,
  serviceAccountGroups,
} from './names.ts';
import type { ServiceAccountTokenOptions, TokenAuthentication, UserInfo } from './types.ts';

/** Tolerated difference of clocks, as upstream's JWT library has it. */
const LEEWAY_S = 60;
/** A bound object that is being deleted keeps its tokens alive for this long. */
const DELETION_GRACE_MS = 60_000;
const LEGACY_ISSUER = 'kubernetes/serviceaccount';
const CACHE_SIZE = 4096;

/** Name and uid of an object in the `kubernetes.io` claim. */
export interface ObjectClaim {
  readonly name?: string;
  readonly uid?: string;
}

/** The private claim `kubernetes.io` of a bound token. */
export interface KubernetesClaim {
  readonly namespace?: string;
  readonly serviceaccount?: ObjectClaim;
  readonly pod?: ObjectClaim;
  readonly secret?: ObjectClaim;
  readonly node?: ObjectClaim;
  readonly warnafter?: number;
}

type Claims = Readonly<Record<string, unknown>>;

/** Judges service-account tokens. */
export interface ServiceAccountTokenVerifier {
  /** True when the token names one of our issuers: then nobody else may accept it. */
  isOurs(token: string): boolean;
  /** @throws Error that says what is wrong with the token */
  verify(token: string, audiences: readonly string[]): TokenAuthentication;
}

/** Verifies signature, issuer, audience, times, and that every bound object is still the same. */
export function createServiceAccountTokenVerifier(
  options: ServiceAccountTokenOptions & { readonly reader: ObjectReader; readonly now: () => Date },
): ServiceAccountTokenVerifier {
  const { reader, now } = options;
  const issuers = new Set([options.issuer].flat());
  const keys = options.publicKeys.map(loadTokenKey);
  const verified = new Map<string, Claims>();
  function claimsOf(token: string): Claims {
    let claims = verified.get(token);
    if (!claims) {
      claims = verifyJwt(token, keys);
      if (verified.size >= CACHE_SIZE) verified.clear();
      verified.set(token, claims);
    }
    return claims;
  }
  return {
    isOurs(token) {
      const issuer = verified.get(token)?.['iss'] ?? decodeJwt(token)?.['iss'];
      return typeof issuer === 'string' && (issuers.has(issuer) || issuer === LEGACY_ISSUER);
    },
    verify(token, audiences) {
      const claims = claimsOf(token);
      if (claims['iss'] === LEGACY_ISSUER) return { user: legacyUser(token, claims, reader, now()) };
      const accepted = stringsOf(claims['aud']).filter((audience) => audiences.includes(audience));
      if (accepted.length === 0) {
        throw new Error(
          `token audiences ${JSON.stringify(claims['aud'])} is invalid for the target audiences`,
        );
      }
      checkTimes(claims, now());
      return { user: boundUser(claims, reader, now()), audiences: accepted };
    },
  };
}

function checkTimes(claims: Claims, now: Date): void {
  const nowS = now.getTime() / 1000;
  const { exp, nbf, iat } = claims;
  if (typeof exp !== 'number' || nowS > exp + LEEWAY_S) throw new Error('service account token has expired');
  if (typeof nbf === 'number' && nowS < nbf - LEEWAY_S) {
    throw new Error('service account token is not valid yet');
  }
  if (typeof iat === 'number' && nowS < iat - LEEWAY_S) {
    throw new Error('service account token was issued in the future');
  }
}

function boundUser(claims: Claims, reader: ObjectReader, now: Date): UserInfo {
  const claim = (claims['kubernetes.io'] ?? {}) as KubernetesClaim;
  const namespace = claim.namespace ?? '';
  const name = claim.serviceaccount?.name ?? '';
  if (claims['sub'] !== formatServiceAccountUser(namespace, name))
    throw new Error('token has a wrong subject');
  checkBound(SERVICE_ACCOUNTS, claim.serviceaccount ?? {}, namespace, { reader, now });
  if (claim.secret) checkBound(SECRETS, claim.secret, namespace, { reader, now });
  if (claim.pod) checkBound(PODS, claim.pod, namespace, { reader, now });
  // The node of a pod's token is a hint alone; a token bound to the node itself dies with it.
  if (claim.node && !claim.pod) checkBound(NODES, claim.node, undefined, { reader, now });
  return {
    name: formatServiceAccountUser(namespace, name),
    uid: claim.serviceaccount?.uid,
    groups: serviceAccountGroups(namespace),
    extra: extraOf(claims, claim),
  };
}

function checkBound<T extends KubeObject>(
  kind: Kind<T>,
  claim: ObjectClaim,
  namespace: string | undefined,
  { reader, now }: { readonly reader: ObjectReader; readonly now: Date },
): void {
  const object = reader.get(kind, claim.name ?? '', namespace);
  const what = `${kind.kind.toLowerCase()} "${claim.name}"`;
  if (!object || object.metadata?.uid !== claim.uid)
    throw new Error(`${what} of the token has been invalidated`);
  const deletion = object.metadata?.deletionTimestamp;
  if (deletion && now.getTime() - new Date(deletion).getTime() > DELETION_GRACE_MS) {
    throw new Error(`${what} of the token has been deleted`);
  }
}

function extraOf(claims: Claims, claim: KubernetesClaim): Record<string, string[]> {
  const entries = [
    [CREDENTIAL_ID_KEY, typeof claims['jti'] === 'string' ? `JTI=${claims['jti']}` : undefined],
    [POD_NAME_KEY, claim.pod?.name],
    [POD_UID_KEY, claim.pod?.uid],
    [NODE_NAME_KEY, claim.node?.name],
    [NODE_UID_KEY, claim.node?.uid],
  ] as const;
  return Object.fromEntries(entries.flatMap(([key, value]) => (value ? [[key, [value]]] : [])));
}

/** Tokens of Secrets of type kubernetes.io/service-account-token: no expiry, valid as long as the Secret has them. */
function legacyUser(token: string, claims: Claims, reader: ObjectReader, now: Date): UserInfo {
  const claim = (key: string) => String(claims[`kubernetes.io/serviceaccount/${key}`] ?? '');
  const namespace = claim('namespace');
  const name = claim('service-account.name');
  if (claims['sub'] !== formatServiceAccountUser(namespace, name))
    throw new Error('token has a wrong subject');
  const secret = reader.get(SECRETS, claim('secret.name'), namespace);
  if (!secret || Buffer.from(secret.data?.['token'] ?? '', 'base64').toString() !== token) {
    throw new Error('the Secret of the token has been changed or deleted');
  }
  const uid = claim('service-account.uid');
  checkBound(SERVICE_ACCOUNTS, { name, uid }, namespace, { reader, now });
  return { name: formatServiceAccountUser(namespace, name), uid, groups: serviceAccountGroups(namespace) };
}

function stringsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}
