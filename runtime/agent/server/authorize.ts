import type { ApiLink } from '../api-link.ts';
import type { UserInfo } from './authenticate.ts';

export interface AuthorizerOptions {
  readonly link: ApiLink;
  readonly nodeName: string;
  readonly mode: 'Webhook' | 'AlwaysAllow';
  readonly now: () => number;
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean };
}

const ALLOW_MS = 5 * 60_000;
const DENY_MS = 30_000;
const MAX_CACHED = 5000;

const VERBS: Readonly<Record<string, string>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** First path part → subresources of nodes of which one must be allowed, the narrow one first. */
const SUBRESOURCES: Readonly<Record<string, readonly string[]>> = {
  stats: ['stats'],
  metrics: ['metrics'],
  logs: ['log'],
  checkpoint: ['checkpoint'],
  healthz: ['healthz', 'proxy'],
  configz: ['configz', 'proxy'],
  pods: ['pods', 'proxy'],
  runningpods: ['pods', 'proxy'],
};

/** The subresources of nodes that a request path needs one of. */
export function subresourcesOf(path: string): readonly string[] {
  return SUBRESOURCES[path.split('/')[1] ?? ''] ?? ['proxy'];
}

/** Asks the API server (SubjectAccessReview) whether a user may call the kubelet API. */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #cache = new Map<string, { readonly isAllowed: boolean; readonly untilMs: number }>();

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  async isAllowed(user: UserInfo, method: string, path: string): Promise<boolean> {
    if (this.#options.mode === 'AlwaysAllow') return true;
    const verb = VERBS[method] ?? method.toLowerCase();
    for (const subresource of subresourcesOf(path)) {
      if (await this.#review(user, verb, subresource)) return true;
    }
    return false;
  }

  async #review(user: UserInfo, verb: string, subresource: string): Promise<boolean> {
    const { link, nodeName, now } = this.#options;
    const key = JSON.stringify([user, verb, subresource]);
    const cached = this.#cache.get(key);
    if (cached && now() < cached.untilMs) return cached.isAllowed;
    const { status } = await link
      .requireClient()
      .requestJson<AccessReview>('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
        body: {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SubjectAccessReview',
          spec: {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            resourceAttributes: { verb, version: 'v1', resource: 'nodes', subresource, name: nodeName },
          },
        },
      });
    const isAllowed = status?.allowed ?? false;
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    this.#cache.set(key, { isAllowed, untilMs: now() + (isAllowed ? ALLOW_MS : DENY_MS) });
    return isAllowed;
  }
}
