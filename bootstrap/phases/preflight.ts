import type { Finding, PreflightInput } from '../../preflight/finding.ts';
import { formatFinding, preflightError, runPreflight, selectFatal } from '../../preflight/run.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, isServiceRunning } from '../../runtime/host/services.ts';
import type { InitConfig, JoinConfig } from '../config/types.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';

interface PreflightContext {
  readonly config: InitConfig | JoinConfig;
  readonly host: Host;
  readonly shouldFix: boolean;
  readonly warn: (message: string) => void;
}

const MANIFESTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'etcd'];
const AGENT_PORTS = [10250, 10248];

/** Runs the checks; with --fix, what can be repaired is an action, and only the rest stops the run. */
export const preflightPhase: Phase<PreflightContext> = {
  name: 'preflight',
  summary: 'Run pre-flight checks',
  unchanged: 'Passed',
  async plan({ config, host, shouldFix, warn }) {
    const findings = await runPreflight(host, await buildInput(config, host));
    const fatal = selectFatal(findings, shouldFix);
    if (fatal.length > 0) throw preflightError(fatal);
    const repaired = shouldFix ? findings.filter((finding) => finding.repair) : [];
    for (const finding of findings) if (!repaired.includes(finding)) warn(formatFinding(finding));
    return repaired.flatMap(toRepairs);
  },
};

function toRepairs(finding: Finding): readonly Action[] {
  return (finding.repair ?? []).map((argv) => ({
    kind: 'run' as const,
    argv,
    summary: `fix ${finding.check}: ${finding.fix ?? argv.join(' ')}`,
  }));
}

/**
 * What the checks look for. The ports of an agent that runs already are no finding, nor are manifests that an
 * earlier run has written, even one that was interrupted before it started the agent.
 */
async function buildInput(config: InitConfig | JoinConfig, host: Host): Promise<PreflightInput> {
  const isInit = config.kind === 'InitConfiguration';
  const isSecondRun = await isServiceRunning(host, 'tkadm-agent', await detectInitSystem(host));
  const { nodeRegistration } = config;
  return {
    scope: isInit ? 'init' : 'join',
    nodeName: nodeRegistration.name,
    ports: isSecondRun
      ? []
      : [...AGENT_PORTS, ...(isInit ? [config.localAPIEndpoint.bindPort, 10257, 10259] : [])],
    absentFiles: isInit
      ? await foreignManifests(host, config.tkadm.imageRepository)
      : [`${PATHS.kubernetes}/kubelet.conf`],
    clusterCidrs: isInit
      ? [config.cluster.networking.podSubnet ?? '', config.cluster.networking.serviceSubnet]
          .flatMap((text) => text.split(','))
          .filter(Boolean)
      : [],
    ignored: nodeRegistration.ignorePreflightErrors,
    advertiseAddress: isInit ? config.localAPIEndpoint.advertiseAddress : undefined,
    engine: config.tkadm.engine,
  };
}

/** Paths of the control plane's manifests, without those that run the embedded engine's images. */
async function foreignManifests(host: Host, imageRepository: string): Promise<readonly string[]> {
  const paths = MANIFESTS.map((name) => `${PATHS.manifests}/${name}.yaml`);
  const texts = await Promise.all(paths.map((path) => host.readFile(path)));
  return paths.filter((_, i) => !texts[i]?.includes(`image: ${imageRepository}/`));
}

/** The same input for `tkadm preflight`. */
export { buildInput as buildPreflightInput };
