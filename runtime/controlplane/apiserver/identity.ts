import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Authorizer, RequestAuthenticator, UserInfo } from '../auth/types.ts';

/** Lets a user act as another one. */
export type Impersonate = (input: {
  readonly user: UserInfo;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly authorizer: Authorizer;
}) => Promise<UserInfo>;

/** Headers that decide who asks, beside the certificate of the connection. */
const DECIDING = /^(authorization|impersonate-|x-remote-|sec-websocket-protocol)/;

/**
 * Paths that tell nothing but whether the server is well. The probes of its own static pod have no credentials, so
 * that with `--anonymous-auth=false` it would be killed again and again.
 */
const HEALTH_PATH = /^\/(livez|readyz|healthz)([/?]|$)/;

interface PeerCertificate {
  readonly der: Buffer | undefined;
  /** The end of its validity; without a certificate nothing ends. */
  readonly notAfterMs: number;
}

/**
 * Finds out who sends a request. The answer for a connection's certificate is kept with the connection, so
 * that only the first request on it pays for the verification; it holds until the certificate expires.
 */
export class Identity {
  readonly #authenticator: RequestAuthenticator;
  readonly #authorizer: Authorizer;
  readonly #impersonate: Impersonate;
  readonly #now: () => Date;
  readonly #certificates = new WeakMap<Duplex, PeerCertificate>();
  #users = new WeakMap<Duplex, UserInfo>();

  constructor(options: {
    readonly authenticator: RequestAuthenticator;
    readonly authorizer: Authorizer;
    readonly impersonate: Impersonate;
    readonly now: () => Date;
  }) {
    this.#authenticator = options.authenticator;
    this.#authorizer = options.authorizer;
    this.#impersonate = options.impersonate;
    this.#now = options.now;
  }

  /** Has every connection's certificate verified again at its next request. */
  forget(): void {
    this.#users = new WeakMap();
  }

  /** @throws StatusError 401; 403 for an impersonation that is not allowed */
  async identify(request: IncomingMessage): Promise<UserInfo> {
    const { headers, rawHeaders, socket } = request;
    const isPlain = !Object.keys(headers).some((name) => DECIDING.test(name));
    const { der: peerCertificate, notAfterMs } = this.#certificate(socket as TLSSocket);
    const isKept = isPlain && this.#now().getTime() <= notAfterMs;
    const known = isKept ? this.#users.get(socket) : undefined;
    if (known) return known;
    const isOpenToAll = HEALTH_PATH.test(request.url ?? '');
    const user = await this.#authenticator.authenticate({
      headers,
      rawHeaders,
      peerCertificate,
      isOpenToAll,
    });
    if (!isPlain) return this.#impersonate({ user, headers, rawHeaders, authorizer: this.#authorizer });
    // Who was let in for his health alone is nobody at the connection's next request.
    if (!isOpenToAll) this.#users.set(socket, user);
    return user;
  }

  #certificate(socket: TLSSocket): PeerCertificate {
    const known = this.#certificates.get(socket);
    if (known) return known;
    const certificate = socket.getPeerX509Certificate?.();
    const notAfterMs = certificate ? Date.parse(certificate.validTo) : Number.POSITIVE_INFINITY;
    const found = { der: certificate?.raw, notAfterMs };
    this.#certificates.set(socket, found);
    return found;
  }
}
