import type { IncomingHttpHeaders } from 'node:http';

/** Who asks (`authentication.k8s.io` UserInfo). */
export interface UserInfo {
  readonly name: string;
  readonly uid?: string | undefined;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** What an authenticator may look at. `peerCertificate` is the DER of a client certificate that was presented. */
export interface AuthenticationInput {
  readonly headers: IncomingHttpHeaders;
  readonly peerCertificate?: Buffer | undefined;
}

/** undefined: no credentials of this sort; throws a 401 StatusError for credentials that are wrong. */
export interface Authenticator {
  authenticate(input: AuthenticationInput): Promise<UserInfo | undefined>;
}

/** What is asked, as `authorization.k8s.io` attributes. */
export type AccessAttributes =
  | {
      readonly user: UserInfo;
      readonly kind: 'resource';
      readonly verb: string;
      readonly group: string;
      readonly version: string;
      readonly resource: string;
      readonly subresource: string;
      readonly namespace: string;
      readonly name: string;
    }
  | { readonly user: UserInfo; readonly kind: 'path'; readonly verb: string; readonly path: string };

export interface Decision {
  readonly isAllowed: boolean;
  readonly reason: string;
}

export interface Authorizer {
  authorize(attributes: AccessAttributes): Promise<Decision> | Decision;
}
