import t from 'tap';
import { findWithoutEffect } from '../../../bootstrap/config/component-fields.ts';
import { KUBE_PROXY_SCHEMA, KUBELET_SCHEMA } from '../../../bootstrap/config/component-schemas.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import * as agent from '../../../runtime/agent/kubelet-config-fields.ts';
import * as proxy from '../../../runtime/network/proxy/config-fields.ts';

const MACHINE = { hostname: 'node-1', advertiseAddress: '10.0.0.5' };
const TABLES = { KubeletConfiguration: agent, KubeProxyConfiguration: proxy } as const;
const SCHEMAS = { KubeletConfiguration: KUBELET_SCHEMA, KubeProxyConfiguration: KUBE_PROXY_SCHEMA } as const;

/** Dotted paths of a schema's fields; a mapping with any keys is one. */
function pathsOf(schema: unknown, prefix = ''): readonly string[] {
  const { properties } = schema as { readonly properties?: Readonly<Record<string, unknown>> };
  if (!properties) return [prefix];
  return Object.entries(properties).flatMap(([name, field]) =>
    pathsOf(field, prefix === '' ? name : `${prefix}.${name}`),
  );
}

for (const kind of ['KubeletConfiguration', 'KubeProxyConfiguration'] as const) {
  t.test(`every field of a ${kind} is followed or named, once`, (t) => {
    const { FOLLOWED_FIELDS, UNFOLLOWED_FIELDS } = TABLES[kind];
    const rows = [...FOLLOWED_FIELDS, ...UNFOLLOWED_FIELDS.map((field) => field.path)];
    t.same(rows.length, new Set(rows).size, 'no row is there twice');
    const paths = pathsOf(SCHEMAS[kind]);
    const covers = (row: string, path: string) => path === row || path.startsWith(`${row}.`);
    for (const path of paths) {
      const covering = rows.filter((row) => covers(row, path));
      t.equal(covering.length, 1, `${path}: ${covering.join(', ') || 'no row'}`);
    }
    for (const row of rows)
      t.ok(
        paths.some((path) => covers(row, path)),
        `${row} is a field`,
      );
    for (const { path, reason } of UNFOLLOWED_FIELDS) t.match(reason, /\S+ \S+/, path);
    t.end();
  });
}

async function load(documents: string) {
  const text = `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n---\n${documents}`;
  return loadConfiguration({ kind: 'InitConfiguration', text, defaultsFrom: MACHINE });
}

const KUBELET = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const UPSTREAM = '---\napiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: upstream\n';

t.test('fields without effect are named, one line each; what protects is refused', async (t) => {
  const fields =
    'evictionHard: {memory.available: 5%}\nmemorySwap: {swapBehavior: LimitedSwap}\nmaxPods: 50\n';
  const { warnings } = await load(`${KUBELET}${fields}`);
  const told = warnings.filter((line) => line.includes('it has no effect'));
  t.match(told, [
    /^KubeletConfiguration evictionHard: it has no effect: pressure is told/,
    /^KubeletConfiguration memorySwap\.swapBehavior: it has no effect/,
  ]);
  t.equal(told.length, 2);
  await t.rejects(
    load(`${KUBELET}tlsCipherSuites: [TLS_AES_128_GCM_SHA256]\nprotectKernelDefaults: true\n`),
    {
      code: 'CONFIG_INVALID',
      message:
        /tlsCipherSuites: Forbidden: the embedded engine does not support it.*\n.*protectKernelDefaults: Forbidden/,
    },
  );
  const upstream = await load(`${KUBELET}${fields}protectKernelDefaults: true\n${UPSTREAM}`);
  t.same(findWithoutEffect(upstream.config), [], 'the kubelet follows all');
});

t.test("kubeadm's own printed component configurations have no field without effect", async (t) => {
  // As `kubeadm config print init-defaults --component-configs` has them: every field, most of them empty.
  const printed = `${KUBELET}authentication:
  anonymous: {enabled: false}
  webhook: {cacheTTL: 0s, enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}}
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: ""
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, udpTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s}
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
metricsBindAddress: ""
mode: ""
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
`;
  const { config } = await load(printed);
  t.same(
    findWithoutEffect(config).map((field) => field.path),
    [],
  );
});
