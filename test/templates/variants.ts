import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfiguration } from '../../bootstrap/config/load.ts';
import type { InitConfig } from '../../bootstrap/config/types.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import type { HostFacts } from '../../templates/input.ts';
import { type PatchSet, readPatches } from '../../templates/patches.ts';

/** A configuration whose files are kept as golden files where they differ from the default's. */
export interface Variant {
  readonly name: string;
  /** Fields of ClusterConfiguration, as YAML. */
  readonly cluster?: string;
  readonly machine?: { readonly hostname: string; readonly advertiseAddress: string };
  readonly facts?: Partial<HostFacts>;
  /** Files of the directory of patches, by name. */
  readonly patches?: Readonly<Record<string, string>>;
  /** Only with this engine. */
  readonly engine?: 'embedded' | 'upstream';
}

const MACHINE = { hostname: 'node-1', advertiseAddress: '10.0.0.5' };
const FACTS: HostFacts = { caDirectories: ['/etc/ca-certificates'], proxyEnvs: [], isExternalCa: false };
const COMPONENT = (flag: string, value: string) => `
  extraArgs: [{name: ${flag}, value: "${value}"}, {name: v, value: "4"}, {name: v, value: "5"}]
  extraVolumes:
    - {name: zz-data, hostPath: /data, mountPath: /data, pathType: Directory}
    - {name: kubeconfig, hostPath: /mine.conf, mountPath: /mine.conf, readOnly: true, pathType: File}
  extraEnvs: [{name: HTTP_PROXY, value: mine}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]`;

export const VARIANTS: readonly Variant[] = [
  { name: 'default' },
  {
    name: 'extra',
    cluster: `apiServer:${COMPONENT('event-ttl', '2h')}
controllerManager:${COMPONENT('profiling', 'false')}
scheduler:${COMPONENT('profiling', 'false')}
etcd:
  local:
    dataDir: /data/etcd
    extraArgs: [{name: listen-metrics-urls, value: "http://0.0.0.0:9381"}, {name: log-level, value: warn}]
    extraEnvs: [{name: GOGC, value: "50"}]
`,
    facts: {
      proxyEnvs: [
        { name: 'HTTP_PROXY', value: 'http://proxy:3128' },
        { name: 'no_proxy', value: '10.0.0.0/8' },
      ],
    },
  },
  {
    name: 'ports',
    cluster: `apiServer: {extraArgs: [{name: secure-port, value: "7443"}, {name: bind-address, value: 0.0.0.0}]}
controllerManager: {extraArgs: [{name: secure-port, value: "11257"}, {name: bind-address, value: 10.0.0.5}]}
scheduler: {extraArgs: [{name: secure-port, value: "11259"}, {name: bind-address, value: "::"}]}
etcd: {local: {extraArgs: [{name: advertise-client-urls, value: "https://10.9.9.9:2379"}]}}
`,
  },
  {
    name: 'external-etcd',
    engine: 'upstream',
    cluster: `etcd:
  external:
    endpoints: ["https://a:2379", "https://b:2379"]
    caFile: /e/ca.crt
    certFile: /e/in/client.crt
    keyFile: /f/client.key
`,
  },
  {
    name: 'ipv6',
    engine: 'upstream',
    machine: { hostname: 'node-1', advertiseAddress: 'fd00::5' },
    cluster: 'networking: {podSubnet: "fd00:10::/56", serviceSubnet: "fd00:1::/112"}\n',
  },
  {
    name: 'dual-stack',
    engine: 'upstream',
    cluster:
      'networking: {podSubnet: "10.244.0.0/16,fd00:10::/56", serviceSubnet: "10.96.0.0/16,fd00:1::/112"}\n',
  },
  {
    name: 'pod-subnet',
    engine: 'upstream',
    cluster: 'networking: {podSubnet: 10.244.0.0/16}\n',
  },
  { name: 'external-ca', facts: { isExternalCa: true } },
  {
    name: 'joining-etcd',
    engine: 'upstream',
    facts: {
      etcdMembers: [
        { name: 'cp-0', peerUrl: 'https://10.0.0.4:2380' },
        { name: 'node-1', peerUrl: 'https://10.0.0.5:2380' },
      ],
    },
  },
  {
    name: 'ecdsa',
    cluster:
      'encryptionAlgorithm: ECDSA-P256\ncontrolPlaneEndpoint: lb.example.com:8443\ncertificatesDir: /pki\nclusterName: prod\nimageRepository: mirror.example.com:5000/k8s\n',
  },
  {
    name: 'patches',
    patches: {
      'kube-apiserver0.yaml':
        'spec: {containers: [{name: kube-apiserver, resources: {limits: {memory: 1Gi}}}]}\n---\nmetadata: {labels: {a: b}}\n',
      'kube-apiserver1+json.json':
        '[{"op": "add", "path": "/spec/containers/0/command/-", "value": "--v=2"}]',
      'kube-controller-manager+merge.yaml': 'metadata: {annotations: {x: y}, labels: null}\n',
      'kube-scheduler+strategic.json': '{"spec": {"priority": 7}}',
      'etcd.yaml': 'metadata: {labels: {patched: "yes"}}\n',
      'kubeletconfiguration.yaml': 'maxPods: 7\n',
      'corednsdeployment+json.yaml': '[{op: replace, path: /spec/replicas, value: 3}]\n',
    },
  },
];

export interface LoadedVariant {
  readonly config: InitConfig;
  readonly facts: HostFacts;
  readonly patches: PatchSet;
}

/** The configuration of a variant with an engine. */
export async function loadVariant(variant: Variant, engine: 'embedded' | 'upstream'): Promise<LoadedVariant> {
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: [
      `apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: ${engine}\n`,
      `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n${variant.cluster ?? ''}`,
      'apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{token: abcdef.0123456789abcdef}]\n',
    ].join('---\n'),
    defaultsFrom: variant.machine ?? MACHINE,
  });
  return { config, facts: { ...FACTS, ...variant.facts }, patches: await loadPatches(variant.patches) };
}

async function loadPatches(files: Variant['patches']): Promise<PatchSet> {
  if (!files) return { patches: [], skipped: [] };
  const directory = mkdtempSync(join(tmpdir(), 'tkadm-patches-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  const set = await readPatches(createLocalHost(), directory);
  (await import('node:fs')).rmSync(directory, { recursive: true });
  return set;
}
