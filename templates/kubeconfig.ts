import { parseCertificate } from '../pki/certificate.ts';
import { type CaPair, issueCertificate } from '../pki/issue.ts';
import type { KeyAlgorithm } from '../pki/keys.ts';
import type { FileReader, PkiFile } from '../pki/plan.ts';
import type { PrimeSearches } from '../pki/rsa.ts';
import { type Kubeconfig, parseKubeconfig } from '../runtime/api/kubeconfig.ts';
import { formatHostPort } from '../runtime/base/cidr.ts';
import { TkadmError } from '../runtime/base/errors.ts';
import { PATHS } from '../runtime/base/paths.ts';
import { checkKubeconfig } from './kubeconfig-check.ts';
import { renderYaml } from './yaml.ts';

/** Stands for the node's name in a row of the table. */
const NODE_NAME = '{nodeName}';

export interface KubeconfigRow {
  /** The phase's name below "kubeconfig/". */
  readonly name: string;
  readonly fileName: string;
  readonly user: string;
  readonly organizations: readonly string[];
  /** The cluster's stable address when there is one, or this node's own API server. */
  readonly server: 'control-plane' | 'local';
}

/** The kubeconfig files of a control-plane node; the user's name is the certificate's common name. */
export const KUBECONFIGS = [
  {
    name: 'admin',
    fileName: 'admin.conf',
    user: 'kubernetes-admin',
    organizations: ['kubeadm:cluster-admins'],
    server: 'control-plane',
  },
  {
    name: 'super-admin',
    fileName: 'super-admin.conf',
    user: 'kubernetes-super-admin',
    organizations: ['system:masters'],
    server: 'control-plane',
  },
  {
    name: 'kubelet',
    fileName: 'kubelet.conf',
    user: `system:node:${NODE_NAME}`,
    organizations: ['system:nodes'],
    server: 'local',
  },
  {
    name: 'controller-manager',
    fileName: 'controller-manager.conf',
    user: 'system:kube-controller-manager',
    organizations: [],
    server: 'local',
  },
  {
    name: 'scheduler',
    fileName: 'scheduler.conf',
    user: 'system:kube-scheduler',
    organizations: [],
    server: 'local',
  },
] as const satisfies readonly KubeconfigRow[];

/** What kubeconfig files depend on; the loaded configuration of init fits. */
export interface KubeconfigInput {
  readonly nodeRegistration: { readonly name: string };
  readonly localAPIEndpoint: { readonly advertiseAddress: string; readonly bindPort: number };
  readonly cluster: { readonly clusterName: string; readonly controlPlaneEndpoint?: string | undefined };
}

/** How a user proves who it is: a client certificate or a token. */
export interface KubeconfigCredentials {
  readonly certPem?: string | undefined;
  readonly keyPem?: string | undefined;
  readonly token?: string | undefined;
}

/** A kubeconfig with one cluster, one user and the context "USER@CLUSTER". */
export function buildKubeconfig(options: {
  readonly clusterName: string;
  readonly server: string;
  /** Undefined: whoever completes the file adds it. */
  readonly caPem: string | undefined;
  readonly user: string;
  readonly credentials: KubeconfigCredentials;
}): Kubeconfig {
  const { clusterName, server, caPem, user, credentials } = options;
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const context = `${user}@${clusterName}`;
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: clusterName,
        cluster: { server, ...(caPem ? { 'certificate-authority-data': base64(caPem) } : {}) },
      },
    ],
    contexts: [{ name: context, context: { cluster: clusterName, user } }],
    'current-context': context,
    users: [
      {
        name: user,
        user: {
          ...(credentials.certPem ? { 'client-certificate-data': base64(credentials.certPem) } : {}),
          ...(credentials.keyPem ? { 'client-key-data': base64(credentials.keyPem) } : {}),
          ...(credentials.token ? { token: credentials.token } : {}),
        },
      },
    ],
  };
}

/** "https://10.0.0.5:6443": this node's API server. */
export function localServer({ localAPIEndpoint }: Pick<KubeconfigInput, 'localAPIEndpoint'>): string {
  return `https://${formatHostPort(localAPIEndpoint.advertiseAddress, localAPIEndpoint.bindPort)}`;
}

