import { createHmac } from 'node:crypto';
import type { ConfigMap, Secret } from 'kubernetes-types/core/v1.d.ts';
import { CONFIG_MAPS, SECRETS } from '../../api/kinds.ts';
import {
  readTokenExpirations,
  TOKEN_EXPIRATIONS_ANNOTATION,
  type TokenExpirations,
  updateTokenExpirations,
} from '../../api/token-expirations.ts';
import { remove, update } from '../component/action.ts';
import { isSameJson } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { type Controller, earliest, type ReconcileResult, SETTLED, watch } from './controller.ts';

const SECRET_TYPE = 'bootstrap.kubernetes.io/token';
const SECRET_PREFIX = 'bootstrap-token-';
const CLUSTER_INFO = 'kube-public/cluster-info';
const SIGNATURE_PREFIX = 'jws-kubeconfig-';

/** A bootstrap token as its Secret holds it. */
export interface BootstrapToken {
  readonly id: string;
  readonly secret: string;
  /** Milliseconds since the epoch; undefined: never. */
  readonly expiresAtMs: number | undefined;
  readonly isForSigning: boolean;
}

/** Reads a bootstrap token Secret; undefined when it is none or malformed. */
function parseBootstrapToken(secret: Secret): BootstrapToken | undefined {
  if (secret.type !== SECRET_TYPE) return undefined;
  const field = (name: string) => Buffer.from(secret.data?.[name] ?? '', 'base64').toString('utf8');
  const id = field('token-id');
  const value = field('token-secret');
  const isValid = /^[a-z0-9]{6}$/.test(id) && value !== '' && secret.metadata?.name === SECRET_PREFIX + id;
  if (!isValid) return undefined;
  const expiration = field('expiration');
  const expiresAtMs = expiration === '' ? undefined : Date.parse(expiration);
  // A date that nobody can read counts as past, as upstream has it.
  const isUnreadable = expiresAtMs !== undefined && Number.isNaN(expiresAtMs);
  return {
    id,
    secret: value,
    expiresAtMs: isUnreadable ? 0 : expiresAtMs,
    isForSigning: field('usage-bootstrap-signing') === 'true',
  };
}

/**
 * Detached compact JWS (RFC 7515 appendix F) of the content: HS256 with the token's secret, key id = the
 * token's id: "header..signature".
 */
export function signDetached(content: string, token: Pick<BootstrapToken, 'id' | 'secret'>): string {
  const encode = (text: string) => Buffer.from(text, 'utf8').toString('base64url');
  const header = encode(JSON.stringify({ alg: 'HS256', kid: token.id }));
  const signature = createHmac('sha256', token.secret)
    .update(`${header}.${encode(content)}`)
    .digest('base64url');
  return `${header}..${signature}`;
}

/** Signs kube-public/cluster-info with every bootstrap token meant for it, and says there when they end. */
export function createBootstrapSigner(): Controller {
  return {
    name: 'bootstrap-signer-controller',
    watches: [
      watch(CONFIG_MAPS, ({ key }) => (key === CLUSTER_INFO ? [CLUSTER_INFO] : [])),
      watch(SECRETS, ({ object }) => (object.type === SECRET_TYPE ? [CLUSTER_INFO] : [])),
    ],
    workers: 1,
    reconcile: (_, { view, now }) => reconcileSignatures(view, now),
  };
}

function reconcileSignatures(view: View, now: Date): ReconcileResult {
  const configMap = view.get(CONFIG_MAPS, CLUSTER_INFO);
  const content = configMap?.data?.['kubeconfig'];
  if (!configMap || content === undefined) return SETTLED;
  const data = Object.fromEntries(
    Object.entries(configMap.data ?? {}).filter(([name]) => !name.startsWith(SIGNATURE_PREFIX)),
  );
  const tokens = bootstrapTokens(view).filter((token) => token.isForSigning);
  const present: Record<string, string> = {};
  const waits: number[] = [];
  for (const token of tokens) {
    if (token.expiresAtMs !== undefined) present[token.id] = formatSeconds(token.expiresAtMs);
    if (isExpired(token, now)) continue;
    data[SIGNATURE_PREFIX + token.id] = signDetached(content, token);
    if (token.expiresAtMs !== undefined) waits.push(token.expiresAtMs - now.getTime());
  }
  const requeueAfterMs = earliest(waits);
  const annotations = annotate(
    configMap,
    updateTokenExpirations(readTokenExpirations(configMap), present, now),
  );
  const isSame = isSameJson(data, configMap.data) && isSameJson(annotations, configMap.metadata?.annotations);
  if (isSame) return { actions: [], requeueAfterMs };
  const metadata = { ...configMap.metadata, ...(annotations ? { annotations } : {}) };
  return { actions: [update(CONFIG_MAPS, { ...configMap, metadata, data })], requeueAfterMs };
}

/** The object's annotations with the ends of tokens; unchanged while there are none to tell. */
function annotate(
  { metadata }: ConfigMap,
  expirations: TokenExpirations,
): Record<string, string> | undefined {
  const { [TOKEN_EXPIRATIONS_ANNOTATION]: known, ...others } = metadata?.annotations ?? {};
  if (Object.keys(expirations).length === 0 && known === undefined) return metadata?.annotations;
  return { ...others, [TOKEN_EXPIRATIONS_ANNOTATION]: JSON.stringify(expirations) };
}

/** RFC 3339 in seconds. */
function formatSeconds(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Deletes bootstrap tokens once they have expired. */
export function createTokenCleaner(): Controller {
  return {
    name: 'token-cleaner-controller',
    watches: [
      watch(SECRETS, ({ key, object }) =>
        object.type === SECRET_TYPE && key.startsWith('kube-system/') ? [key] : [],
      ),
    ],
    workers: 1,
    reconcile(key, { view, now }): ReconcileResult {
      const secret = view.get(SECRETS, key);
      const token = secret && parseBootstrapToken(secret);
      if (!secret || token?.expiresAtMs === undefined) return SETTLED;
      if (isExpired(token, now)) return { actions: [remove(SECRETS, secret)] };
      return { actions: [], requeueAfterMs: token.expiresAtMs - now.getTime() };
    },
  };
}

function bootstrapTokens(view: View): BootstrapToken[] {
  return view.inNamespace(SECRETS, 'kube-system').flatMap((secret) => parseBootstrapToken(secret) ?? []);
}

function isExpired(token: BootstrapToken, now: Date): boolean {
  return token.expiresAtMs !== undefined && token.expiresAtMs <= now.getTime();
}
