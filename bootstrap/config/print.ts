import { dump } from 'js-yaml';
import { ANY_MACHINE, completeConfig, type DocumentFields } from './defaults.ts';
import { formatDuration } from './duration.ts';
import { apiVersionOf } from './kinds.ts';
import type { ConfigKind, InitConfig, JoinConfig, Timeouts } from './types.ts';

const PLACEHOLDER_TOKEN = 'abcdef.0123456789abcdef';

/** Documents of other programs that can be printed beside those of init. */
export const COMPONENT_KINDS = ['KubeletConfiguration', 'KubeProxyConfiguration'] as const;

export type ComponentKind = (typeof COMPONENT_KINDS)[number];

/** The documents that a command's configuration file would hold, with every default: YAML. */
export function printDefaults(kind: ConfigKind, components: readonly ComponentKind[] = []): string {
  return buildDefaultDocuments(kind, components)
    .map((document) => dump(document, { noRefs: true, sortKeys: true }))
    .join('---\n');
}

/** The documents of printDefaults() as values. */
export function buildDefaultDocuments(
  kind: ConfigKind,
  components: readonly ComponentKind[] = [],
): readonly Readonly<Record<string, unknown>>[] {
  switch (kind) {
    case 'InitConfiguration':
      return initDocuments(components);
    case 'JoinConfiguration':
      return joinDocuments();
    case 'ResetConfiguration': {
      const { criSocket, timeouts } = completeConfig(kind, {}, ANY_MACHINE);
      const fields = { certificatesDir: '/etc/kubernetes/pki', criSocket, force: false, dryRun: false };
      return [document(kind, { ...fields, cleanupTmpDir: false, timeouts: timeoutFields(timeouts) })];
    }
    case 'UpgradeConfiguration': {
      const { apply, node, plan, diff, timeouts } = completeConfig(kind, {}, ANY_MACHINE);
      const { allowExperimentalUpgrades, allowRCUpgrades, forceUpgrade, printConfig, ...nodeFields } = node;
      const { dryRun, etcdUpgrade } = plan;
      return [
        document(kind, {
          apply,
          node: nodeFields,
          plan: { allowExperimentalUpgrades, allowRCUpgrades, dryRun, etcdUpgrade, printConfig },
          diff,
          timeouts: timeoutFields(timeouts),
        }),
      ];
    }
  }
}

function initDocuments(components: readonly ComponentKind[]) {
  const fields: DocumentFields = {
    InitConfiguration: { bootstrapTokens: [{ token: PLACEHOLDER_TOKEN }] },
  };
  const config: InitConfig = completeConfig('InitConfiguration', fields, ANY_MACHINE);
  const { bootstrapTokens, nodeRegistration, localAPIEndpoint, timeouts } = config;
  return [
    document('InitConfiguration', {
      bootstrapTokens,
      nodeRegistration,
      localAPIEndpoint,
      timeouts: timeoutFields(timeouts),
    }),
    document('ClusterConfiguration', { ...config.cluster }),
    ...(components.includes('KubeletConfiguration') ? [config.kubelet] : []),
    ...(components.includes('KubeProxyConfiguration') ? [config.kubeProxy] : []),
    document('TkadmConfiguration', { ...config.tkadm }),
  ];
}

function joinDocuments() {
  const fields: DocumentFields = {
    JoinConfiguration: {
      discovery: {
        bootstrapToken: {
          token: PLACEHOLDER_TOKEN,
          apiServerEndpoint: 'kube-apiserver:6443',
          unsafeSkipCAVerification: true,
        },
      },
    },
  };
  const config: JoinConfig = completeConfig('JoinConfiguration', fields, ANY_MACHINE);
  const { caCertPath, discovery, nodeRegistration, timeouts } = config;
  const { taints: _, ...node } = nodeRegistration;
  return [
    document('JoinConfiguration', {
      caCertPath,
      discovery,
      nodeRegistration: node,
      timeouts: timeoutFields(timeouts),
    }),
    document('TkadmConfiguration', { ...config.tkadm }),
  ];
}

/** The field "timeouts" of a document, from milliseconds. */
function timeoutFields(timeouts: Timeouts): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(timeouts).map(([name, ms]) => [name.replace(/Ms$/, ''), formatDuration(ms as number)]),
  );
}

function document(kind: ConfigKind | 'ClusterConfiguration' | 'TkadmConfiguration', fields: object) {
  return { apiVersion: apiVersionOf(kind), kind, ...fields };
}
