import { hostname } from 'node:os';
import { ApiClient } from '../../runtime/api/client.ts';
import { NODES } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { loadConfiguration } from '../config/load.ts';
import { readDone } from '../journal/read.ts';
import type { Done } from '../journal/undo.ts';
import { findNodeName } from '../phases/node-name.ts';
import { RESET_PHASES } from '../phases/reset.ts';
import { type Comparison, compareWithBefore, describeComparison } from '../phases/reset-compare.ts';
import { formatCount } from '../render/count.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { checkPhaseNames, isSelected } from '../workflow/phase.ts';
import { confirm } from './confirm.ts';
import { type CliContext, readInput } from './context.ts';
import { once } from './once.ts';
import { collectOverrides } from './overrides.ts';
import { requireRoot, requireRootUnlessDry } from './require-root.ts';
import { runCommandPhases } from './run.ts';

/** Of an API server whose objects are not on this machine alone. */
const ETCD_FLAG = '--etcd-servers=';
/** A question does not wait longer for a cluster that may be down. */
const ASK_TIMEOUT_MS = 2_000;

export interface ResetOptions {
  readonly config?: string;
  readonly kubeconfig?: string;
  readonly output: OutputFormat;
  /** Of `reset phase`. */
  readonly onlyPhase?: string;
}

/** `tkadm reset`: takes this machine out of its cluster and removes what tkadm put on it. */
export async function runReset(context: CliContext, options: ResetOptions): Promise<void> {
  const host = createLocalHost();
  const { config, warnings } = await loadConfiguration({
    kind: 'ResetConfiguration',
    text: options.config === undefined ? undefined : await readInput(context, options.config),
    path: options.config,
    isStrict: false,
    overrides: collectOverrides('ResetConfiguration', options as unknown as Record<string, unknown>),
    // A reset must work on a machine that has lost its addresses.
    defaultsFrom: { hostname: hostname(), advertiseAddress: '127.0.0.1' },
  });
  const only = options.onlyPhase === undefined ? undefined : [options.onlyPhase];
  checkPhaseNames(RESET_PHASES, [...config.skipPhases, ...(only ?? [])]);
  const need = {
    isDryRun: config.isDryRun,
    ignored: config.ignorePreflightErrors,
    onlyPhase: options.onlyPhase,
  };
  requireRoot(context, need);
  // As kubeadm's, the question is part of the phase preflight.
  const asks = !isSelected('preflight', config.skipPhases) && isSelected('preflight', only ?? ['preflight']);
  const kubeconfig = options.kubeconfig ?? `${PATHS.kubernetes}/admin.conf`;
  const nodeName = await findNodeName(host);
  const manifest = (await host.readFile(`${PATHS.manifests}/kube-apiserver.yaml`)) ?? '';
  if (asks && !config.isForced && !config.isDryRun) {
    const isLast = manifest !== '' && !manifest.includes(ETCD_FLAG);
    const others = isLast && context.isInputTerminal ? await listOthers(kubeconfig, nodeName) : [];
    await confirm(context, {
      verb: 'reset',
      question: `This removes the node, its pods and the cluster data on this machine. ${describeOthers(others)}Go on?`,
      hint: 'tkadm reset -f',
    });
  }
  // Nobody else can read it, and nobody else but in a dry run comes here.
  const nothing: Done = { changes: [], snapshot: undefined };
  const done = once(async () => (context.uid === 0 ? readDone(PATHS.journal) : nothing));
  const compare = once(async () => compareWithBefore(host, await done(), context.now));
  const hasKubeconfig = (await host.stat(kubeconfig)) !== undefined;
  const isNode = (await host.stat(`${PATHS.kubernetes}/kubelet.conf`)) !== undefined;
  await runCommandPhases({
    command: 'reset',
    cli: context,
    host,
    phases: RESET_PHASES,
    output: options.output,
    skip: config.skipPhases,
    only,
    isDryRun: config.isDryRun,
    kubeconfig,
    buildContext: (tools) => {
      for (const warning of warnings) tools.warn(warning);
      requireRootUnlessDry(context, need, tools.warn);
      return {
        host: tools.host,
        config,
        nodeName,
        kubeconfig: hasKubeconfig ? kubeconfig : undefined,
        warn: tools.warn,
        done,
        compare,
      };
    },
    finish: async ({ changes }) => ({
      ...(config.isDryRun || only || changes === 0
        ? {
            text: config.isDryRun || only ? '' : 'There was nothing to reset on this machine.\n',
            data: { node: nodeName, changes },
          }
        : await describeReset({
            nodeName,
            isNodeLeft: isNode && !hasKubeconfig,
            changes,
            comparison: await compare(),
            etcd: await findLeftEtcd(host, manifest),
          })),
    }),
  });
}

interface LeftEtcd {
  /** Of the client that the API server was; undefined when it is gone with the other certificates. */
  readonly keyFile: string | undefined;
}

interface ResetResult {
  readonly nodeName: string;
  /** Nobody here may delete the Node. */
  readonly isNodeLeft: boolean;
  readonly changes: number;
  readonly comparison: Comparison;
  readonly etcd: LeftEtcd | undefined;
}

function describeReset({ nodeName, isNodeLeft, changes, comparison, etcd }: ResetResult) {
  const key = etcd?.keyFile ? `, and "${etcd.keyFile}" on this machine lets into it` : '';
  const lines = [
    'This machine is no node any more. Kubeconfig copies such as ~/.kube/config are yours and were kept.',
    ...(isNodeLeft
      ? [
          `The cluster still has its Node. With an administrator's kubeconfig: kubectl delete node ${nodeName}`,
        ]
      : []),
    ...(etcd
      ? [
          `The objects of the cluster are in etcd still${key}.`,
          'If this was its last control-plane node: etcdctl del --prefix /registry/',
        ]
      : []),
    ...describeComparison(comparison),
  ];
  const { since = null, others, kept } = comparison;
  return {
    text: lines.map((line) => `${line}\n`).join(''),
    data: { node: nodeName, changes, comparedWith: since, differences: others, kept },
  };
}

/** The other nodes of the cluster whose one API server is here; none when it does not answer. */
async function listOthers(kubeconfig: string, nodeName: string): Promise<readonly string[]> {
  const client = await loadClientConfig(kubeconfig).catch(() => undefined);
  if (client === undefined) return [];
  const api = new ApiClient(client);
  try {
    const { items } = await api.list(NODES, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    return items.map(({ metadata }) => metadata?.name ?? '').filter((name) => name !== nodeName);
  } catch {
    return [];
  } finally {
    api.close();
  }
}

/** "The cluster ends with it: w1 and 4 more nodes have no control plane then. " */
export function describeOthers([first, ...more]: readonly string[]): string {
  if (first === undefined) return '';
  const others =
    more.length === 0
      ? `node "${first}" has`
      : `"${first}" and ${formatCount(more.length, 'more node')} have`;
  return `The cluster ends with it: ${others} no control plane then. `;
}

/** What stays of an etcd elsewhere, of a control-plane node whose API server ran with these arguments. */
async function findLeftEtcd(host: Pick<Host, 'stat'>, manifest: string): Promise<LeftEtcd | undefined> {
  if (!manifest.includes(ETCD_FLAG)) return undefined;
  const keyFile = /--etcd-keyfile=(\S+)/.exec(manifest)?.[1];
  const isThere = keyFile !== undefined && (await host.stat(keyFile)) !== undefined;
  return { keyFile: isThere ? keyFile : undefined };
}
