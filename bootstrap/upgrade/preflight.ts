import type { PreflightInput } from '../../preflight/finding.ts';
import { formatWarning, preflightError } from '../../preflight/format.ts';
import { runPreflight, selectFatal } from '../../preflight/run.ts';
import { listImages } from '../../templates/images.ts';
import { manifestPath, selectManifests } from '../../templates/manifests/manifests.ts';
import { createCriProbe } from '../phases/cri-probe.ts';
import type { Phase } from '../workflow/phase.ts';
import type { UpgradeContext } from './context.ts';
import { findDrift } from './render.ts';

/** The checks of an upgrade, and what it would overwrite. */
export const preflightPhase: Phase<UpgradeContext> = {
  name: 'preflight',
  summary: 'Run pre-flight checks',
  unchanged: 'Passed',
  async plan(context) {
    const { host, warn } = context;
    const { findings } = await runPreflight(host, buildInput(context));
    for (const finding of findings) if (finding.severity === 'warning') warn(formatWarning(finding));
    const fatal = selectFatal(findings);
    // In a dry run without root a check may fail for that alone.
    const isUnprivileged = findings.some(
      (row) => row.check === 'IsPrivilegedUser' && row.severity === 'warning',
    );
    if (isUnprivileged) for (const finding of fatal) warn(formatWarning(finding));
    else if (fatal.length > 0) throw preflightError(fatal);
    if (context.isControlPlane) await warnOfDrift(context);
    return [];
  },
};

function buildInput(context: UpgradeContext): PreflightInput {
  const { config, step, isControlPlane, nodeName, env, api, isReachable } = context;
  return {
    scope: 'upgrade',
    engine: config.tkadm.engine,
    nodeName,
    kubernetesVersion: config.cluster.kubernetesVersion,
    ports: [],
    absentFiles: [],
    presentFiles: isControlPlane ? selectManifests(config).map(manifestPath) : [],
    podCidrs: [],
    serviceCidrs: [],
    ignored: step.ignorePreflightErrors,
    env,
    isDryRun: step.dryRun,
    openCri: createCriProbe,
    criSocket: config.nodeRegistration.criSocket,
    images: { names: listImages(config), policy: step.imagePullPolicy, isSerial: step.imagePullSerial },
    // A node's own credentials may not ask about the cluster.
    ...(isControlPlane && isReachable ? { api } : {}),
  };
}

async function warnOfDrift(context: UpgradeContext): Promise<void> {
  const drifted = await findDrift(context);
  if (drifted.length === 0) return;
  context.warn(
    `${drifted.join(', ')}: the manifest is not as the stored configuration and --patches make it (edited by hand, other patches, or ` +
      'of another tkadm); the upgrade writes it anew: see tkadm upgrade diff',
  );
}
