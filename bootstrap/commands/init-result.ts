import { formatCaPin } from '../../pki/certificate.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { controlPlaneServer } from '../../templates/kubeconfig.ts';
import type { InitConfig } from '../config/types.ts';
import { readCaBundle } from '../phases/files.ts';
import type { TokenInfo } from '../tokens/token.ts';
import { isUsableToken } from '../tokens/usable.ts';

/** The key that a joining control-plane node decrypts the certificates with; it is kept nowhere. */
export function describeCertificateKey(key: string | undefined) {
  if (key === undefined) return { text: '', data: {} };
  return {
    text: `\nThe certificates are in Secret kube-system/kubeadm-certs for two hours, encrypted with the key\n${key}\n`,
    data: { certificateKey: key },
  };
}

/** What the result of init is written from, beside the configuration. */
export interface Description {
  readonly host: Pick<Host, 'readFile'>;
  readonly changes: number;
  readonly tokens: readonly TokenInfo[];
  readonly now: Date;
  readonly hidesToken: boolean;
  /** Of certificates that were uploaded, and may be shown. */
  readonly certificateKey: string | undefined;
  /** How the reader calls this command. */
  readonly program: string;
}

/** How to use the cluster and how machines join it: text for people, and the same as data. */
export async function describeCluster(config: InitConfig, description: Description) {
  const { host, program, changes, hidesToken } = description;
  const endpoint = new URL(controlPlaneServer(config)).host;
  const pin = formatCaPin(await readCaBundle(host, config.cluster.certificatesDir));
  const token = findJoinToken(config, description);
  const kubeconfig = `${PATHS.kubernetes}/admin.conf`;
  const joinCommand = (secret: string) =>
    `${program} join ${endpoint} --token ${secret} --discovery-token-ca-cert-hash ${pin}`;
  const byToken =
    token === undefined
      ? `Add a machine: there is no bootstrap token to join with (phase bootstrap-token makes one), so first\n\n  ${program} token create --print-join-command\n`
      : `Add a machine, on the machine itself:\n\n  ${foldCommand(joinCommand(hidesToken ? '<token>' : token))}\n`;
  const byKey =
    token && describeControlPlaneJoin(config, joinCommand(hidesToken ? '<token>' : token), description);
  const text = `
${changes === 0 ? 'Nothing was changed: your Kubernetes cluster is as it should be.' : 'Your Kubernetes cluster is up.'}

  export KUBECONFIG=${kubeconfig}
  kubectl get nodes,pods -A

${byToken}
or from here over SSH (root, or a user with sudo; nothing needs to be installed there):

  ${program} join root@MACHINE
${byKey ?? ''}
Undo everything: ${program} reset
`;
  const isShown = token !== undefined && !hidesToken;
  return {
    text,
    data: {
      kubeconfig,
      endpoint,
      caCertHash: pin,
      changes,
      ...(isShown ? { joinCommand: joinCommand(token) } : {}),
    },
  };
}

/** How a further control-plane node joins, where the cluster can have one. */
function describeControlPlaneJoin(
  { cluster }: InitConfig,
  joinCommand: string,
  { certificateKey, program }: Pick<Description, 'certificateKey' | 'program'>,
): string | undefined {
  if (!cluster.etcd.external || !cluster.controlPlaneEndpoint) return undefined;
  const command = `  ${foldCommand(joinCommand)} \\\n\t--control-plane --certificate-key ${certificateKey ?? '<key>'}\n`;
  const upload =
    certificateKey === undefined
      ? `The key is that of\n\n  ${program} init phase upload-certs --upload-certs\n\n`
      : 'It holds for two hours; afterwards: init phase upload-certs --upload-certs. ';
  return `
Add a control-plane node, on the machine itself:

${command}
${upload}Over SSH, from here: ${program} join root@MACHINE --control-plane
`;
}

/** A join command in two lines. */
function foldCommand(command: string): string {
  return command.replace(' --discovery', ' \\\n\t--discovery');
}

/** The token that the configuration names when the cluster has it, else any of the cluster's that joins nodes. */
function findJoinToken(
  { bootstrapTokens }: InitConfig,
  { tokens, now }: Pick<Description, 'tokens' | 'now'>,
): string | undefined {
  const usable = tokens.filter((token) => isUsableToken(token, now)).map((token) => token.token);
  const wanted = bootstrapTokens.map((row) => row.token);
  return wanted.find((token) => tokens.some((other) => other.token === token)) ?? usable[0];
}
