import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { ApiLink } from '../api-link.ts';

export interface UserInfo {
  readonly username: string;
  readonly uid?: string | undefined;
  readonly groups: readonly string[];
}

export interface AuthenticatorOptions {
  readonly link: ApiLink;
  readonly isAnonymousAllowed: boolean;
  readonly isWebhook: boolean;
  readonly now: () => number;
}

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: { readonly username?: string; readonly uid?: string; readonly groups?: string[] };
  };
}

const ANONYMOUS: UserInfo = { username: 'system:anonymous', groups: ['system:unauthenticated'] };
const CACHE_MS = 2 * 60_000;
const MAX_CACHED = 1000;

/** Tells who sends a request: by verified client certificate, by bearer token (TokenReview), or nobody. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #tokens = new Map<string, { readonly user: UserInfo; readonly untilMs: number }>();

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** The user, or undefined when the request has no valid credentials and anonymous ones are refused. */
  async authenticate(request: IncomingMessage): Promise<UserInfo | undefined> {
    const byCertificate = readCertificateUser(request.socket as TLSSocket);
    if (byCertificate) return byCertificate;
    const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token !== undefined) return this.#options.isWebhook ? this.#review(token) : undefined;
    return this.#options.isAnonymousAllowed ? ANONYMOUS : undefined;
  }

  async #review(token: string): Promise<UserInfo | undefined> {
    const { link, now } = this.#options;
    const key = createHash('sha256').update(token).digest('base64');
    const cached = this.#tokens.get(key);
    if (cached && now() < cached.untilMs) return cached.user;
    const { status } = await link
      .requireClient()
      .requestJson<TokenReview>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
      });
    if (!status?.authenticated || !status.user?.username) return undefined;
    const { username, uid, groups = [] } = status.user;
    const user = { username, uid, groups };
    if (this.#tokens.size >= MAX_CACHED) this.#tokens.clear();
    this.#tokens.set(key, { user, untilMs: now() + CACHE_MS });
    return user;
  }
}

/** The subject of a client certificate that the CA has signed: CN is the user, each O a group. */
function readCertificateUser(socket: TLSSocket): UserInfo | undefined {
  if (!socket.authorized) return undefined;
  const subject = socket.getPeerCertificate().subject as
    | { readonly CN?: string | string[]; readonly O?: string | string[] }
    | undefined;
  const commonName = [subject?.CN ?? []].flat()[0];
  if (!commonName) return undefined;
  return { username: commonName, groups: [...[subject?.O ?? []].flat(), 'system:authenticated'] };
}
