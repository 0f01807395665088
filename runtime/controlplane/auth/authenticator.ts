import type { ObjectReader } from '../store/reader.ts';
import { authenticateBootstrapToken, isBootstrapToken } from './bootstrap-tokens.ts';
import { unauthorized } from './forbidden.ts';
import { headersWithPrefix, headerValue, headerValues } from './headers.ts';
import { ANONYMOUS_USER, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP } from './names.ts';
import { createServiceAccountTokenVerifier } from './service-account-auth.ts';
import type {
  AuthenticationInput,
  RequestAuthenticator,
  RequestHeaderOptions,
  ServiceAccountTokenOptions,
  TokenAuthentication,
  UserInfo,
} from './types.ts';
import { certificateUser, createCertificateVerifier } from './x509.ts';

const WEBSOCKET_TOKEN_PREFIX = 'base64url.bearer.authorization.k8s.io.';

export interface AuthenticatorOptions {
  /** `--client-ca-file`; undefined: no client certificates. */
  readonly clientCaPem?: string | undefined;
  readonly reader: ObjectReader;
  /** undefined: no service-account tokens. */
  readonly serviceAccounts?: ServiceAccountTokenOptions | undefined;
  /** `--enable-bootstrap-token-auth`; default true. */
  readonly isBootstrapTokenAllowed?: boolean | undefined;
  /** `--anonymous-auth`. */
  readonly isAnonymousAllowed: boolean;
  readonly requestHeader?: RequestHeaderOptions | undefined;
  readonly now: () => Date;
}

/** One way to find out who asks: undefined when the request has nothing of this sort. */
type Method = (input: AuthenticationInput) => UserInfo | undefined;

/**
 * Front proxy, client certificate, bearer token, anonymous, in upstream's order. A request is refused (401) when
 * it has credentials and none of them is right.
 */
export function createAuthenticator(options: AuthenticatorOptions): RequestAuthenticator {
  const authenticateToken = tokenMethod(options);
  const methods: readonly Method[] = [
    ...(options.requestHeader ? [frontProxyMethod(options.requestHeader, options.now)] : []),
    ...(options.clientCaPem ? [certificateMethod(options.clientCaPem, options.now)] : []),
    (input) => {
      const token = bearerToken(input);
      return token === undefined ? undefined : authenticateToken(token).user;
    },
  ];
  return {
    authenticate: async (input) => authenticateRequest(input, methods, options.isAnonymousAllowed),
    authenticateToken: (token, audiences) => {
      const found = authenticateToken(token, audiences);
      return { ...found, user: withAuthenticatedGroup(found.user) };
    },
  };
}

function authenticateRequest(
  input: AuthenticationInput,
  methods: readonly Method[],
  isAnonymousAllowed: boolean,
): UserInfo {
  let hasFailed = false;
  for (const method of methods) {
    try {
      const user = method(input);
      if (user) return withAuthenticatedGroup(user);
    } catch {
      // The next method may know better; what was wrong is not told to the client.
      hasFailed = true;
    }
  }
  if (hasFailed || !(isAnonymousAllowed || input.isOpenToAll)) throw unauthorized();
  return { name: ANONYMOUS_USER, groups: [UNAUTHENTICATED_GROUP] };
}

function withAuthenticatedGroup(user: UserInfo): UserInfo {
  if (user.groups.includes(AUTHENTICATED_GROUP) || user.groups.includes(UNAUTHENTICATED_GROUP)) return user;
  return { ...user, groups: [...user.groups, AUTHENTICATED_GROUP] };
}

function certificateMethod(caPem: string, now: () => Date): Method {
  const verifier = createCertificateVerifier(caPem, now);
  return ({ peerCertificate }) =>
    peerCertificate ? certificateUser(verifier.verify(peerCertificate)) : undefined;
}

function frontProxyMethod(options: RequestHeaderOptions, now: () => Date): Method {
  const verifier = createCertificateVerifier(options.clientCaPem, now);
  return (input) => {
    if (!input.peerCertificate) return undefined;
    const { commonName } = verifier.verify(input.peerCertificate);
    if (options.allowedNames.length > 0 && !options.allowedNames.includes(commonName)) {
      throw new Error(`x509: subject with cn=${commonName} is not in the allowed list`);
    }
    const first = (names: readonly string[]) => names.map((name) => headerValue(input, name)).find(Boolean);
    const name = first(options.usernameHeaders);
    if (!name) return undefined;
    return {
      name,
      uid: first(options.uidHeaders ?? []),
      groups: options.groupHeaders.flatMap((header) => headerValues(input, header)),
      extra: Object.assign(
        {},
        ...options.extraHeaderPrefixes.map((prefix) => headersWithPrefix(input, prefix)),
      ),
    };
  };
}

function tokenMethod(
  options: AuthenticatorOptions,
): (token: string, audiences?: readonly string[]) => TokenAuthentication {
  const { reader, now, serviceAccounts } = options;
  const verifier = serviceAccounts
    ? createServiceAccountTokenVerifier({ ...serviceAccounts, reader, now })
    : undefined;
  const issuers = [serviceAccounts?.issuer ?? []].flat();
  const ownAudiences = serviceAccounts?.audiences.length ? serviceAccounts.audiences : issuers;
  return (token, audiences = ownAudiences) => {
    if (verifier?.isOurs(token))
      return verifier.verify(token, audiences.length > 0 ? audiences : ownAudiences);
    if ((options.isBootstrapTokenAllowed ?? true) && isBootstrapToken(token)) {
      return { user: authenticateBootstrapToken(token, reader, now()) };
    }
    throw new Error('invalid bearer token');
  };
}

/** The token of `Authorization: Bearer`, or of a WebSocket subprotocol for clients that cannot set headers. */
function bearerToken(input: AuthenticationInput): string | undefined {
  const match = /^Bearer +(\S+)\s*$/i.exec(input.headers.authorization ?? '');
  if (match) return match[1];
  const protocols = (input.headers['sec-websocket-protocol'] ?? '').split(',').map((item) => item.trim());
  const encoded = protocols.find((protocol) => protocol.startsWith(WEBSOCKET_TOKEN_PREFIX));
  if (encoded === undefined) return undefined;
  return Buffer.from(encoded.slice(WEBSOCKET_TOKEN_PREFIX.length), 'base64url').toString('utf8');
}
