import { load } from 'js-yaml';
import type { Host } from '../../../runtime/base/host.ts';
import { PATHS } from '../../../runtime/base/paths.ts';
import type { StaticPodEvidence } from '../evidence.ts';

/** Components that a control-plane node runs from manifests; etcd only where it is the cluster's own. */
export const COMPONENTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;

/** What ended longer ago says nothing of now. */
const RECENT_MS = 10 * 60_000;
const LOG_LINES = 8;

/** The manifests of a control-plane node, with the logs of their containers. */
export async function collectStaticPods(host: Host, now: Date): Promise<readonly StaticPodEvidence[]> {
  const names = await host.list(PATHS.podLogs);
  return Promise.all(COMPONENTS.map((component) => collectOne(host, component, { names, now })));
}

async function collectOne(
  host: Host,
  component: string,
  { names, now }: { readonly names: readonly string[]; readonly now: Date },
): Promise<StaticPodEvidence> {
  const path = `${PATHS.manifests}/${component}.yaml`;
  const text = await host.readFile(path);
  const runs = await Promise.all(
    names
      .filter((name) => name.startsWith(`kube-system_${component}-`))
      .map((name) => readRuns(host, `${PATHS.podLogs}/${name}/${component}`)),
  );
  const recent = runs.flat().filter((run) => now.getTime() - run.lastMs < RECENT_MS);
  const last = [...runs.flat()].sort((a, b) => a.lastMs - b.lastMs).at(-1);
  return {
    component,
    manifestProblem: judgeManifest(text, path),
    recentStarts: recent.length,
    log: last?.lines ?? [],
  };
}

interface Run {
  readonly lastMs: number;
  readonly lines: readonly string[];
}

/** The logs of a container's starts: `N.log`, each line "TIME STREAM F TEXT". An empty one says nothing. */
async function readRuns(host: Host, directory: string): Promise<readonly Run[]> {
  const files = (await host.list(directory)).filter((name) => /^\d+\.log$/.test(name));
  const runs = files.slice(-6).map(async (name): Promise<readonly Run[]> => {
    const { stdout } = await host.run(['tail', '-n', String(LOG_LINES), `${directory}/${name}`]);
    const lines = stdout.trimEnd().split('\n');
    const lastMs = Date.parse(lines.at(-1)?.split(' ')[0] ?? '');
    return Number.isNaN(lastMs) ? [] : [{ lastMs, lines: lines.map(stripStream) }];
  });
  return (await Promise.all(runs)).flat();
}

function stripStream(line: string): string {
  return line.replace(/^\S+ (stdout|stderr) [FP] /, '');
}

function judgeManifest(text: string | undefined, path: string): string | undefined {
  if (text === undefined) return `"${path}" is not there`;
  try {
    const pod = load(text) as { kind?: unknown; spec?: { containers?: unknown } } | undefined;
    return pod?.kind === 'Pod' && Array.isArray(pod.spec?.containers)
      ? undefined
      : `"${path}" holds no Pod with containers`;
  } catch (error) {
    return `"${path}" is no YAML: ${(error as Error).message.split('\n')[0]}`;
  }
}
