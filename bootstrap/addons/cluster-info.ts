import type { KubeObject } from '../../runtime/api/kinds.ts';
import { controlPlaneServer } from '../../templates/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { configMap, KUBE_PUBLIC, type ObjectInput } from './objects.ts';

/** ConfigMap kube-public/cluster-info: address and CA for nodes that join; the bootstrap signer signs it. */
export function buildClusterInfo(input: ObjectInput, caPem: string): KubeObject {
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: '',
        cluster: {
          server: controlPlaneServer(input),
          'certificate-authority-data': Buffer.from(caPem).toString('base64'),
        },
      },
    ],
    contexts: null,
    'current-context': '',
    preferences: {},
    users: null,
  };
  return configMap({ name: 'cluster-info', namespace: KUBE_PUBLIC }, { kubeconfig: renderYaml(kubeconfig) });
}
