import { TkadmError } from '../runtime/base/errors.ts';
import { PATHS } from '../runtime/base/paths.ts';
import type { NameValue } from './input.ts';
import { applyPatches, NO_PATCHES, type PatchSet } from './patches.ts';
import { renderYaml } from './yaml.ts';

/** A file of the node agent, as an action of the workflow. */
export interface KubeletFile {
  readonly kind: 'write-file';
  readonly path: string;
  readonly mode: number;
  readonly content: string;
}

export interface KubeletFilesInput {
  readonly nodeRegistration: {
    readonly name: string;
    readonly criSocket: string;
    readonly kubeletExtraArgs: readonly NameValue[];
    readonly taints: readonly {
      readonly key: string;
      readonly value?: string | undefined;
      readonly effect: string;
    }[];
  };
  /** The cluster's KubeletConfiguration. */
  readonly kubelet: Readonly<Record<string, unknown>>;
  readonly hostname: string;
  /** A worker registers with its taints; those of a control-plane node are put on it by a phase. */
  readonly isWorker: boolean;
  /** InternalIP of the Node, so that API server and Node have one address; the user's argument wins. */
  readonly nodeIp?: string | undefined;
  /** Name servers' file of this node when systemd-resolved runs. */
  readonly resolvConf?: string | undefined;
  readonly patches?: PatchSet | undefined;
}

/** The three files below /var/lib/kubelet: config.yaml, instance-config.yaml and kubeadm-flags.env. */
export function buildKubeletFiles(input: KubeletFilesInput): readonly KubeletFile[] {
  const { kubelet, nodeRegistration, resolvConf } = input;
  const instance = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: nodeRegistration.criSocket,
  };
  const shared = {
    ...kubelet,
    ...(resolvConf && kubelet['resolvConf'] === undefined ? { resolvConf } : {}),
  };
  const config = {
    ...applyPatches(shared, 'kubeletconfiguration', input.patches ?? NO_PATCHES),
    ...instance,
  };
  const file = (name: string, content: string): KubeletFile => ({
    kind: 'write-file',
    path: `${PATHS.kubelet}/${name}`,
    mode: 0o644,
    content,
  });
  return [
    file('config.yaml', renderYaml(config)),
    file('instance-config.yaml', renderYaml(instance)),
    file('kubeadm-flags.env', formatKubeletFlags(input)),
  ];
}

/**
 * `KUBELET_KUBEADM_ARGS="--name=value .."` and a line end.
 * @throws TEMPLATE_INVALID for a value that an environment file cannot hold.
 */
export function formatKubeletFlags(
  input: Pick<KubeletFilesInput, 'nodeRegistration' | 'hostname' | 'isWorker' | 'nodeIp'>,
): string {
  const { nodeRegistration, hostname, isWorker, nodeIp } = input;
  const { name, taints, kubeletExtraArgs } = nodeRegistration;
  const own: NameValue[] = [];
  if (name !== hostname.toLowerCase()) own.push({ name: 'hostname-override', value: name });
  if (nodeIp) own.push({ name: 'node-ip', value: nodeIp });
  if (isWorker && taints.length > 0) {
    own.push({ name: 'register-with-taints', value: taints.map(formatTaint).join(',') });
  }
  const args = [
    ...own.filter((arg) => !kubeletExtraArgs.some((extra) => extra.name === arg.name)),
    ...kubeletExtraArgs,
  ];
  return `KUBELET_KUBEADM_ARGS="${args.map(formatFlag).join(' ')}"\n`;
}

/** "key=value:effect" or "key:effect", as flags have it. */
function formatTaint({
  key,
  value,
  effect,
}: KubeletFilesInput['nodeRegistration']['taints'][number]): string {
  return value ? `${key}=${value}:${effect}` : `${key}:${effect}`;
}

function formatFlag({ name, value }: NameValue): string {
  const text = `--${name}=${value}`;
  if (!/["\\$`\s]/.test(text)) return text;
  throw new TkadmError(
    'TEMPLATE_INVALID',
    `Cannot write kubelet argument "${text}": spaces, quotes, "\\", "$" and "\`" have no place in an environment file`,
    { hint: 'Set the field of the KubeletConfiguration document instead' },
  );
}
