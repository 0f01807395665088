import { ApiError } from '../../runtime/api/api-error.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { formatError, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';
import {
  type ClusterInfo,
  type DiscoveredCluster,
  fetchClusterInfo,
  type LookOptions,
  readClusterAddress,
} from './cluster-info.ts';
import { explainFailure } from './explain.ts';
import { signatureKey, verifyDetached } from './jws.ts';
import { parseCaPins, pinsOf } from './pin.ts';
import { type BootstrapToken, parseToken } from './token.ts';

export interface DiscoverOptions extends LookOptions {
  readonly token: string;
  readonly pins: readonly string[];
  readonly unsafeSkipCaVerification: boolean;
  /** How long an API server may refuse connections or not be ready; default: 3 s. */
  readonly patienceMs?: number | undefined;
}

/** kubeadm's default of `timeouts.discovery`; another value is how long an API server is waited for. */
const DEFAULT_DISCOVERY_MS = 300_000;
/** A token's signature appears within a second of its creation, and an API server is back within seconds. */
const PATIENCE_MS = 3_000;
export const NEW_TOKEN_HINT = 'tkadm token create --print-join-command, on the control plane';

/**
 * Token discovery (kubeadm's): fetches kube-public/cluster-info without trust, verifies it by the token and
 * its CA by the pins, then fetches it again over TLS verified with that CA. It ends within seconds.
 * @throws TOKEN_INVALID, CA_PIN_INVALID before any request; then the DISCOVERY_ codes.
 */
export async function discoverCluster(options: DiscoverOptions): Promise<DiscoveredCluster> {
  const token = parseToken(options.token);
  const pins = parseCaPins(options.pins);
  const server = parseEndpoint(options.endpoint);
  if (pins.length === 0 && !options.unsafeSkipCaVerification) {
    throw new TkadmError(
      'CA_PIN_INVALID',
      'Cannot trust the cluster: no --discovery-token-ca-cert-hash is given',
      { hint: NEW_TOKEN_HINT },
    );
  }
  const insecure = new ApiClient({ server, isInsecure: true });
  try {
    const info = await waitForSignature(insecure, token, options);
    checkSignature(info, token, options.endpoint);
    const cluster = await readClusterAddress(info.kubeconfig, `cluster-info of "${options.endpoint}"`);
    if (pins.length === 0) return cluster;
    checkPins(cluster.caPem, pins, options.endpoint);
    await verifyOverTls(server, cluster.caPem, info, options);
    return cluster;
  } finally {
    insecure.close();
  }
}

/** @throws USAGE for an endpoint that is no "host:port" */
function parseEndpoint(endpoint: string): string {
  const server = `https://${endpoint}`;
  const isPlain = /^(\[[0-9a-fA-F:.]+\]|[^\s/@:[\]]+)(:\d{1,5})?$/.test(endpoint);
  if (isPlain && URL.canParse(server)) return server;
  throw new TkadmError(
    'USAGE',
    `Cannot use "${endpoint}" as address of the API server: it is not host:port`,
    {
      hint: NEW_TOKEN_HINT,
    },
  );
}

async function waitForSignature(
  client: ApiClient,
  token: BootstrapToken,
  options: DiscoverOptions,
): Promise<ClusterInfo> {
  let info = await waitForClusterInfo(client, options);
  const deadline = performance.now() + PATIENCE_MS;
  while (info.data[signatureKey(token.id)] === undefined) {
    checkExpiration(info, token.id, options);
    if (performance.now() > deadline) throw unknownToken(token.id, options.endpoint);
    await sleep(250, options.signal);
    info = await waitForClusterInfo(client, options);
  }
  return info;
}

/** The first answer of an API server that may just be starting. */
async function waitForClusterInfo(client: ApiClient, options: DiscoverOptions): Promise<ClusterInfo> {
  const { endpoint, signal, warn, patienceMs = PATIENCE_MS } = options;
  const deadline = performance.now() + patienceMs;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await fetchClusterInfo(client, options);
    } catch (error) {
      const failure = await explainFailure(error, endpoint);
      if (performance.now() > deadline || !isTransient(error)) throw failure;
      if (attempt === 0 && patienceMs > PATIENCE_MS)
        warn?.(`${formatError(failure)}; trying for ${Math.round(patienceMs / 1000)} s`);
    }
    await sleep(250, signal);
  }
}

