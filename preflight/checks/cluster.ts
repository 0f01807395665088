import { randomBytes } from 'node:crypto';
import type { ApiClient } from '../../runtime/api/client.ts';
import { CONFIG_MAPS, DEPLOYMENTS, JOBS, NODES } from '../../runtime/api/kinds.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { isTkadmError } from '../../runtime/base/errors.ts';
import { EMBEDDED_IMAGE_REPOSITORY } from '../../runtime/base/paths.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';
import {
  type Check,
  errorFinding,
  type Finding,
  isUpstream,
  noteFinding,
  type PreflightEngine,
  type PreflightInput,
} from '../finding.ts';

const SYSTEM = 'kube-system';
const CONTROL_PLANE_LABEL = 'node-role.kubernetes.io/control-plane';
const JOB_TIMEOUT_MS = 60_000;

/** Plugins that the DNS of the next version has; the embedded one refuses all others. */
const DNS_PLUGINS: Readonly<Record<PreflightEngine, readonly string[]>> = {
  embedded: words('errors health ready kubernetes prometheus forward cache loop reload loadbalance'),
  upstream: words(
    `acl any auto autopath azure bind bufsize cache cancel chaos clouddns debug dns64 dnssec dnstap erratic errors etcd
    file forward geoip grpc header health hosts import k8s_external kubernetes loadbalance local log loop metadata
    minimal multisocket nomad nsid pprof prometheus quic ready reload rewrite root route53 secondary sign template
    timeouts tls trace transfer tsig view whoami`,
  ),
};

/** Plugins that CoreDNS has given up, with what took their place (CoreDNS release notes 1.5.0 and 1.7.0). */
const REMOVED_PLUGINS: Readonly<Record<string, string>> = {
  proxy: 'forward',
  federation: 'nothing: Kubernetes has no federation any more',
};

/** The oldest CoreDNS that kubeadm migrates from. */
const MIN_DNS_MINOR = 3;

/** A cluster that is there and will be upgraded. */
export const CLUSTER_CHECKS: readonly Check[] = [
  {
    name: 'CoreDNSUnsupportedPlugins',
    scopes: ['upgrade'],
    severity: 'error',
    looksAt: {
      embedded: 'the Corefile has no plugins but those of the embedded DNS',
      upstream: 'the Corefile has no plugins but those of CoreDNS',
    },
    observe: (_host, input) =>
      withApi(input, 'CoreDNSUnsupportedPlugins', async (api) => {
        const plugins = await readPlugins(api);
        const known = DNS_PLUGINS[input.engine ?? 'embedded'];
        const unknown = plugins.filter((name) => !known.includes(name) && !(name in REMOVED_PLUGINS));
        if (unknown.length === 0) return [];
        return [
          errorFinding(
            'CoreDNSUnsupportedPlugins',
            `the DNS of the new version does not have the plugins ${unknown.join(', ')}`,
            `ConfigMap ${SYSTEM}/coredns, key Corefile`,
            `kubectl -n ${SYSTEM} edit configmap coredns`,
          ),
        ];
      }),
  },
  {
    name: 'CoreDNSMigration',
    scopes: ['upgrade'],
    severity: 'error',
    looksAt: {
      embedded: 'the Corefile has nothing that CoreDNS has given up',
      upstream: `the Corefile has nothing that CoreDNS has given up, and the CoreDNS that runs is 1.${MIN_DNS_MINOR} or later`,
    },
    observe: (_host, input) => withApi(input, 'CoreDNSMigration', (api) => judgeMigration(api, input)),
  },
  {
    name: 'ControlPlaneNodesReady',
    scopes: ['upgrade'],
    severity: 'error',
    looksAt: 'every control-plane Node is Ready',
    observe: (_host, input) =>
      withApi(input, 'ControlPlaneNodesReady', async (api) => {
        const { items } = await api.list(NODES, { labelSelector: CONTROL_PLANE_LABEL });
        const waiting = items.filter((node) => !isNodeReady(node)).map((node) => node.metadata?.name);
        if (waiting.length === 0) return [];
        const reason = `control-plane nodes are not Ready: ${waiting.join(', ')}`;
        const evidence = `condition Ready of ${waiting.length} of ${items.length} Nodes`;
        return [
          errorFinding('ControlPlaneNodesReady', reason, evidence, `kubectl describe node ${waiting[0]}`),
        ];
      }),
  },
  {
    name: 'CreateJob',
    scopes: ['upgrade'],
    severity: 'error',
    looksAt: `a Job runs to its end within ${JOB_TIMEOUT_MS / 1000} s; left out when no node takes pods`,
    stage: 'last',
    timeoutMs: JOB_TIMEOUT_MS + 10_000,
    observe: (_host, input) => withApi(input, 'CreateJob', (api) => runJob(api, input)),
  },
];

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

async function withApi(
  { api }: PreflightInput,
  check: string,
  look: (api: ApiClient) => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  if (api) return look(await api());
  return [noteFinding(check, 'the cluster was not asked', 'there is no administrator kubeconfig')];
}

