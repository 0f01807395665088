import type { KubeObject } from '../../runtime/api/kinds.ts';
import { formatImage } from '../../templates/images.ts';
import { applyPatches, NO_PATCHES, type PatchSet } from '../../templates/patches.ts';
import { dnsServiceAddress } from '../config/network.ts';
import {
  clusterRole,
  clusterRoleBinding,
  configMap,
  KUBE_SYSTEM,
  type ObjectInput,
  object,
  serviceAccount,
} from './objects.ts';

const NAME = 'coredns';
const ROLE = 'system:coredns';
const LABELS = { 'k8s-app': 'kube-dns' };

/** The objects of the add-on CoreDNS; [] when the configuration leaves it out. @throws PATCH_INVALID */
export function buildCoreDnsObjects(
  input: ObjectInput,
  patches: PatchSet = NO_PATCHES,
): readonly KubeObject[] {
  if (input.cluster.dns.disabled) return [];
  return [
    configMap({ name: NAME, namespace: KUBE_SYSTEM }, { Corefile: buildCorefile(input) }),
    clusterRole(ROLE, [
      {
        apiGroups: [''],
        resources: ['endpoints', 'services', 'pods', 'namespaces'],
        verbs: ['list', 'watch'],
      },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ]),
    clusterRoleBinding(ROLE, ROLE, [{ kind: 'ServiceAccount', name: NAME, namespace: KUBE_SYSTEM }]),
    serviceAccount(NAME, KUBE_SYSTEM),
    applyPatches(buildDeployment(input), 'corednsdeployment', patches),
    buildService(input),
  ];
}

/** CoreDNS's configuration for a cluster domain, as kubeadm writes it. */
function buildCorefile({
  cluster,
}: {
  readonly cluster: { readonly networking: { readonly dnsDomain: string } };
}): string {
  const domain = cluster.networking.dnsDomain;
  return `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes ${domain} in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success ${domain}
       disable denial ${domain}
    }
    loop
    reload
    loadbalance
}
`;
}

/** True for a Corefile that this program wrote for some domain, so that nobody has changed it. */
export function isDefaultCorefile(text: string): boolean {
  const dnsDomain = /^ *kubernetes (\S+) in-addr\.arpa/m.exec(text)?.[1];
  return dnsDomain !== undefined && buildCorefile({ cluster: { networking: { dnsDomain } } }) === text;
}

function buildDeployment(input: ObjectInput): KubeObject {
  const isEmbedded = input.tkadm.engine === 'embedded';
  return object({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: NAME, namespace: KUBE_SYSTEM, labels: LABELS },
    spec: {
      // One process answers a small cluster; `kubectl scale` keeps its value through later runs.
      replicas: isEmbedded ? 1 : 2,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } },
      selector: { matchLabels: LABELS },
      template: { metadata: { labels: LABELS }, spec: buildPodSpec(input) },
    },
  });
}

function buildPodSpec(input: ObjectInput) {
  return {
    priorityClassName: 'system-cluster-critical',
    serviceAccountName: NAME,
    dnsPolicy: 'Default',
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [
      { key: 'CriticalAddonsOnly', operator: 'Exists' },
      { key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' },
    ],
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 100,
            podAffinityTerm: {
              labelSelector: { matchExpressions: [{ key: 'k8s-app', operator: 'In', values: ['kube-dns'] }] },
              topologyKey: 'kubernetes.io/hostname',
            },
          },
        ],
      },
    },
    containers: [
      {
        name: NAME,
        image: formatImage('coredns', input),
        imagePullPolicy: 'IfNotPresent',
        ...(input.tkadm.engine === 'embedded' ? { command: ['coredns'] } : {}),
        args: ['-conf', '/etc/coredns/Corefile'],
        resources: { limits: { memory: '170Mi' }, requests: { cpu: '100m', memory: '70Mi' } },
        ports: [
          { name: 'dns', containerPort: 53, protocol: 'UDP' },
          { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
          { name: 'metrics', containerPort: 9153, protocol: 'TCP' },
          { name: 'liveness-probe', containerPort: 8080, protocol: 'TCP' },
          { name: 'readiness-probe', containerPort: 8181, protocol: 'TCP' },
        ],
        ...buildProbes(input.tkadm.engine === 'embedded'),
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { add: ['NET_BIND_SERVICE'], drop: ['ALL'] },
          readOnlyRootFilesystem: true,
        },
        volumeMounts: [{ name: 'config-volume', mountPath: '/etc/coredns', readOnly: true }],
      },
    ],
    volumes: [
      {
        name: 'config-volume',
        configMap: { name: NAME, items: [{ key: 'Corefile', path: 'Corefile' }] },
      },
    ],
  };
}

/** The embedded program is ready within a second of its start, and is asked as often until then. */
function buildProbes(isQuick: boolean) {
  const ready = { httpGet: { path: '/ready', port: 'readiness-probe', scheme: 'HTTP' } };
  return {
    // It must not end the container: without an API server nothing is ready, and nothing is wrong with this.
    ...(isQuick ? { startupProbe: { ...ready, periodSeconds: 1, failureThreshold: 86_400 } } : {}),
    livenessProbe: {
      httpGet: { path: '/health', port: 'liveness-probe', scheme: 'HTTP' },
      initialDelaySeconds: 60,
      timeoutSeconds: 5,
      successThreshold: 1,
      failureThreshold: 5,
    },
    readinessProbe: ready,
  };
}

function buildService(input: ObjectInput): KubeObject {
  const port = (name: string, number: number, protocol: string) => ({
    name,
    port: number,
    protocol,
    targetPort: number,
  });
  return object({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'kube-dns',
      namespace: KUBE_SYSTEM,
      labels: {
        ...LABELS,
        'kubernetes.io/cluster-service': 'true',
        'kubernetes.io/name': 'CoreDNS',
      },
      annotations: { 'prometheus.io/port': '9153', 'prometheus.io/scrape': 'true' },
    },
    spec: {
      clusterIP: dnsServiceAddress(input.cluster.networking.serviceSubnet),
      selector: LABELS,
      ports: [port('dns', 53, 'UDP'), port('dns-tcp', 53, 'TCP'), port('metrics', 9153, 'TCP')],
    },
  });
}