/**
 * How long `timeouts.discovery` lets an API server be waited for: undefined for kubeadm's five minutes, which are
 * in every document that was printed with defaults.
 */
export function patienceOf({ discoveryMs }: { readonly discoveryMs: number }): number | undefined {
  return discoveryMs === DEFAULT_DISCOVERY_MS ? undefined : discoveryMs;
}

const TRANSIENT_CODES: readonly string[] = ['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH'];

/** What an API server that starts answers. */
function isTransient(error: unknown): boolean {
  if (error instanceof ApiError) return error.httpStatus === 429 || error.httpStatus >= 500;
  const code = (error as { cause?: NodeJS.ErrnoException }).cause?.code;
  return isTkadmError(error, 'API_UNREACHABLE') && TRANSIENT_CODES.includes(code ?? '');
}

/** @throws DISCOVERY_TOKEN_EXPIRED when the cluster remembers the end of the token */
export function checkExpiration(
  { expirations }: ClusterInfo,
  id: string,
  { endpoint, now }: Pick<LookOptions, 'endpoint' | 'now'>,
): void {
  const end = expirations[id];
  const agoMs = now().getTime() - Date.parse(end ?? '');
  if (end === undefined || agoMs < 0) return;
  throw new TkadmError(
    'DISCOVERY_TOKEN_EXPIRED',
    `Cannot use token "${id}.…" at "${endpoint}": it has expired on ${end}, ${formatAge(agoMs)} ago`,
    { hint: NEW_TOKEN_HINT, details: { tokenId: id, expired: end } },
  );
}

function unknownToken(id: string, endpoint: string): TkadmError {
  return new TkadmError(
    'DISCOVERY_TOKEN_UNKNOWN',
    `Cannot use token "${id}.…" at "${endpoint}": no such token signs cluster-info there; it never was, was deleted, has expired, or is not for signing`,
    { hint: NEW_TOKEN_HINT, details: { tokenId: id } },
  );
}

function checkSignature(info: ClusterInfo, token: BootstrapToken, endpoint: string): void {
  if (verifyDetached(info.data[signatureKey(token.id)] ?? '', info.kubeconfig, token)) return;
  throw new TkadmError(
    'DISCOVERY_TOKEN_SECRET',
    `Cannot verify the cluster at "${endpoint}": the token's id "${token.id}" is known there, its secret half is wrong`,
    { hint: 'tkadm token list, on the control plane', details: { tokenId: token.id } },
  );
}

export function checkPins(caPem: string, pins: readonly string[], endpoint: string): void {
  const found = pinsOf(caPem);
  if (found.some((pin) => pins.includes(pin))) return;
  throw new TkadmError(
    'DISCOVERY_CA_MISMATCH',
    `Cannot trust the cluster at "${endpoint}": its CA is ${found.join(', ')}, expected ${pins.join(', ')}`,
    {
      hint: 'Compare with: tkadm token create --print-join-command, on the control plane',
      details: { found, expected: pins },
    },
  );
}

async function verifyOverTls(
  server: string,
  caPem: string,
  info: ClusterInfo,
  options: DiscoverOptions,
): Promise<void> {
  const secure = new ApiClient({ server, caPem });
  try {
    const again = await fetchClusterInfo(secure, options).catch(async (error) => {
      throw await explainFailure(error, options.endpoint);
    });
    if (again.kubeconfig === info.kubeconfig) return;
    throw new TkadmError(
      'DISCOVERY_CHANGED',
      `Cannot trust the cluster at "${options.endpoint}": cluster-info differs between the first and the verified answer`,
      { hint: 'Run the same command again; if it stays, something between alters the answers' },
    );
  } finally {
    secure.close();
  }
}

/** "45 s", "3 min", "5 h", "2 d" */
function formatAge(ms: number): string {
  const units = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min'],
  ] as const;
  const unit = units.find(([size]) => ms >= 2 * size);
  return unit ? `${Math.floor(ms / unit[0])} ${unit[1]}` : `${Math.floor(ms / 1000)} s`;
}
