import { readFile } from 'node:fs/promises';
import { get } from 'node:https';
import { rootCertificates } from 'node:tls';
import { isApiError } from '../../runtime/api/api-error.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import {
  type ClientConfig,
  type Kubeconfig,
  parseKubeconfig,
  resolveClientConfig,
} from '../../runtime/api/kubeconfig.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';
import {
  type ClusterAddress,
  type DiscoveredCluster,
  fetchClusterInfo,
  type JoinCredentials,
  type LookOptions,
  readClusterAddress,
  withSomeContext,
} from './cluster-info.ts';
import { explainFailure } from './explain.ts';

/** Users that run a program or ask another service; the agent has neither at its first start. */
const UNSUPPORTED_USERS = ['exec', 'auth-provider', 'username', 'password', 'as'] as const;
const URL_TIMEOUT_MS = 10_000;
const URL_LIMIT_BYTES = 1_000_000;
const REDIRECTS = 5;
/** Where distributions keep the CAs that they trust; Go reads the same. */
const SYSTEM_CA_FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
] as const;

export interface FileOptions extends Omit<LookOptions, 'endpoint'> {
  /** CAs that a URL's server may be of, besides those of Node.js; default: the machine's. */
  readonly caFiles?: readonly string[];
}

/**
 * File discovery: server, CA and user of a kubeconfig, which is a file or behind an https URL. Server and CA are
 * renewed from cluster-info; a cluster that does not show it to this user (403; 401 without credentials) is taken as the file has it.
 * @throws DISCOVERY_FILE_INVALID, KUBECONFIG_INVALID and the DISCOVERY_ codes of a request
 */
export async function discoverFromFile(location: string, options: FileOptions): Promise<DiscoveredCluster> {
  const text = await readLocation(location, options);
  const config = withSomeContext(parseKubeconfig(text, location));
  refuseUnsupportedUser(config, location);
  const client = await resolveClientConfig(config, location);
  if (!client.caPem) throw invalidFile(location, 'its cluster has no CA');
  const credentials = await readCredentials(client, location);
  const address = await refresh({ ...client, ...credentials, tokenFile: undefined }, options);
  return { ...(address ?? { server: client.server, caPem: client.caPem }), credentials };
}

async function readLocation(location: string, options: FileOptions): Promise<string> {
  if (location.startsWith('https://')) return fetchText(location, options);
  if (location.includes('://')) throw invalidFile(location, 'it is neither a file nor an https URL');
  return readFile(location, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw invalidFile(location, error.code === 'ENOENT' ? 'there is no such file' : error.message);
  });
}

/** @throws DISCOVERY_FILE_INVALID naming what a user of the file needs and does not get */
function refuseUnsupportedUser(config: Kubeconfig, location: string): void {
  const context = config.contexts?.find((entry) => entry.name === config['current-context'])?.context;
  const user = config.users?.find((entry) => entry.name === context?.user)?.user ?? {};
  const found = UNSUPPORTED_USERS.find((key) => Object.hasOwn(user, key));
  if (found === undefined) return;
  throw invalidFile(
    location,
    `its user has "${found}", which the node agent cannot use`,
    'Give the user a client certificate, a token or a tokenFile, or leave the user out and pass --tls-bootstrap-token',
  );
}

async function readCredentials(client: ClientConfig, location: string): Promise<JoinCredentials | undefined> {
  const { certPem, keyPem, tokenFile } = client;
  const token =
    client.token ??
    (tokenFile &&
      (
        await readFile(tokenFile, 'utf8').catch((error: Error) => {
          throw invalidFile(location, `its tokenFile "${tokenFile}" cannot be read: ${error.message}`);
        })
      ).trim());
  if (!token && !(certPem && keyPem)) return undefined;
  return { certPem, keyPem, token };
}

/** Server and CA from cluster-info; undefined when this user may not see it, or there is none. */
async function refresh(
  config: ClientConfig,
  options: Omit<LookOptions, 'endpoint'>,
): Promise<ClusterAddress | undefined> {
  const { host } = new URL(config.server);
  const client = new ApiClient(config);
  try {
    const info = await fetchClusterInfo(client, { ...options, endpoint: host });
    return await readClusterAddress(info.kubeconfig, `cluster-info of "${host}"`);
  } catch (error) {
    const isNobody = !config.token && !config.certPem;
    const isHidden =
      isApiError(error, 'Forbidden') ||
      isApiError(error, 'NotFound') ||
      (isNobody && isApiError(error, 'Unauthorized'));
    const isUnusable =
      isTkadmError(error, 'DISCOVERY_NO_CLUSTER_INFO') || isTkadmError(error, 'KUBECONFIG_INVALID');
    if (isHidden || isUnusable) {
      options.warn?.(`cluster-info of "${host}" cannot be used; the discovery file is taken as it is`);
      return undefined;
    }
    throw await explainFailure(error, host);
  } finally {
    client.close();
  }
}

/** The text behind an https URL whose server is of a CA that this machine trusts. */
async function fetchText(
  location: string,
  { signal, caFiles = SYSTEM_CA_FILES }: FileOptions,
): Promise<string> {
  const system = await Promise.all(caFiles.map((path) => readFileIfExists(path)));
  const ca = [...rootCertificates, ...system.filter((text) => text !== undefined)];
  let url = location;
  for (let redirects = 0; redirects <= REDIRECTS; redirects += 1) {
    const answer = await request(url, ca, signal).catch((error: Error) => {
      signal.throwIfAborted();
      throw new TkadmError('DISCOVERY_UNREACHABLE', `Cannot fetch "${url}": ${error.message}`, {
        cause: error,
        hint: `curl -v ${url}`,
      });
    });
    if (answer.location === undefined) return answer.text;
    url = new URL(answer.location, url).href;
    if (!url.startsWith('https://'))
      throw invalidFile(location, `it leads to "${url}", which is no https URL`);
  }
  throw invalidFile(location, `it leads on more than ${REDIRECTS} times`);
}

function request(
  url: string,
  ca: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly location?: string | undefined }> {
  return new Promise((resolve, reject) => {
    const outgoing = get(url, { ca: [...ca], signal, timeout: URL_TIMEOUT_MS }, (response) => {
      const { statusCode = 0, headers } = response;
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > URL_LIMIT_BYTES) outgoing.destroy(new Error('the answer is longer than 1 MB'));
        chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        if (statusCode >= 300 && statusCode < 400 && headers.location)
          resolve({ text: '', location: headers.location });
        else if (statusCode !== 200) reject(new Error(`HTTP ${statusCode}`));
        else resolve({ text: Buffer.concat(chunks).toString('utf8') });
      });
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${URL_TIMEOUT_MS} ms`)));
    outgoing.on('error', reject);
  });
}

function invalidFile(location: string, state: string, hint?: string): TkadmError {
  return new TkadmError('DISCOVERY_FILE_INVALID', `Cannot use discovery file "${location}": ${state}`, {
    hint: hint ?? 'kubectl config view --raw --minify --flatten shows one that can be used',
  });
}