/** Names of the plugins in the server blocks of the Corefile; [] without one. */
async function readPlugins(api: ApiClient): Promise<readonly string[]> {
  const map = await api.find(CONFIG_MAPS, { namespace: SYSTEM, name: 'coredns' });
  return parsePlugins(map?.data?.['Corefile'] ?? '');
}

/** First words of the lines one brace deep (CoreDNS manual, "Configuration"). */
export function parsePlugins(corefile: string): readonly string[] {
  const names = new Set<string>();
  let depth = 0;
  for (const line of corefile.split('\n')) {
    const text = line.replace(/(^|\s)#.*/, '').trim();
    if (depth === 1 && /^[a-z]/.test(text)) names.add(/^[\w-]+/.exec(text)![0]);
    depth += (text.match(/\{(\s|$)/g)?.length ?? 0) - (text.match(/(^|\s)\}/g)?.length ?? 0);
  }
  return [...names];
}

async function judgeMigration(api: ApiClient, input: PreflightInput): Promise<readonly Finding[]> {
  const removed = (await readPlugins(api)).filter((name) => name in REMOVED_PLUGINS);
  const findings = removed.map((name) =>
    errorFinding(
      'CoreDNSMigration',
      `the plugin "${name}" is no longer part of CoreDNS; in its place: ${REMOVED_PLUGINS[name]}`,
      `ConfigMap ${SYSTEM}/coredns, key Corefile`,
      `kubectl -n ${SYSTEM} edit configmap coredns`,
    ),
  );
  if (!isUpstream(input)) return findings;
  const deployment = await api.find(DEPLOYMENTS, { namespace: SYSTEM, name: 'coredns' });
  const image = deployment?.spec?.template.spec?.containers[0]?.image ?? '';
  const minor = /:v?1\.(\d+)/.exec(image)?.[1];
  if (image === '' || (minor !== undefined && Number(minor) >= MIN_DNS_MINOR)) return findings;
  const reason = 'the version of the CoreDNS that runs cannot be told, or is too old to migrate from';
  return [...findings, errorFinding('CoreDNSMigration', reason, `its image is "${image}"`)];
}

/** What a Job of a moment runs: a program of the node bundle, or kubeadm's pause. */
function findJobContainer({ engine, images }: PreflightInput) {
  if (engine === 'upstream')
    return { image: images?.names.find((name) => /\/pause:/.test(name)), args: ['-v'] };
  const image = `${EMBEDDED_IMAGE_REPOSITORY}/coredns:${KUBERNETES_VERSION}`;
  return { image, command: ['/usr/bin/node', '--version'] };
}

async function runJob(api: ApiClient, input: PreflightInput): Promise<readonly Finding[]> {
  const nodes = (await api.list(NODES)).items;
  const takesPods = nodes.some(
    ({ spec }) =>
      !spec?.unschedulable &&
      !spec?.taints?.some(({ key, effect }) => key !== CONTROL_PLANE_LABEL && effect !== 'PreferNoSchedule'),
  );
  if (!takesPods) return [noteFinding('CreateJob', 'no Job was run', 'no node takes ordinary pods')];
  const { image, ...program } = findJobContainer(input);
  if (input.isDryRun || image === undefined) {
    const evidence = input.isDryRun ? 'this is a dry run' : 'the images of the upgrade are not known';
    return [noteFinding('CreateJob', 'no Job was run', evidence)];
  }
  const name = `upgrade-health-check-${randomBytes(3).toString('hex')}`;
  const ref = { namespace: SYSTEM, name };
  await api.create(JOBS, {
    metadata: ref,
    spec: {
      backoffLimit: 0,
      ttlSecondsAfterFinished: 5,
      activeDeadlineSeconds: JOB_TIMEOUT_MS / 1000,
      template: {
        spec: {
          restartPolicy: 'Never',
          securityContext: { runAsUser: 999, runAsGroup: 999, runAsNonRoot: true },
          tolerations: [{ key: CONTROL_PLANE_LABEL, effect: 'NoSchedule' }],
          containers: [{ name, image, imagePullPolicy: 'IfNotPresent', ...program }],
        },
      },
    },
  });
  try {
    await waitFor(async () => ((await api.get(JOBS, ref)).status?.succeeded ? true : undefined), {
      subject: `Job ${name} to succeed`,
      timeoutMs: JOB_TIMEOUT_MS,
      intervalMs: 500,
    });
    return [];
  } catch (error) {
    if (!isTkadmError(error, 'WAIT_TIMEOUT')) throw error;
    const reason = 'a Job does not run to its end: pods are not started as they should be';
    return [errorFinding('CreateJob', reason, error.message, `kubectl -n ${SYSTEM} describe job ${name}`)];
  } finally {
    await api.delete(JOBS, ref, { propagationPolicy: 'Background' }).catch(() => {});
  }
}
