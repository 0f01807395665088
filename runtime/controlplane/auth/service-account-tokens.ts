import { randomUUID } from 'node:crypto';
import type * as authentication from 'kubernetes-types/authentication/v1.d.ts';
import type { ServiceAccount } from 'kubernetes-types/core/v1.d.ts';
import { NODES, PODS, SECRETS } from '../../api/kinds.ts';
import { StatusError } from '../apiserver/status-error.ts';
import type { ObjectReader } from '../store/reader.ts';
import { loadSigningKey, loadTokenKey, signJwt, type TokenKey } from './jwt.ts';
import { formatServiceAccountUser } from './names.ts';
import type { KubernetesClaim, ObjectClaim } from './service-account-auth.ts';

const MIN_EXPIRATION_S = 600;
const MAX_EXPIRATION_S = 2 ** 32;
const DEFAULT_EXPIRATION_S = 3600;
/** What the ServiceAccount plugin asks for; such tokens live longer and only warn after that time. */
const WARN_AFTER_S = 3607;
const EXTENDED_EXPIRATION_S = 365 * 24 * 3600;

export interface TokenIssuerOptions {
  /** `--service-account-issuer`; the first one is written into tokens. */
  readonly issuer: string | readonly string[];
  /** `--service-account-signing-key-file`. */
  readonly signingKeyPem: string;
  /** Further keys of `--service-account-key-file`, published in the key set. */
  readonly publicKeys?: readonly string[] | undefined;
  /** `--api-audiences`; [] means the issuers. */
  readonly audiences: readonly string[];
  /** Finds the objects that a token is bound to. */
  readonly reader: ObjectReader;
  /** `--service-account-max-token-expiration` in seconds. */
  readonly maxExpirationS?: number | undefined;
  /** `--service-account-extend-token-expiration`; default true. */
  readonly isExpirationExtended?: boolean | undefined;
  /** `--service-account-jwks-uri`; default ISSUER/openid/v1/jwks. */
  readonly jwksUri?: string | undefined;
  readonly now: () => Date;
  readonly createUuid?: () => string;
}

/** An answer that is no API object: body and its media type. */
export interface RawAnswer {
  readonly contentType: string;
  readonly body: string;
  readonly cacheControl: string;
}

export interface TokenIssuer {
  /**
   * `POST serviceaccounts/NAME/token`: the request with `status.token` and `status.expirationTimestamp` set.
   * @throws StatusError 422, 404, 409 or 400 in upstream's words
   */
  issueToken(account: ServiceAccount, request: authentication.TokenRequest): authentication.TokenRequest;
  /** `GET /.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §4). */
  serveOpenIdConfiguration(): RawAnswer;
  /** `GET /openid/v1/jwks` (RFC 7517 §5). */
  serveJwks(): RawAnswer;
}

interface BoundObjects {
  readonly pod?: ObjectClaim;
  readonly node?: ObjectClaim;
  readonly secret?: ObjectClaim;
}

