import { PATHS } from '../../runtime/base/paths.ts';
import { readCurrentBundleId } from '../../runtime/host/bundle.ts';
import { manifestPath } from '../../templates/manifests/manifests.ts';
import { componentEndpoints } from '../phases/control-plane-wait.ts';
import { readCaBundle } from '../phases/files.ts';
import { refuseOtherNetwork } from '../phases/fixed-arguments.ts';
import { podLogHint } from '../phases/hints.ts';
import type { Action } from '../workflow/action.ts';
import type { UpgradeContext } from './context.ts';
import { planJournal, planJournalEnd, readBackups, readJournal } from './journal.ts';
import { hashManifest, type ManifestChange, renderManifests } from './render.ts';
import { ADMIN_KUBECONFIGS, planComponentRenewal, planRenewals } from './renewal.ts';
import { planRuntimeRestart } from './services.ts';

/** Swaps the manifests that differ, one after the other: the next one once the pod of the last one is well. */
export async function planControlPlane(context: UpgradeContext): Promise<readonly Action[]> {
  const { config, host, step } = context;
  await refuseOtherNetwork(host, config);
  const manifests = await renderManifests(context, { withEtcd: step.etcdUpgrade });
  const hasChanges = manifests.some(({ before, after }) => before !== after);
  const swaps = await Promise.all(manifests.map((change) => planSwap(change, context)));
  return [
    ...(hasChanges ? await planKeep(context) : []),
    ...swaps.flat(),
    ...(hasChanges && step.certificateRenewal ? await planRenewals(ADMIN_KUBECONFIGS, context) : []),
  ];
}

/** Keeps what is there for a roll-back. */
export async function planKeep(context: UpgradeContext): Promise<readonly Action[]> {
  const { host, documents, wantedBundle } = context;
  const fromBundle = (await readCurrentBundleId()) ?? wantedBundle;
  return planJournal({ host, documents, journal: { fromBundle, toBundle: wantedBundle } });
}

async function planSwap(change: ManifestChange, context: UpgradeContext): Promise<readonly Action[]> {
  const { row, path, before, after } = change;
  const isChanged = before !== after;
  const renewed =
    isChanged && context.step.certificateRenewal ? await planComponentRenewal(row.name, context) : [];
  return [
    ...renewed,
    ...(isChanged ? [{ kind: 'write-file', path, mode: 0o600, content: after } as const] : []),
    ...(await planHealth(change.row.name, hashManifest(after, path, context.nodeName), context)),
  ];
}

/** The pod of that content, then the endpoint that kubeadm asks. */
async function planHealth(
  component: string,
  hash: string,
  { config, host, nodeName }: UpgradeContext,
): Promise<readonly Action[]> {
  const timeoutMs = config.timeouts.upgradeManifestsMs;
  const hint = podLogHint(component, nodeName);
  const endpoint = componentEndpoints(config).find(({ name }) => name === component);
  const caPem =
    component === 'kube-apiserver' ? await readCaBundle(host, config.cluster.certificatesDir) : undefined;
  return [
    {
      kind: 'wait',
      subject: `${component} in its new form`,
      timeoutMs,
      hint,
      target: { kind: 'static-pod', component, nodeName, hash },
    },
    ...(endpoint
      ? [
          {
            kind: 'wait',
            subject: `${component} at ${endpoint.url}`,
            timeoutMs,
            hint,
            target: { kind: 'http', url: endpoint.url, caPem },
          } as const,
        ]
      : []),
  ];
}

/** The bundle and the manifests that were kept come back; renewed certificates stay, which old programs take too. */
export async function planControlPlaneReturn(context: UpgradeContext): Promise<readonly Action[]> {
  const { host, nodeName } = context;
  const journal = await readJournal(host);
  if (!journal) return [];
  const { manifests } = await readBackups(host);
  const texts = await Promise.all(manifests.map(({ row }) => host.readFile(manifestPath(row))));
  const changed = manifests.filter(({ content }, i) => texts[i] !== content);
  const waits = await Promise.all(
    changed.map(({ row, content }) => {
      const hash = hashManifest(content, manifestPath(row), nodeName);
      return planHealth(row.name, hash, context);
    }),
  );
  return [
    ...(await planBundleReturn(journal.fromBundle, context)),
    ...changed.map(
      ({ row, content }) => ({ kind: 'write-file', path: manifestPath(row), mode: 0o600, content }) as const,
    ),
    ...waits.flat(),
    ...(await planJournalEnd(host)),
  ];
}

/** Takes the earlier bundle into use again, so that its images have their names back. */
export async function planBundleReturn(id: string, { host }: UpgradeContext): Promise<readonly Action[]> {
  const isThere = await host.stat(`${PATHS.bundle}/${id}/image.json`);
  if (!isThere || (await readCurrentBundleId()) === id) return [];
  return [{ kind: 'use-bundle', id }, ...(await planRuntimeRestart(host))];
}
