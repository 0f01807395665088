import { type Certificate, parseCertificate, parseCertificates } from '../../pki/certificate.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { pinsOf } from '../tokens/pin.ts';

/** The agent's kubeconfig. */
export const KUBELET_KUBECONFIG = `${PATHS.kubernetes}/kubelet.conf`;
/** Where the agent keeps its certificate and key; what stands in its kubeconfig then. */
export const AGENT_CERTIFICATE = `${PATHS.kubelet}/pki/kubelet-client-current.pem`;
const NODE_USER = 'system:node:';

/** The node that a machine is already. */
export interface OwnNode {
  readonly nodeName: string;
  /** Pins of the CA that has issued its agent's certificate. */
  readonly pins: readonly string[];
}

export interface OwnNodeSources {
  readonly host: Pick<Host, 'readFile' | 'stat' | 'run'>;
  readonly config: { readonly caCertPath: string; readonly controlPlane?: object | undefined };
  /** Default: a certificate that has ended counts as well. */
  readonly now?: (() => Date) | undefined;
}

/**
 * The node of the wanted role that this machine is: its agent has a certificate of the CA that is here. undefined for
 * a machine that is none, and for one of which only a part is there.
 */
export async function findOwnNode({ host, config, now }: OwnNodeSources): Promise<OwnNode | undefined> {
  const [kubeconfig, caPem, apiServer] = await Promise.all([
    readIfPossible(host, KUBELET_KUBECONFIG),
    readIfPossible(host, config.caCertPath),
    host.stat(`${PATHS.manifests}/kube-apiserver.yaml`),
  ]);
  if (!kubeconfig?.includes(AGENT_CERTIFICATE) || caPem === undefined) return undefined;
  if ((apiServer !== undefined) !== (config.controlPlane !== undefined)) return undefined;
  // The key that stands behind it stays where it is.
  const { stdout } = await host.run(['sed', '-n', '/BEGIN CERT/,/END CERT/p', AGENT_CERTIFICATE]);
  const certificate = readIssued(stdout, caPem);
  const { commonName = '' } = certificate?.subject ?? {};
  if (!certificate || !commonName.startsWith(NODE_USER)) return undefined;
  if (now && certificate.notAfter <= now()) return undefined;
  return { nodeName: commonName.slice(NODE_USER.length), pins: pinsOf(caPem) };
}

/** The certificate, if one of the CAs has signed it. */
function readIssued(pem: string, caPem: string): Certificate | undefined {
  try {
    const certificate = parseCertificate(pem);
    const isIssued = parseCertificates(caPem).some((ca) => certificate.isSignedBy(ca.publicKey));
    return isIssued ? certificate : undefined;
  } catch {
    return undefined;
  }
}

/** What cannot be read is told by the check of the user. */
async function readIfPossible(host: Pick<Host, 'readFile'>, path: string): Promise<string | undefined> {
  return host.readFile(path).catch(() => undefined);
}