/** Signs service-account tokens and publishes what others need to verify them. */
export function createTokenIssuer(options: TokenIssuerOptions): TokenIssuer {
  const issuers = [options.issuer].flat();
  const issuer = issuers[0] ?? '';
  const ownAudiences = options.audiences.length > 0 ? options.audiences : issuers;
  const signingKey = loadSigningKey(options.signingKeyPem);
  const createUuid = options.createUuid ?? randomUUID;
  const published = [signingKey, ...(options.publicKeys ?? []).map(loadTokenKey)];
  const keys = [...new Map(published.map((key) => [key.keyId, key])).values()];

  return {
    issueToken(account, request) {
      const { namespace = '', name = '', uid = '' } = account.metadata ?? {};
      const audiences = request.spec?.audiences?.length ? request.spec.audiences : ownAudiences;
      const wantedS = checkExpiration(request.spec?.expirationSeconds ?? DEFAULT_EXPIRATION_S);
      const bound = resolveBoundObject(account, request, options.reader);
      const asksS = Math.min(wantedS, options.maxExpirationS ?? Number.POSITIVE_INFINITY);
      const isExtended =
        (options.isExpirationExtended ?? true) &&
        asksS === WARN_AFTER_S &&
        bound.pod !== undefined &&
        audiences.every((audience) => ownAudiences.includes(audience));
      const nowS = Math.floor(options.now().getTime() / 1000);
      const claim: KubernetesClaim = {
        namespace,
        ...bound,
        serviceaccount: { name, uid },
        ...(isExtended ? { warnafter: nowS + WARN_AFTER_S } : {}),
      };
      const token = signJwt(
        {
          aud: audiences,
          exp: nowS + (isExtended ? EXTENDED_EXPIRATION_S : asksS),
          iat: nowS,
          iss: issuer,
          jti: createUuid(),
          'kubernetes.io': claim,
          nbf: nowS,
          sub: formatServiceAccountUser(namespace, name),
        },
        signingKey,
      );
      return {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        metadata: { ...request.metadata, name, namespace, creationTimestamp: formatTime(nowS) },
        spec: { ...request.spec, audiences: [...audiences], expirationSeconds: asksS },
        status: { token, expirationTimestamp: formatTime(nowS + asksS) },
      };
    },
    serveOpenIdConfiguration() {
      return {
        contentType: 'application/json',
        cacheControl: 'public, max-age=3600',
        body: JSON.stringify({
          issuer,
          jwks_uri: options.jwksUri ?? `${issuer.replace(/\/$/, '')}/openid/v1/jwks`,
          response_types_supported: ['id_token'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: [...new Set(keys.map((key) => key.algorithm.name))],
        }),
      };
    },
    serveJwks() {
      return {
        contentType: 'application/jwk-set+json',
        cacheControl: 'public, max-age=3600',
        body: JSON.stringify({ keys: keys.map(formatJwk) }),
      };
    },
  };
}

function formatJwk(key: TokenKey): object {
  const jwk = key.publicKey.export({ format: 'jwk' });
  return { use: 'sig', kty: jwk.kty, kid: key.keyId, alg: key.algorithm.name, ...jwk };
}

/** RFC 3339 in whole seconds, as metav1.Time. */
function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

function checkExpiration(seconds: number): number {
  const problem =
    seconds < MIN_EXPIRATION_S
      ? 'may not specify a duration less than 10 minutes'
      : seconds > MAX_EXPIRATION_S
        ? 'may not specify a duration larger than 2^32 seconds'
        : undefined;
  if (problem === undefined) return seconds;
  const message = `Invalid value: ${seconds}: ${problem}`;
  throw new StatusError(422, {
    reason: 'Invalid',
    message: `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: ${message}`,
    details: {
      group: 'authentication.k8s.io',
      kind: 'TokenRequest',
      causes: [{ reason: 'FieldValueInvalid', message, field: 'spec.expirationSeconds' }],
    },
  });
}

function resolveBoundObject(
  account: ServiceAccount,
  request: authentication.TokenRequest,
  reader: ObjectReader,
): BoundObjects {
  const reference = request.spec?.boundObjectRef;
  if (!reference) return {};
  const name = reference.name ?? '';
  const namespace = account.metadata?.namespace ?? '';
  if (reference.apiVersion === 'v1' && reference.kind === 'Pod') {
    const pod = reader.get(PODS, name, namespace);
    if (!pod) throw notFound('pods', name);
    const accountName = account.metadata?.name;
    if (pod.spec?.serviceAccountName !== accountName) {
      throw badRequest(
        `cannot bind token for serviceaccount "${accountName}" to pod running with different serviceaccount name.`,
      );
    }
    const claim = checkUid(reference, { name, uid: pod.metadata?.uid ?? '' });
    const nodeName = pod.spec?.nodeName;
    const node = nodeName ? reader.get(NODES, nodeName) : undefined;
    if (!nodeName) return { pod: claim };
    return {
      pod: claim,
      node: { name: nodeName, ...(node?.metadata?.uid ? { uid: node.metadata.uid } : {}) },
    };
  }
  if (reference.apiVersion === 'v1' && reference.kind === 'Node') {
    const node = reader.get(NODES, name);
    if (!node) throw notFound('nodes', name);
    return { node: checkUid(reference, { name, uid: node.metadata?.uid ?? '' }) };
  }
  if (reference.apiVersion === 'v1' && reference.kind === 'Secret') {
    const secret = reader.get(SECRETS, name, namespace);
    if (!secret) throw notFound('secrets', name);
    return { secret: checkUid(reference, { name, uid: secret.metadata?.uid ?? '' }) };
  }
  throw badRequest(`cannot bind token to object of type ${reference.apiVersion}, Kind=${reference.kind}`);
}

function checkUid(reference: authentication.BoundObjectReference, found: ObjectClaim): ObjectClaim {
  if (!reference.uid || reference.uid === found.uid) return found;
  throw new StatusError(409, {
    reason: 'Conflict',
    message:
      `Operation cannot be fulfilled on ${reference.kind} "${reference.name}": the UID in the bound object ` +
      `reference (${reference.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    details: { name: reference.name ?? '', kind: reference.kind ?? '' },
  });
}

function notFound(resource: string, name: string): StatusError {
  return new StatusError(404, {
    reason: 'NotFound',
    message: `${resource} "${name}" not found`,
    details: { name, kind: resource },
  });
}

function badRequest(message: string): StatusError {
  return new StatusError(400, { reason: 'BadRequest', message });
}