/** The cluster's stable address, its port or else the API server's; without one, this node's API server. */
export function controlPlaneServer(input: KubeconfigInput): string {
  const endpoint = input.cluster.controlPlaneEndpoint;
  if (!endpoint) return localServer(input);
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(endpoint);
  const host = match ? match[1]!.replace(/^\[|\]$/g, '') : endpoint;
  return `https://${formatHostPort(host, Number(match?.[2] ?? input.localAPIEndpoint.bindPort))}`;
}

/** The API server that a row's file names. */
export function kubeconfigServer(row: Pick<KubeconfigRow, 'server'>, input: KubeconfigInput): string {
  return row.server === 'local' ? localServer(input) : controlPlaneServer(input);
}

/** The user of a row on a node. */
export function kubeconfigUser(row: KubeconfigRow, nodeName: string): string {
  return row.user.replace(NODE_NAME, nodeName);
}

export interface KubeconfigContext {
  readonly host: FileReader;
  readonly input: KubeconfigInput;
  /** Both halves to make a file; the certificate alone to check one. */
  readonly ca: CaPair | { readonly certPem: string; readonly keyPem?: undefined };
  readonly algorithm: KeyAlgorithm;
  /** Shared by the plans that run at the same time. */
  readonly searches?: PrimeSearches | undefined;
  readonly certificateValidityMs: number;
  readonly now: Date;
  /** Default: /etc/kubernetes */
  readonly directory?: string;
  /** Gets what does not stop the plan but should be known. */
  readonly warn?: ((message: string) => void) | undefined;
}

/**
 * The file of one kubeconfig; [] when it is there and its CA is the cluster's.
 * @throws PKI_CERTIFICATE_STALE for a file of another cluster, PKI_KEY_MISSING without the CA's key.
 */
export async function planKubeconfig(
  row: KubeconfigRow,
  context: KubeconfigContext,
): Promise<readonly PkiFile[]> {
  const path = `${context.directory ?? PATHS.kubernetes}/${row.fileName}`;
  const existing = await context.host.readFile(path);
  if (existing !== undefined) {
    await checkKubeconfig(row, existing, { ...context, path });
    const note = describeKeptKubeconfig(row, existing, context.input);
    if (note) context.warn?.(note);
    return [];
  }
  if (context.ca.keyPem === undefined) {
    throw new TkadmError(
      'PKI_KEY_MISSING',
      `Cannot issue the certificate of "${path}": the CA's key is not there`,
      {
        hint: "Restore the CA's key, or issue this kubeconfig with the external CA",
      },
    );
  }
  const kubeconfig = await generateKubeconfig(row, { ...context, ca: context.ca });
  return [{ kind: 'write-file', path, mode: 0o600, content: renderYaml(kubeconfig), secret: true }];
}

/** What is unlike in a kubeconfig that is kept: another server than expected. undefined when nothing. */
export function describeKeptKubeconfig(
  row: KubeconfigRow,
  text: string,
  input: KubeconfigInput,
): string | undefined {
  const server = parseKubeconfig(text, row.fileName).clusters?.[0]?.cluster.server;
  const expected = kubeconfigServer(row, input);
  return server === expected
    ? undefined
    : `"${row.fileName}" is kept: its server is "${server}", not "${expected}"`;
}

async function generateKubeconfig(
  row: KubeconfigRow,
  context: KubeconfigContext & { readonly ca: CaPair },
): Promise<Kubeconfig> {
  const { ca, input, now } = context;
  const user = kubeconfigUser(row, input.nodeRegistration.name);
  const { certPem, keyPem } = await issueCertificate({
    spec: { commonName: user, organizations: row.organizations, usages: ['client auth'] },
    ca,
    algorithm: context.algorithm,
    searches: context.searches,
    // As old as the CA, so that a clock that is set back does not lock the administrator out.
    notBefore: parseCertificate(ca.certPem).notBefore,
    notAfter: new Date(now.getTime() + context.certificateValidityMs),
  });
  return buildKubeconfig({
    clusterName: input.cluster.clusterName,
    server: kubeconfigServer(row, input),
    caPem: ca.certPem,
    user,
    credentials: { certPem, keyPem },
  });
}
