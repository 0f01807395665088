import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { load } from 'js-yaml';
import { describeFileError, isSystemError, TkadmError } from '../base/errors.ts';

/** How to reach one API server as one user. PEM texts; `tokenFile` is read again as it rotates. */
export interface ClientConfig {
  /** "https://10.0.0.1:6443" */
  readonly server: string;
  readonly caPem?: string | undefined;
  readonly certPem?: string | undefined;
  readonly keyPem?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly isInsecure?: boolean | undefined;
  readonly tlsServerName?: string | undefined;
  /** Default: 5 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** Files that the settings were read from, which may change; not the token's. */
  readonly files?: readonly string[] | undefined;
}

/** The parts of a kubeconfig file (client-go `clientcmd/api/v1`) that tkadm reads and writes. */
export interface Kubeconfig {
  apiVersion?: string;
  kind?: string;
  clusters?: { name: string; cluster: KubeconfigCluster }[] | null;
  contexts?: { name: string; context: { cluster: string; user: string; namespace?: string } }[] | null;
  users?: { name: string; user: KubeconfigUser }[] | null;
  'current-context'?: string;
  preferences?: Record<string, never>;
}

export interface KubeconfigCluster {
  server?: string;
  'certificate-authority'?: string;
  'certificate-authority-data'?: string;
  'insecure-skip-tls-verify'?: boolean;
  'tls-server-name'?: string;
}

export interface KubeconfigUser {
  'client-certificate'?: string;
  'client-certificate-data'?: string;
  'client-key'?: string;
  'client-key-data'?: string;
  token?: string;
  tokenFile?: string;
}

/**
 * Reads a kubeconfig file and resolves its current context; relative paths are against its directory.
 * @throws KUBECONFIG_INVALID naming the part that is missing.
 */
export async function loadClientConfig(path: string): Promise<ClientConfig> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const isForbidden = isSystemError(error, 'EACCES');
    throw new TkadmError(
      'KUBECONFIG_INVALID',
      `Cannot use kubeconfig "${path}": ${isForbidden ? 'this user may not read it' : describeFileError(error)}`,
      {
        cause: error,
        ...(isForbidden
          ? { hint: 'the same command with sudo; or with a kubeconfig of your own: export KUBECONFIG=FILE' }
          : {}),
      },
    );
  }
  return resolveClientConfig(parseKubeconfig(text, path), path);
}

/** Parses kubeconfig YAML. @throws KUBECONFIG_INVALID */
export function parseKubeconfig(text: string, path: string): Kubeconfig {
  let value: unknown;
  try {
    value = load(text);
  } catch (error) {
    throw invalid(path, (error as Error).message, error);
  }
  if (typeof value !== 'object' || value === null || (value as Kubeconfig).kind !== 'Config') {
    throw invalid(path, 'it is no document of kind "Config"');
  }
  return value as Kubeconfig;
}

/** The client settings of the current context. @throws KUBECONFIG_INVALID */
export async function resolveClientConfig(config: Kubeconfig, path: string): Promise<ClientConfig> {
  const name = config['current-context'];
  const context = config.contexts?.find((entry) => entry.name === name)?.context;
  if (!context) throw invalid(path, `its current-context "${name ?? ''}" has no entry`);
  const cluster = config.clusters?.find((entry) => entry.name === context.cluster)?.cluster;
  if (!cluster?.server) throw invalid(path, `its cluster "${context.cluster}" has no server`);
  if (!URL.canParse(cluster.server)) throw invalid(path, `its server "${cluster.server}" is no URL`);
  const user = config.users?.find((entry) => entry.name === context.user)?.user ?? {};
  const directory = dirname(path);
  const files = [path];
  const pem = async (data: string | undefined, file: string | undefined): Promise<string | undefined> => {
    if (data) return Buffer.from(data, 'base64').toString('utf8');
    if (!file) return undefined;
    files.push(resolve(directory, file));
    return readReferenced(path, resolve(directory, file));
  };
  return {
    server: cluster.server.replace(/\/+$/, ''),
    caPem: await pem(cluster['certificate-authority-data'], cluster['certificate-authority']),
    certPem: await pem(user['client-certificate-data'], user['client-certificate']),
    keyPem: await pem(user['client-key-data'], user['client-key']),
    token: user.token,
    tokenFile: user.tokenFile && resolve(directory, user.tokenFile),
    isInsecure: cluster['insecure-skip-tls-verify'],
    tlsServerName: cluster['tls-server-name'],
    files: [...new Set(files)],
  };
}

async function readReferenced(path: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw invalid(path, `the file "${file}" in it cannot be read: ${describeFileError(error)}`, error);
  }
}

const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';

/** A pod may start before the node's service proxy has rules; what it sent meanwhile is never answered. */
const POD_CONNECT_TIMEOUT_MS = 750;

/**
 * The settings of a process in a pod: the service account's token and the "kubernetes" Service's address.
 * @throws KUBECONFIG_INVALID outside a pod.
 */
export async function loadInClusterConfig(
  env: Readonly<Record<string, string | undefined>>,
  directory = SERVICE_ACCOUNT_DIR,
): Promise<ClientConfig> {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'];
  if (!host || !port)
    throw invalid(directory, 'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set');
  const address = host.includes(':') ? `[${host}]` : host;
  return {
    server: `https://${address}:${port}`,
    caPem: await readFile(`${directory}/ca.crt`, 'utf8'),
    tokenFile: `${directory}/token`,
    connectTimeoutMs: POD_CONNECT_TIMEOUT_MS,
    files: [`${directory}/ca.crt`],
  };
}

function invalid(path: string, state: string, cause?: unknown): TkadmError {
  return new TkadmError('KUBECONFIG_INVALID', `Cannot use kubeconfig "${path}": ${state}`, { cause });
}
