import { readFile } from 'node:fs/promises';
import { ApiClient, ApiError } from '../../runtime/api/client.ts';
import { type Kubeconfig, parseKubeconfig, resolveClientConfig } from '../../runtime/api/kubeconfig.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';
import { signatureKey, verifyDetached } from './jws.ts';
import { parseCaPins, pinsOf } from './pin.ts';
import { type BootstrapToken, parseToken } from './token.ts';

export interface DiscoverOptions {
  /** "10.0.0.1:6443" */
  readonly endpoint: string;
  readonly token: string;
  readonly pins: readonly string[];
  readonly unsafeSkipCaVerification: boolean;
  readonly now: () => Date;
  readonly signal: AbortSignal;
}

/** A cluster whose CA is known to be the right one. */
export interface DiscoveredCluster {
  readonly server: string;
  readonly caPem: string;
}

const CLUSTER_INFO = '/api/v1/namespaces/kube-public/configmaps/cluster-info';
const REQUEST_TIMEOUT_MS = 5_000;
/** A token's signature appears within a second of its creation; an expired one's never does. */
const SIGNATURE_WAIT_MS = 3_000;
const CLOCK_SKEW_LIMIT_MS = 60_000;
/** Codes of a TLS peer that is reached and not trusted (tls.TLSSocket authorizationError). */
const CERTIFICATE_FAILURE = /^(CERT_|UNABLE_TO_(GET|VERIFY)_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT_ALTNAME)/;

interface ClusterInfo {
  readonly kubeconfig: string;
  readonly data: Readonly<Record<string, string>>;
}

/**
 * Token discovery (kubeadm's): fetches kube-public/cluster-info without trust, verifies it by the token and
 * its CA by the pins, then fetches it again over TLS verified with that CA.
 * @throws TOKEN_INVALID, CA_PIN_INVALID before any request; DISCOVERY_UNREACHABLE, DISCOVERY_NO_API_SERVER,
 *   DISCOVERY_TOKEN_UNKNOWN, DISCOVERY_TOKEN_SECRET, DISCOVERY_CA_MISMATCH, DISCOVERY_CLOCK.
 */
export async function discoverCluster(options: DiscoverOptions): Promise<DiscoveredCluster> {
  const token = parseToken(options.token);
  const pins = parseCaPins(options.pins);
  const server = `https://${options.endpoint}`;
  if (pins.length === 0 && !options.unsafeSkipCaVerification) {
    throw new TkadmError(
      'CA_PIN_INVALID',
      'Cannot trust the cluster: no --discovery-token-ca-cert-hash is given',
      {
        hint: 'tkadm token create --print-join-command, on the control plane',
      },
    );
  }
  const insecure = new ApiClient({ server, isInsecure: true });
  try {
    const info = await waitForSignature(insecure, token, options);
    if (!verifyDetached(info.data[signatureKey(token.id)] ?? '', info.kubeconfig, token)) {
      throw new TkadmError(
        'DISCOVERY_TOKEN_SECRET',
        `Cannot verify the cluster at "${options.endpoint}": the token's id "${token.id}" is known there, its secret half is wrong`,
        {
          hint: 'tkadm token list, on the control plane',
        },
      );
    }
    const cluster = await readCluster(info.kubeconfig);
    if (pins.length === 0) return cluster;
    const found = pinsOf(cluster.caPem);
    if (!found.some((pin) => pins.includes(pin))) {
      throw new TkadmError(
        'DISCOVERY_CA_MISMATCH',
        `Cannot trust the cluster at "${options.endpoint}": its CA is ${found.join(', ')}, expected ${pins.join(', ')}`,
        {
          hint: 'Compare with: tkadm token create --print-join-command, on the control plane',
          details: { found, expected: pins },
        },
      );
    }
    await verifyOverTls(server, cluster.caPem, info, options);
    return cluster;
  } finally {
    insecure.close();
  }
}

/**
 * File discovery: the server and CA of a kubeconfig file.
 * @throws KUBECONFIG_INVALID
 */
export async function discoverFromFile(path: string): Promise<DiscoveredCluster> {
  const config = parseKubeconfig(await readFile(path, 'utf8'), path);
  const { server, caPem } = await resolveClientConfig(withSomeUser(config), path);
  if (!caPem)
    throw new TkadmError('KUBECONFIG_INVALID', `Cannot use kubeconfig "${path}": its cluster has no CA`);
  return { server, caPem };
}

/** A cluster-info file names a cluster and nothing else. */
function withSomeUser(config: Kubeconfig): Kubeconfig {
  if (config['current-context']) return config;
  const [cluster] = config.clusters ?? [];
  return {
    ...config,
    contexts: [{ name: 'discovery', context: { cluster: cluster?.name ?? '', user: '' } }],
    'current-context': 'discovery',
  };
}

