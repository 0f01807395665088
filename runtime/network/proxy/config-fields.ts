import { type UnfollowedField, unfollowed } from '../../base/unfollowed-fields.ts';

/** Fields of a KubeProxyConfiguration that the proxy follows. */
export const FOLLOWED_FIELDS: readonly string[] = [
  ...['clientConnection.kubeconfig', 'clusterCIDR', 'hostnameOverride', 'healthzBindAddress', 'mode'],
];

/** All other fields. A test holds both lists against the schema. */
export const UNFOLLOWED_FIELDS: readonly UnfollowedField[] = [
  ...unfollowed(
    'Services would answer where they are not to: the proxy listens for node ports on every address',
    'nodePortAddresses',
    { isRefused: true },
  ),
  ...unfollowed('there are no gates in the proxy', 'featureGates', { isRefused: true }),
  ...unfollowed('the rules are those of nftables', 'iptables ipvs winkernel windowsRunAsService', {
    neutral: [false],
  }),
  ...unfollowed('the mark and the pace of the rules are fixed', 'nftables configSyncPeriod'),
  ...unfollowed('pods are told by clusterCIDR', 'detectLocal', {}),
  ...unfollowed('pods are told by clusterCIDR', 'detectLocalMode', { neutral: ['ClusterCIDR'] }),
  ...unfollowed('the kernel keeps its own settings of connections', 'conntrack'),
  ...unfollowed('the proxy opens no sockets for Services', 'bindAddress portRange', {
    neutral: ['0.0.0.0', '::'],
  }),
  ...unfollowed('the proxy opens no sockets for Services', 'bindAddressHardFail', { neutral: [false] }),
  ...unfollowed('the proxy has no metrics', 'metricsBindAddress showHiddenMetricsForVersion', {
    neutral: ['127.0.0.1:10249'],
  }),
  ...unfollowed('the proxy has no profiles', 'enableProfiling', { neutral: [false] }),
  ...unfollowed('the proxy does not do this', 'oomScoreAdj', { neutral: [-999] }),
  ...unfollowed(
    'requests to the API server are JSON and not throttled',
    'clientConnection.acceptContentTypes clientConnection.contentType clientConnection.qps clientConnection.burst',
    { neutral: ['application/vnd.kubernetes.protobuf', 'application/json'] },
  ),
  ...unfollowed('the form of log lines is fixed', 'logging', {}),
];
