import { formatUnifiedDiff } from '../../runtime/base/unified-diff.ts';
import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';
import { readBundleId } from '../../runtime/host/bundle.ts';
import { resolveVersion } from '../config/version-labels.ts';
import { createPatchReader } from '../phases/files.ts';
import { renderManifests } from '../upgrade/render.ts';
import { refuseOtherVersion } from '../upgrade/source.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';
import { openUpgrade, type UpgradeOptions } from './upgrade-source.ts';

export interface UpgradeDiffOptions extends UpgradeOptions {
  readonly patches?: string;
}

/** `tkadm upgrade diff [version]`: what an upgrade would change in the manifests of the control plane. */
export async function runUpgradeDiff(
  context: CliContext,
  version: string | undefined,
  options: UpgradeDiffOptions,
): Promise<void> {
  const opened = await openUpgrade(context, 'diff', { ...options, version });
  const { host, upgrade, warnings } = opened;
  for (const warning of warnings) context.writeError(`Warning: ${warning}\n`);
  const { kubernetesVersion, contextLines } = upgrade.diff;
  const target = resolveVersion(kubernetesVersion).version;
  refuseOtherVersion(target, KUBERNETES_VERSION);
  const { config } = await opened.load(target, options.patches);
  const manifests = await renderManifests(
    {
      config,
      host,
      env: context.env,
      patches: createPatchReader(host, options.patches, (message) =>
        context.writeError(`Warning: ${message}\n`),
      ),
      bundleId: () => readBundleId(host, bundleSources(context)),
    },
    { withEtcd: false },
  );
  const diffs = manifests.flatMap(({ path, before, after }) => {
    const hunks = formatUnifiedDiff(before, after, contextLines);
    return hunks === '' ? [] : [{ path, diff: `--- ${path}\n+++ new manifest\n${hunks}` }];
  });
  const text = diffs.length > 0 ? diffs.map(({ diff }) => diff).join('') : '';
  writeData(context, options.output, { kubernetesVersion: target, diffs }, text);
}
