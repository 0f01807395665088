import { SERVICE_ACCOUNTS } from '../../api/kinds.ts';
import { objectPath } from '../../api/requests.ts';
import type { ApiLink } from '../api-link.ts';
import type { AgentPod } from '../pod.ts';

export interface TokenQuery {
  readonly audience?: string | undefined;
  readonly expirationSeconds?: number | undefined;
}

/** Gives service account tokens bound to a pod. */
export interface TokenSource {
  /** @throws AGENT_DISCONNECTED, API_REQUEST, API_UNREACHABLE */
  token(pod: AgentPod, query: TokenQuery): Promise<string>;
}

interface Held {
  readonly token: string;
  readonly refreshAtMs: number;
  readonly expiresAtMs: number;
}

interface TokenRequest {
  readonly status?: { readonly token?: string; readonly expirationTimestamp?: string };
}

const DEFAULT_SECONDS = 3600;
const MAX_AGE_MS = 24 * 3_600_000;

/** Tokens by TokenRequest, held until 80 % of their life (at most 24 h) has passed. */
export class ApiTokenSource implements TokenSource {
  readonly #link: ApiLink;
  readonly #now: () => number;
  readonly #held = new Map<string, Held>();

  constructor(link: ApiLink, now: () => number) {
    this.#link = link;
    this.#now = now;
  }

  async token(pod: AgentPod, query: TokenQuery): Promise<string> {
    const key = JSON.stringify([pod.metadata.uid, query.audience ?? '', query.expirationSeconds ?? 0]);
    const held = this.#held.get(key);
    if (held && this.#now() < held.refreshAtMs) return held.token;
    try {
      const fresh = await this.#request(pod, query);
      this.#held.set(key, fresh);
      return fresh.token;
    } catch (error) {
      // Still good for a while: the next round tries again.
      if (held && this.#now() < held.expiresAtMs) return held.token;
      throw error;
    }
  }

  /** Forgets the tokens of a pod. */
  forget(podUid: string): void {
    for (const key of this.#held.keys()) if (key.startsWith(`["${podUid}"`)) this.#held.delete(key);
  }

  async #request(
    pod: AgentPod,
    { audience, expirationSeconds = DEFAULT_SECONDS }: TokenQuery,
  ): Promise<Held> {
    const name = pod.spec.serviceAccountName || 'default';
    const path = objectPath(SERVICE_ACCOUNTS, {
      name,
      namespace: pod.metadata.namespace,
      subresource: 'token',
    });
    const issuedAtMs = this.#now();
    const answer = await this.#link.requireClient().requestJson<TokenRequest>('POST', path, {
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          audiences: audience ? [audience] : [],
          expirationSeconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.metadata.name, uid: pod.metadata.uid },
        },
      },
    });
    const expiresAtMs = Date.parse(answer.status?.expirationTimestamp ?? '');
    const lifeMs = expiresAtMs - issuedAtMs;
    return {
      token: answer.status?.token ?? '',
      expiresAtMs,
      refreshAtMs: issuedAtMs + Math.min(lifeMs * 0.8, MAX_AGE_MS),
    };
  }
}
