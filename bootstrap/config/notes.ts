import { parseDuration } from '../../runtime/base/flags.ts';
import { findWithoutEffect } from './component-fields.ts';
import { findComponentDifferences } from './components.ts';
import { givenSockets } from './cri-socket.ts';
import { DEFAULT_TIMEOUTS, type DocumentFields } from './defaults.ts';
import { readField } from './fields.ts';
import type { DocumentKindName } from './kinds.ts';
import { redactText } from './redact.ts';
import type { ConfigKind, ConfigOfKind, InitConfig } from './types.ts';
import { resolveVersion } from './version-labels.ts';

/** What the reader should know of a configuration that is valid. */
export function describeNotes(fields: DocumentFields, config: ConfigOfKind[ConfigKind]): readonly string[] {
  const notes = [...socketNotes(fields), ...timeoutNotes(fields)];
  if (config.kind === 'InitConfiguration') {
    notes.push(
      ...versionNotes(fields),
      ...findComponentDifferences(fields, config),
      ...effectNotes(fields, config),
      ...findWithoutEffect(config).map(
        ({ document, path, reason }) => `${document} ${path}: it has no effect: ${reason}`,
      ),
      ...anonymousNotes(config),
    );
  }
  return notes.map(redactText);
}

function socketNotes(fields: DocumentFields): readonly string[] {
  return givenSockets(fields)
    .filter((socket) => socket?.startsWith('/'))
    .map((socket) => `criSocket "${socket}" has no scheme: "unix://${socket}" is used`);
}

/** Timeouts of calls that are waited for otherwise. */
const TIMEOUTS_WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  kubernetesAPICall: 'a call of the API server has 30 s, and what is waited for a timeout of its own',
  etcdAPICall: 'API servers alone call etcd',
};

function timeoutNotes(fields: DocumentFields): readonly string[] {
  return Object.values(fields).flatMap((document) =>
    Object.entries((document['timeouts'] ?? {}) as Record<string, string>).flatMap(([name, text]) =>
      timeoutNote(name, text),
    ),
  );
}

function timeoutNote(name: string, text: string): readonly string[] {
  // `kubeadm config migrate` writes 0s where nothing was set.
  if (parseDuration(text) === 0)
    return [`timeouts.${name}: "${text}" would leave no time: the default is used`];
  const reason = TIMEOUTS_WITHOUT_EFFECT[name];
  const isDefault =
    parseDuration(text) === parseDuration(DEFAULT_TIMEOUTS[name as keyof typeof DEFAULT_TIMEOUTS]);
  return reason === undefined || isDefault ? [] : [`timeouts.${name}: it has no effect: ${reason}`];
}

function versionNotes(fields: DocumentFields): readonly string[] {
  const { note } = resolveVersion(fields.ClusterConfiguration?.['kubernetesVersion'] as string | undefined);
  return note === undefined ? [] : [`kubernetesVersion: ${note}`];
}

/** Whoever discovers a cluster by a token reads cluster-info before he has credentials. */
function anonymousNotes({ cluster }: InitConfig): readonly string[] {
  const last = cluster.apiServer.extraArgs.findLast(({ name }) => name === 'anonymous-auth');
  if (last?.value !== 'false') return [];
  return [
    'apiServer.extraArgs: with anonymous-auth=false nodes cannot find the cluster by a token; they can by --discovery-file',
  ];
}

interface Effect {
  readonly document: DocumentKindName;
  readonly path: string;
  /** A value that says nothing more than the default does. */
  readonly neutral?: unknown;
  readonly reason: string;
}

const OWN_STORE = 'the embedded store is in use, there is no etcd';
const OWN_DNS = 'DNS is a program of the node bundle';

/** Fields that change nothing with the embedded engine. */
const WITHOUT_EFFECT: readonly Effect[] = [
  {
    document: 'ClusterConfiguration',
    path: 'imageRepository',
    neutral: 'registry.k8s.io',
    reason: 'the programs come from the node bundle',
  },
  { document: 'ClusterConfiguration', path: 'dns.imageRepository', reason: OWN_DNS },
  { document: 'ClusterConfiguration', path: 'dns.imageTag', reason: OWN_DNS },
  { document: 'ClusterConfiguration', path: 'etcd.local.imageRepository', reason: OWN_STORE },
  { document: 'ClusterConfiguration', path: 'etcd.local.imageTag', reason: OWN_STORE },
  {
    document: 'ClusterConfiguration',
    path: 'etcd.local.dataDir',
    neutral: '/var/lib/etcd',
    reason: OWN_STORE,
  },
  ...['extraArgs', 'extraEnvs', 'serverCertSANs', 'peerCertSANs'].map(
    (name): Effect => ({
      document: 'ClusterConfiguration',
      path: `etcd.local.${name}`,
      neutral: [],
      reason: OWN_STORE,
    }),
  ),
];

function effectNotes(fields: DocumentFields, { tkadm }: InitConfig): readonly string[] {
  if (tkadm.engine !== 'embedded') return [];
  const rows = WITHOUT_EFFECT.filter(({ reason }) => reason !== OWN_STORE || tkadm.store === 'embedded');
  return rows.flatMap(({ document, path, neutral, reason }) => {
    const value = readField(fields[document], path);
    const isSet = value !== undefined && value !== '' && JSON.stringify(value) !== JSON.stringify(neutral);
    return isSet ? [`${path}: it has no effect: ${reason}`] : [];
  });
}
