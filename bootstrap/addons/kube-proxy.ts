import type { KubeObject } from '../../runtime/api/kinds.ts';
import { formatImage } from '../../templates/images.ts';
import { controlPlaneServer } from '../../templates/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { KUBE_PROXY_CONFIG_DIR } from '../config/components.ts';
import { hashAnnotation } from './component-hash.ts';
import {
  BOOTSTRAPPERS_GROUP,
  clusterRoleBinding,
  configMap,
  getRule,
  KUBE_SYSTEM,
  type ObjectInput,
  object,
  roleWithBinding,
  serviceAccount,
} from './objects.ts';

const NAME = 'kube-proxy';
const TOKEN_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The objects of the add-on kube-proxy; [] when the configuration leaves it out. */
export function buildKubeProxyObjects(input: ObjectInput): readonly KubeObject[] {
  if (input.cluster.proxy.disabled) return [];
  return [
    serviceAccount(NAME, KUBE_SYSTEM),
    clusterRoleBinding('kubeadm:node-proxier', 'system:node-proxier', [
      { kind: 'ServiceAccount', name: NAME, namespace: KUBE_SYSTEM },
    ]),
    ...roleWithBinding(
      { name: NAME, namespace: KUBE_SYSTEM },
      [getRule('configmaps', NAME)],
      [{ kind: 'Group', name: BOOTSTRAPPERS_GROUP }],
    ),
    buildConfigMap(input),
    buildDaemonSet(input),
  ];
}

function buildConfigMap(input: ObjectInput): KubeObject {
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'default',
        cluster: { 'certificate-authority': `${TOKEN_DIR}/ca.crt`, server: controlPlaneServer(input) },
      },
    ],
    contexts: [{ name: 'default', context: { cluster: 'default', namespace: 'default', user: 'default' } }],
    'current-context': 'default',
    users: [{ name: 'default', user: { tokenFile: `${TOKEN_DIR}/token` } }],
  };
  const data = { 'config.conf': renderYaml(input.kubeProxy), 'kubeconfig.conf': renderYaml(kubeconfig) };
  const ref = { name: NAME, namespace: KUBE_SYSTEM };
  return configMap(ref, data, {
    labels: { app: NAME },
    ...(input.userSupplied.kubeProxy ? {} : { annotations: hashAnnotation(data) }),
  });
}

function buildDaemonSet(input: ObjectInput): KubeObject {
  const isEmbedded = input.tkadm.engine === 'embedded';
  const labels = { 'k8s-app': NAME };
  const mounts = [
    { name: NAME, mountPath: KUBE_PROXY_CONFIG_DIR },
    { name: 'xtables-lock', mountPath: '/run/xtables.lock' },
    { name: 'lib-modules', mountPath: '/lib/modules', readOnly: true },
  ];
  const volumes = [
    { name: NAME, configMap: { name: NAME } },
    { name: 'xtables-lock', hostPath: { path: '/run/xtables.lock', type: 'FileOrCreate' } },
    { name: 'lib-modules', hostPath: { path: '/lib/modules' } },
  ];
  // The embedded proxy speaks nftables alone: it takes no iptables lock and loads no module.
  const isNeeded = ({ name }: { readonly name: string }) => !isEmbedded || name === NAME;
  return object({
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: NAME, namespace: KUBE_SYSTEM, labels },
    spec: {
      selector: { matchLabels: labels },
      updateStrategy: { type: 'RollingUpdate' },
      template: {
        metadata: { labels },
        spec: {
          priorityClassName: 'system-node-critical',
          serviceAccountName: NAME,
          hostNetwork: true,
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          tolerations: [{ operator: 'Exists' }],
          containers: [
            {
              name: NAME,
              image: formatImage('kube-proxy', input),
              imagePullPolicy: 'IfNotPresent',
              command: [
                isEmbedded ? 'kube-proxy' : '/usr/local/bin/kube-proxy',
                `--config=${KUBE_PROXY_CONFIG_DIR}/config.conf`,
                '--hostname-override=$(NODE_NAME)',
              ],
              env: [
                { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
                ...(input.proxyEnvs ?? []),
              ],
              securityContext: { privileged: true },
              volumeMounts: mounts.filter(isNeeded),
            },
          ],
          volumes: volumes.filter(isNeeded),
        },
      },
    },
  });
}
