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
  /** Node's flat list of names and values; the only way to tell two headers from one with a comma in it. */
  readonly rawHeaders?: readonly string[] | undefined;
  readonly peerCertificate?: Buffer | undefined;
  /** Lets the anonymous user in even where that is not allowed. */
  readonly isOpenToAll?: boolean | undefined;
}

/** undefined: no credentials of this sort; throws a 401 StatusError for credentials that are wrong. */
export interface Authenticator {
  authenticate(input: AuthenticationInput): Promise<UserInfo | undefined>;
}

/** An authenticator that also judges a token alone, as TokenReview asks. */
export interface RequestAuthenticator extends Authenticator {
  /** Everyone who gets in is known afterwards: the anonymous user at least. @throws 401 StatusError */
  authenticate(input: AuthenticationInput): Promise<UserInfo>;
  /**
   * The user of a bearer token and those of `audiences` (default: the server's) that it is meant for.
   * @throws Error that says what is wrong with it
   */
  authenticateToken(token: string, audiences?: readonly string[]): TokenAuthentication;
}

export interface TokenAuthentication {
  readonly user: UserInfo;
  /** undefined for tokens that name no audience. */
  readonly audiences?: readonly string[] | undefined;
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
      /** Of list and watch: the name that `fieldSelector=metadata.name=NAME` asks for, else "". */
      readonly name: string;
      /** The request's field selector; undefined when it is not known (then nodes are not held to it). */
      readonly fieldSelector?: string | undefined;
    }
  | { readonly user: UserInfo; readonly kind: 'path'; readonly verb: string; readonly path: string };

export interface Decision {
  readonly isAllowed: boolean;
  readonly reason: string;
}

export interface Authorizer {
  authorize(attributes: AccessAttributes): Promise<Decision> | Decision;
}

/** An authorizer that can also list what a user may do, and that keeps an index up to date until `close`. */
export interface RuleAuthorizer extends Authorizer {
  /** The rules that hold for the user in this namespace, as SelfSubjectRulesReview answers them. */
  rulesFor(user: UserInfo, namespace: string): SubjectRules;
  /** The RBAC rules alone, unmerged: what escalation checks compare with. */
  policyRulesFor(user: UserInfo, namespace: string): readonly PolicyRule[];
  /** The rules of a role, aggregated ones with all that they take in; undefined when there is no such role. */
  roleRules(
    roleRef: { readonly kind: string; readonly name: string },
    namespace: string,
  ): readonly PolicyRule[] | undefined;
  /** Ends the subscriptions of the index. */
  close(): void;
}

/** One rule of a Role (`rbac.authorization.k8s.io/v1` PolicyRule). */
export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

export interface SubjectRules {
  readonly resourceRules: readonly PolicyRule[];
  readonly nonResourceRules: readonly PolicyRule[];
  readonly isIncomplete: boolean;
  readonly evaluationError?: string | undefined;
}

/** Signing keys and names of service-account tokens. */
export interface ServiceAccountTokenOptions {
  /** `--service-account-issuer`; the first one signs, all are accepted. */
  readonly issuer: string | readonly string[];
  /** PEM public keys of `--service-account-key-file`; private keys are taken too. */
  readonly publicKeys: readonly string[];
  /** `--api-audiences`; [] means the issuers. */
  readonly audiences: readonly string[];
}

/** `--requestheader-*`: who may speak for others (front proxy). */
export interface RequestHeaderOptions {
  readonly clientCaPem: string;
  /** Allowed common names; [] allows every certificate of that CA. */
  readonly allowedNames: readonly string[];
  readonly usernameHeaders: readonly string[];
  readonly uidHeaders?: readonly string[];
  readonly groupHeaders: readonly string[];
  readonly extraHeaderPrefixes: readonly string[];
}
