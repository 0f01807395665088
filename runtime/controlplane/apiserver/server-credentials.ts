import type { FlagValues } from '../../base/flags.ts';
import { createAuthenticator } from '../auth/authenticator.ts';
import { createTokenIssuer, type TokenIssuer } from '../auth/service-account-tokens.ts';
import type { RequestAuthenticator } from '../auth/types.ts';
import type { ObjectReader } from '../store/reader.ts';
import type { API_SERVER_FLAGS } from './flags.ts';
import type { ServerFiles } from './server-files.ts';

type Flags = FlagValues<typeof API_SERVER_FLAGS>;

export interface ServerCredentialsOptions {
  readonly flags: Flags;
  readonly files: ServerFiles;
  readonly reader: ObjectReader;
  readonly now: () => Date;
}

/** Who is let in and whose tokens are signed: built over files, and anew when they change. */
export interface ServerCredentials {
  readonly authenticator: RequestAuthenticator;
  /** undefined without a signing key. */
  readonly tokenIssuer: TokenIssuer | undefined;
  /** Goes over to what the files hold now. */
  reload(): void;
}

/** Authentication and token signing as the flags and files say. */
export function createServerCredentials(options: ServerCredentialsOptions): ServerCredentials {
  let authenticator = buildAuthenticator(options);
  let issuer = buildTokenIssuer(options);
  return {
    authenticator: {
      authenticate: (input) => authenticator.authenticate(input),
      authenticateToken: (token, audiences) => authenticator.authenticateToken(token, audiences),
    },
    tokenIssuer: issuer && {
      issueToken: (account, request) => issuer!.issueToken(account, request),
      serveOpenIdConfiguration: () => issuer!.serveOpenIdConfiguration(),
      serveJwks: () => issuer!.serveJwks(),
    },
    reload() {
      authenticator = buildAuthenticator(options);
      issuer = buildTokenIssuer(options);
    },
  };
}

function buildAuthenticator({ flags, files, reader, now }: ServerCredentialsOptions): RequestAuthenticator {
  const { serviceAccountKeys, clientCa, requestHeaderCa } = files;
  return createAuthenticator({
    clientCaPem: clientCa,
    reader,
    serviceAccounts: serviceAccountKeys.length > 0 ? tokenOptions(flags, serviceAccountKeys) : undefined,
    isBootstrapTokenAllowed: flags['enable-bootstrap-token-auth'],
    isAnonymousAllowed: flags['anonymous-auth'],
    requestHeader: requestHeaderCa
      ? {
          clientCaPem: requestHeaderCa,
          allowedNames: flags['requestheader-allowed-names'],
          usernameHeaders: flags['requestheader-username-headers'],
          uidHeaders: flags['requestheader-uid-headers'],
          groupHeaders: flags['requestheader-group-headers'],
          extraHeaderPrefixes: flags['requestheader-extra-headers-prefix'],
        }
      : undefined,
    now,
  });
}

function buildTokenIssuer({ flags, files, reader, now }: ServerCredentialsOptions): TokenIssuer | undefined {
  if (!files.signingKey) return undefined;
  const maxTokenMs = flags['service-account-max-token-expiration'];
  return createTokenIssuer({
    ...tokenOptions(flags, files.serviceAccountKeys),
    signingKeyPem: files.signingKey,
    reader,
    maxExpirationS: maxTokenMs === undefined ? undefined : maxTokenMs / 1000,
    now,
  });
}

function tokenOptions(flags: Flags, publicKeys: readonly string[]) {
  return {
    issuer: flags['service-account-issuer'],
    publicKeys,
    audiences: flags['api-audiences'],
  };
}
