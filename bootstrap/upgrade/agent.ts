import { hostname } from 'node:os';
import { load } from 'js-yaml';
import { PATHS } from '../../runtime/base/paths.ts';
import { KUBERNETES_VERSION, VERSION } from '../../runtime/base/version.ts';
import { readCurrentBundleId } from '../../runtime/host/bundle.ts';
import { buildKubeletFiles, type KubeletFile } from '../../templates/kubelet-files.ts';
import { KUBE_SYSTEM } from '../addons/objects.ts';
import { serviceLogHint } from '../phases/hints.ts';
import type { Action } from '../workflow/action.ts';
import type { UpgradeContext } from './context.ts';
import { planBundleReturn, planKeep } from './control-plane.ts';
import { readBackups, readJournal } from './journal.ts';
import { planAgentRestart, planAgentWait, runningBundle } from './services.ts';

/** Writes the cluster's agent configuration here, and starts the agent from the bundle in use. */
export async function planAgentUpgrade(context: UpgradeContext): Promise<readonly Action[]> {
  const { config, host } = context;
  const file = await buildConfigFile(context);
  const isSame = file === undefined || (await host.readFile(file.path)) === file.content;
  const isCurrent = (await runningBundle(host, 'tkadm-agent')) === (await findCurrentBundle(context));
  if (isSame && isCurrent) return [await planAgentWait(host, config.timeouts.kubeletHealthCheckMs)];
  return [
    ...(isSame ? [] : [...(await planKeep(context)), file]),
    ...(await planAgentRestart(host, config.timeouts.kubeletHealthCheckMs)),
  ];
}

/** In a dry run the new bundle is not in use yet. */
async function findCurrentBundle({ wantedBundle, step }: UpgradeContext): Promise<string | undefined> {
  return step.dryRun ? wantedBundle : readCurrentBundleId();
}

/** undefined in a dry run that cannot reach the cluster. */
async function buildConfigFile(context: UpgradeContext): Promise<KubeletFile | undefined> {
  const { config, host, resolvConf, isControlPlane } = context;
  const map = await context.find({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace: KUBE_SYSTEM, name: 'kubelet-config' },
  });
  const text = (map as { readonly data?: Readonly<Record<string, string>> } | undefined)?.data?.['kubelet'];
  if (text === undefined) return undefined;
  const instance = (load((await host.readFile(`${PATHS.kubelet}/instance-config.yaml`)) ?? '{}') ?? {}) as {
    readonly containerRuntimeEndpoint?: string;
  };
  const criSocket = instance.containerRuntimeEndpoint ?? config.nodeRegistration.criSocket;
  const files = buildKubeletFiles({
    nodeRegistration: { ...config.nodeRegistration, criSocket },
    kubelet: load(text) as Readonly<Record<string, unknown>>,
    hostname: hostname(),
    isWorker: !isControlPlane,
    resolvConf,
    patches: await context.patches(),
  });
  return files.find((row) => row.path === `${PATHS.kubelet}/config.yaml`);
}

/** The agent's earlier configuration and bundle come back. */
export async function planAgentReturn(context: UpgradeContext): Promise<readonly Action[]> {
  const { config, host } = context;
  const journal = await readJournal(host);
  if (!journal) return [];
  const { kubelet } = await readBackups(host);
  return [
    ...(await planBundleReturn(journal.fromBundle, context)),
    ...(kubelet.content === undefined
      ? []
      : [{ kind: 'write-file', path: kubelet.path, mode: 0o644, content: kubelet.content } as const]),
    ...(await planAgentRestart(host, config.timeouts.kubeletHealthCheckMs)),
  ];
}

/** Waits until the cluster sees the node in its new version. */
export async function planNodeWait({ config, host, nodeName }: UpgradeContext): Promise<readonly Action[]> {
  return [
    {
      kind: 'wait',
      subject: `Node "${nodeName}" to be Ready with ${KUBERNETES_VERSION}`,
      timeoutMs: config.timeouts.kubeletHealthCheckMs,
      hint: await serviceLogHint(host, 'tkadm-agent'),
      target: {
        kind: 'node-version',
        nodeName,
        kubeletVersion: KUBERNETES_VERSION,
        runtimeVersion: `tkadm://${VERSION}`,
      },
    },
  ];
}
