import type { HttpRequest } from './http-client.ts';
import type { RegistryAuth } from './puller.ts';

/** How a client proves who it is; a password or one of the two tokens of the Docker token authentication. */
export type RegistryCredentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A refresh token, for which the token server gives a bearer token. */
  | { readonly kind: 'identity-token'; readonly token: string }
  /** A bearer token for the registry itself. */
  | { readonly kind: 'registry-token'; readonly token: string };

/** CRI's AuthConfig: the first form that is complete; undefined when none is. */
export function toCredentials(auth: RegistryAuth | undefined): RegistryCredentials | undefined {
  if (!auth) return undefined;
  if (auth.registryToken) return { kind: 'registry-token', token: auth.registryToken };
  if (auth.identityToken) return { kind: 'identity-token', token: auth.identityToken };
  if (auth.username) return { kind: 'password', username: auth.username, password: auth.password ?? '' };
  const text = Buffer.from(auth.auth ?? '', 'base64')
    .toString('utf8')
    .replace(/\0+$/, '');
  const colon = text.indexOf(':');
  return colon < 1
    ? undefined
    : { kind: 'password', username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** A `WWW-Authenticate` header: scheme in lower case and parameters (RFC 9110 §11.6.1). */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Parses the first challenge of a `WWW-Authenticate` header. */
export function parseChallenge(header: string): Challenge {
  const [scheme = ''] = header.split(/\s/, 1);
  const parameters = [...header.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)].map(
    ([, name = '', quoted, plain]) => [name.toLowerCase(), quoted ?? plain ?? ''] as const,
  );
  return { scheme: scheme.toLowerCase(), parameters: new Map(parameters) };
}

/** The `Authorization` header of HTTP Basic (RFC 7617). */
export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

export interface TokenRequest extends HttpRequest {
  readonly url: URL;
}

/**
 * The request for a bearer token: GET with Basic or without, or an OAuth2 POST for an identity token (Docker
 * "Token authentication", "OAuth2 token authentication").
 */
export function buildTokenRequest(
  { parameters }: Challenge,
  credentials: RegistryCredentials | undefined,
  defaultScope: string,
): TokenRequest {
  const url = new URL(parameters.get('realm') ?? '');
  const service = parameters.get('service') ?? '';
  const scope = parameters.get('scope') ?? defaultScope;
  if (credentials?.kind === 'identity-token') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'tkadm',
      service,
      scope,
      refresh_token: credentials.token,
    });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return { url, method: 'POST', headers, body: Buffer.from(String(form)) };
  }
  if (service) url.searchParams.set('service', service);
  url.searchParams.set('scope', scope);
  if (credentials?.kind !== 'password') return { url, method: 'GET' };
  const authorization = basicAuthorization(credentials.username, credentials.password);
  return { url, method: 'GET', headers: { authorization } };
}
