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
 * Finds out who sends a request. The answer for a connection's certificate is kept with the connection, so
 * that only the first request on it pays for the verification.
 */
export class Identity {
  readonly #authenticator: RequestAuthenticator;
  readonly #authorizer: Authorizer;
  readonly #impersonate: Impersonate;
  readonly #certificates = new WeakMap<Duplex, { readonly der: Buffer | undefined }>();
  readonly #users = new WeakMap<Duplex, UserInfo>();

  constructor(options: {
    readonly authenticator: RequestAuthenticator;
    readonly authorizer: Authorizer;
    readonly impersonate: Impersonate;
  }) {
    this.#authenticator = options.authenticator;
    this.#authorizer = options.authorizer;
    this.#impersonate = options.impersonate;
  }

  /** @throws StatusError 401; 403 for an impersonation that is not allowed */
  async identify(request: IncomingMessage): Promise<UserInfo> {
    const { headers, rawHeaders, socket } = request;
    const isPlain = !Object.keys(headers).some((name) => DECIDING.test(name));
    const known = isPlain ? this.#users.get(socket) : undefined;
    if (known) return known;
    const peerCertificate = this.#certificate(socket as TLSSocket);
    const user = await this.#authenticator.authenticate({ headers, rawHeaders, peerCertificate });
    if (!isPlain) return this.#impersonate({ user, headers, rawHeaders, authorizer: this.#authorizer });
    this.#users.set(socket, user);
    return user;
  }

  #certificate(socket: TLSSocket): Buffer | undefined {
    const known = this.#certificates.get(socket);
    if (known) return known.der;
    const der = socket.getPeerX509Certificate?.()?.raw;
    this.#certificates.set(socket, { der });
    return der;
  }
}