async function waitForSignature(
  client: ApiClient,
  token: BootstrapToken,
  options: DiscoverOptions,
): Promise<ClusterInfo> {
  const deadline = performance.now() + SIGNATURE_WAIT_MS;
  for (;;) {
    const info = await fetchClusterInfo(client, options);
    if (info.data[signatureKey(token.id)] !== undefined) return info;
    if (performance.now() > deadline) {
      throw new TkadmError(
        'DISCOVERY_TOKEN_UNKNOWN',
        `Cannot use token "${token.id}.…" at "${options.endpoint}": no such token there; it never was, or it has expired`,
        {
          hint: 'tkadm token create --print-join-command, on the control plane',
        },
      );
    }
    await sleep(250, options.signal);
  }
}

async function fetchClusterInfo(client: ApiClient, options: DiscoverOptions): Promise<ClusterInfo> {
  try {
    const response = await client.requestStream('GET', CLUSTER_INFO, {
      timeoutMs: REQUEST_TIMEOUT_MS,
      signal: options.signal,
    });
    checkClock(response.headers.date, options);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const { data } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { data?: Record<string, string> };
    if (data?.['kubeconfig'] === undefined) throw new SyntaxError('no kubeconfig');
    return { kubeconfig: data['kubeconfig'], data };
  } catch (error) {
    throw explain(error, options);
  }
}

function explain(error: unknown, { endpoint }: DiscoverOptions): unknown {
  if (isTkadmError(error, 'API_UNREACHABLE')) {
    const code = String((error.cause as NodeJS.ErrnoException | undefined)?.code ?? '');
    if (CERTIFICATE_FAILURE.test(code)) {
      return new TkadmError(
        'DISCOVERY_CA_MISMATCH',
        `Cannot trust the server at "${endpoint}": its certificate does not belong to the cluster's CA and this address: ${(error.cause as Error).message}`,
        {
          cause: error,
          hint: "Join by an address that the API server's certificate names: --apiserver-cert-extra-sans of tkadm init adds one",
        },
      );
    }
    const isTls = /wrong version number|EPROTO|packet length too long|SSL routines/i.test(error.message);
    if (isTls) return notAnApiServer(endpoint, 'it does not speak TLS', error);
    return new TkadmError(
      'DISCOVERY_UNREACHABLE',
      `Cannot reach the API server at "${endpoint}": ${(error.cause as Error)?.message || error.message}`,
      {
        cause: error,
        hint: `curl -k https://${endpoint}/livez`,
      },
    );
  }
  if (error instanceof ApiError)
    return notAnApiServer(endpoint, `GET ${CLUSTER_INFO} is answered with HTTP ${error.httpStatus}`, error);
  if (error instanceof SyntaxError) return notAnApiServer(endpoint, 'its answer is no cluster-info', error);
  return error;
}

function notAnApiServer(endpoint: string, state: string, cause: unknown): TkadmError {
  return new TkadmError('DISCOVERY_NO_API_SERVER', `Cannot use "${endpoint}" as API server: ${state}`, {
    cause,
    hint: 'Give the address and port of the control plane, for example 10.0.0.1:6443',
  });
}

/** Certificates and tokens fail in odd ways when clocks differ: say so first. */
function checkClock(date: string | undefined, options: DiscoverOptions): void {
  if (!date) return;
  const skewMs = options.now().getTime() - new Date(date).getTime();
  if (Math.abs(skewMs) <= CLOCK_SKEW_LIMIT_MS) return;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  throw new TkadmError(
    'DISCOVERY_CLOCK',
    `Cannot join through "${options.endpoint}": this machine's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the API server's`,
    {
      hint: 'Set the clock, for example: timedatectl set-ntp true',
    },
  );
}

async function readCluster(kubeconfigText: string): Promise<DiscoveredCluster> {
  const config = parseKubeconfig(kubeconfigText, 'cluster-info');
  const { server, caPem } = await resolveClientConfig(withSomeUser(config), 'cluster-info');
  if (!caPem) throw new TkadmError('DISCOVERY_NO_API_SERVER', 'Cannot use cluster-info: it has no CA');
  return { server, caPem };
}

async function verifyOverTls(
  server: string,
  caPem: string,
  info: ClusterInfo,
  options: DiscoverOptions,
): Promise<void> {
  const secure = new ApiClient({ server, caPem });
  try {
    const again = await fetchClusterInfo(secure, options);
    if (again.kubeconfig === info.kubeconfig) return;
    throw new TkadmError(
      'DISCOVERY_CA_MISMATCH',
      `Cannot trust the cluster at "${options.endpoint}": cluster-info differs between the first and the verified answer`,
    );
  } finally {
    secure.close();
  }
}
