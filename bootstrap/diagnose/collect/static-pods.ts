import { load } from 'js-yaml';
import type { Host } from '../../../runtime/base/host.ts';
import { PATHS } from '../../../runtime/base/paths.ts';
import type { StaticPodEvidence } from '../evidence.ts';

/** Components that a control-plane node runs from manifests; etcd only where it is the cluster's own. */
export const COMPONENTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;

/** What ended longer ago says nothing of now. */
const RECENT_MS = 10 * 60_000;
const LOG_LINES = 8;
const LOGS = 6;

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
  const spoken = runs.flat().filter(({ lastMs }) => !Number.isNaN(lastMs));
  const last = [...spoken].sort((a, b) => a.lastMs - b.lastMs).at(-1);
  return {
    component,
    manifestProblem: judgeManifest(text, path),
    recentStarts: Math.max(0, ...runs.map((pod) => countRecent(pod, now))),
    log: last?.lines ?? [],
  };
}

/** One start of a container: "3.log" is its fourth. */
interface Run {
  readonly index: number;
  /** NaN for one that wrote nothing. */
  readonly lastMs: number;
  readonly lines: readonly string[];
}

/** The logs of a container's starts: `N.log`, each line "TIME STREAM F TEXT". Of some the log is removed. */
async function readRuns(host: Host, directory: string): Promise<readonly Run[]> {
  const indexes = (await host.list(directory)).flatMap((name) => /^(\d+)\.log$/.exec(name)?.[1] ?? []);
  const last = indexes
    .map(Number)
    .sort((a, b) => a - b)
    .slice(-LOGS);
  return Promise.all(
    last.map(async (index) => {
      const { stdout } = await host.run(['tail', '-n', String(LOG_LINES), `${directory}/${index}.log`]);
      const lines = stdout.trimEnd().split('\n');
      const lastMs = Date.parse(lines.at(-1)?.split(' ')[0] ?? '');
      return { index, lastMs, lines: Number.isNaN(lastMs) ? [] : lines.map(stripStream) };
    }),
  );
}

/** Starts since the last one that ended long ago; 0 when the last one has, or when none has ever said anything. */
function countRecent(runs: readonly Run[], now: Date): number {
  const isOld = ({ lastMs }: Run) => now.getTime() - lastMs > RECENT_MS;
  const last = runs.at(-1);
  if (!last || isOld(last) || runs.every(({ lastMs }) => Number.isNaN(lastMs))) return 0;
  return last.index - (runs.findLast(isOld)?.index ?? -1);
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
